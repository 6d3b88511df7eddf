/**
 * What the ledger relies on, asked of whichever database this machine has: the emulator must answer as MongoDB
 * would. Every expectation here is MongoDB's documented behaviour.
 */
import { type Collection, type Document, type Filter, Long, MongoServerError } from 'mongodb';
import { beforeEach, describe, expect, it } from 'vitest';
import { startDatabase } from '../../../deploy/local/database/start-database.ts';
import { useDatabase } from '../../support/database.ts';

const database = useDatabase({
  writeConcern: { w: 'majority', journal: true },
  readConcern: { level: 'majority' },
});

type Doc = Document & { _id: string };
let collection: Collection<Doc>;

beforeEach(() => {
  collection = database.db().collection<Doc>('things');
});

const codeOf = (error: unknown) => (error instanceof MongoServerError ? error.code : error);
const failure = (promise: Promise<unknown>) => promise.then(() => 'no error', codeOf);

describe('unique indexes', () => {
  it('refuse an _id that is taken with code 11000', async () => {
    await collection.insertOne({ _id: 'a' });
    expect(await failure(collection.insertOne({ _id: 'a', other: 1 }))).toBe(11000);
    expect(await collection.findOne({ _id: 'a' })).toEqual({ _id: 'a' });
  });

  it('compare compound keys as a whole', async () => {
    await collection.createIndex({ caller: 1, key: 1 }, { unique: true });
    await collection.insertOne({ _id: 'a', caller: 'x', key: '1' });
    await collection.insertOne({ _id: 'b', caller: 'x', key: '2' });
    await collection.insertOne({ _id: 'c', caller: 'y', key: '1' });
    expect(await failure(collection.insertOne({ _id: 'd', caller: 'x', key: '1' }))).toBe(11000);
    expect(await collection.countDocuments()).toBe(3);
  });

  it('keep one winner of many inserts of one key at once', async () => {
    await collection.createIndex({ caller: 1, key: 1 }, { unique: true });
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        failure(collection.insertOne({ _id: `p${n}`, caller: 'x', key: 'k' })),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === 'no error')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 11000)).toHaveLength(19);
    expect(await collection.countDocuments()).toBe(1);
  });

  it('can be created again and again with the same definition', async () => {
    const create = () => collection.createIndex({ txIds: 1 }, { unique: true, sparse: true, name: 'tx_ids' });
    await create();
    await collection.insertOne({ _id: 'a', txIds: ['t1'] });
    await create();
    expect(await failure(collection.insertOne({ _id: 'b', txIds: ['t1'] }))).toBe(11000);
  });

  describe('sparse, over the items of an array', () => {
    beforeEach(async () => {
      await collection.createIndex({ txIds: 1 }, { unique: true, sparse: true });
    });

    it('leave documents without the array alone', async () => {
      await collection.insertMany(['a', 'b', 'c'].map((_id) => ({ _id })));
      expect(await collection.countDocuments()).toBe(3);
    });

    it('refuse an item that another document has, on insert and on $push', async () => {
      await collection.insertMany([{ _id: 'a', txIds: ['t1', 't2'] }, { _id: 'b' }]);
      expect(await failure(collection.insertOne({ _id: 'c', txIds: ['t2'] }))).toBe(11000);
      expect(await failure(collection.updateOne({ _id: 'b' }, { $push: { txIds: 't2' } as Document }))).toBe(
        11000,
      );
      expect(await collection.findOne({ _id: 'b' })).toEqual({ _id: 'b' });
    });

    it('take a first, a second and a third item pushed to one document', async () => {
      await collection.insertOne({ _id: 'a' });
      for (const txId of ['t1', 't2', 't3']) {
        const result = await collection.updateOne({ _id: 'a' }, { $push: { txIds: txId } as Document });
        expect(result.modifiedCount).toBe(1);
      }
      await collection.insertOne({ _id: 'b' });
      for (const txId of ['t1', 't2', 't3']) {
        expect(
          await failure(collection.updateOne({ _id: 'b' }, { $push: { txIds: txId } as Document })),
        ).toBe(11000);
        expect((await collection.findOne({ txIds: txId }))?._id).toBe('a');
      }
    });

    it('let a document with items change in other fields', async () => {
      await collection.insertOne({ _id: 'a', txIds: ['t1', 't2'], n: 1 });
      await collection.updateOne({ _id: 'a' }, { $set: { n: 2 } });
      expect(await collection.findOne({ _id: 'a' })).toEqual({ _id: 'a', txIds: ['t1', 't2'], n: 2 });
    });

    it('free an item that is pulled', async () => {
      await collection.insertMany([{ _id: 'a', txIds: ['t1', 't2'] }, { _id: 'b' }]);
      await collection.updateOne({ _id: 'a' }, { $pull: { txIds: 't1' } as Document });
      await collection.updateOne({ _id: 'b' }, { $push: { txIds: 't1' } as Document });
      expect((await collection.findOne({ txIds: 't1' }))?._id).toBe('b');
    });
  });

  it('sparse over one field, refuse an equal value and leave absent ones alone', async () => {
    await collection.createIndex({ txId: 1 }, { unique: true, sparse: true });
    await collection.insertMany([{ _id: 'a' }, { _id: 'b' }, { _id: 'c', txId: 't1' }]);
    expect(await failure(collection.updateOne({ _id: 'a' }, { $set: { txId: 't1' } }))).toBe(11000);
    expect((await collection.updateOne({ _id: 'a' }, { $set: { txId: 't2' } })).modifiedCount).toBe(1);
    expect((await collection.updateOne({ _id: 'a' }, { $unset: { txId: '' } })).modifiedCount).toBe(1);
    expect((await collection.updateOne({ _id: 'b' }, { $set: { txId: 't2' } })).modifiedCount).toBe(1);
  });
});

