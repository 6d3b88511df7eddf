import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CACHE_DIR = resolve(import.meta.dirname, '../../.cache/tor');

/** A program, and the environment that it needs to find its libraries. */
export type Tool = { readonly path: string; readonly env: Readonly<Record<string, string>> };

/**
 * The program of this name: on PATH, or unpacked from Debian's package, with the packages that it needs and this
 * machine lacks. Nothing is installed and no package script is run, so no service starts.
 *
 * @throws Error with one line where it can be had in neither way
 */
export async function debianTool(name: string, packageName = name): Promise<Tool> {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const found = directories.map((directory) => join(directory, name)).find(isExecutable);
  if (found !== undefined) return { path: found, env: {} };
  const root = join(CACHE_DIR, packageName);
  if (!existsSync(root)) {
    await unpack(packageName, root).catch((error: Error) => {
      const [reason] = error.message.split('\n');
      throw new Error(
        `${name} is neither on PATH nor to be had from Debian's package ${packageName}: ${reason}`,
      );
    });
  }
  const path = ['usr/bin', 'usr/sbin', 'bin', 'sbin']
    .map((folder) => join(root, folder, name))
    .find(isExecutable);
  if (path === undefined) throw new Error(`Debian's package ${packageName} has no program ${name}`);
  return { path, env: { LD_LIBRARY_PATH: await libraryPath(root) } };
}

async function unpack(packageName: string, root: string): Promise<void> {
  await mkdir(CACHE_DIR, { recursive: true });
  const work = await mkdtemp(`${root}.work-`);
  try {
    const { stdout } = await run('apt-get', ['-s', 'install', '--no-install-recommends', packageName]);
    const packages = [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, lacking = '']) => lacking);
    await run('apt-get', ['download', ...packages], { cwd: work });
    const archives = (await readdir(work)).filter((file) => file.endsWith('.deb'));
    for (const archive of archives) await run('dpkg-deb', ['-x', join(work, archive), join(work, 'root')]);
    // All at once, so that a run that is cut off leaves nothing that looks whole.
    await rename(join(work, 'root'), root);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The folders of a package tree that hold libraries, whatever the machine's triplet. */
async function libraryPath(root: string): Promise<string> {
  const folders: string[] = [];
  for (const parent of ['usr/lib', 'lib']) {
    const names = await readdir(join(root, parent)).catch(() => []);
    folders.push(...names.filter((name) => name.includes('-linux-')).map((name) => join(root, parent, name)));
  }
  return folders.join(delimiter);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
