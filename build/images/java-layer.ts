/** Debian's Java runtime, cut to what the database's stand-in needs, and that stand-in. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildLauncher } from '../../deploy/local/database/build-launcher.ts';
import { componentOf, licencesIn, readPackages } from './base-layer.ts';
import { closeOverBase } from './closure.ts';
import { debianArchitecture } from './debian-lock.ts';
import { FileTree, mergeTrees } from './file-tree.ts';
import type { Component, Layer } from './layer.ts';

const LAUNCHER_DIR = '/app';
export const DATABASE_FILE = '/data/db/database.mv';

/** What the virtual machine and java.base load by name, which no library says of itself. */
const LIBRARIES = [
  'java',
  'jimage',
  'jli',
  'net',
  'nio',
  'verify',
  'zip',
  'extnet',
  'management',
  'management_ext',
];
const DATA = ['jvm.cfg', 'modules', 'tzdb.dat', 'server/classes.jsa', 'security/default.policy'];

export async function makeJavaLayer(base: FileTree): Promise<Layer> {
  const packages = await readPackages('java');
  const contents = mergeTrees(packages.map(({ contents }) => contents));
  const lib = `${javaHome()}/lib`;
  const roots = [
    javaPath(),
    `${lib}/server/libjvm.so`,
    ...LIBRARIES.map((name) => `${lib}/lib${name}.so`),
    ...DATA.map((file) => `${lib}/${file}`),
  ];
  const tree = closeOverBase(roots, base, contents);
  tree.addTree(
    contents.filter(
      (path) =>
        path.startsWith(`${javaHome()}/conf/`) ||
        /^\/etc\/java-17-openjdk\/(?!jfr|psfont)/.test(path) ||
        /\/(release|legal\/java\.base\/[^/]+)$/.test(path),
    ),
  );
  for (const { contents } of packages) tree.addTree(licencesIn(contents));
  return { title: 'Java 17', tree, components: packages.map(({ locked }) => componentOf(locked)) };
}

/** Our launcher and mongo-java-server, as `npm start` runs them. */
export async function makeDatabaseLayer(log: (line: string) => void): Promise<Layer> {
  const { classesDir, libDir } = await buildLauncher(log);
  const tree = new FileTree();
  const components: Component[] = [];
  for (const file of (await readdir(classesDir, { recursive: true })).sort()) {
    if (file.endsWith('.class')) {
      tree.addFile(`${LAUNCHER_DIR}/classes/${file}`, await readFile(join(classesDir, file)));
    }
  }
  for (const jar of (await readdir(libDir)).sort()) {
    const bytes = await readFile(join(libDir, jar));
    tree.addFile(`${LAUNCHER_DIR}/lib/${jar}`, bytes);
    components.push(jarComponent(jar, bytes));
  }
  return { title: 'mongo-java-server', tree, components };
}

export const CLASS_PATH = `${LAUNCHER_DIR}/classes:${LAUNCHER_DIR}/lib/*`;

export function javaPath(): string {
  return `${javaHome()}/bin/java`;
}

function javaHome(): string {
  return `/usr/lib/jvm/java-17-openjdk-${debianArchitecture()}`;
}

function jarComponent(jar: string, bytes: Buffer): Component {
  const [, name = jar, version = ''] = /^(.+?)-(\d.*)\.jar$/.exec(jar) ?? [];
  const group = GROUPS.find(([pattern]) => pattern.test(name))?.[1] ?? 'unknown';
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { name, version, purl: `pkg:maven/${group}/${name}@${version}`, sha256 };
}

const GROUPS: readonly [RegExp, string][] = [
  [/^netty-/, 'io.netty'],
  [/^mongo-java-server-/, 'de.bwaldvogel'],
  [/^h2$/, 'com.h2database'],
  [/^slf4j-/, 'org.slf4j'],
];
