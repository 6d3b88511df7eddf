/**
 * Gets AWS's Runtime Interface Emulator (RIE), pinned by checksum.
 *
 *   node build/rie.ts        prints the path of a checked binary, fetching it when the cache has none
 *
 * AWS publishes the same program in two places: inside the SAM CLI wheel on the Python index, and as a file
 * of its GitHub releases. The wheel comes first, because a package index is what build machines behind a
 * mirror can reach.
 */
import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { inflateRawSync } from 'node:zlib';

const run = promisify(execFile);

export type Rie = {
  /** Absolute path of an executable RIE. */
  readonly path: string;
  /** Where it comes from, for a person to read: `AWS_LAMBDA_RIE`, or a package and its version. */
  readonly source: string;
};

export type EnsureRieOptions = {
  /** Folder that keeps the binary between runs. Default: `.cache/rie` of this repository. */
  readonly cacheDir?: string;
  /** Takes one line a step that can last. */
  readonly log?: (line: string) => void;
  /** Default: `process.env`. Only `AWS_LAMBDA_RIE` is read from it (and PATH, by pip). */
  readonly env?: NodeJS.ProcessEnv;
};

type Architecture = 'x86_64' | 'arm64';

type Origin = {
  readonly source: string;
  readonly sha256: Record<Architecture, string>;
  /** Returns the bytes as they came; the caller checks them. */
  readonly fetch: (architecture: Architecture, env: NodeJS.ProcessEnv) => Promise<Buffer>;
};

const CACHE_DIR = resolve(import.meta.dirname, '../.cache/rie');

const WHEEL = {
  requirement: 'aws-sam-cli==1.170.0',
  sha256: '24ebaf5ecba38dc1758089968cb89ab61e124b84e92a344fc7a2771a47f4d0bf',
};

const RELEASE_URL = 'https://github.com/aws/aws-lambda-runtime-interface-emulator/releases/download/v1.36';

const ORIGINS: readonly Origin[] = [
  {
    source: `aws-sam-cli 1.170.0`,
    sha256: {
      x86_64: '6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5',
      arm64: 'ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21',
    },
    fetch: fetchFromWheel,
  },
  {
    // Has not been run on a machine that reaches GitHub: the checksums are those that other projects pin for
    // this release. Were one wrong, the download would be refused and nothing started.
    source: `aws-lambda-runtime-interface-emulator 1.36`,
    sha256: {
      x86_64: 'ba57f2683260127135ad5ba9bafea141f90492143cbaeb9312cde6dae8d1c08e',
      arm64: '7826415f278663274e279085ff96d7c9da210a30213fa72279e56e59f028ce76',
    },
    fetch: fetchFromRelease,
  },
];

/**
 * Answers a runnable RIE: the file that `AWS_LAMBDA_RIE` names, used as given; else the cached binary if its
 * sha256 is the pinned one; else a fresh one, checked before it is kept. Call it before *every* start: on a
 * warm cache it costs one hash of 9 MB.
 *
 * @throws Error with one line that says what to install or to set.
 */
