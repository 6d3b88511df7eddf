import { execFile, execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createServer } from 'node:tls';
import { BSON, type Db } from 'mongodb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type BackupDocument,
  BackupUnusable,
  readBackup,
  writeBackup,
} from '../../../deploy/planes/database/backup-file.ts';
import {
  judgeRestore,
  markAsRestored,
  RestoreRefused,
  restoreBackup,
} from '../../../deploy/planes/database/restore-backup.ts';
import { type Backup, takeBackup } from '../../../deploy/planes/database/take-backup.ts';
import {
  BREAKER,
  BREAKER_ID,
  type BreakerDocument,
  PAYMENTS,
} from '../../../shared/adapters/mongo/documents.ts';
import { mongoLedger } from '../../../shared/adapters/mongo/mongo-ledger.ts';
import { prepareDatabase } from '../../../shared/adapters/mongo/mongo-store.ts';
import type { Engine } from '../../../shared/usecases/engine.ts';
import { operateBreaker } from '../../../shared/usecases/operate-breaker.ts';
import { payOut } from '../../../shared/usecases/pay-out.ts';
import { settle } from '../../../shared/usecases/settle.ts';
import { useDatabase } from '../../support/database.ts';
import { payment } from '../../support/stored-payment.ts';
import { RECIPIENT, World } from '../../support/test-engine.ts';
import { isThorough } from '../../support/thorough.ts';

const PROGRAMS = resolve(import.meta.dirname, '../../../deploy/planes/database');

const database = useDatabase();
let folder: string;
let db: Db;
let world: World;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'backups-'));
  db = database.connect();
  world = new World();
});
afterEach(() => rmSync(folder, { recursive: true }));

const breakers = () => db.collection<BreakerDocument>(BREAKER);
const rows = (collection: string) => db.collection<{ _id: string }>(collection);
const readBreaker = () => breakers().findOne({ _id: BREAKER_ID });

/** On the database, at the time of the simulated chain. */
function engine(): Engine {
  const ledger = { ...mongoLedger(db), serverTimeMs: async () => world.nowMs };
  return { ...world.engine(), ledger, network: world.chain.network };
}

function pay(idempotencyKey: string, amountMicro = 1_000_000n) {
  return payOut(engine(), {
    caller: 'gateway',
    idempotencyKey,
    respondAsync: false,
    order: { asset: 'USDT', amountMicro, recipient: RECIPIENT, reference: null },
  });
}

async function settleAll(): Promise<void> {
  for (let round = 0; round < 5; round += 1) {
    world.pass(5);
    await settle(engine(), { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 100 }, (what, error) => {
      throw new Error(what, { cause: error });
    });
  }
}

/** A system that has paid, is paying, and has audited. */
async function live(): Promise<void> {
  await prepareDatabase(db);
  for (const key of ['first', 'second']) await pay(key);
  await settleAll();
  await pay('under way');
}

/** Every byte of the database. */
async function bytesOf(on: Db = db): Promise<Record<string, string[]>> {
  const of = async (collection: string) => {
    const cursor = on.collection(collection).find({}, { raw: true }).sort({ _id: 1 });
    return (await cursor.toArray()).map((raw) => Buffer.from(raw as unknown as Uint8Array).toString('hex'));
  };
  return { breaker: await of(BREAKER), payments: await of(PAYMENTS) };
}

async function bytesIn(path: string): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = { breaker: [], payments: [] };
  for await (const { collection, bson } of readBackup(path))
    found[collection]?.push(Buffer.from(bson).toString('hex'));
  return found;
}

const backUp = (): Promise<Backup> => takeBackup(db, { folder, kind: 'backup' });
const restore = (path: string, isReplacing = false, on: Db = db) =>
  restoreBackup(on, { path, isReplacing, folder });