describe('conditional updates', () => {
  it('change nothing and say so where the guard does not hold', async () => {
    await collection.insertOne({ _id: 'b', version: 3n, out: 10n });
    const stale = await collection.updateOne({ _id: 'b', version: 2n }, { $inc: { version: 1n, out: 5n } });
    expect([stale.matchedCount, stale.modifiedCount]).toEqual([0, 0]);
    expect(await collection.findOne({ _id: 'b' })).toEqual({ _id: 'b', version: 3n, out: 10n });
    expect(
      await collection.findOneAndUpdate(
        { _id: 'b', version: 2n },
        { $set: { out: 0n } },
        { returnDocument: 'after' },
      ),
    ).toBeNull();
  });

  it('compare all that a filter says beside the _id', async () => {
    await collection.insertMany(['a', 'b', 'c'].map((_id) => ({ _id, status: 'open', tags: ['x'] })));
    await collection.updateOne({ _id: 'b' }, { $set: { status: 'done' } });
    const found = (filter: Filter<Doc>) =>
      collection
        .find(filter)
        .map(({ _id }) => _id)
        .toArray();
    expect(await found({ _id: 'a', status: 'open' })).toEqual(['a']);
    expect(await found({ _id: 'a', status: 'done' })).toEqual([]);
    expect(await found({ status: 'open', _id: 'none' })).toEqual([]);
    expect((await found({ _id: { $in: ['c', 'b', 'a'] }, status: 'open' })).sort()).toEqual(['a', 'c']);
    expect(await found({ _id: { $gt: 'a' }, status: 'open' })).toEqual(['c']);
    expect((await found({ _id: { $ne: 'a' }, tags: 'x' })).sort()).toEqual(['b', 'c']);
    expect(await found({ _id: 'b', $or: [{ status: 'open' }, { tags: 'x' }] })).toEqual(['b']);
    expect(await found({ _id: 'b', $or: [{ status: 'open' }, { tags: 'y' }] })).toEqual([]);
    await collection.updateMany({ _id: { $in: ['a', 'b'] }, status: 'open' }, { $set: { status: 'held' } });
    expect(await found({ status: 'held' })).toEqual(['a']);
    await collection.deleteOne({ _id: 'a', status: 'open' });
    expect(await found({ _id: 'a' })).toEqual(['a']);
  });

  it('answer the document as it was, or as it became', async () => {
    await collection.insertOne({ _id: 'b', version: 3n });
    const change = { $inc: { version: 1n } };
    expect(await collection.findOneAndUpdate({ _id: 'b' }, change, { returnDocument: 'before' })).toEqual({
      _id: 'b',
      version: 3n,
    });
    expect(await collection.findOneAndUpdate({ _id: 'b' }, change, { returnDocument: 'after' })).toEqual({
      _id: 'b',
      version: 5n,
    });
    expect(
      await collection.findOneAndUpdate({ _id: 'b' }, change, {
        returnDocument: 'after',
        projection: { _id: 0 },
      }),
    ).toEqual({ version: 6n });
    expect(
      await collection.findOneAndUpdate({ _id: 'none' }, change, { projection: { version: 1 } }),
    ).toBeNull();
  });

  it('apply $inc, $set, $push and $pull of other fields in one write', async () => {
    await collection.insertOne({
      _id: 'b',
      v: 1n,
      books: { USDT: { out: 7n } },
      tx: [{ id: 'x', p: 'p1' }],
      note: null,
    });
    await collection.updateOne(
      { _id: 'b', v: 1n },
      {
        $inc: { v: 1n, 'books.USDT.out': -2n },
        $set: { note: 'n' },
        $push: { tx: { id: 'y', p: 'p2' } } as Document,
      },
    );
    await collection.updateOne({ _id: 'b', 'tx.id': 'x' }, { $pull: { tx: { id: 'x' } } as Document });
    expect(await collection.findOne({ _id: 'b' })).toEqual({
      _id: 'b',
      v: 2n,
      books: { USDT: { out: 5n } },
      tx: [{ id: 'y', p: 'p2' }],
      note: 'n',
    });
  });

  it('$pull takes out the one item whose fields all match', async () => {
    const tx = [
      { id: 'x', p: 'p1', kind: 'reserve' },
      { id: 'y', p: 'p1', kind: 'commit' },
      { id: 'x', p: 'p2', kind: 'commit' },
    ];
    await collection.insertOne({ _id: 'b', tx });
    await collection.updateOne({ _id: 'b' }, { $pull: { tx: { id: 'x', kind: 'reserve' } } as Document });
    expect((await collection.findOne({ _id: 'b' }))?.tx).toEqual(tx.slice(1));
    const absent = await collection.updateOne(
      { _id: 'b', 'tx.id': 'z' },
      { $pull: { tx: { id: 'z' } } as Document },
    );
    expect(absent.modifiedCount).toBe(0);
  });

  it('$ne over the items of an array holds only where no item has the value', async () => {
    await collection.insertOne({ _id: 'b', v: 1n, tx: [{ p: 'p1' }, { p: 'p2' }] });
    const push = (p: string) =>
      collection.updateOne({ _id: 'b', 'tx.p': { $ne: p } }, { $push: { tx: { p } } as Document });
    expect((await push('p1')).matchedCount).toBe(0);
    expect((await push('p2')).matchedCount).toBe(0);
    expect((await push('p3')).matchedCount).toBe(1);
    await collection.insertOne({ _id: 'empty', tx: [] });
    expect(await collection.countDocuments({ _id: 'empty', 'tx.p': { $ne: 'p1' } })).toBe(1);
  });

  it('a bound on the length of an array holds exactly', async () => {
    await collection.insertOne({ _id: 'b', tx: [1, 2] });
    expect(await collection.countDocuments({ 'tx.2': { $exists: false } })).toBe(1);
    expect(await collection.countDocuments({ 'tx.1': { $exists: false } })).toBe(0);
    expect(await collection.countDocuments({ tx: { $size: 2 } })).toBe(1);
    expect(await collection.countDocuments({ tx: { $size: 1 } })).toBe(0);
  });

  it('match null both where the field is null and where it is absent, and $ne null neither', async () => {
    await collection.insertMany([{ _id: 'null', res: null }, { _id: 'absent' }, { _id: 'set', res: 'r' }]);
    const ids = async (filter: Document) =>
      (await collection.find(filter).toArray()).map(({ _id }) => _id).sort();
    expect(await ids({ res: null })).toEqual(['absent', 'null']);
    expect(await ids({ res: { $ne: null } })).toEqual(['set']);
    expect(await ids({ res: { $exists: false } })).toEqual(['absent']);
    expect(await ids({ res: { $type: 'null' } })).toEqual(['null']);
  });

  it('compare an embedded document as a whole', async () => {
    await collection.insertOne({ _id: 'b', circuit: { state: 'open', generation: 4n, until: null } });
    const read = (await collection.findOne({ _id: 'b' }))?.circuit;
    const next = { state: 'half-open', generation: 4n, permits: [{ id: 'a', untilMs: 5n }] };
    expect(
      (
        await collection.updateOne(
          { _id: 'b', circuit: { ...read, generation: 3n } },
          { $set: { circuit: next } },
        )
      ).matchedCount,
    ).toBe(0);
    expect(
      (await collection.updateOne({ _id: 'b', circuit: read }, { $set: { circuit: next } })).matchedCount,
    ).toBe(1);
    expect(
      (await collection.updateOne({ _id: 'b', circuit: next }, { $set: { done: true } })).matchedCount,
    ).toBe(1);
  });

  it('$in, $nin, $or and dotted paths guard as they read', async () => {
    await collection.insertOne({ _id: 'p', status: 'signed', attempt: { number: 2, txId: 't' }, res: 'r' });
    const matches = async (filter: Document) =>
      (await collection.countDocuments({ _id: 'p', ...filter })) === 1;
    expect(await matches({ status: { $in: ['signed', 'broadcast'] }, 'attempt.number': 2 })).toBe(true);
    expect(await matches({ status: { $in: ['accepted'] } })).toBe(false);
    expect(await matches({ status: { $nin: ['confirmed', 'failed'] } })).toBe(true);
    expect(await matches({ $or: [{ res: null }, { res: 'r' }], 'attempt.txId': 't' })).toBe(true);
    expect(await matches({ 'attempt.number': { $gt: 2 } })).toBe(false);
  });

  it('update the matched item of an array by $ and by arrayFilters', async () => {
    await collection.insertOne({
      _id: 'p',
      attempts: [
        { n: 1, state: 'x' },
        { n: 2, state: 'x' },
      ],
    });
    await collection.updateOne({ _id: 'p', 'attempts.n': 2 }, { $set: { 'attempts.$.state': 'y' } });
    await collection.updateOne(
      { _id: 'p' },
      { $set: { 'attempts.$[first].state': 'z' } },
      { arrayFilters: [{ 'first.n': 1 }] },
    );
    expect((await collection.findOne({ _id: 'p' }))?.attempts).toEqual([
      { n: 1, state: 'z' },
      { n: 2, state: 'y' },
    ]);
  });

  it('keep the last items of a history by $push with $each and $slice', async () => {
    await collection.insertOne({ _id: 'p', history: [1, 2, 3] });
    await collection.updateOne(
      { _id: 'p' },
      { $push: { history: { $each: [4, 5], $slice: -3 } } as Document },
    );
    expect((await collection.findOne({ _id: 'p' }))?.history).toEqual([3, 4, 5]);
  });

  it('insert once by upsert with $setOnInsert, however many try at once', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        collection.updateOne({ _id: 'breaker' }, { $setOnInsert: { v: 0n, by: n } }, { upsert: true }).then(
          (result) => result.upsertedCount,
          (error) => (codeOf(error) === 11000 ? 0 : error),
        ),
      ),
    );
    expect(outcomes.reduce((sum, count) => sum + count, 0)).toBe(1);
    expect(await collection.countDocuments()).toBe(1);
  });

  it('report matched and modified apart', async () => {
    await collection.insertOne({ _id: 'p', state: 'x' });
    const same = await collection.updateOne({ _id: 'p' }, { $set: { state: 'x' } });
    expect([same.matchedCount, same.modifiedCount]).toEqual([1, 0]);
  });
});

