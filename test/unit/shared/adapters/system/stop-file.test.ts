import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stopFile } from '../../../../../shared/adapters/system/stop-file.ts';

describe('the stop switch', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stop-file-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is set exactly while the file is there', async () => {
    const path = join(folder, 'STOP');
    const stop = stopFile(path);
    expect(await stop.isSet()).toBe(false);
    await writeFile(path, '');
    expect(await stop.isSet()).toBe(true);
    await rm(path);
    expect(await stop.isSet()).toBe(false);
  });

  it('is set by a folder or a dangling link of that name', async () => {
    await mkdir(join(folder, 'STOP'));
    expect(await stopFile(join(folder, 'STOP')).isSet()).toBe(true);
    await symlink('/nowhere/at/all', join(folder, 'LINK'));
    expect(await stopFile(join(folder, 'LINK')).isSet()).toBe(true);
  });

  it('is set while the folder is not there', async () => {
    const stop = stopFile(join(folder, 'configs', 'STOP'));
    expect(await stop.isSet()).toBe(true);
    await mkdir(join(folder, 'configs'));
    expect(await stop.isSet()).toBe(false);
  });

  it('is set where the folder cannot be looked into', async () => {
    await writeFile(join(folder, 'file'), '');
    expect(await stopFile(join(folder, 'file', 'STOP')).isSet()).toBe(true);
    await symlink('loop', join(folder, 'loop'));
    expect(await stopFile(join(folder, 'loop', 'STOP')).isSet()).toBe(true);
    expect(await stopFile(join(folder, 'x'.repeat(300))).isSet()).toBe(true);
  });
});
