/** Which libraries a program needs, and whether an image holds them all. */
import { basename, dirname, normalize } from 'node:path';
import { type ElfFile, readElf } from './elf.ts';
import { FileTree, mergeTrees } from './file-tree.ts';

/** Debian's loader looks here without being told. */
function standardFolders(tree: FileTree): string[] {
  const triplets = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map((triplet) => `/usr/lib/${triplet}`);
  return [...triplets.filter((folder) => tree.get(folder) !== undefined), '/usr/lib'];
}

/**
 * The files at `roots`, everything they load, and the links by which that is found.
 *
 * @throws Error that names each library that is nowhere in the tree.
 */
export function closeOver(roots: readonly string[], tree: FileTree): FileTree {
  const kept = new FileTree();
  const missing: string[] = [];
  const pending = [...roots];
  const seen = new Set<string>();
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const real = tree.resolve(path);
    const file = tree.file(path);
    if (real === undefined || file === undefined) {
      missing.push(`${path} is not there`);
      continue;
    }
    const entry = tree.get(path);
    if (entry !== undefined) kept.add(path, entry);
    kept.add(real, file);
    const elf = readElf(file.content);
    if (elf === undefined) continue;
    for (const name of wanted(elf)) {
      const found = locate(name, real, elf, tree);
      if (found === undefined) missing.push(`${real} needs ${name}`);
      else pending.push(found);
    }
  }
  if (missing.length > 0) throw new Error(missing.sort().join('\n'));
  return kept;
}

/** What `roots` need and the base has not. @throws Error that names each library that is in neither. */
export function closeOverBase(roots: readonly string[], base: FileTree, packages: FileTree): FileTree {
  return closeOver(roots, mergeTrees([packages, base])).filter((path) => base.get(path) === undefined);
}

/** One line for each library that a program or library in the tree needs and that is absent, or too old for it. */
export function findUnresolved(tree: FileTree): string[] {
  return tree.entries().flatMap(([path, entry]) => {
    const elf = entry.type === 'file' ? readElf(entry.content) : undefined;
    if (elf === undefined) return [];
    return wanted(elf).flatMap((name) => {
      const file = tree.file(locate(name, path, elf, tree) ?? '');
      if (file === undefined) return [`${path} needs ${name}, which is not in the image`];
      const offered = readElf(file.content)?.ownVersions ?? [];
      return elf.wantedVersions
        .filter(({ library, version }) => library === name && !offered.includes(version))
        .map(({ version }) => `${path} needs ${version} of ${name}, which the image's does not have`);
    });
  });
}

function wanted(elf: ElfFile): readonly string[] {
  return elf.interpreter === undefined ? elf.needed : [elf.interpreter, ...elf.needed];
}

function locate(name: string, user: string, elf: ElfFile, tree: FileTree): string | undefined {
  if (name.startsWith('/')) return tree.file(name) && `${tree.resolve(dirname(name))}/${basename(name)}`;
  const own = elf.searchPaths.map((path) => path.replace(/\$\{?ORIGIN\}?/, dirname(user)));
  // Java's launcher has loaded the virtual machine before it loads a library that needs it.
  const loadedBefore = name === 'libjvm.so' ? [`${dirname(user)}/server`] : [];
  return [...own, ...standardFolders(tree), ...loadedBefore]
    .map((folder) => normalize(`${folder}/${name}`))
    .find((path) => tree.file(path) !== undefined);
}