describe('values', () => {
  it('keep 64-bit integers exactly, also beyond the safe range of numbers', async () => {
    const large = 9_007_199_254_740_993n;
    await collection.insertOne({ _id: 'a', large, negative: -large, small: 1n, least: -(2n ** 63n) });
    await collection.updateOne({ _id: 'a', large }, { $inc: { large: 2n } });
    expect(await collection.findOne({ _id: 'a', large: large + 2n })).toEqual({
      _id: 'a',
      large: large + 2n,
      negative: -large,
      small: 1n,
      least: -(2n ** 63n),
    });
    expect(await collection.countDocuments({ large })).toBe(0);
    expect(await collection.countDocuments({ large: large + 3n })).toBe(0);
  });

  it('compare 64-bit integers in range filters exactly', async () => {
    const at = 9_007_199_254_740_993n;
    await collection.insertOne({ _id: 'a', at });
    expect(await collection.countDocuments({ at: { $gt: at - 1n } })).toBe(1);
    expect(await collection.countDocuments({ at: { $gt: at } })).toBe(0);
    expect(await collection.countDocuments({ at: { $lte: at - 1n } })).toBe(0);
    expect(await collection.countDocuments({ at: { $gte: at, $lt: at + 1n } })).toBe(1);
  });

  it('take a bigint and a Long as the same value, and a number that equals it too', async () => {
    await collection.insertOne({ _id: 'a', n: 5n });
    expect(await collection.countDocuments({ n: Long.fromNumber(5) })).toBe(1);
    expect(await collection.countDocuments({ n: 5 })).toBe(1);
  });

  it('keep a 64-bit integer one when a 32-bit number is added', async () => {
    await collection.insertOne({ _id: 'a', n: 5n, m: 5 });
    await collection.updateOne({ _id: 'a' }, { $inc: { n: 1, m: 1n } });
    expect(await collection.findOne({ _id: 'a' })).toEqual({ _id: 'a', n: 6n, m: 6n });
  });

  it('keep bytes, instants, booleans, null and nesting', async () => {
    const signedBytes = Buffer.from(Array.from({ length: 300 }, (_, n) => n % 256));
    const document = {
      _id: 'a',
      signedBytes,
      at: new Date(1_700_000_000_123),
      yes: true,
      none: null,
      deep: { list: [[1], { a: [] }] },
    };
    await collection.insertOne(document);
    expect(await collection.findOne({ _id: 'a' })).toEqual(document);
  });

  it('keep the order of fields and keys with unusual characters', async () => {
    const document = { _id: 'a', z: 1, a: 2, 'ключ ü "': '☃', m: { b: 1, a: 2 } };
    await collection.insertOne(document);
    expect(JSON.stringify(await collection.findOne({ _id: 'a' }))).toBe(JSON.stringify(document));
  });
});

