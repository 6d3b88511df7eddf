import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pathsOf, writeStackFile } from '../../../deploy/local/state.ts';
import { PAYMENTS } from '../../../shared/adapters/mongo/documents.ts';
import { mongoSealedAttempts } from '../../../shared/adapters/mongo/sealed-attempts.ts';
import { aesVault } from '../../../shared/adapters/system/aes-vault.ts';
import { useDatabase } from '../../support/database.ts';

const CLI = resolve(import.meta.dirname, '../../../deploy/cli/reencrypt.ts');
const [OLD, NEXT, LOST] = ['1f'.repeat(32), '2f'.repeat(32), '3f'.repeat(32)] as const;

interface Row {
  readonly _id: string;
  readonly status: string;
  readonly items?: readonly string[];
  readonly attempts?: readonly {
    readonly number: number;
    readonly sealed: Uint8Array;
    readonly txId: string;
  }[];
}

const database = useDatabase({ promoteBuffers: true });
const rows = () => database.db().collection<Row>(PAYMENTS);
const contentOf = (id: string, number: number) => Buffer.from(`the transaction of ${id}/${number}`);
const attemptOf = (id: string, number: number, key: string = OLD) => ({
  number,
  txId: `${id}/${number}`,
  sealed: aesVault(() => key).seal(contentOf(id, number), id, number),
});
const rowOf = (id: string, attempts = 1, key: string = OLD): Row => ({
  _id: id,
  status: 'confirmed',
  attempts: Array.from({ length: attempts }, (_, index) => attemptOf(id, index + 1, key)),
});

