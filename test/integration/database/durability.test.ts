/**
 * What the store promises to money: an acknowledged write outlives `kill -9`, a reply tells of exactly the change
 * that it acknowledges, and two writers never both win one version.
 */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { type Collection, MongoClient } from 'mongodb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Database, startDatabase } from '../../../deploy/local/database/start-database.ts';
import { isAlive } from '../../support/is-alive.ts';
import { isThorough } from '../../support/thorough.ts';
import { untilThere, waitUntil } from '../../support/wait-until.ts';

type Counter = { _id: string; version: bigint; writer: number; pad: string };
type Item = { _id: string; writer: number; n: number };

/** A database that somebody else runs is not ours to kill. */
const env = { ...process.env, MONGO_URL: undefined };

const WRITERS = 6;
const ROUNDS = isThorough ? 10 : 3;
const PAD = 'x'.repeat(200);

const BURSTS = isThorough ? 8 : 4;
const CHANGES_A_BURST = 100;
const PAD_BYTES = 20_000;
/** How long the emulator keeps replaced data; the launcher sets it. */
const RETENTION_MS = 1_000;

let dataDir: string;
let database: Database | undefined;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'durability-'));
});

afterEach(async () => {
  await database?.stop();
  database = undefined;
  await rm(dataDir, { recursive: true, force: true });
});

async function connect(): Promise<MongoClient> {
  const started = await startDatabase({ dataDir, env });
  database = started;
  const connecting = () =>
    new MongoClient(started.url, {
      useBigInt64: true,
      writeConcern: { w: 'majority', journal: true },
      // Short, since each writer waits for so long once the server is gone.
      serverSelectionTimeoutMS: 500,
      retryWrites: false,
    }).connect();
  return untilThere(connecting);
}

/** What the writers know for certain: they were told so. */
type Acknowledged = { version: bigint; readonly items: Set<string> };

/**
 * One writer: adds to its own items and moves the shared counter on from the version it read. Ends at the first
 * failure, which is the kill.
 */
async function write(
  client: MongoClient,
  writer: number,
  round: number,
  acknowledged: Acknowledged,
): Promise<void> {
  const counters = client.db('t').collection<Counter>('counters');
  const items = client.db('t').collection<Item>('items');
  try {
    for (let n = 0; ; n += 1) {
      const item = { _id: `${round}-${writer}-${n}`, writer, n };
      await items.insertOne(item);
      acknowledged.items.add(item._id);
      const seen = await counters.findOne({ _id: 'hot' });
      if (seen === null) throw new Error('the counter is gone');
      const moved = await counters.findOneAndUpdate(
        { _id: 'hot', version: seen.version },
        { $set: { version: seen.version + 1n, writer, pad: PAD } },
        { returnDocument: 'after' },
      );
      if (moved !== null && moved.version > acknowledged.version) acknowledged.version = moved.version;
    }
  } catch {
    // The server is gone; what it acknowledged before is in `acknowledged`.
  }
}