describe('reading', () => {
  it('sorts, limits and pages by a cursor of two fields', async () => {
    await collection.insertMany(
      Array.from({ length: 50 }, (_, n) => ({ _id: `p${String(n).padStart(2, '0')}`, at: BigInt(n % 7) })),
    );
    const seen: string[] = [];
    let after: { at: bigint; _id: string } | undefined;
    for (let page = 0; page < 10; page += 1) {
      const filter =
        after === undefined
          ? {}
          : { $or: [{ at: { $gt: after.at } }, { at: after.at, _id: { $gt: after._id } }] };
      const rows = await collection.find(filter).sort({ at: 1, _id: 1 }).limit(9).toArray();
      seen.push(...rows.map(({ _id }) => _id));
      const last = rows.at(-1);
      if (last === undefined) break;
      after = { at: last.at, _id: last._id };
    }
    expect(seen).toHaveLength(50);
    expect(new Set(seen).size).toBe(50);
  });

  it('hands out more than one batch', async () => {
    await collection.insertMany(Array.from({ length: 250 }, (_, n) => ({ _id: `p${n}` })));
    expect(await collection.find({}, { batchSize: 20 }).toArray()).toHaveLength(250);
  });

  it('visits due payments, longest waiting first, and none that is not due', async () => {
    await collection.insertMany([
      { _id: 'later', settleAtMs: 300n },
      { _id: 'b', settleAtMs: 200n },
      { _id: 'ended', settleAtMs: null },
      { _id: 'a', settleAtMs: 100n },
      { _id: 'never' },
    ]);
    const due = await collection
      .find({ settleAtMs: { $lte: 200n } })
      .sort({ settleAtMs: 1 })
      .limit(10)
      .toArray();
    expect(due.map(({ _id }) => _id)).toEqual(['a', 'b']);
  });

  it('counts and sums by group with 64-bit sums', async () => {
    await collection.insertMany([
      { _id: 'a', asset: 'USDT', status: 'confirmed', amount: 9_007_199_254_740_993n, at: 5n },
      { _id: 'b', asset: 'USDT', status: 'confirmed', amount: 2n, at: 6n },
      { _id: 'c', asset: 'TRX', status: 'failed', amount: 3n, at: 7n },
      { _id: 'd', asset: 'TRX', status: 'failed', amount: 4n, at: 1n },
    ]);
    const groups = await collection
      .aggregate([
        { $match: { at: { $gte: 5n } } },
        {
          $group: {
            _id: { asset: '$asset', status: '$status' },
            count: { $sum: 1 },
            amount: { $sum: '$amount' },
          },
        },
        { $sort: { '_id.asset': 1 } },
      ])
      .toArray();
    expect(groups).toEqual([
      { _id: { asset: 'TRX', status: 'failed' }, count: 1, amount: 3n },
      { _id: { asset: 'USDT', status: 'confirmed' }, count: 2, amount: 9_007_199_254_740_995n },
    ]);
  });
});