async function expectAllUnder(key: string): Promise<void> {
  for await (const { _id, attempts = [] } of rows().find({ attempts: { $exists: true } })) {
    for (const { number, sealed, txId } of attempts) {
      expect(txId).toBe(`${_id}/${number}`);
      expect(Buffer.from(aesVault(() => key).open(sealed, _id, number))).toEqual(contentOf(_id, number));
    }
  }
}

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'reencrypt-'));
  for (const [name, key] of Object.entries({ old: OLD, next: NEXT }))
    writeFileSync(join(folder, name), key, { mode: 0o600 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const environment = () => ({
  LUCID_ENV: 'test',
  CONFIG_DIR: folder,
  MONGO_URL: database.url(),
  MONGO_DATABASE: database.name(),
  TRON_NETWORK: 'private',
  TRON_NODE_URL: 'http://127.0.0.1:9090',
  TRON_WALLET_ADDRESS: 'TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH',
  TRON_CONTRACT_ADDRESS: 'TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf',
  TRON_GENESIS_BLOCK_ID: 'ab'.repeat(32),
  TOR_ONLY: 'false',
  ENCRYPTION_KEY_FILE: join(folder, 'next'),
  ENCRYPTION_KEY_OTHER_FILES: join(folder, 'old'),
});

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return new Promise<{ code: number; lines: string[]; stderr: string }>((done) => {
    const options = { env: { PATH: process.env.PATH ?? '', ...env } };
    execFile(process.execPath, [CLI, ...args], options, (error, stdout, stderr) => {
      const lines = stdout.split('\n').filter((line) => line !== '');
      expect(stdout + stderr).not.toMatch(/1f1f|2f2f|3f3f/);
      done({ code: error === null ? 0 : Number(error.code), lines, stderr });
    });
  });
}

describe('sealed attempts in the database', () => {
  it('come by pages in the order of ids, payments with attempts alone, and nothing else of them', async () => {
    await rows().insertMany([
      rowOf('pay_3'),
      rowOf('pay_1', 2),
      { _id: 'pay_2', status: 'accepted', attempts: [] },
      { _id: 'batch_1', status: 'admitted', items: ['pay_1'] },
      rowOf('pay_4'),
    ]);
    const sealed = mongoSealedAttempts(database.connect());
    const first = await sealed.findPage('', 2);
    expect(first.map(({ id, attempts }) => [id, attempts.map(({ number }) => number)])).toEqual([
      ['pay_1', [1, 2]],
      ['pay_3', [1]],
    ]);
    expect(Object.keys(first[0]?.attempts[0] ?? {}).sort()).toEqual(['index', 'number', 'sealed']);
    expect((await sealed.findPage('pay_3', 2)).map(({ id }) => id)).toEqual(['pay_4']);
    expect(await sealed.findPage('pay_4', 2)).toEqual([]);
  });

  it('are replaced only while they are those that were read, and one attempt alone', async () => {
    await rows().insertOne(rowOf('pay_1', 2));
    const sealed = mongoSealedAttempts(database.connect());
    const [payment] = await sealed.findPage('', 1);
    const [, second] = payment?.attempts ?? [];
    if (second === undefined) throw new Error('there is no second attempt');
    const next = attemptOf('pay_1', 2, NEXT);

    expect(await sealed.replace('pay_1', second, next.sealed)).toBe(true);
    expect(await sealed.replace('pay_1', second, Buffer.of(1))).toBe(false);
    expect(await sealed.replace('pay_1', { ...second, index: 0, number: 1 }, Buffer.of(1))).toBe(false);
    expect(await sealed.replace('pay_2', second, Buffer.of(1))).toBe(false);

    const stored = (await rows().findOne({ _id: 'pay_1' }))?.attempts;
    expect(Buffer.from(stored?.[1]?.sealed ?? [])).toEqual(next.sealed);
    expect(aesVault(() => OLD).open(stored?.[0]?.sealed ?? Buffer.alloc(0), 'pay_1', 1)).toEqual(
      contentOf('pay_1', 1),
    );
  });
});

describe('npm run reencrypt', () => {
  it('seals all anew by its own environment, says that the old key may go, and does nothing the next time', async () => {
    await rows().insertMany([...Array.from({ length: 120 }, (_, n) => rowOf(`pay_${n}`, 1 + (n % 2)))]);
    const first = await run(['--env'], environment());
    expect(first).toEqual({
      code: 0,
      lines: [
        'transactions: 180 seen, 180 re-encrypted, 0 unreadable',
        '0 left under another key: ENCRYPTION_KEY_OTHER_FILES may be emptied now',
      ],
      stderr: '',
    });
    await expectAllUnder(NEXT);
    const again = await run(['--env'], { ...environment(), ENCRYPTION_KEY_OTHER_FILES: '' });
    expect(again).toEqual({
      code: 0,
      lines: ['transactions: 180 seen, 0 re-encrypted, 0 unreadable', first.lines[1]],
      stderr: '',
    });
  });

  it('takes the environment of the stack that runs', async () => {
    const state = join(folder, 'state');
    mkdirSync(state, { recursive: true });
    writeStackFile(pathsOf(state), {
      url: '',
      opsUrl: '',
      nodeUrl: '',
      walletAddress: '',
      usdtAddress: '',
      genesisBlockId: '',
      audience: '',
      settleEnvironment: environment(),
      callerSecretFiles: {},
    });
    await rows().insertOne(rowOf('pay_1'));
    const { code, lines } = await run(['--state', state]);
    expect(code).toBe(0);
    expect(lines[0]).toBe('transactions: 1 seen, 1 re-encrypted, 0 unreadable');
    await expectAllUnder(NEXT);
  });

  it('names what it cannot open, seals the rest, and fails', async () => {
    await rows().insertMany([rowOf('pay_1'), rowOf('pay_2', 1, LOST), rowOf('pay_3')]);
    const { code, lines } = await run(['--env'], environment());
    expect(code).toBe(1);
    expect(lines).toEqual([
      'pay_2, attempt 1, cannot be opened: sealed under another key',
      'transactions: 3 seen, 2 re-encrypted, 1 unreadable',
      '1 left under another key: remove no key (no configured key opens them; name their key in ' +
        'ENCRYPTION_KEY_OTHER_FILES and run this again)',
    ]);
  });

  it('names everything that is wrong with its environment at once', async () => {
    const { code, stderr } = await run(['--env'], {
      ...environment(),
      MONGO_URL: '',
      ENCRYPTION_KEY_OTHER_FILES: `${join(folder, 'next')},${join(folder, 'none')}`,
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/3 problems/);
    for (const words of [
      'MONGO_URL is not set',
      'next holds a key that is named already',
      'none, which is not',
    ])
      expect(stderr).toContain(words);
  });
});