describe('the database of one machine', () => {
  it('loses nothing that it acknowledged when it is killed at any instant', async () => {
    const seed = randomInt(2 ** 31);
    const acknowledged: Acknowledged = { version: 0n, items: new Set() };
    let client = await connect();
    await client
      .db('t')
      .collection<Counter>('counters')
      .insertOne({ _id: 'hot', version: 0n, writer: 0, pad: PAD });
    try {
      const instants = fc.tuple(
        fc.noBias(fc.integer({ min: 1, max: 150 })),
        fc.noBias(fc.integer({ max: 20, min: 0 })),
      );
      for (const [round, [writes, extraMs]] of fc.sample(instants, { numRuns: ROUNDS, seed }).entries()) {
        const writesMin = acknowledged.items.size + writes;
        const writers = Array.from({ length: WRITERS }, (_, w) => write(client, w, round, acknowledged));
        await waitUntil(() => acknowledged.items.size >= writesMin);
        await sleep(extraMs);
        process.kill(database?.pid ?? 0, 'SIGKILL');
        await Promise.all(writers);
        await client.close();
        await database?.exited;

        client = await connect();
        const counters = client.db('t').collection<Counter>('counters');
        const items = client.db('t').collection<Item>('items');
        const stored = new Set((await items.find().toArray()).map(({ _id }) => _id));
        const where = `seed ${seed}, round ${round}, killed ${extraMs} ms after ${writes} writes`;
        expect(
          [...acknowledged.items].filter((id) => !stored.has(id)),
          where,
        ).toEqual([]);
        // One more may have been written than was told, by each writer: their last word was cut off.
        const counter = await counters.findOne({ _id: 'hot' });
        expect(counter?.version, where).toBeGreaterThanOrEqual(acknowledged.version);
        expect(counter?.version, where).toBeLessThanOrEqual(acknowledged.version + BigInt(WRITERS));
        expect(await items.countDocuments(), where).toBe(stored.size);
      }
      expect(acknowledged.version).toBeGreaterThan(BigInt(ROUNDS));
    } finally {
      await client.close();
    }
  });

  it('keeps unique indexes and what they guard together over kill -9', async () => {
    let client = await connect();
    const indexed = () =>
      client.db('t').collection<{ _id: string; txIds?: string[]; key: string }>('payments');
    await indexed().createIndex({ key: 1 }, { unique: true });
    await indexed().createIndex({ txIds: 1 }, { unique: true, sparse: true });
    const known: string[] = [];
    const busy = (async () => {
      for (let n = 0; ; n += 1) {
        await indexed().insertOne({ _id: `p${n}`, key: `k${n}` });
        await indexed().updateOne({ _id: `p${n}` }, { $push: { txIds: `t${n}` } });
        known.push(`p${n}`);
      }
    })().catch(() => undefined);
    await waitUntil(() => known.length >= 60);
    process.kill(database?.pid ?? 0, 'SIGKILL');
    await busy;
    await client.close();
    client = await connect();
    try {
      const rows = await indexed().find().toArray();
      expect(rows.length).toBeGreaterThanOrEqual(known.length);
      for (const { _id } of rows.slice(-20)) {
        const n = _id.slice(1);
        await expect(indexed().insertOne({ _id: `again-${n}`, key: `k${n}` })).rejects.toMatchObject({
          code: 11000,
        });
        // The last one may have been killed between its two writes.
        const changed = await indexed().updateOne({ _id }, { $set: { key: `new-${n}` } });
        expect(changed.modifiedCount).toBe(1);
        await indexed().insertOne({ _id: `free-${n}`, key: `k${n}` });
      }
      for (const { txIds } of rows.filter((row) => row.txIds !== undefined).slice(-20)) {
        await expect(indexed().insertOne({ _id: 'x', key: 'x', txIds: txIds ?? [] })).rejects.toMatchObject({
          code: 11000,
        });
      }
    } finally {
      await client.close();
    }
  });

  it('answers each write with exactly the version that this write made, and lets each version win once', async () => {
    const client = await connect();
    try {
      const counters = client.db('t').collection<Counter>('counters');
      await counters.insertOne({ _id: 'hot', version: 0n, writer: -1, pad: PAD });
      const wins = new Map<bigint, number>();
      let losses = 0;
      const contend = async (writer: number) => {
        let newest = 0n;
        while (wins.size < 300 || losses === 0) {
          const seen = await read(counters);
          // What a connection has read or written once is never followed by an older state.
          expect(seen.version).toBeGreaterThanOrEqual(newest);
          const next = { version: seen.version + 1n, writer, pad: `${seen.version + 1n}-${writer}` };
          const after = await counters.findOneAndUpdate(
            { _id: 'hot', version: seen.version },
            { $set: next },
            { returnDocument: 'after' },
          );
          if (after === null) {
            losses += 1;
            newest = seen.version;
            continue;
          }
          expect(after).toEqual({ _id: 'hot', ...next });
          expect(wins.has(next.version)).toBe(false);
          wins.set(next.version, writer);
          newest = next.version;
        }
      };
      await Promise.all(Array.from({ length: 8 }, (_, writer) => contend(writer)));
      const final = await read(counters);
      expect(final.version).toBe(BigInt(wins.size));
    } finally {
      await client.close();
    }
  });

  it('never shows half of a change: fields that are written together are read together', async () => {
    const client = await connect();
    try {
      const pairs = client.db('t').collection<{ _id: string; a: bigint; list: bigint[]; b: bigint }>('pairs');
      await pairs.insertOne({ _id: 'p', a: 0n, list: [], b: 0n });
      let reads = 0;
      const writer = async () => {
        while (reads < 500) {
          await pairs.updateOne(
            { _id: 'p' },
            { $inc: { a: 1n, b: 1n }, $push: { list: { $each: [1n], $slice: -50 } } },
          );
        }
      };
      const reader = async () => {
        while (reads < 500) {
          const seen = await pairs.findOne({ _id: 'p' });
          reads += 1;
          expect(seen?.b).toBe(seen?.a);
          expect(seen?.list.length).toBe(Number(seen?.a ?? 0n) > 50 ? 50 : Number(seen?.a));
        }
      };
      await Promise.all([writer(), writer(), reader(), reader(), reader()]);
    } finally {
      await client.close();
    }
  });

  it('does not let its file grow with the number of changes', async (context) => {
    const client = await connect();
    if (database?.kind !== 'emulator') {
      await client.close();
      context.skip('this is a real MongoDB');
    }
    try {
      const counters = client.db('t').collection<Counter>('counters');
      await counters.insertOne({ _id: 'hot', version: 0n, writer: 0, pad: 'y'.repeat(PAD_BYTES) });
      for (let burst = 0; burst < BURSTS; burst += 1) {
        // What one burst replaced is free before the next begins. So however fast this machine writes, no more than
        // one burst is kept at a time, and what follows fits where the earlier ones were.
        if (burst > 0) await sleep(RETENTION_MS + 200);
        for (let change = 0; change < CHANGES_A_BURST; change += 1) {
          await counters.updateOne({ _id: 'hot' }, { $inc: { version: 1n } });
        }
      }
      // Each change writes the document anew.
      const { size } = await stat(join(dataDir, 'database.mv'));
      expect(size).toBeLessThan((BURSTS * CHANGES_A_BURST * PAD_BYTES) / 2);
    } finally {
      await client.close();
    }
  });

  it('ends when the process that started it is killed', async () => {
    const starter = spawn(process.execPath, [join(import.meta.dirname, 'start-and-stay.ts')], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(createInterface({ input: starter.stdout }), 'line');
    expect(isAlive(Number(line))).toBe(true);
    starter.kill('SIGKILL');
    await waitUntil(() => !isAlive(Number(line)));
  });
});

async function read(counters: Collection<Counter>): Promise<Counter> {
  const counter = await counters.findOne({ _id: 'hot' });
  if (counter === null) throw new Error('the counter is gone');
  return counter;
}
