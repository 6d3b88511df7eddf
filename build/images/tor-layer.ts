/** Debian's tor with just the libraries that it loads; its configuration comes from outside. */
import { componentOf, licencesIn, readPackages } from './base-layer.ts';
import { closeOver } from './closure.ts';
import { FileTree, mergeTrees } from './file-tree.ts';
import type { Layer } from './layer.ts';

export const TOR_PATH = '/usr/bin/tor';
/** Makes the keys of a directory authority; only a private network has one of its own. */
export const KEY_MAKER_PATH = '/usr/bin/tor-gencert';
export const TOR_CONFIG = '/etc/tor/torrc';
export const TOR_DEFAULTS = '/etc/tor/torrc-defaults';

/**
 * @param base libraries that are there already are not taken again
 * @param programs which of the package's
 */
export async function makeTorLayer(base: FileTree, programs: readonly string[]): Promise<Layer> {
  const packages = await readPackages('tor');
  const tree = takeClosure(programs, base, mergeTrees(packages.map(({ contents }) => contents)));
  for (const { contents } of packages) tree.addTree(licencesIn(contents));
  // Without a file of that name tor would read the defaults that it was built with, which name a user and a socket.
  tree.addFile(TOR_DEFAULTS, '');
  return { title: 'tor', tree, components: packages.map(({ locked }) => componentOf(locked)) };
}

/** What `roots` need and the base has not. @throws Error that names each library that is in neither. */
export function takeClosure(roots: readonly string[], base: FileTree, packages: FileTree): FileTree {
  const closed = closeOver(roots, mergeTrees([packages, base]));
  return new FileTree().addTree(closed.filter((path) => base.get(path) === undefined));
}
