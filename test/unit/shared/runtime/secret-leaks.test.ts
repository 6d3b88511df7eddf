import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** Functions in processes of their own, whose every output is searched for what their secret files hold. */

const ROOT = join(import.meta.dirname, '../../../..');
const LAMBDA = join(ROOT, 'shared/runtime/lambda.ts');
const HANDLERS = {
  pay: join(ROOT, 'functions/pay/handler.ts'),
  settle: join(ROOT, 'functions/settle/handler.ts'),
};
const run = promisify(execFile);

// The key of tronweb's own documentation, and its address.
const WALLET_KEY = 'c0bdd7c088f832ef58cdce277d7f8cf6ab0aedbd557a2b07088beaa6552d5992';
const WALLET = 'TPEehWNrwReYU9D9bLy8fQV9aiioyXzsH8';
const SECRETS = {
  tron_private_key: WALLET_KEY,
  encryption_key: '2e'.repeat(32),
  other_encryption_key: '3d'.repeat(32),
  internal_auth_secret: 'an "internal" auth\\secret of 32 bytes or more',
  mongo_password: 'a-mongo-password',
} as const;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'leaks-'));
  for (const [name, text] of Object.entries(SECRETS))
    writeFileSync(join(folder, name), text, { mode: 0o600 });
});
afterAll(() => rmSync(folder, { recursive: true }));

const environment = () => ({
  PATH: process.env.PATH ?? '',
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? '',
  LUCID_ENV: 'test',
  CONFIG_DIR: folder,
  MONGO_URL: 'mongodb://127.0.0.1:1/?directConnection=true',
  MONGO_USERNAME: 'lucid',
  MONGO_PASSWORD_FILE: join(folder, 'mongo_password'),
  TRON_NETWORK: 'private',
  TRON_NODE_URL: 'http://127.0.0.1:9090',
  TRON_WALLET_ADDRESS: WALLET,
  TRON_CONTRACT_ADDRESS: 'TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf',
  TRON_GENESIS_BLOCK_ID: 'ab'.repeat(32),
  TOR_ONLY: 'false',
  TRON_PRIVATE_KEY_FILE: join(folder, 'tron_private_key'),
  ENCRYPTION_KEY_FILE: join(folder, 'encryption_key'),
  ENCRYPTION_KEY_OTHER_FILES: join(folder, 'other_encryption_key'),
  INTERNAL_AUTH_SECRET_FILE: join(folder, 'internal_auth_secret'),
});

