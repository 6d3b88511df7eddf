/** What no image may hold, and what each must: checked at every build. */
import { findUnresolved } from './closure.ts';
import { type Entry, type FileTree, NONROOT } from './file-tree.ts';

const FORBIDDEN: readonly [RegExp, string][] = [
  [/\.map$/, 'is a source map'],
  [/\.(ts|tsx|c|cc|h)$/, 'is a source'],
  [/\/(ba|da|a|z|k|c|tc|fi)?sh$|\/busybox$/, 'is a shell'],
  [/\/(apt|apt-get|dpkg(-\w+)?|npm|npx|corepack|yarn|pnpm|pip3?|gem)$/, 'is a package manager'],
  [/\/(perl|python[\d.]*|ruby|gdb|strace|curl|wget|nc|ssh)$/, 'is a tool for whoever breaks in'],
  [/\/(tests?|__tests__|node_modules|\.git|\.cache)(\/|$)|\.test\.\w+$/, 'is for development'],
  [
    /\/(tron_private_key|\w+_secret|\w+_password|\w*encryption_key|\w+_api_key|mongo_keyfile|id_\w+|\.env|\.npmrc)$|\.(pem|key|p12)$/,
    'bears the name of a secret',
  ],
  [/^\/(usr\/)?s?bin\/(?!tor(-gencert)?$)/, 'is a program that is not asked for'],
];

/** One line for each fault; none for an image that may be shipped. */
export function checkImage(tree: FileTree, dataFolders: readonly string[]): string[] {
  const faults = tree
    .entries()
    .flatMap(([path, entry]) => [
      ...FORBIDDEN.filter(([pattern]) => pattern.test(path)).map(([, what]) => `${path} ${what}`),
      ...checkRights(path, entry, dataFolders),
      ...checkLink(path, entry, tree),
    ]);
  return [...faults, ...findUnresolved(tree)];
}

/** The folders at the top, by which an image that has grown is seen at once. */
export function topFolders(tree: FileTree): string[] {
  return tree.entries().flatMap(([path]) => (path.lastIndexOf('/') === 0 ? [path] : []));
}

function checkRights(path: string, entry: Entry, dataFolders: readonly string[]): string[] {
  if (path === '/tmp' || entry.type === 'link') return [];
  const isData = dataFolders.includes(path);
  const expected = isData ? NONROOT : { uid: 0, gid: 0 };
  const faults: string[] = [];
  if (entry.owner.uid !== expected.uid || entry.owner.gid !== expected.gid) {
    faults.push(`${path} belongs to ${entry.owner.uid}:${entry.owner.gid}`);
  }
  if ((entry.mode & 0o022) !== 0) faults.push(`${path} can be written by others (${entry.mode.toString(8)})`);
  if ((entry.mode & 0o7000) !== 0) faults.push(`${path} has the mode ${entry.mode.toString(8)}`);
  return faults;
}

function checkLink(path: string, entry: Entry, tree: FileTree): string[] {
  if (entry.type !== 'link' || tree.resolve(path) !== undefined) return [];
  return [`${path} leads to ${entry.target}, which is not there`];
}
