/**
 * V8's compile cache for modules that will lie somewhere else than they lie now. Node finds an entry by the module's
 * path, and the path stands in the entry too, so it must be made under the path of the image.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FileTree, NONROOT } from './file-tree.ts';

const run = promisify(execFile);

/** AWS runs functions as this user. Node keeps a cache for each user, named by the number. */
const LAMBDA_UID = 993;

/**
 * Compiles a bundle as if it lay at `at`, to the same bytes each time. The cache's folder bears a number of V8's
 * that tells the processor's features: on a machine of another kind Node does not find it, and compiles for itself.
 *
 * @throws Error where a module cannot be loaded, with its reason.
 */
export async function compileFor(bundleDir: string, at: string, cacheDir: string): Promise<FileTree> {
  const folder = await mkdtemp(join(tmpdir(), 'compile-cache-'));
  try {
    const program = join(import.meta.dirname, 'compile-program.ts');
    // Hash tables are laid out by a random number unless one is given.
    await run(process.execPath, ['--random-seed=1', program, bundleDir, at, folder], {
      env: { TPF_PRIME_ONLY: '1' },
      timeout: 60_000,
    }).catch((error: Error & { stderr?: string }) => {
      throw new Error(`${bundleDir} cannot be compiled for ${at}: ${error.stderr?.trim() ?? error.message}`);
    });
    return await takeCache(folder, cacheDir);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function takeCache(folder: string, cacheDir: string): Promise<FileTree> {
  const [made, ...others] = await readdir(folder);
  if (made === undefined || others.length > 0) throw new Error(`Node made ${others.length} caches`);
  const version = made.replace(/-\d+$/, '');
  const tree = new FileTree().addLink(`${cacheDir}/${version}-${LAMBDA_UID}`, `${version}-${NONROOT.uid}`);
  for (const file of (await readdir(join(folder, made))).sort()) {
    tree.addFile(`${cacheDir}/${version}-${NONROOT.uid}/${file}`, await readFile(join(folder, made, file)));
  }
  return tree;
}
