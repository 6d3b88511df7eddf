/** Between tar archives and {@link FileTree}s. The format itself is the `tar` package's matter. */
import type { Readable } from 'node:stream';
import { Header, Parser, type ReadEntry } from 'tar';
import { type Entry, FileTree } from './file-tree.ts';

const BLOCK_BYTES = 512;

/**
 * Reads an archive into memory, everything as root's. Set-user-id bits are dropped: nothing in an image may carry
 * them.
 *
 * @throws Error for an archive that is cut or damaged, or holds what is neither file, folder nor link.
 */
export function readTar(archive: Readable): Promise<FileTree> {
  return new Promise((resolve, reject) => {
    const tree = new FileTree();
    const contents: Promise<void>[] = [];
    const parser = new Parser({ strict: true });
    parser.on('entry', (entry: ReadEntry) => {
      contents.push(addEntry(tree, entry));
    });
    parser.once('error', reject);
    parser.once('end', () => Promise.all(contents).then(() => resolve(tree), reject));
    archive.once('error', reject);
    archive.pipe(parser as unknown as NodeJS.WritableStream);
  });
}

async function addEntry(tree: FileTree, entry: ReadEntry): Promise<void> {
  const path = `/${entry.path.replace(/^\.?\/+/, '').replace(/\/+$/, '')}`;
  const mode = (entry.mode ?? 0o644) & 0o1777;
  const content = await entry.concat();
  if (path === '/' || path === '/.') return;
  switch (entry.type) {
    case 'Directory':
      tree.addFolder(path, mode);
      return;
    case 'SymbolicLink':
      tree.addLink(path, entry.linkpath ?? '');
      return;
    case 'Link': {
      const target = tree.get(`/${(entry.linkpath ?? '').replace(/^\.?\/+/, '')}`);
      if (target === undefined)
        throw new Error(`${path} is a link to what the archive does not hold before it`);
      tree.add(path, target);
      return;
    }
    case 'File':
    case 'OldFile':
      tree.addFile(path, content, mode);
      return;
    default:
      throw new Error(`${path} is a ${entry.type}; only files, folders and links are taken`);
  }
}

/** The same bytes for the same tree, always: sorted, of 1970, without names of users. */
export function* tarChunks(tree: FileTree): Generator<Buffer> {
  for (const [path, entry] of tree.entries()) {
    const content = entry.type === 'file' ? entry.content : Buffer.alloc(0);
    yield headerOf(path, entry, content.length);
    yield content;
    yield padding(content.length);
  }
  yield Buffer.alloc(2 * BLOCK_BYTES);
}

export function writeTar(tree: FileTree): Buffer {
  return Buffer.concat([...tarChunks(tree)]);
}

const TYPES = { file: 'File', folder: 'Directory', link: 'SymbolicLink' } as const;

function headerOf(path: string, entry: Entry, size: number): Buffer {
  const header = new Header({
    path: `${path.slice(1)}${entry.type === 'folder' ? '/' : ''}`,
    type: TYPES[entry.type],
    mode: entry.type === 'link' ? 0o777 : entry.mode,
    uid: entry.owner.uid,
    gid: entry.owner.gid,
    size,
    mtime: new Date(0),
    uname: '',
    gname: '',
    ...(entry.type === 'link' && { linkpath: entry.target }),
  });
  const block = Buffer.alloc(BLOCK_BYTES);
  // Longer names need a header of another form, which nothing in these images calls for.
  if (header.encode(block)) throw new Error(`${path} does not fit into a plain tar header`);
  return block;
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
}
