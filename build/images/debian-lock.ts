/**
 * `debian.lock.json`: which Debian packages the images are made of, to the byte.
 *
 *   npm run images -- --relock     takes what apt offers now; read the difference before it is committed
 *   npm run images -- --relock --architecture arm64     the same for another kind of machine
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { byApt, download, fileNameOf } from './debian-archive.ts';

const run = promisify(execFile);

const LOCK_FILE = join(import.meta.dirname, 'debian.lock.json');

/** The one release that all packages come from; libraries of two do not fit each other. */
export const SUITE = 'bookworm';

/** Debian's names of the machines that images are made for, by Node's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** What is fetched. What is taken out of each package is said where its layer is made. */
export const PACKAGES = {
  base: [
    'base-files',
    'ca-certificates',
    'gcc-12-base',
    'libc6',
    'libgcc-s1',
    'libstdc++6',
    'media-types',
    'netbase',
    'tzdata',
  ],
  tor: [
    'libcap2',
    'libevent-2.1-7',
    'libgcrypt20',
    'libgpg-error0',
    'liblz4-1',
    'liblzma5',
    'libseccomp2',
    'libssl3',
    'libsystemd0',
    'libzstd1',
    'tor',
    'zlib1g',
  ],
  java: ['openjdk-17-jre-headless', 'zlib1g'],
} as const;

export type PackageGroup = keyof typeof PACKAGES;

export type DebianPackage = {
  readonly name: string;
  readonly version: string;
  /** The package's own: `all` for what runs anywhere. */
  readonly architecture: string;
  /** Where apt found it: `bookworm`, or its updates or security suite. */
  readonly suite: string;
  readonly size: number;
  readonly sha256: string;
  /** By which snapshot.debian.org keeps files for ever; never relied on. */
  readonly sha1: string;
};

/** By machine, as Debian calls it. */
export type DebianLock = Readonly<Record<string, readonly DebianPackage[]>>;

export async function readDebianLock(path = LOCK_FILE): Promise<DebianLock> {
  return JSON.parse(await readFile(path, 'utf8')) as DebianLock;
}

/** @throws Error where images cannot be made for this kind of machine. */
export function debianArchitecture(): string {
  const architecture = process.platform === 'linux' ? ARCHITECTURES[process.arch] : undefined;
  if (architecture !== undefined) return architecture;
  throw new Error(`images are made on Linux, on x64 or arm64, not on ${process.platform} on ${process.arch}`);
}

/** Node's name of the machines that Debian calls so. */
export function nodeArchitecture(debian: string): string {
  const [found] = Object.entries(ARCHITECTURES).find(([, name]) => name === debian) ?? [];
  if (found === undefined) throw new Error(`images are not made for ${debian}`);
  return found;
}

/** @throws Error where the lock does not know one of them for this kind of machine. */
export function lockedPackages(lock: DebianLock, group: PackageGroup, architecture: string): DebianPackage[] {
  const locked = lock[architecture] ?? [];
  return PACKAGES[group].map((name) => {
    const found = locked.find((entry) => entry.name === name);
    if (found !== undefined) return found;
    throw new Error(
      `build/images/debian.lock.json has no ${name} for ${architecture}; ` +
        `on a Debian ${SUITE}: npm run images -- --relock --architecture ${architecture}`,
    );
  });
}

/** Writes the lock anew for one kind of machine from what apt offers; other machines' entries stay. */
export async function relock(architecture: string, log: (line: string) => void): Promise<void> {
  const packages: DebianPackage[] = [];
  await withAptFor(architecture, async (apart) => {
    const offered = await askApt([...new Set(Object.values(PACKAGES).flat())].sort(), apart);
    for (const unhashed of offered) {
      log(`${unhashed.name} ${unhashed.version} (${unhashed.suite})`);
      const bytes = await download(unhashed, [byApt(apart)]);
      packages.push({ ...unhashed, sha1: createHash('sha1').update(bytes).digest('hex') });
    }
  });
  const lock: DebianLock = { ...(await readDebianLock().catch(() => ({}))), [architecture]: packages };
  await writeFile(LOCK_FILE, `${JSON.stringify(lock, undefined, 2)}\n`);
}

/**
 * Gives the options by which apt speaks of another kind of machine: lists of its own, in a folder that goes away, and
 * nothing of what is installed here. None for this machine's own kind.
 */
async function withAptFor(
  architecture: string,
  use: (apart: readonly string[]) => Promise<void>,
): Promise<void> {
  if (architecture === debianArchitecture()) return use([]);
  const folder = await mkdtemp(join(tmpdir(), 'apt-'));
  try {
    await mkdir(join(folder, 'lists/partial'), { recursive: true });
    await mkdir(join(folder, 'cache/archives/partial'), { recursive: true });
    await writeFile(join(folder, 'status'), '');
    const apart = Object.entries({
      'APT::Architecture': architecture,
      'APT::Architectures': architecture,
      'APT::Sandbox::User': 'root',
      'Dir::State::lists': join(folder, 'lists'),
      'Dir::State::status': join(folder, 'status'),
      'Dir::Cache': join(folder, 'cache'),
    }).flatMap(([key, value]) => ['--option', `${key}=${value}`]);
    await run('apt-get', ['--quiet', ...apart, 'update']);
    await use(apart);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What apt would install now. Each question once for all names: apt takes a second to read its lists. */
async function askApt(names: readonly string[], apart: readonly string[]): Promise<DebianPackage[]> {
  const { stdout: uris } = await run('apt-get', [...apart, 'download', '--print-uris', ...names]);
  const { stdout: shown } = await run('apt-cache', [...apart, 'show', '--no-all-versions', ...names]);
  const { stdout: origins } = await run('apt-cache', [...apart, 'madison', ...names]);
  const paragraphs = shown.split(/\n\n+/).map((paragraph) => {
    const field = (key: string) => new RegExp(`^${key}: (.+)$`, 'm').exec(paragraph)?.[1] ?? '';
    return { name: field('Package'), version: field('Version'), architecture: field('Architecture') };
  });
  return names.map((name) => {
    const found = paragraphs.find((paragraph) => paragraph.name === name);
    const unhashed = found && { ...found, suite: suiteOf(found, origins), size: 0, sha256: '', sha1: '' };
    // 'http://deb.debian.org/debian/pool/…/tor_0.4.9_amd64.deb' tor_0.4.9_amd64.deb 2086456 SHA256:2a65…
    const line = uris.split('\n').find((row) => unhashed && row.includes(` ${fileNameOf(unhashed)} `));
    const [, size, sha256] = / (\d+) SHA256:([0-9a-f]{64})$/.exec(line ?? '') ?? [];
    if (unhashed === undefined || size === undefined || sha256 === undefined) {
      throw new Error(`apt does not offer ${name}; apt-get update first`);
    }
    if (!unhashed.suite.startsWith(SUITE)) {
      throw new Error(`apt offers ${name} of ${unhashed.suite}, not of ${SUITE}`);
    }
    return { ...unhashed, size: Number(size), sha256 };
  });
}

/** The suite by which a version comes: of two that have it, the one that apt asks first. */
function suiteOf({ name, version }: { name: string; version: string }, origins: string): string {
  // tor | 0.4.9.11-0+deb12u1 | http://deb.debian.org/debian bookworm/main amd64 Packages
  const rows = origins.split('\n').map((row) => row.split('|').map((cell) => cell.trim()));
  const row = rows.find(([rowName, rowVersion]) => rowName === name && rowVersion === version);
  return row?.[2]?.split(' ')[1]?.split('/')[0] ?? 'nowhere';
}
