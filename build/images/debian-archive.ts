/** Fetches pinned packages and reads what is in them; nothing is unpacked onto this machine, and no script runs. */
import { execFile, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import type { DebianPackage } from './debian-lock.ts';
import { FileTree } from './file-tree.ts';
import { readTar } from './tar.ts';

const run = promisify(execFile);

/** Keeps packages between builds; a folder filled by hand serves a machine that reaches no archive. */
export const DEBIAN_CACHE_DIR = resolve(import.meta.dirname, '../../.cache/debian');

const DOWNLOAD_TIMEOUT_MS = 300_000;

/** Where packages come from. The bytes are compared with the lock by whoever asked. */
export type Way = (wanted: DebianPackage) => Promise<Buffer>;

const WAYS: readonly Way[] = [byApt([]), downloadFromSnapshot];

/**
 * What is in a package, with the folders of a merged `/usr`, as Debian lays its systems out.
 *
 * @throws Error that says where the package was looked for, or that it is not the pinned one.
 */
export async function readPackage(
  wanted: DebianPackage,
  { cacheDir = DEBIAN_CACHE_DIR, ways = WAYS }: { cacheDir?: string; ways?: readonly Way[] } = {},
): Promise<FileTree> {
  const path = join(cacheDir, fileNameOf(wanted));
  const cached = await readFile(path).catch(() => undefined);
  if (cached === undefined || !isPinned(cached, wanted)) {
    await mkdir(cacheDir, { recursive: true });
    const beside = `${path}.${randomUUID()}`;
    await writeFile(beside, await download(wanted, ways));
    await rename(beside, path);
  }
  return mergeUsr(await readContents(path));
}

/** As apt names the file; the colon of an epoch would not do in one. */
export function fileNameOf({ name, version, architecture }: DebianPackage): string {
  return `${name}_${version.replace(':', '%3a')}_${architecture}.deb`;
}

/**
 * From the archive, by apt, which checks signatures as well; else from snapshot.debian.org, which keeps what the
 * archive has dropped. (That second way was not run where this was written: no machine there reaches it.)
 */
export async function download(wanted: DebianPackage, ways = WAYS): Promise<Buffer> {
  const failures: string[] = [];
  for (const way of ways) {
    try {
      const bytes = await way(wanted);
      if (isPinned(bytes, wanted)) return bytes;
      failures.push(`it is not the pinned file (sha256 ${sha256(bytes)})`);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(
    `${wanted.name} ${wanted.version} cannot be had (${failures.join('; ')}): ` +
      `put ${fileNameOf(wanted)} into .cache/debian, or take newer packages by npm run images -- --relock`,
  );
}

/** @param apart of an apt that looks at other lists than the machine's own */
export function byApt(apart: readonly string[]): Way {
  return (wanted) => downloadByApt(wanted, apart);
}

async function downloadByApt({ name, version }: DebianPackage, apart: readonly string[]): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'debian-package-'));
  try {
    const options = ['--quiet', '--option', 'APT::Sandbox::User=root', ...apart];
    await run('apt-get', [...options, 'download', `${name}=${version}`], {
      cwd: folder,
      timeout: DOWNLOAD_TIMEOUT_MS,
    }).catch((error: Error & { code?: string | number; stderr?: string }) => {
      if (error.code === 'ENOENT') throw new Error('this machine has no apt');
      throw new Error(`apt: ${error.stderr?.trim().split('\n').at(-1) ?? error.message}`);
    });
    const [file] = await readdir(folder);
    if (file === undefined) throw new Error('apt downloaded nothing');
    return await readFile(join(folder, file));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function downloadFromSnapshot({ sha1 }: DebianPackage): Promise<Buffer> {
  const url = `https://snapshot.debian.org/file/${sha1}`;
  const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) }).catch(
    () => undefined,
  );
  if (response?.ok !== true)
    throw new Error(`${url} ${response ? `answers ${response.status}` : 'is out of reach'}`);
  return Buffer.from(await response.arrayBuffer());
}

async function readContents(path: string): Promise<FileTree> {
  const child = spawn('dpkg-deb', ['--fsys-tarfile', path], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ENOENT' ? new Error('dpkg-deb is absent: install dpkg') : error);
    });
    child.once('close', (code) => {
      if (code === 0) resolve();
      else void text(child.stderr).then((complaint) => reject(new Error(`dpkg-deb: ${complaint.trim()}`)));
    });
  });
  const [tree] = await Promise.all([readTar(child.stdout), ended]);
  return tree;
}

/** `/lib/x` becomes `/usr/lib/x`: packages of this release may still use the old paths. */
function mergeUsr(tree: FileTree): FileTree {
  const merged = new FileTree();
  for (const [path, entry] of tree.entries())
    merged.add(path.replace(/^\/(bin|sbin|lib|lib64)(?=\/|$)/, '/usr/$1'), entry);
  return merged;
}

function isPinned(bytes: Buffer, wanted: DebianPackage): boolean {
  return bytes.length === wanted.size && sha256(bytes) === wanted.sha256;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
