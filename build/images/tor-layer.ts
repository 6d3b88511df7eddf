/** Debian's tor with just the libraries that it loads; its configuration comes from outside. */
import { componentOf, licencesIn, readPackages } from './base-layer.ts';
import { closeOverBase } from './closure.ts';
import { type FileTree, mergeTrees } from './file-tree.ts';
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
  const tree = closeOverBase(programs, base, mergeTrees(packages.map(({ contents }) => contents)));
  for (const { contents } of packages) tree.addTree(licencesIn(contents));
  // Without a file of that name tor would read the defaults that it was built with, which name a user and a socket.
  tree.addFile(TOR_DEFAULTS, '');
  return { title: 'tor', tree, components: packages.map(({ locked }) => componentOf(locked)) };
}
