/** The files of a layer, held in memory, with every attribute that ends up in the archive said outright. */

/** Nothing in an image belongs to anyone but root, save the folders that a service writes to. */
export type Owner = { readonly uid: number; readonly gid: number };

export const ROOT: Owner = { uid: 0, gid: 0 };

/** Distroless's `nonroot`, as which every container runs. */
export const NONROOT: Owner = { uid: 65532, gid: 65532 };

export type FileEntry = {
  readonly type: 'file';
  readonly mode: number;
  readonly owner: Owner;
  readonly content: Buffer;
};
export type FolderEntry = { readonly type: 'folder'; readonly mode: number; readonly owner: Owner };
export type LinkEntry = { readonly type: 'link'; readonly owner: Owner; readonly target: string };
export type Entry = FileEntry | FolderEntry | LinkEntry;

/**
 * Paths are absolute, as they are in the image. Folders on the way to an entry are made with it, as root's and 0755;
 * what is added later under the same path takes its place.
 */
export class FileTree {
  readonly #entries = new Map<string, Entry>();

  /** Sorted by path, a folder before what is in it. */
  entries(): [string, Entry][] {
    return [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  get(path: string): Entry | undefined {
    return this.#entries.get(path);
  }

  /** @param content text is written as UTF-8. */
  addFile(path: string, content: Buffer | string, mode = 0o644): this {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    return this.add(path, { type: 'file', mode, owner: ROOT, content: bytes });
  }

  addFolder(path: string, mode = 0o755, owner: Owner = ROOT): this {
    return this.add(path, { type: 'folder', mode, owner });
  }

  addLink(path: string, target: string): this {
    return this.add(path, { type: 'link', owner: ROOT, target });
  }

  addTree(other: FileTree): this {
    for (const [path, entry] of other.entries()) this.add(path, entry);
    return this;
  }

  add(path: string, entry: Entry): this {
    assertPlain(path);
    const parent = path.slice(0, path.lastIndexOf('/'));
    if (parent !== '') {
      const above = this.#entries.get(parent);
      if (above === undefined) this.addFolder(parent);
      else if (above.type !== 'folder') throw new Error(`${path} lies under ${parent}, which is no folder`);
    }
    this.#entries.set(path, entry);
    return this;
  }

  /** Only what `keeps` says yes to, and the folders on the way. */
  filter(keeps: (path: string, entry: Entry) => boolean): FileTree {
    const kept = new FileTree();
    for (const [path, entry] of this.#entries) if (keeps(path, entry)) kept.add(path, entry);
    return kept;
  }

  /** The path behind every link on the way; undefined where one leads nowhere. */
  resolve(path: string): string | undefined {
    let at = '';
    const rest = path.split('/').filter((part) => part !== '');
    for (let steps = 0; rest.length > 0; steps += 1) {
      if (steps > 100) return undefined;
      const part = rest.shift();
      if (part === undefined || part === '.') continue;
      if (part === '..') {
        at = at.slice(0, at.lastIndexOf('/'));
        continue;
      }
      const entry = this.#entries.get(`${at}/${part}`);
      if (entry === undefined) return undefined;
      if (entry.type === 'link') {
        if (entry.target.startsWith('/')) at = '';
        rest.unshift(...entry.target.split('/').filter((step) => step !== ''));
      } else at = `${at}/${part}`;
    }
    return at === '' ? '/' : at;
  }

  /** The file at a path, behind links. */
  file(path: string): FileEntry | undefined {
    const entry = this.#entries.get(this.resolve(path) ?? '');
    return entry?.type === 'file' ? entry : undefined;
  }
}

/** The layers as a container sees them, one over the other. */
export function mergeTrees(trees: readonly FileTree[]): FileTree {
  const merged = new FileTree();
  for (const tree of trees) merged.addTree(tree);
  return merged;
}

function assertPlain(path: string): void {
  const isPlain = path.startsWith('/') && path.split('/').every((part, index) => index === 0 || isName(part));
  if (!isPlain) throw new Error(`not a plain absolute path: ${path}`);
}

function isName(part: string): boolean {
  return part !== '' && part !== '.' && part !== '..' && !part.includes('\0');
}
