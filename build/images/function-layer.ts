/** A function's bundle as it lies under Lambda's `/var/task`, with V8's compile cache for just that place. */
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { buildFunctions } from '../../esbuild.config.ts';
import { readBundledInputs } from '../fingerprint.ts';
import { compileFor } from './compile-cache.ts';
import { FileTree } from './file-tree.ts';
import type { Layer } from './layer.ts';
import { npmPackagesOf } from './npm-packages.ts';

export const TASK_DIR = '/var/task';
export const TASK_CACHE_DIR = `${TASK_DIR}/.compile-cache`;

const DIST_DIR = resolve(import.meta.dirname, '../../dist');

/** @param options.withCompileCache without it a cold start is slower, but any machine makes the same bytes. */
export async function makeFunctionLayer(
  name: string,
  options: { readonly withCompileCache: boolean },
): Promise<Layer> {
  await buildFunctions({ names: [name] });
  const bundleDir = join(DIST_DIR, name);
  const tree = new FileTree();
  for (const file of await listBundle(bundleDir)) {
    tree.addFile(`${TASK_DIR}/${file}`, await readFile(join(bundleDir, file)));
  }
  if (options.withCompileCache) tree.addTree(await compileFor(bundleDir, TASK_DIR, TASK_CACHE_DIR));
  return {
    title: `function ${name}`,
    tree,
    components: await npmPackagesOf(await readBundledInputs(bundleDir)),
  };
}

/** Code and legal notices; source maps and what the build notes for itself stay here. */
async function listBundle(bundleDir: string): Promise<string[]> {
  const files = await readdir(bundleDir, { recursive: true });
  return files.filter((file) => /^(chunks\/)?[^./][^/]*(\.mjs|\.LEGAL\.txt)$/.test(file)).sort();
}
