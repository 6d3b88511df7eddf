/**
 * Fills V8's compile cache for a bundle, so that a cold start need not compile it. Node writes that cache only when
 * it ends by itself; RIE and Lambda kill it, so this must be done at build time.
 */
import { execFile } from 'node:child_process';
import { chmod, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The cache's folder inside the bundle's. */
export const COMPILE_CACHE_DIR = '.compile-cache';

/**
 * What a process that runs the bundle needs in its environment to use the cache. Portable: entries are found by
 * their path relative to the cache, so they serve in an image as well.
 */
export function compileCacheVariables(bundleDir: string): Record<string, string> {
  return { NODE_COMPILE_CACHE: join(bundleDir, COMPILE_CACHE_DIR), NODE_COMPILE_CACHE_PORTABLE: '1' };
}

/** With TPF_PRIME_ONLY=1 a handler loads all of its code and reads no configuration. */
export async function primeCompileCache(bundleDir: string): Promise<void> {
  const chunks = await readdir(join(bundleDir, 'chunks')).catch(() => []);
  const modules = [
    join(bundleDir, 'handler.mjs'),
    ...chunks.filter((file) => file.endsWith('.mjs')).map((file) => join(bundleDir, 'chunks', file)),
  ];
  const program = modules
    .map((path) => `await import(${JSON.stringify(pathToFileURL(path).href)});`)
    .join('\n');
  const env = { ...compileCacheVariables(bundleDir), TPF_PRIME_ONLY: '1' };
  try {
    // An import that leaves a timer or a socket behind would keep this process, and a bundle, from ending.
    await run(process.execPath, ['--input-type=module', '--eval', program], { env, timeout: 30_000 });
  } catch (error) {
    const { killed, stderr, message } = error as Error & { killed?: boolean; stderr?: string };
    const why = killed ? 'it does not end by itself after loading' : (stderr?.trim() ?? message);
    throw new Error(`${modules[0]} cannot be loaded without configuration: ${why}`, { cause: error });
  }
  await makeReadable(join(bundleDir, COMPILE_CACHE_DIR));
}

/** Node writes the entries for its own user alone, but an image runs as another. */
async function makeReadable(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await chmod(join(entry.parentPath, entry.name), 0o644);
  }
}
