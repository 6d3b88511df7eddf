import { readdirSync } from 'node:fs';
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureRie, isRieCached } from '../../../build/rie.ts';

let cacheDir: string;
/** As on a machine that has chosen no emulator of its own. */
const { AWS_LAMBDA_RIE: _, ...env } = process.env;
const lines: string[] = [];
const log = (line: string) => lines.push(line);

beforeAll(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'rie-cache-'));
});

afterAll(async () => {
  await rm(cacheDir, { recursive: true, force: true });
});

describe('ensureRie', () => {
  it('fetches the pinned wheel once, and takes the binary from the cache after that', async () => {
    expect(await isRieCached(cacheDir)).toBe(false);
    const first = await ensureRie({ cacheDir, env, log });
    expect(first.source).toBe('aws-sam-cli 1.170.0');
    expect(lines).toEqual(['fetching the Lambda runtime interface emulator from aws-sam-cli 1.170.0']);
    expect(await ensureRie({ cacheDir, env, log })).toEqual(first);
    expect(lines).toHaveLength(1);
    expect(await isRieCached(cacheDir)).toBe(true);
  });

  it('replaces a cached binary that was altered, and never hands it out', async () => {
    const { path } = await ensureRie({ cacheDir, env });
    const good = await readFile(path);
    await appendFile(path, 'altered');
    lines.length = 0;
    await ensureRie({ cacheDir, env, log });
    expect((await readFile(path)).equals(good)).toBe(true);
    expect(lines[0]).toContain('does not have the pinned checksum');
    expect(readdirSync(cacheDir)).toHaveLength(1);
  });

  it('takes AWS_LAMBDA_RIE first, as it is given', async () => {
    const chosen = { AWS_LAMBDA_RIE: process.execPath };
    expect(await ensureRie({ cacheDir, env: chosen })).toEqual({
      path: process.execPath,
      source: 'AWS_LAMBDA_RIE',
    });
  });

  it('names AWS_LAMBDA_RIE when that is no program', async () => {
    await expect(ensureRie({ cacheDir, env: { AWS_LAMBDA_RIE: '/nowhere' } })).rejects.toThrow(
      'AWS_LAMBDA_RIE=/nowhere is not an executable file',
    );
  });
});
