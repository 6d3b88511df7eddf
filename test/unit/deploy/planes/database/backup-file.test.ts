import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { BSON } from 'mongodb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type BackupDocument,
  type BackupHeader,
  BackupUnusable,
  readBackup,
  verifyBackup,
  writeBackup,
} from '../../../../../deploy/planes/database/backup-file.ts';
import { isThorough, runs } from '../../../../support/thorough.ts';

const run = promisify(execFile);
const BACKUP_FILE = resolve(import.meta.dirname, '../../../../../deploy/planes/database/backup-file.ts');
const HEADER: BackupHeader = {
  database: 'lucid_payments',
  takenAtMs: Date.UTC(2026, 0, 31, 4, 30),
  consistency: 'same moment',
};

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'backup-'));
  path = join(folder, 'backup.ejson.gz');
});
afterEach(() => rmSync(folder, { recursive: true }));

const bsonOf = (document: object, collection: BackupDocument['collection'] = 'payments') => ({
  collection,
  bson: BSON.serialize(document),
});

async function* stream(documents: readonly BackupDocument[]): AsyncGenerator<BackupDocument> {
  yield* documents;
}

const write = (documents: readonly BackupDocument[]) => writeBackup(path, HEADER, stream(documents));

/** What a file gives, and how it ends: with its content, or with what is wrong. */
async function readAll(file = path) {
  const documents: string[] = [];
  const reading = readBackup(file);
  for (;;) {
    const { done, value } = await reading.next();
    if (done === true) return { documents, content: value };
    documents.push(`${value.collection} ${Buffer.from(value.bson).toString('hex')}`);
  }
}

const hexOf = ({ collection, bson }: BackupDocument) => `${collection} ${Buffer.from(bson).toString('hex')}`;

const AT_ONCE = 16;

const SMALL = [
  bsonOf({ _id: 'breaker', pushes: 7n, books: { hour: Buffer.from([1, 2]) }, pause: null }, 'breaker'),
  bsonOf({ _id: 'audit', dueAtMs: 1_700_000_000_000 }, 'breaker'),
  bsonOf({ _id: 'pay_1', amountMicro: 2n ** 62n, status: 'confirmed', history: [{ atMs: 1 }] }),
  bsonOf({ _id: 'pay_2', amountMicro: 1n, reference: 'Grüße\n\u2028"' }),
];

describe('a backup file', () => {
  it('gives back every document byte for byte', async () => {
    const field = fc.string({ unit: 'grapheme', maxLength: 8 }).filter((name) => !/[\0]/.test(name));
    const leaf = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n, 0n),
      fc.integer(),
      fc.double(),
      fc.constantFrom(0, -0, 2 ** 31, -(2 ** 31), 2 ** 53, 1_700_000_000_000, Number.NaN, 1e300),
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
      fc.constant(null),
      fc.boolean(),
      fc.date({ noInvalidDate: true }),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ depthSize: 'small' }, leaf, tie('list'), tie('object')),
      list: fc.array(tie('value'), { maxLength: 4 }),
      object: fc.dictionary(field, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    }));
    const document = fc.record({ _id: fc.uuid(), any: value, more: value }, { requiredKeys: ['_id'] });
    await fc.assert(
      fc.asyncProperty(fc.array(document, { maxLength: 6 }), async (all) => {
        const documents = all.map((each) => bsonOf(each));
        const { counts } = await write(documents);
        const { documents: read, content } = await readAll();
        expect(read).toEqual(documents.map(hexOf));
        expect(content).toEqual({ header: HEADER, counts: { breaker: 0, payments: all.length } });
        expect(counts).toEqual(content.counts);
      }),
      runs(50, 300),
    );
  });

  it('is readable by its owner alone, and is all that is left in the folder', async () => {
    const { fileBytes } = await write(SMALL);
    expect(readdirSync(folder)).toEqual(['backup.ejson.gz']);
    const { mode, size } = statSync(path);
    expect(mode & 0o777).toBe(0o600);
    expect(size).toBe(fileBytes);
  });

  it('is not there where the documents break off, and neither is a part of it', async () => {
    async function* broken() {
      yield* SMALL;
      throw new Error('the database went away');
    }
    await expect(writeBackup(path, HEADER, broken())).rejects.toThrow('the database went away');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is not made of a document that would not come back as it is', async () => {
    // A JavaScript object has the keys that look like numbers first.
    const bson = BSON.serialize(
      new Map([
        ['b', 1],
        ['0', 2],
      ]),
    );
    await expect(write([{ collection: 'payments', bson }])).rejects.toThrow(BackupUnusable);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('takes away what an earlier one has left that was killed, and nothing that may still be written', async () => {
    const nowSeconds = Date.now() / 1_000;
    for (const [name, ageSeconds] of [
      ['.backup-1.ejson.gz.a.partial', 3_700],
      ['.backup-2.ejson.gz.b.partial', 3_500],
      ['backup-3.ejson.gz', 9_999],
      ['backup-4.partial', 9_999],
      ['.notes', 9_999],
    ] as const) {
      writeFileSync(join(folder, name), 'half of it');
      utimesSync(join(folder, name), nowSeconds, nowSeconds - ageSeconds);
    }
    await write(SMALL);
    expect(readdirSync(folder).sort()).toEqual([
      '.backup-2.ejson.gz.b.partial',
      '.notes',
      'backup-3.ejson.gz',
      'backup-4.partial',
      'backup.ejson.gz',
    ]);
  });

  it('of many payments takes no more memory than one of a few', async () => {
    // In a process that has little room, so that what it holds is what it needs, and not what nobody cleared away yet.
    const program = `
      import { BSON } from 'mongodb';
      import { writeBackup } from ${JSON.stringify(BACKUP_FILE)};
      const bson = BSON.serialize({ _id: 'pay', text: 'x'.repeat(100_000) });
      async function* many() {
        for (let at = 0; at < 1_000; at += 1) yield { collection: 'payments', bson };
      }
      const beforeBytes = process.memoryUsage.rss();
      const { counts } = await writeBackup(${JSON.stringify(path)}, ${JSON.stringify(HEADER)}, many());
      console.log(counts.payments, process.resourceUsage().maxRSS * 1024 - beforeBytes);`;
    const room = ['--max-old-space-size=40', '--max-semi-space-size=2'];
    const { stdout } = await run(process.execPath, [...room, '--input-type=module', '--eval', program]);
    const [payments = 0, mostBytes = Number.NaN] = stdout.split(' ').map(Number);
    expect(payments).toBe(1_000);
    // All of it is 100 MB.
    expect(mostBytes).toBeLessThan(50_000_000);
  });
});

