import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { closeOver, findUnresolved } from '../../../../build/images/closure.ts';
import { readElf, stripSymbols } from '../../../../build/images/elf.ts';
import { FileTree } from '../../../../build/images/file-tree.ts';
import { makeLibrary } from '../../../support/elf-file.ts';

const LIB = '/usr/lib/x86_64-linux-gnu';

describe('the closure of a program', () => {
  test('holds what it needs, and what that needs, with the links between names', () => {
    const tree = new FileTree()
      .addFile('/usr/bin/tor', makeLibrary(['libevent.so.1']), 0o755)
      .addLink(`${LIB}/libevent.so.1`, 'libevent.so.1.2')
      .addFile(`${LIB}/libevent.so.1.2`, makeLibrary(['libc.so.6']))
      .addFile(`${LIB}/libc.so.6`, makeLibrary([]))
      .addFile(`${LIB}/libunused.so.1`, makeLibrary([]));

    const closed = closeOver(['/usr/bin/tor'], tree);

    const files = closed.entries().flatMap(([path, { type }]) => (type === 'folder' ? [] : [path]));
    expect(files).toEqual([
      '/usr/bin/tor',
      `${LIB}/libc.so.6`,
      `${LIB}/libevent.so.1`,
      `${LIB}/libevent.so.1.2`,
    ]);
    expect(findUnresolved(closed)).toEqual([]);
  });

  test('names each library that is nowhere', () => {
    const tree = new FileTree()
      .addFile('/usr/bin/tor', makeLibrary(['libone.so', 'libtwo.so']), 0o755)
      .addFile(`${LIB}/libtwo.so`, makeLibrary(['libthree.so']));

    expect(() => closeOver(['/usr/bin/tor'], tree)).toThrow(
      `/usr/bin/tor needs libone.so\n${LIB}/libtwo.so needs libthree.so`,
    );
  });

  test('looks in the folders that a library names itself', () => {
    const tree = new FileTree()
      .addFile('/opt/java/bin/java', makeLibrary(['libjli.so'], { searchPath: '$ORIGIN/../lib' }))
      .addFile('/opt/java/lib/libjli.so', makeLibrary([]));

    expect(closeOver(['/opt/java/bin/java'], tree).get('/opt/java/lib/libjli.so')).toBeDefined();
    expect(findUnresolved(tree)).toEqual([]);
  });

  test('ends where libraries need each other', () => {
    const tree = new FileTree()
      .addFile(`${LIB}/liba.so`, makeLibrary(['libb.so']))
      .addFile(`${LIB}/libb.so`, makeLibrary(['liba.so']));

    expect(closeOver([`${LIB}/liba.so`], tree).get(`${LIB}/libb.so`)).toBeDefined();
  });
});

describe('an image', () => {
  test('with a library whose own library is missing is found out', () => {
    const tree = new FileTree().addFile(`${LIB}/liba.so`, makeLibrary(['libgone.so.1']));

    expect(findUnresolved(tree)).toEqual([`${LIB}/liba.so needs libgone.so.1, which is not in the image`]);
  });

  test.runIf(process.platform === 'linux')(
    'whose C library is older than its programs want is found out',
    () => {
      const node = readElf(readFileSync(process.execPath));
      const tree = new FileTree().addFile('/nodejs/bin/node', readFileSync(process.execPath), 0o755);
      for (const name of node?.needed ?? []) tree.addFile(`${LIB}/${name}`, makeLibrary([]));

      expect(node?.wantedVersions).toContainEqual({ library: 'libc.so.6', version: 'GLIBC_2.28' });
      expect(findUnresolved(tree).join('\n')).toContain(
        "/nodejs/bin/node needs GLIBC_2.28 of libc.so.6, which the image's does not have",
      );
    },
  );

  test('may hold scripts and data, which need nothing', () => {
    expect(readElf(Buffer.from('#!/nodejs/bin/node\n'))).toBeUndefined();
    expect(readElf(Buffer.alloc(0))).toBeUndefined();
  });
});

describe('a binary without symbols', () => {
  test('has lost what lies behind the loaded part, and nothing of that part', () => {
    const bytes = makeLibrary(['libc.so.6'], { tail: 'symbols' });

    const stripped = stripSymbols(bytes);

    expect(stripped.length).toBe(bytes.length - 'symbols'.length);
    expect(readElf(stripped)).toEqual(readElf(bytes));
    expect(stripSymbols(stripped)).toEqual(stripped);
  });

  test.runIf(process.platform === 'linux')('of Node is smaller, and runs', () => {
    const folder = mkdtempSync(join(tmpdir(), 'stripped-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const original = readFileSync(process.execPath);
    const path = join(folder, 'node');
    const stripped = stripSymbols(original);
    writeFileSync(path, stripped, { mode: 0o755 });

    expect(stripped.length).toBeLessThan(original.length * 0.9);
    expect(execFileSync(path, ['--print', '6 * 7'], { encoding: 'utf8' })).toBe('42\n');
  });
});
