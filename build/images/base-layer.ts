/** What every image stands on: distroless's set of Debian files, made from Debian's packages, and `keeper`. */
import { readFile } from 'node:fs/promises';
import { buildKeeper } from '../keeper/build-keeper.ts';
import { readPackage } from './debian-archive.ts';
import {
  type DebianPackage,
  debianArchitecture,
  lockedPackages,
  type PackageGroup,
  readDebianLock,
} from './debian-lock.ts';
import { FileTree, NONROOT } from './file-tree.ts';
import type { Component, Layer } from './layer.ts';

/** Supervises and probes a service, where there is no shell to do it. */
export const KEEPER_PATH = '/usr/local/bin/keeper';
export const CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';

const PASSWD = `root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:${NONROOT.uid}:${NONROOT.gid}:nonroot:/home/nonroot:/sbin/nologin
`;
const GROUP = `root:x:0:
nobody:x:65534:
tty:x:5:
staff:x:50:
nonroot:x:${NONROOT.gid}:
`;
/** Debian's own would also ask systemd, which is not there. */
const NSSWITCH = `passwd: files
group: files
hosts: files dns
services: files
protocols: files
`;

/** By package, the paths that are taken; licences are taken from all. */
const TAKEN: Readonly<Record<string, RegExp>> = {
  'base-files': /^\/etc\/(debian_version|host\.conf)$|^\/usr\/share\/common-licenses\//,
  'ca-certificates': /^$/,
  'gcc-12-base': /^$/,
  // Not the character set converters, nor what only debuggers use.
  libc6:
    /^\/usr\/lib(64)?\/(\w+-linux-gnu\/)?(ld-linux\S*|lib(c|m|dl|pthread|rt|util|anl|resolv|mvec|nss_(dns|files)))\.so\.\d+$/,
  'libgcc-s1': /^\/usr\/lib\/.*\.so\.\d+$/,
  'libstdc++6': /^\/usr\/lib\/.*\.so\.[\d.]+$/,
  'media-types': /^\/etc\/mime\.types$/,
  netbase: /^\/etc\/(protocols|services)$/,
  tzdata: /^\/usr\/share\/zoneinfo\/(?!right\/|posix\/|localtime$)/,
};

export async function makeBaseLayer(): Promise<Layer> {
  const packages = await readPackages('base');
  const tree = new FileTree();
  for (const { locked, contents } of packages) {
    const taken = TAKEN[locked.name];
    if (taken === undefined) throw new Error(`what is taken of ${locked.name} is not said`);
    tree.addTree(contents.filter((path) => taken.test(path)));
    tree.addTree(licencesIn(contents));
  }
  const find = (name: string) => {
    const found = packages.find(({ locked }) => locked.name === name);
    if (found === undefined) throw new Error(`${name} is not in the base`);
    return found.contents;
  };
  tree
    .addLink('/lib', 'usr/lib')
    .addLink('/etc/os-release', '../usr/lib/os-release')
    .addFile('/usr/lib/os-release', osRelease(find('base-files')))
    .addFile(CA_BUNDLE, bundleCertificates(find('ca-certificates')))
    .addFile('/etc/passwd', PASSWD)
    .addFile('/etc/group', GROUP)
    .addFile('/etc/nsswitch.conf', NSSWITCH)
    .addFolder('/home/nonroot')
    .addFolder('/root', 0o700)
    .addFolder('/run')
    .addFolder('/tmp', 0o1777)
    .addLink('/var/run', '../run');
  // 64-bit loaders of x86 are asked for under this name; arm64's is in /lib.
  if (tree.get('/usr/lib64') !== undefined) tree.addLink('/lib64', 'usr/lib64');
  tree.addFile(KEEPER_PATH, await readFile(await buildKeeper()), 0o755);
  return { title: 'Debian files', tree, components: packages.map(({ locked }) => componentOf(locked)) };
}

/** The pinned packages of a group with their contents. */
export async function readPackages(
  group: PackageGroup,
): Promise<{ locked: DebianPackage; contents: FileTree }[]> {
  const locked = lockedPackages(await readDebianLock(), group, debianArchitecture());
  return await Promise.all(
    locked.map(async (entry) => ({ locked: entry, contents: await readPackage(entry) })),
  );
}

/** Debian's policy wants them wherever a package goes. */
export function licencesIn(contents: FileTree): FileTree {
  return contents.filter(
    (path, entry) =>
      /^\/usr\/share\/doc\/[^/]+\/copyright$/.test(path) ||
      (/^\/usr\/share\/doc\/[^/]+$/.test(path) && entry.type === 'link'),
  );
}

export function componentOf({ name, version, architecture, sha256 }: DebianPackage): Component {
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { name, version, purl: `${purl}&distro=debian-12`, sha256 };
}

function osRelease(baseFiles: FileTree): string {
  const original = baseFiles.file('/usr/lib/os-release')?.content.toString() ?? '';
  const kept = original
    .split('\n')
    .filter((line) => /^(NAME|VERSION|VERSION_ID|VERSION_CODENAME|ID)=/.test(line));
  return ['PRETTY_NAME="Distroless"', ...kept, ''].join('\n');
}

/** One file for all certificates that Mozilla trusts, as update-ca-certificates would write it. */
function bundleCertificates(contents: FileTree): string {
  const certificates = contents
    .entries()
    .filter(([path]) => path.startsWith('/usr/share/ca-certificates/') && path.endsWith('.crt'))
    .map(([, entry]) => (entry.type === 'file' ? entry.content.toString().trim() : ''));
  if (certificates.length < 100)
    throw new Error(`only ${certificates.length} certificates in ca-certificates`);
  return `${certificates.join('\n')}\n`;
}