/** @returns the exit code and everything that was printed, which holds no secret in any usual spelling. */
async function start(script: string, changes: Readonly<Record<string, string>> = {}) {
  const entry = join(folder, 'entry.mjs');
  writeFileSync(entry, script);
  const env = { ...environment(), ...changes };
  const { code, stdout, stderr } = await run(process.execPath, [entry], { env, maxBuffer: 1e8 }).then(
    (done) => ({ code: 0, ...done }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  const printed = stdout + stderr;
  for (const text of Object.values(SECRETS)) {
    const bytes = /^[0-9a-f]{64}$/.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text);
    for (const spelt of [
      text,
      JSON.stringify(text).slice(1, -1),
      bytes.toString('base64'),
      bytes.toString('base64url'),
    ]) {
      expect(printed.toLowerCase().includes(spelt.toLowerCase()), 'a secret was printed').toBe(false);
    }
  }
  return { code, printed, lines: stdout.split('\n').filter((line) => line.startsWith('{')) };
}

/** A function of all secrets that does this while it is built, and this when it is invoked by schedule. */
const functionThat = (build: string, onSchedule = '') => `
  import { format, inspect } from 'node:util';
  import { startFunction } from ${JSON.stringify(LAMBDA)};
  import { createApp } from ${JSON.stringify(join(ROOT, 'shared/runtime/app.ts'))};
  const handler = await startFunction({
    name: 'pay',
    needs: ['walletKey', 'encryptionKey', 'callers'],
    async build({ config, logger }) {
      const key = config.secrets.walletKey.reveal();
      const all = [key, config.secrets.encryptionKey.others[0].reveal(), config.secrets.callers.gateway.secrets[0].reveal()].join(' and ');
      ${build}
      return { app: createApp(), onSchedule: async () => { ${onSchedule} } };
    },
  });
  const invoke = () => handler({}, { awsRequestId: 'r', getRemainingTimeInMillis: () => 5000 });`;

describe('a configuration with secrets', () => {
  it('shows none of them however it is dumped', async () => {
    const { code, printed } = await start(
      functionThat(`
        const plain = (_, value) => (typeof value === 'bigint' ? String(value) : value);
        console.log(config, [config.secrets]);
        console.log(inspect(config, { depth: null, showHidden: true, getters: true, customInspect: false }));
        console.log(format('%s %o %O %j', config.secrets, config.secrets, config.secrets, config.secrets));
        console.log(JSON.stringify(config, plain), JSON.stringify(Object.entries(config.secrets)));
        console.log(inspect(structuredClone(config), { depth: null, showHidden: true }));
        console.log(inspect(new Error('it failed', { cause: config.secrets }), { depth: null }));
        logger.error({ config, secrets: config.secrets, error: new Error('it failed', { cause: new Error(all) }) }, all);
        console.log('the environment', process.env);
        console.log('the report', JSON.stringify(process.report.getReport()));
      `),
    );
    expect(code).toBe(0);
    expect(printed).toContain('[secret]');
    expect(printed).toContain('TRON_PRIVATE_KEY_FILE');
    expect(printed).toContain('"environmentVariables"');
  });
});

describe('an error that holds secrets', () => {
  it.each<[string, string]>([
    [
      'is thrown while the function is built',
      functionThat("throw new Error('bad key ' + all, { cause: { all } });"),
    ],
    ['is thrown as a text', functionThat("throw 'bad key ' + all;")],
    [
      'is thrown with members',
      functionThat("throw Object.assign(new TypeError('bad key'), { all, config, key });"),
    ],
    [
      'is thrown by nobody who is waited for',
      functionThat("setTimeout(() => { throw Object.assign(new Error('bad key ' + all), { all }); }, 1);"),
    ],
    [
      'is the reason of a promise that nobody waits for',
      functionThat("setTimeout(() => void Promise.reject(new Error('bad key ' + all)), 1);"),
    ],
    [
      'ends an invocation by schedule',
      `${functionThat('', "throw Object.assign(new Error('bad key ' + all, { cause: all }), { all });")}
       // The runtime client prints it like this.
       await invoke().catch((error) => { console.error(error); process.exit(1); });`,
    ],
  ])('%s: it is told in one line, and they are not', async (_case, script) => {
    const { code, lines } = await start(script);
    expect(code).not.toBe(0);
    const told = lines.map((line) => JSON.parse(line)).filter(({ error }) => error !== undefined);
    expect(told).toHaveLength(1);
    expect(['ERROR', 'CRITICAL']).toContain(told[0].level);
    expect(told[0].error.message).toContain('bad key');
  });
});

describe('a private key of another wallet', () => {
  it.each(['pay', 'settle'] as const)(
    'stops the start of %s, naming the key and not what it holds',
    async (name) => {
      const changes = { TRON_WALLET_ADDRESS: 'TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH' };
      const { code, lines, printed } = await start(
        `await import(${JSON.stringify(HANDLERS[name])});`,
        changes,
      );
      expect(code).not.toBe(0);
      expect(lines).toHaveLength(1);
      expect(JSON.parse(lines[0] ?? '')).toMatchObject({
        level: 'CRITICAL',
        function: name,
        problems: [
          {
            key: 'TRON_PRIVATE_KEY_FILE',
            problem: 'holds the key of another wallet',
            needs: 'the key of TRON_WALLET_ADDRESS, TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH',
          },
        ],
      });
      expect(printed).toContain('ConfigError');
    },
  );

  it('is none where it is of this wallet', async () => {
    expect(await start(`await import(${JSON.stringify(HANDLERS.pay)}); process.exit(0);`)).toMatchObject({
      code: 0,
    });
  });

  it('is refused without being told where it is none', async () => {
    const wrong = join(folder, 'wrong_key');
    writeFileSync(wrong, `${WALLET_KEY}${WALLET_KEY}`, { mode: 0o600 });
    const { code, lines } = await start(`await import(${JSON.stringify(HANDLERS.pay)});`, {
      TRON_PRIVATE_KEY_FILE: wrong,
      ENCRYPTION_KEY_OTHER_FILES: `${join(folder, 'encryption_key')},/nowhere`,
      INTERNAL_AUTH_SECRET_FILE: '/nowhere/else',
    });
    expect(code).not.toBe(0);
    expect(JSON.parse(lines[0] ?? '').problems.map(({ key }: { key: string }) => key)).toEqual([
      'TRON_PRIVATE_KEY_FILE',
      `ENCRYPTION_KEY_OTHER_FILES: ${join(folder, 'encryption_key')}`,
      'ENCRYPTION_KEY_OTHER_FILES: /nowhere',
      'INTERNAL_AUTH_SECRET_FILE',
    ]);
  });
});
