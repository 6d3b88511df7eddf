import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fileNameOf, readPackage } from '../../../../build/images/debian-archive.ts';
import {
  type DebianPackage,
  lockedPackages,
  PACKAGES,
  type PackageGroup,
  readDebianLock,
  SUITE,
} from '../../../../build/images/debian-lock.ts';

describe('the lock', () => {
  test('pins every package of every layer by version, size and checksum, from one release', async () => {
    const lock = await readDebianLock();
    expect(Object.keys(lock)).toContain('amd64');

    for (const architecture of Object.keys(lock)) {
      for (const group of Object.keys(PACKAGES) as PackageGroup[]) {
        for (const entry of lockedPackages(lock, group, architecture)) {
          expect(['all', architecture]).toContain(entry.architecture);
          expect(entry.suite).toMatch(new RegExp(`^${SUITE}(-updates|-security)?$`));
          expect(entry.sha256).toMatch(/^[0-9a-f]{64}$/);
          expect(entry.sha1).toMatch(/^[0-9a-f]{40}$/);
          expect(entry.size).toBeGreaterThan(1_000);
        }
      }
    }
  });

  test('that lacks a package says which, and what to run', () => {
    expect(() => lockedPackages({}, 'tor', 'arm64')).toThrow(
      'build/images/debian.lock.json has no libcap2 for arm64; on a Debian bookworm: npm run images -- --relock --architecture arm64',
    );
  });
});

describe.runIf(existsSync('/usr/bin/dpkg-deb'))('a package', () => {
  let folder: string;
  let pinned: DebianPackage;
  let bytes: Buffer;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'debian-test-'));
    const root = join(folder, 'root');
    mkdirSync(join(root, 'DEBIAN'), { recursive: true });
    mkdirSync(join(root, 'lib/x86_64-linux-gnu'), { recursive: true });
    const control = ['Package: small', 'Version: 1:2-3', 'Architecture: all', 'Maintainer: a <a@b>'];
    writeFileSync(join(root, 'DEBIAN/control'), `${control.join('\n')}\nDescription: small\n`);
    writeFileSync(join(root, 'lib/x86_64-linux-gnu/libsmall.so.1'), 'library');
    const file = join(folder, 'small.deb');
    execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '--build', root, file]);
    bytes = readFileSync(file);
    pinned = {
      name: 'small',
      version: '1:2-3',
      architecture: 'all',
      suite: SUITE,
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      sha1: '',
    };
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('is read with the folders of a merged /usr', async () => {
    const tree = await readPackage(pinned, { cacheDir: folder, ways: [async () => bytes] });

    expect(tree.file('/usr/lib/x86_64-linux-gnu/libsmall.so.1')?.content.toString()).toBe('library');
    expect(tree.get('/lib')).toBeUndefined();
  });

  test('is fetched once, then kept', async () => {
    let fetched = 0;
    const ways = [
      async () => {
        fetched += 1;
        return bytes;
      },
    ];

    await readPackage(pinned, { cacheDir: folder, ways });
    await readPackage(pinned, { cacheDir: folder, ways });

    expect(fetched).toBe(1);
    expect(existsSync(join(folder, 'small_1%3a2-3_all.deb'))).toBe(true);
  });

  test('that was changed in the cache is fetched again', async () => {
    writeFileSync(join(folder, fileNameOf(pinned)), 'something else');

    const tree = await readPackage(pinned, { cacheDir: folder, ways: [async () => bytes] });

    expect(tree.file('/usr/lib/x86_64-linux-gnu/libsmall.so.1')).toBeDefined();
  });

  test('comes by the second way where the first has it no longer', async () => {
    const gone = async () => Promise.reject(new Error('Version 1:2-3 was not found'));

    const tree = await readPackage(pinned, { cacheDir: folder, ways: [gone, async () => bytes] });

    expect(tree.entries().length).toBeGreaterThan(0);
  });

  test('that is not the pinned one is refused, and not kept', async () => {
    const forged = Buffer.concat([bytes.subarray(0, -1), Buffer.from('x')]);

    const reading = readPackage(pinned, { cacheDir: folder, ways: [async () => forged] });

    await expect(reading).rejects.toThrow('it is not the pinned file');
    expect(existsSync(join(folder, fileNameOf(pinned)))).toBe(false);
  });
});
