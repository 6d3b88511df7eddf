import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setRunMark } from '../../../../deploy/sidecar/run-mark.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidecar-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the mark of a run', () => {
  it('is not found at the first start, nor after a clean end', () => {
    const stateDir = join(folder, 'made', 'on demand');
    const first = setRunMark(stateDir);
    expect(first.foundUnclean).toBe(false);
    first.clear();
    expect(readdirSync(stateDir)).toEqual([]);
    expect(setRunMark(stateDir).foundUnclean).toBe(false);
  });

  it('is found after an end that did not clear it', () => {
    setRunMark(folder);
    expect(setRunMark(folder).foundUnclean).toBe(true);
  });

  it('leaves nothing anywhere without a folder', () => {
    const mark = setRunMark(undefined);
    mark.clear();
    expect(mark.foundUnclean).toBe(false);
  });
});
