import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const LAMBDA = join(import.meta.dirname, '../../../../shared/runtime/lambda.ts');
const run = promisify(execFile);

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cold-start-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Starts a function in a process of its own, as the runtime does, and tells what it printed. */
async function start(
  env: Record<string, string>,
  needs = "['walletKey']",
  build = "throw new Error('built');",
): Promise<{ code: number; lines: string[]; stderr: string }> {
  const entry = join(folder, 'handler.mjs');
  writeFileSync(
    entry,
    `import { startFunction } from ${JSON.stringify(LAMBDA)};
     const handler = await startFunction({ name: 'health', needs: ${needs}, build: async ({ config }) => { ${build} } });
     console.log(JSON.stringify({ handler: typeof handler }));`,
  );
  const { PATH = '', NODE_COMPILE_CACHE = '' } = process.env;
  const options = { env: { PATH, NODE_COMPILE_CACHE, CONFIG_DIR: folder, ...env } };
  const { code, stdout, stderr } = await run(process.execPath, [entry], options).then(
    (done) => ({ code: 0, ...done }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  return { code, lines: stdout.split('\n').filter((line) => line !== ''), stderr };
}

describe('a cold start', () => {
  it('with a wrong configuration fails, after one line that names all problems', async () => {
    const { code, lines, stderr } = await start({ LUCID_ENV: 'prod', LOG_LEVEL: 'LOUD' });
    expect(code).not.toBe(0);
    expect(lines).toHaveLength(1);
    const line = JSON.parse(lines[0] ?? '');
    expect(line).toMatchObject({ level: 'CRITICAL', function: 'health' });
    expect(line.problems.map(({ key }: { key: string }) => key)).toEqual([
      'LUCID_ENV',
      'MONGO_URL',
      'TRON_NETWORK',
      'TRON_NODE_URL',
      'TRON_WALLET_ADDRESS',
      'LOG_LEVEL',
      'TRON_PRIVATE_KEY_FILE',
    ]);
    expect(stderr).toContain('ConfigError: configuration has 7 problems');
  });

  it('that only primes the compile cache reads nothing and builds nothing', async () => {
    const { code, lines } = await start({ TPF_PRIME_ONLY: '1', LUCID_ENV: 'prod' });
    expect(code).toBe(0);
    expect(lines).toEqual(['{"handler":"function"}']);
  });

  it('leaves no way to a node but the proxy, and tells who tried another', async () => {
    const { lines } = await start(
      {
        LUCID_ENV: 'test',
        MONGO_URL: 'mongodb://127.0.0.1:1',
        TRON_NETWORK: 'private',
        TRON_NODE_URL: 'http://127.0.0.1:4999',
        TRON_WALLET_ADDRESS: 'TPEehWNrwReYU9D9bLy8fQV9aiioyXzsH8',
        TRON_CONTRACT_ADDRESS: 'TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf',
        TRON_GENESIS_BLOCK_ID: 'ab'.repeat(32),
        TOR_PROXY: 'socks5://127.0.0.1:4997',
      },
      '[]',
      `for (const url of [...config.tron.nodeUrls, 'http://127.0.0.1:4997'])
         await fetch(url).catch(({ cause }) => console.log(JSON.stringify([url, cause.code ?? cause.message])));`,
    );
    const records = lines.map((line) => JSON.parse(line));
    expect(records).toContainEqual(['http://127.0.0.1:4999', 'EREFUSEDOUTWARD']);
    expect(records).toContainEqual(['http://127.0.0.1:4997', 'ECONNREFUSED']);
    const refusals = records.filter(({ message }) => /^refused to dial/.test(message));
    expect(refusals).toMatchObject([{ level: 'ERROR', kind: 'connection', to: '127.0.0.1:4999' }]);
  });
});
