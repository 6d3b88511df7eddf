/** Tells whether a bundle on disk is still what its sources would give. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');
const FILE = '.fingerprint.json';

/** What shapes a bundle besides the modules in it. */
const BUILD_INPUTS = [
  'esbuild.config.ts',
  'package-lock.json',
  'tsconfig.json',
  'build/builtins-by-require.ts',
  'build/bundle-size.ts',
  'build/fingerprint.ts',
  'build/prime-compile-cache.ts',
];

type Fingerprint = {
  /** Of the Node that filled the compile cache: no other version can read it. */
  readonly node: string;
  readonly definition: string;
  readonly inputs: readonly string[];
  readonly hash: string;
  readonly result: unknown;
};

/** Answers what the last build of that folder gave, if building again would give the same. */
export async function isUnchanged<Result>(outDir: string, definition: unknown): Promise<Result | undefined> {
  try {
    const stored = JSON.parse(await readFile(join(outDir, FILE), 'utf8')) as Fingerprint;
    const same =
      stored.node === nodeOf() &&
      stored.definition === JSON.stringify(definition) &&
      stored.hash === (await hashFiles(stored.inputs));
    return same ? (stored.result as Result) : undefined;
  } catch {
    return undefined;
  }
}

/** The modules that a built bundle was made of, relative to the repository, and what else shaped it. */
export async function readBundledInputs(outDir: string): Promise<readonly string[]> {
  return (JSON.parse(await readFile(join(outDir, FILE), 'utf8')) as Fingerprint).inputs;
}

/** @param inputs the modules in the bundle, as esbuild's metafile names them. */
export async function writeFingerprint(
  outDir: string,
  definition: unknown,
  inputs: readonly string[],
  result: unknown,
): Promise<void> {
  // `namespace:path` is made up by a plugin, which is a build input itself.
  const sources = inputs.filter((input) => !/^[\w-]+:/.test(input));
  const files = [...sources.map((input) => relative(ROOT, resolve(ROOT, input))), ...BUILD_INPUTS];
  const fingerprint: Fingerprint = {
    node: nodeOf(),
    definition: JSON.stringify(definition),
    inputs: files,
    hash: await hashFiles(files),
    result,
  };
  await writeFile(join(outDir, FILE), JSON.stringify(fingerprint));
}

function nodeOf(): string {
  return `${process.version} ${process.arch}`;
}

async function hashFiles(files: readonly string[]): Promise<string> {
  const contents = await Promise.all(files.map((file) => readFile(resolve(ROOT, file))));
  const hash = createHash('sha256');
  for (const [index, content] of contents.entries()) {
    hash.update(`${files[index]} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}
