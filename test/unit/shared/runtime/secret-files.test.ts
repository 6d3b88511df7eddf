import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { diskFiles, explainReadFailure } from '../../../../shared/runtime/secret-files.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secret-files-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(text: string, mode: number): string {
  const path = join(folder, 'file');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

describe('a file', () => {
  it.each([
    [0o600, false],
    [0o640, false],
    [0o644, true],
  ])('of mode %o is read, and everybody may read it: %s', (mode, worldReadable) => {
    expect(diskFiles.read(write('text\n', mode))).toEqual({ text: 'text\n', worldReadable });
  });

  it('that is not there is null, also where its folder is none', () => {
    expect(diskFiles.read(join(folder, 'none'))).toBeNull();
    expect(diskFiles.read(join(write('', 0o600), 'none'))).toBeNull();
  });

  it('that is a folder is refused', () => {
    expect(() => diskFiles.read(folder)).toThrow('it is not a regular file');
  });

  it('that is far too large is refused before it is read', () => {
    expect(() => diskFiles.read(write('x'.repeat(65_537), 0o600))).toThrow('it is larger than 65536 bytes');
  });
});

describe('why a file could not be read', () => {
  it.each<[unknown, string]>([
    [Object.assign(new Error('EACCES: …'), { code: 'EACCES' }), 'this process may not read it'],
    [Object.assign(new Error('EIO: …'), { code: 'EIO' }), 'reading it failed with EIO'],
    [new Error('it is not a regular file'), 'it is not a regular file'],
    ['thrown', 'reading it failed'],
  ])('is told in plain words (case %#)', (error, told) => {
    expect(explainReadFailure(error)).toBe(told);
  });
});