export async function ensureRie(options: EnsureRieOptions = {}): Promise<Rie> {
  const env = options.env ?? process.env;
  const log = options.log ?? (() => {});
  const given = env.AWS_LAMBDA_RIE;
  if (given !== undefined && given !== '') {
    const path = resolve(given);
    await access(path, constants.X_OK).catch((cause: unknown) => {
      throw new Error(`AWS_LAMBDA_RIE=${given} is not an executable file; correct it or unset it`, { cause });
    });
    return { path, source: 'AWS_LAMBDA_RIE' };
  }

  const architecture = thisArchitecture();
  const cacheDir = options.cacheDir ?? CACHE_DIR;
  const pathOf = (origin: Origin) => pathIn(cacheDir, origin, architecture);

  for (const origin of ORIGINS) {
    const cached = await readFile(pathOf(origin)).catch(() => undefined);
    if (cached === undefined) continue;
    if (sha256(cached) === origin.sha256[architecture])
      return { path: pathOf(origin), source: origin.source };
    log(`${pathOf(origin)} does not have the pinned checksum; it is deleted and fetched again`);
    await rm(pathOf(origin), { force: true });
  }

  const failures: string[] = [];
  for (const origin of ORIGINS) {
    log(`fetching the Lambda runtime interface emulator from ${origin.source}`);
    try {
      const binary = await origin.fetch(architecture, env);
      assertChecksum(`the emulator of ${origin.source}`, binary, origin.sha256[architecture]);
      await keep(pathOf(origin), binary);
      return { path: pathOf(origin), source: origin.source };
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(
    `no Lambda runtime interface emulator (${failures.join('; ')}): ` +
      'install Python 3 with pip (Debian: apt-get install python3-pip), or set AWS_LAMBDA_RIE to the path of one',
  );
}

/** Whether a start needs neither pip nor the network for RIE. `ensureRie` still checks what is there. */
export async function isRieCached(cacheDir = CACHE_DIR): Promise<boolean> {
  const architecture = knownArchitecture();
  if (architecture === undefined) return false;
  const found = ORIGINS.map((origin) => access(pathIn(cacheDir, origin, architecture), constants.X_OK));
  return (await Promise.allSettled(found)).some(({ status }) => status === 'fulfilled');
}

function pathIn(cacheDir: string, origin: Origin, architecture: Architecture): string {
  return join(cacheDir, `aws-lambda-rie-${architecture}-${origin.sha256[architecture].slice(0, 12)}`);
}

function knownArchitecture(): Architecture | undefined {
  if (process.platform === 'linux' && process.arch === 'x64') return 'x86_64';
  if (process.platform === 'linux' && process.arch === 'arm64') return 'arm64';
  return undefined;
}

function thisArchitecture(): Architecture {
  const architecture = knownArchitecture();
  if (architecture !== undefined) return architecture;
  throw new Error(
    `AWS builds its runtime interface emulator for Linux on x86_64 and arm64, not for ${process.platform} ` +
      `on ${process.arch}; use a Linux machine, or set AWS_LAMBDA_RIE to the path of one`,
  );
}

async function fetchFromWheel(architecture: Architecture, env: NodeJS.ProcessEnv): Promise<Buffer> {
  const pip = await findPip(env);
  const folder = await mkdtemp(join(tmpdir(), 'rie-wheel-'));
  try {
    // A wheel is only unpacked; a source distribution would run its own code already while being downloaded.
    const flags = ['--no-deps', '--only-binary=:all:', '--ignore-requires-python', '--quiet'];
    await run(pip.command, [...pip.args, 'download', ...flags, '--dest', folder, WHEEL.requirement], {
      env,
      timeout: 300_000,
    }).catch((error: Error & { stderr?: string }) => {
      throw new Error(`pip download ${WHEEL.requirement} failed: ${lastLine(error.stderr) ?? error.message}`);
    });
    const name = (await readdir(folder)).find((file) => file.endsWith('.whl'));
    if (name === undefined) throw new Error(`pip download ${WHEEL.requirement} left no wheel`);
    const wheel = await readFile(join(folder, name));
    assertChecksum(name, wheel, WHEEL.sha256);
    return readZipEntry(wheel, `samcli/local/rapid/aws-lambda-rie-${architecture}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function fetchFromRelease(architecture: Architecture): Promise<Buffer> {
  const url = `${RELEASE_URL}/aws-lambda-rie-${architecture}`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(120_000) });
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    const reason = error instanceof Error ? lastLine(String(error.cause ?? error.message)) : String(error);
    throw new Error(`${url} cannot be downloaded: ${reason}`, { cause: error });
  }
}

async function findPip(env: NodeJS.ProcessEnv): Promise<{ command: string; args: string[] }> {
  for (const pip of [
    { command: 'python3', args: ['-m', 'pip'] },
    { command: 'pip3', args: [] },
    { command: 'pip', args: [] },
  ]) {
    const works = await run(pip.command, [...pip.args, '--version'], { env, timeout: 60_000 }).then(
      () => true,
      () => false,
    );
    if (works) return pip;
  }
  throw new Error('pip is absent');
}

/**
 * One file out of a zip archive, found by the central directory (the list at the archive's end that APPNOTE.TXT
 * sections 4.3.12 and 4.3.16 describe). Enough for a wheel whose checksum is known: no ZIP64, no encryption.
 */
function readZipEntry(archive: Buffer, name: string): Buffer {
  const end = archive.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end < 0) throw new Error('the wheel is not a zip archive');
  let at = archive.readUInt32LE(end + 16);
  for (let entries = archive.readUInt16LE(end + 10); entries > 0; entries -= 1) {
    const nameLength = archive.readUInt16LE(at + 28);
    const nextEntry = at + 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
    if (archive.toString('utf8', at + 46, at + 46 + nameLength) === name) {
      const isDeflated = archive.readUInt16LE(at + 10) === 8;
      const local = archive.readUInt32LE(at + 42);
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const stored = archive.subarray(start, start + archive.readUInt32LE(at + 20));
      return isDeflated ? inflateRawSync(stored) : Buffer.from(stored);
    }
    at = nextEntry;
  }
  throw new Error(`the wheel holds no ${name}`);
}

/** Writes beside and renames, so that two builds at once, or one that is interrupted, leave a whole file. */
async function keep(path: string, binary: Buffer): Promise<void> {
  await mkdir(resolve(path, '..'), { recursive: true });
  const beside = `${path}.${randomUUID()}`;
  await writeFile(beside, binary);
  await chmod(beside, 0o755);
  await rename(beside, path);
}

function assertChecksum(what: string, bytes: Buffer, expected: string): void {
  const actual = sha256(bytes);
  if (actual !== expected) throw new Error(`${what} has sha256 ${actual}, pinned is ${expected}`);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function lastLine(text: string | undefined): string | undefined {
  return text?.trim().split('\n').at(-1)?.trim() || undefined;
}

if (import.meta.main) {
  try {
    const rie = await ensureRie({ log: (line) => console.error(line) });
    console.log(rie.path);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