/** A database that MONGO_URL names may be on another machine. */
const CLOCKS_APART_MS = 1_000;

describe('the server', () => {
  it('tells its clock by hello', async () => {
    const beforeMs = Date.now();
    const { localTime } = await database.db().admin().command({ hello: 1 });
    expect(localTime).toBeInstanceOf(Date);
    expect(localTime.getTime()).toBeGreaterThan(beforeMs - CLOCKS_APART_MS);
    expect(localTime.getTime()).toBeLessThan(Date.now() + CLOCKS_APART_MS);
  });

  it('answers ping', async () => {
    expect((await database.db().command({ ping: 1 })).ok).toBe(1);
  });
});

/**
 * Where the emulator is wrong, so that the code stays away from it: a field under a sparse unique index is either
 * absent or holds something (no null, no empty array), and it lies at the top of the document. Should one of these
 * fail, the emulator has learned to do it right.
 */
describe('the emulator', () => {
  beforeEach((context) => {
    context.skip(database.kind() !== 'emulator', 'this is a real MongoDB');
  });

  it('does not enforce a sparse unique index inside the items of an array', async () => {
    await collection.createIndex({ 'attempts.txId': 1 }, { unique: true, sparse: true });
    await collection.insertOne({ _id: 'a', attempts: [{ txId: 'x' }] });
    await collection.insertOne({ _id: 'b', attempts: [{ txId: 'y' }] });
    const push = { $push: { attempts: { txId: 'x' } } as Document };
    expect(await failure(collection.updateOne({ _id: 'b' }, push))).toBe('no error');
  });

  it('cannot change a document any more whose array under a sparse unique index is empty', async () => {
    await collection.createIndex({ txIds: 1 }, { unique: true, sparse: true });
    await collection.insertOne({ _id: 'a', txIds: [] });
    await expect(collection.updateOne({ _id: 'a' }, { $push: { txIds: 'x' } as Document })).rejects.toThrow();
  });

  it('cannot change documents without a field under a sparse unique index once another has null there', async () => {
    await collection.createIndex({ txId: 1 }, { unique: true, sparse: true });
    await collection.insertMany([{ _id: 'a' }, { _id: 'b', txId: null }]);
    await expect(collection.updateOne({ _id: 'a' }, { $set: { n: 1 } })).rejects.toThrow();
  });

  it('says so itself, and promises no replication', async () => {
    const { description } = await startDatabase({ memory: true }).then(async (started) => {
      await started.stop();
      return started;
    });
    expect(description).toContain('no replication, no fail-over');
  });
});
