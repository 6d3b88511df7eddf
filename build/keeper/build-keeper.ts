/**
 * Compiles keeper, the first process and the health probe of every container of the planes.
 *
 *   node build/keeper/build-keeper.ts        prints the path of the program, compiling it when the cache has none
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const SOURCES_DIR = import.meta.dirname;
const CACHE_DIR = resolve(import.meta.dirname, '../../.cache/keeper');

const FLAGS = [
  ...['-std=c11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror'],
  // Some compilers define it by themselves, and would warn of a second definition.
  ...['-fstack-protector-strong', '-U_FORTIFY_SOURCE', '-D_FORTIFY_SOURCE=2'],
];
/** Static: an image need not hold a C library. No build id, no symbols: the same bytes from each build. */
const RELEASE_FLAGS = [...FLAGS, '-static', '-s', '-Wl,--build-id=none'];
const SANITIZED_FLAGS = [...FLAGS, '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

export type BuildKeeperOptions = {
  /** Folder that keeps the programs between runs. Default: `.cache/keeper` of this repository. */
  readonly cacheDir?: string;
  /** Default: `cc`. */
  readonly compiler?: string;
  /** For tests: a program that ends at the first access out of bounds. It needs the machine's C library. */
  readonly sanitized?: boolean;
};

/**
 * Answers the path of the program for this machine's architecture, compiled once for each state of its sources and
 * each compiler.
 *
 * @throws Error with one line that names what to install, or with what the compiler says.
 */
export async function buildKeeper(options: BuildKeeperOptions = {}): Promise<string> {
  const compiler = options.compiler ?? 'cc';
  const flags = options.sanitized === true ? SANITIZED_FLAGS : RELEASE_FLAGS;
  const version = await versionOf(compiler);
  const files = (await readdir(SOURCES_DIR)).filter((file) => /\.[ch]$/.test(file)).sort();
  const hash = createHash('sha256').update(JSON.stringify([version, flags]));
  for (const file of files) hash.update(`\n${file}\n`).update(await readFile(join(SOURCES_DIR, file)));

  const folder = join(options.cacheDir ?? CACHE_DIR, hash.digest('hex').slice(0, 16));
  const program = join(folder, 'keeper');
  if (await exists(program)) return program;

  // Compiled beside and renamed, so that two builds at once, or one that is interrupted, leave a whole program.
  await mkdir(folder, { recursive: true });
  const beside = await mkdtemp(join(folder, 'build-'));
  try {
    const sources = files.filter((file) => file.endsWith('.c'));
    await run(compiler, [...flags, '-o', join(beside, 'keeper'), ...sources], { cwd: SOURCES_DIR }).catch(
      (error: Error & { stderr?: string }) => {
        throw new Error(`keeper does not compile: ${error.stderr?.trim() || error.message}`, {
          cause: error,
        });
      },
    );
    await rename(join(beside, 'keeper'), program);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return program;
}

async function versionOf(compiler: string): Promise<string> {
  try {
    const { stdout } = await run(compiler, ['--version']);
    return `${stdout} ${process.arch}`;
  } catch (cause) {
    throw new Error(`no C compiler ${compiler}: install one (Debian: apt-get install gcc libc6-dev)`, {
      cause,
    });
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

if (import.meta.main) {
  try {
    console.log(await buildKeeper());
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