describe('a damaged backup', () => {
  it('is found wherever it is cut off', async () => {
    await write(SMALL);
    const whole = readFileSync(path);
    const cut = join(folder, 'cut');
    for (let length = 0; length < whole.length; length += 1) {
      writeFileSync(cut, whole.subarray(0, length));
      await expect(verifyBackup(cut), `${length} bytes`).rejects.toThrow(BackupUnusable);
    }
  });

  it('is found whichever bit is another one, unless the very same is read from it', async () => {
    await write(SMALL);
    const whole = readFileSync(path);
    const right = await readAll();
    const unfound: number[] = [];
    const flip = async (at: number): Promise<void> => {
      const flipped = join(folder, `flipped-${at % AT_ONCE}`);
      for (const bit of isThorough ? [0, 1, 2, 3, 4, 5, 6, 7] : [at % 8]) {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        writeFileSync(flipped, bytes);
        try {
          expect(await readAll(flipped), `bit ${bit} of byte ${at}`).toEqual(right);
          unfound.push(at);
        } catch (error) {
          if (!(error instanceof BackupUnusable)) throw error;
        }
      }
    };
    for (let from = 0; from < whole.length; from += AT_ONCE)
      await Promise.all(
        Array.from({ length: Math.min(AT_ONCE, whole.length - from) }, (_, n) => flip(from + n)),
      );
    // What gzip says of a file's time and system, and the bits that fill its last byte.
    const lastOfData = whole.length - 9;
    expect(unfound.filter((at) => at >= 10 && at !== lastOfData)).toEqual([]);
  });

  it('is found whichever line of it was changed, left out, or put in, though gzip is none the wiser', async () => {
    await write(SMALL);
    const lines = gunzipSync(readFileSync(path)).toString('utf8').split('\n').slice(0, -1);
    const edited = join(folder, 'edited');
    const refused = async (changed: readonly string[]) => {
      writeFileSync(edited, gzipSync(`${changed.join('\n')}\n`));
      await expect(verifyBackup(edited)).rejects.toThrow(BackupUnusable);
    };
    for (const at of lines.keys()) {
      await refused(lines.filter((_, index) => index !== at));
      await refused([...lines.slice(0, at), lines[at] ?? '', ...lines.slice(at)]);
      await refused(
        lines.map((line, index) => (index === at ? line.replace(/\d/, (digit) => `${9 - +digit}`) : line)),
      );
    }
  });

  it.each([
    ['is not there', undefined],
    ['is empty', gzipSync('')],
    ['is damaged or no backup', Buffer.from('a text')],
    ['is no backup of this service', gzipSync('{"format":"another"}\n')],
    ['is no backup of this service', gzipSync('null\n')],
    [
      'is a backup of version 2; this program reads 1',
      gzipSync('{"format":"tron-payment-backup","version":2}\n'),
    ],
    ['its first line does not say', gzipSync('{"format":"tron-payment-backup","version":1}\n')],
    ['is cut off within a line', gzipSync('{"format":"tron')],
  ])('says that it %s', async (reason, bytes) => {
    if (bytes !== undefined) writeFileSync(path, bytes);
    await expect(verifyBackup(path)).rejects.toThrow(reason);
    await expect(verifyBackup(path)).rejects.toThrow(path);
  });

  it('does not go on after its end', async () => {
    await write(SMALL);
    const whole = readFileSync(path);
    for (const more of [Buffer.from('more'), Buffer.from([0]), gzipSync('more\n'), whole]) {
      writeFileSync(path, Buffer.concat([whole, more]));
      await expect(verifyBackup(path)).rejects.toThrow(BackupUnusable);
    }
  });
});
