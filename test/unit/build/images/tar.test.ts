import { Readable } from 'node:stream';
import { Header } from 'tar';
import { expect, test } from 'vitest';
import { FileTree, NONROOT } from '../../../../build/images/file-tree.ts';
import { readTar, writeTar } from '../../../../build/images/tar.ts';

test('what was written is read back: contents, modes and links', async () => {
  const tree = new FileTree()
    .addFile('/usr/bin/tor', 'program', 0o755)
    .addFile('/etc/empty', '')
    .addLink('/lib', 'usr/lib')
    .addFolder('/tmp', 0o1777);

  const read = await readTar(Readable.from(writeTar(tree)));

  expect(read.entries()).toEqual(tree.entries());
});

test('owners are numbers, and no name or time of the building machine is in the archive', () => {
  const archive = writeTar(new FileTree().addFolder('/data', 0o700, NONROOT));
  const header = new Header(archive, 0);

  expect(header).toMatchObject({ path: 'data/', uid: 65532, gid: 65532, uname: '', gname: '' });
  expect(header.mtime?.getTime()).toBe(0);
});

test('set-user-id bits do not survive', async () => {
  const read = await readTar(Readable.from(archiveOf({ path: 'usr/bin/su', type: 'File', mode: 0o4755 })));

  expect(read.get('/usr/bin/su')).toMatchObject({ mode: 0o755 });
});

test('an entry that leads out of the archive is refused', async () => {
  const archive = archiveOf({ path: 'usr/../../etc/passwd', type: 'File' });

  await expect(readTar(Readable.from(archive))).rejects.toThrow('not a plain absolute path');
});

test('a device node is refused', async () => {
  const archive = archiveOf({ path: 'dev/sda', type: 'BlockDevice' });

  await expect(readTar(Readable.from(archive))).rejects.toThrow('dev/sda is a BlockDevice');
});

test('an archive that ends in the middle of a file is refused', async () => {
  const archive = writeTar(new FileTree().addFile('/a', Buffer.alloc(2_000)));

  await expect(readTar(Readable.from(archive.subarray(0, 1_024)))).rejects.toThrow();
});

function archiveOf(data: ConstructorParameters<typeof Header>[0] & object): Buffer {
  const header = Buffer.alloc(512);
  new Header({ mode: 0o644, size: 0, uid: 0, gid: 0, mtime: new Date(0), ...data } as Header).encode(header);
  return Buffer.concat([header, Buffer.alloc(1_024)]);
}