/** Nobody can pay from what is there, and no order of an operator makes it so. */
async function expectNothingCanBePaid(): Promise<void> {
  const broadcasts = world.chain.pool.length;
  const order = { by: 'operator', reason: 'go on', orderedAtMs: Number.MAX_SAFE_INTEGER };
  for (const action of ['reset', 'resume'] as const)
    await operateBreaker(engine(), action, order).catch(() => {});
  for (const key of ['first', randomUUID()])
    await pay(key).then(
      ({ replayed }) => expect(replayed).toBe(true),
      (error) => expect(error.code).toBe('payments_paused'),
    );
  expect(world.chain.pool).toHaveLength(broadcasts);
}

describe('a backup', () => {
  it('holds every byte of both collections, and says when and how', async () => {
    await live();
    const before = Date.now() - 1;
    const backup = await backUp();
    expect(backup.header).toMatchObject({ database: db.databaseName });
    expect(backup.header.takenAtMs).toBeGreaterThanOrEqual(before);
    expect(backup.header.takenAtMs).toBeLessThanOrEqual(Date.now() + 1);
    expect(backup.counts).toEqual({ breaker: 2, payments: 3 });
    expect(await bytesIn(backup.path)).toEqual({
      // The breaker's own document first, as it is read first.
      breaker: (await bytesOf()).breaker?.toReversed(),
      payments: (await bytesOf()).payments,
    });
    expect(statSync(backup.path).size).toBe(backup.fileBytes);
    expect(backup.path).toMatch(/\/backup-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z\.ejson\.gz$/);
  });

  it('shows one moment: where payments are made while it reads, it reads again', async () => {
    await live();
    let payments = 0;
    const busy = beforePaymentsAreRead(db, async () => {
      payments += 1;
      if (payments <= 2) await pay(`meanwhile-${payments}`);
    });
    const backup = await takeBackup(busy, { folder, kind: 'backup' });
    expect(backup.counts.payments).toBe(5);
    expect((await bytesIn(backup.path)).payments).toEqual((await bytesOf()).payments);
    expect(readdirSync(folder)).toHaveLength(1);
  });

  it('of a system that never rests is given up, and leaves nothing behind', async () => {
    await live();
    const busy = beforePaymentsAreRead(db, () => pay(randomUUID()));
    await expect(takeBackup(busy, { folder, kind: 'backup' })).rejects.toThrow('pause them');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is not made where there is no system, or half of one', async () => {
    await expect(backUp()).rejects.toThrow('no breaker document');
    await live();
    await breakers().updateOne({ _id: BREAKER_ID }, { $set: { restore: { isLoaded: false } as never } });
    await expect(backUp()).rejects.toThrow('run it again');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('a backup of a replica set', () => {
  const SESSION = { endSession: async () => {} };

  /** The same database, whose server says that it is one member of a set. */
  function replicaSet(by: (call: Call) => unknown): Db {
    const hello = { isWritablePrimary: true, setName: 'rs0', maxWireVersion: 21, localTime: new Date() };
    const own = {
      command: async () => hello,
      client: { connect: async () => {}, startSession: () => SESSION },
    };
    return new Proxy(calledBy(db, by), { get: (of, name) => Reflect.get(name in own ? own : of, name) });
  }

  it('is made of one session that shows one moment, of a primary that has made sure that it is one', async () => {
    await live();
    const reads: unknown[] = [];
    const set = replicaSet(({ collection, method, args: [filter, options], make }) => {
      const { session, readConcern, ...others } = options as Record<string, unknown>;
      reads.push([collection, method, readConcern, session === SESSION]);
      return make(filter, others);
    });
    const { header, counts } = await takeBackup(set, { folder, kind: 'backup' });
    expect(header.consistency).toBe('snapshot');
    expect(counts).toEqual({ breaker: 2, payments: 3 });
    expect(reads).toEqual([
      [BREAKER, 'findOne', { level: 'linearizable' }, false],
      [BREAKER, 'find', { level: 'snapshot' }, true],
      [PAYMENTS, 'find', { level: 'snapshot' }, true],
    ]);
  });

  it('that takes longer than the server keeps a moment says which setting is short', async () => {
    await live();
    const set = replicaSet(({ collection, method, args: [filter], make }) => {
      if (collection === PAYMENTS) throw Object.assign(new Error('too old'), { code: 239 });
      return method === 'findOne' ? make(filter) : make(filter, { raw: true });
    });
    await expect(takeBackup(set, { folder, kind: 'backup' })).rejects.toThrow(
      'minSnapshotHistoryWindowInSeconds',
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is not made of a member that is not the primary: it may be behind', async () => {
    const hello = { isWritablePrimary: false, primary: 'mongo-2:27017' };
    const secondary = new Proxy(db, {
      get: (of, name) => (name === 'command' ? async () => hello : Reflect.get(of, name)),
    });
    await expect(takeBackup(secondary, { folder, kind: 'backup' })).rejects.toThrow('mongo-2:27017');
  });
});

describe('a restore', () => {
  it('into a fresh database brings back every payment byte for byte, paused and marked', async () => {
    await live();
    const { path, header } = await backUp();
    const [original, breaker] = [await bytesOf(), await readBreaker()];
    await rows(PAYMENTS).drop();
    await rows(BREAKER).drop();
    await prepareDatabase(db);

    const startedMs = Date.now() - 1;
    const { before, counts } = await restore(path);
    expect(before).toBeNull();
    expect(counts).toEqual({ breaker: 2, payments: 3 });
    const restored = await readBreaker();
    expect(restored).toEqual({
      ...breaker,
      pause: { by: 'restore', reason: expect.any(String), atMs: expect.any(Number) },
      restore: expect.objectContaining({
        backupAtMs: header.takenAtMs,
        isLoaded: true,
        reconciledAtMs: null,
        knownHead: breaker?.solidHead,
      }),
    });
    expect(restored?.restore?.restoredAtMs).toBeGreaterThanOrEqual(startedMs);
    const there = await bytesOf();
    expect(there.payments).toEqual(original.payments);
    expect(there.breaker?.[0]).toEqual(original.breaker?.[0]);
    const indexes = (await rows(PAYMENTS).indexes()).map(({ name }) => name);
    expect(indexes).toContain('one_payment_per_key');
    await expectNothingCanBePaid();
  });

  it('into a database that is lost altogether needs nothing to be there', async () => {
    await live();
    const { path } = await backUp();
    const { payments } = await bytesOf();
    await rows(PAYMENTS).drop();
    await rows(BREAKER).drop();
    await restore(path);
    expect((await bytesOf()).payments).toEqual(payments);
    await expectNothingCanBePaid();
  });

  it('over a database in use is refused, or makes a backup of that first', async () => {
    await live();
    const { path } = await backUp();
    const first = await bytesOf();
    await pay('after the backup');
    const second = await bytesOf();
    await expect(restore(path)).rejects.toThrow(RestoreRefused);
    await expect(judgeRestore(db, { path, isReplacing: false, folder })).rejects.toThrow('--replace');
    expect(await bytesOf()).toEqual(second);

    const { before } = await restore(path, true);
    expect((await bytesOf()).payments).toEqual(first.payments);
    expect(before?.path).toContain('/before-restore-');
    expect(before?.counts.payments).toBe(4);
    await restore(before?.path ?? '', true);
    expect((await bytesOf()).payments).toEqual(second.payments);
    // Neither backup knows the mark of the other's restore, and both know their own time.
    expect((await readBreaker())?.restore?.backupAtMs).toBe(before?.header.takenAtMs);
  });

  it('of a system that had not yet found out everything after its own restore still finds it out', async () => {
    await live();
    const first = await backUp();
    await restore(first.path, true);
    const second = await backUp();
    await restore(second.path, true);
    expect((await readBreaker())?.restore?.backupAtMs).toBe(first.header.takenAtMs);
  });

  it('of payments whose breaker is lost can be backed up and replaced, but not put back', async () => {
    await live();
    const { path } = await backUp();
    await breakers().deleteOne({ _id: BREAKER_ID });
    await expect(restore(path)).rejects.toThrow(RestoreRefused);
    const { before } = await restore(path, true);
    expect(before?.counts).toEqual({ breaker: 1, payments: 3 });
    await expect(restore(before?.path ?? '', true)).rejects.toThrow('holds no breaker document');
  });

  it('leaves everything as it is where the file is damaged, of another database, or of a newer program', async () => {
    await live();
    const { path, header } = await backUp();
    const foreign = join(folder, 'foreign');
    await writeBackup(
      foreign,
      { database: 'another', takenAtMs: 1, consistency: 'snapshot' },
      readBackup(path),
    );
    const newer = join(folder, 'newer');
    await writeBackup(newer, header, ofSchema(path, 1_000));
    const damaged = join(folder, 'damaged');
    writeFileSync(damaged, readFileSync(path).subarray(0, -20));
    const before = await bytesOf();
    await expect(restore(damaged, true)).rejects.toThrow(BackupUnusable);
    await expect(restore(join(folder, 'none'), true)).rejects.toThrow('is not there');
    await expect(restore(foreign, true)).rejects.toThrow('is of the database another');
    await expect(restore(newer, true)).rejects.toThrow('is of another version');
    expect(await bytesOf()).toEqual(before);
    expect(readdirSync(folder).filter((name) => name.startsWith('before-restore'))).toEqual([]);
  });

  it('is refused where somebody pays from the database that it is about to replace', async () => {
    await live();
    const { path } = await backUp();
    let isFirst = true;
    const busy = calledBy(db, ({ method, args, make }) => {
      if (method !== 'replaceOne' || !isFirst) return make(...args);
      isFirst = false;
      return pay('at the last moment').then(() => make(...args));
    });
    await expect(restore(path, true, busy)).rejects.toThrow('stop pay and settle first');
    expect((await readBreaker())?.pause).toBeNull();
    expect((await bytesOf()).payments).toHaveLength(4);
  });

  it('at the same time as another leaves one whole system, or one that cannot pay', async () => {
    await live();
    const { path } = await backUp();
    const { payments } = await bytesOf();
    const ends = await Promise.allSettled([restore(path, true), restore(path, true, database.connect())]);
    const done = ends.filter(({ status }) => status === 'fulfilled');
    expect((await readBreaker())?.restore?.isLoaded).toBe(done.length > 0);
    if (done.length > 0) expect((await bytesOf()).payments).toEqual(payments);
    else await restore(path);
    await expectNothingCanBePaid();
  });
});

describe('a restore that dies', () => {
  const WRITES = ['replaceOne', 'insertMany', 'deleteMany', 'updateOne', 'updateMany', 'createIndexes'];
  class Died extends Error {}

  /** Dies at the n-th write: before it, when half of it is made, or after it. */
  function mortal(at: number, when: 'before' | 'within' | 'after') {
    let writes = 0;
    const on = calledBy(db, ({ method, args, make }) => {
      if (!WRITES.includes(method)) return make(...args);
      writes += 1;
      return writes === at ? die() : make(...args);

      async function die() {
        const [documents] = args;
        if (when === 'after') await make(...args);
        else if (when === 'within' && method === 'insertMany' && Array.isArray(documents))
          await make(documents.slice(0, Math.ceil(documents.length / 2)));
        throw new Died();
      }
    });
    return { on, writes: () => writes };
  }

  const cases = [
    ['into a fresh database', false, 'within'],
    ['over another one', true, 'within'],
  ] as const;
  const thorough = [
    ['over another one', true, 'before'],
    ['over another one', true, 'after'],
  ] as const;

  it.each([...cases, ...(isThorough ? thorough : [])])(
    '%s (replacing: %s), %s any of its writes, leaves nothing that can pay, and is run again',
    async (_what, isReplacing, when) => {
      await live();
      // Two batches of them.
      const many = Array.from({ length: 499 }, (_, n) => ({
        ...payment({ status: 'confirmed', idempotencyKey: `old-${n}` }),
        _id: `pay_old_${String(n).padStart(3, '0')}`,
        settleAtMs: 0,
      }));
      for (const each of many) Reflect.deleteProperty(each, 'settleAtMs');
      await rows(PAYMENTS).insertMany(many);
      const { path } = await backUp();
      const { payments = [] } = await bytesOf();

      let died = 0;
      for (let at = 1; ; at += 1) {
        await rows(PAYMENTS).deleteMany({});
        await rows(BREAKER).deleteMany({});
        await prepareDatabase(db);
        if (isReplacing) await pay(`other-${at}`);
        const { on, writes } = mortal(at, when);
        const end = await restore(path, isReplacing, on).catch((error: unknown) => error);
        if (writes() < at) break;
        expect(end).toBeInstanceOf(Died);
        died += 1;
        const isUntouched = at === 1 && when !== 'after';
        if (isUntouched) expect((await readBreaker())?.restore ?? null).toBeNull();
        else await expectNothingCanBePaid();
        const isOver = (await readBreaker())?.restore?.isLoaded === true;
        // By its own mark it is known: what is there is not taken for a system in use.
        if (!isOver) await restore(path, isUntouched && isReplacing);
        expect((await bytesOf()).payments).toEqual(payments);
        expect((await readBreaker())?.restore).toMatchObject({ isLoaded: true, reconciledAtMs: null });
        await expectNothingCanBePaid();
      }
      // The mark, indexes and breaker of `prepareDatabase`, two batches, the audit's document twice, the end.
      expect(died).toBeGreaterThanOrEqual(isReplacing ? 7 : 6);
    },
  );
});

describe('a database that was brought back by other means', () => {
  it('is marked as of that time and paused, and nothing else of it is changed', async () => {
    await live();
    const breaker = await readBreaker();
    const { payments } = await bytesOf();
    const backupAtMs = Date.now() - 3_600_000;
    await markAsRestored(db, backupAtMs);
    expect(await readBreaker()).toMatchObject({
      ...breaker,
      pause: { by: 'restore' },
      restore: { backupAtMs, isLoaded: true, reconciledAtMs: null },
    });
    expect((await bytesOf()).payments).toEqual(payments);
    await expectNothingCanBePaid();
  });

  it('is not of the future, not half loaded, and not empty', async () => {
    await expect(markAsRestored(db, 1)).rejects.toThrow('no breaker document');
    await live();
    await expect(markAsRestored(db, Date.now() + 60_000)).rejects.toThrow('in the future');
    await breakers().updateOne({ _id: BREAKER_ID }, { $set: { restore: { isLoaded: false } as never } });
    await expect(markAsRestored(db, 1)).rejects.toThrow('run it again');
  });
});

describe('the programs', () => {
  const environment = () => ({
    MONGO_HOST: new URL(database.url()).host,
    MONGO_DATABASE: database.name(),
    BACKUP_FOLDER: folder,
  });

  function run(
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = environment(),
  ) {
    return new Promise<{ code: number; lines: string[]; stderr: string }>((done) => {
      const options = { env: { PATH: process.env.PATH ?? '', ...env } };
      execFile(process.execPath, [join(PROGRAMS, program), ...args], options, (error, stdout, stderr) => {
        const lines = stdout.split('\n').filter((line) => line !== '');
        done({ code: error === null ? 0 : Number(error.code), lines, stderr });
      });
    });
  }

  it('make a backup, judge it, put it back, and say what they did', async () => {
    await live();
    const made = await run('backup.ts', []);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const [file = ''] = readdirSync(folder);
    expect(made.lines[0]).toMatch(/^backup-\S+: as of \S+Z \(.+\), payments and batches: 3; [\d.]+ KB$/);
    expect(made.lines.join(' ')).toContain('orders in clear and signed transactions');

    const before = await bytesOf();
    const refused = await run('restore.ts', [file]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('--replace');
    const judged = await run('restore.ts', [file, '--replace', '--check']);
    expect(judged.lines[0]).toContain('can be put back');
    expect(await bytesOf()).toEqual(before);

    const done = await run('restore.ts', [file, '--replace']);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.lines[0]).toContain('what was there: before-restore-');
    expect(done.lines.at(-1)).toContain(`${file} is put back`);
    expect((await readBreaker())?.restore?.isLoaded).toBe(true);

    const marked = await run('restore.ts', ['--in-place', '2026-01-31T04:30:00Z']);
    expect(marked.lines[0]).toContain('2026-01-31T04:30:00.000Z');
  });

  it.runIf(existsSync('/usr/bin/openssl'))('reach a database that asks for TLS', async () => {
    await live();
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const made = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost';
    const names = ['-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert];
    execFileSync('openssl', ['req', ...made.split(' '), ...names], { stdio: 'ignore' });
    const plain = new URL(database.url());
    const door = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
      const through = connect(Number(plain.port), plain.hostname);
      socket.pipe(through).pipe(socket);
      for (const end of [socket, through]) end.on('error', () => end.destroy());
    });
    door.on('tlsClientError', () => {});
    await new Promise<void>((open) => door.listen(0, 'localhost', open));
    const { port } = door.address() as AddressInfo;
    const env = { ...environment(), MONGO_HOST: `localhost:${port}`, MONGO_TLS: 'true' };
    try {
      const reached = await run('backup.ts', [], { ...env, NODE_EXTRA_CA_CERTS: cert });
      expect(reached).toMatchObject({ code: 0, stderr: '' });
      expect((await run('backup.ts', [], { ...env, MONGO_TLS: 'yes' })).stderr).toContain(
        'MONGO_TLS must be true or false',
      );
    } finally {
      door.close();
    }
  });

  it('name everything that is wrong with their environment at once, and repeat no secret', async () => {
    const secret = join(folder, 'password');
    writeFileSync(secret, 'too short');
    const { code, stderr } = await run('backup.ts', [], {
      MONGO_HOST: 'mongo',
      MONGO_USERNAME: 'lucid_stats',
      MONGO_PASSWORD_FILE: secret,
    });
    expect(code).toBe(1);
    for (const words of [
      'MONGO_PASSWORD_FILE: the file holds fewer',
      'MONGO_HOST must be host:port',
      'MONGO_DATABASE is missing',
      'BACKUP_FOLDER is missing',
    ])
      expect(stderr).toContain(words);
    expect(stderr).not.toContain('too short');
  });

  it('end with another code where they are used wrongly', async () => {
    expect((await run('restore.ts', ['../file'])).code).toBe(2);
    expect((await run('backup.ts', ['--all'])).code).toBe(2);
    expect((await run('restore.ts', ['--help'])).lines[0]).toContain('restore FILE');
  });
});

/** The same backup, as a program with another schema would have made it. */
async function* ofSchema(path: string, schema: number): AsyncGenerator<BackupDocument> {
  for await (const { collection, bson } of readBackup(path)) {
    const document = BSON.deserialize(bson, { promoteValues: false });
    const changed = document._id === BREAKER_ID ? { ...document, schema } : document;
    yield { collection, bson: BSON.serialize(changed) };
  }
}

interface Call {
  readonly collection: string;
  readonly method: string;
  readonly args: readonly unknown[];
  make(...args: readonly unknown[]): unknown;
}

/** The same database, where each call of a collection is made by `by`. */
function calledBy(on: Db, by: (call: Call) => unknown): Db {
  const over = <T extends object>(target: T, member: (name: string, own: unknown) => unknown): T =>
    new Proxy(target, {
      get: (of, name) => {
        const own: unknown = Reflect.get(of, name);
        return member(String(name), typeof own === 'function' ? own.bind(of) : own);
      },
    });
  return over(on, (name, own) => {
    if (name !== 'collection') return own;
    return (collection: string) =>
      over(on.collection(collection), (method, call) => {
        if (typeof call !== 'function') return call;
        return (...args: readonly unknown[]) =>
          by({ collection, method, args, make: (...given) => call(...given) });
      });
  });
}

/** Does something each time before payments are read. */
function beforePaymentsAreRead(on: Db, work: () => Promise<unknown>): Db {
  return calledBy(on, ({ collection, method, args, make }) => {
    const cursor = make(...args) as AsyncIterable<unknown> & { sort(order: unknown): unknown };
    if (collection !== PAYMENTS || method !== 'find') return cursor;
    const sort = async function* (order: unknown) {
      await work();
      cursor.sort(order);
      yield* cursor;
    };
    return { sort };
  });
}
