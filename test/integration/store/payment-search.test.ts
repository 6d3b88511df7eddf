import { describe, expect, it } from 'vitest';
import { connectMongo } from '../../../shared/adapters/mongo/connect.ts';
import { PAYMENTS, paymentDocument } from '../../../shared/adapters/mongo/documents.ts';
import { mongoPaymentSearch } from '../../../shared/adapters/mongo/payment-search.ts';
import type { Payment } from '../../../shared/domain/payment.ts';
import type { PagePlace, PaymentFilter, PaymentSearch } from '../../../shared/ports/payment-search.ts';
import { useDatabase } from '../../support/database.ts';
import { memorySearch } from '../../support/memory-search.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { freePort } from '../../support/ports.ts';
import { payment } from '../../support/stored-payment.ts';
import { START_MS } from '../../support/test-engine.ts';

const database = useDatabase({ monitorCommands: true });

interface Opened {
  readonly search: PaymentSearch;
  store(documents: readonly { readonly _id: string }[]): Promise<unknown>;
}

const onMongo = (): Opened => {
  const db = database.connect();
  return {
    search: mongoPaymentSearch(db),
    store: (documents) => db.collection<{ _id: string }>(PAYMENTS).insertMany([...documents]),
  };
};

const inMemory = (): Opened => {
  const store = new MemoryStore(() => START_MS);
  return {
    search: memorySearch(store),
    store: async (documents) => {
      for (const document of documents) store.insert('payments', document);
    },
  };
};

const stored = (id: string, over: Partial<Payment> = {}) =>
  paymentDocument(payment({ id, createdAtMs: START_MS, ...over }), false);

/** More than the database sends at once. */
const many = Array.from({ length: 250 }, (_, index) => stored(`pay_${String(index).padStart(3, '0')}`));

async function idsOf(found: AsyncIterable<Payment>, countMax = Number.POSITIVE_INFINITY): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of found) {
    ids.push(id);
    if (ids.length === countMax) break;
  }
  return ids;
}

// The one in memory stands in for the other where routes are tested, so it must keep the very same promises.
describe.each([
  ['on MongoDB', onMongo],
  ['in memory', inMemory],
])('a search %s', (_, open) => {
  it('finds the newest first, and those of one instant by their ids', async () => {
    const { search, store } = open();
    await store([stored('a'), stored('c'), stored('b'), stored('d', { createdAtMs: START_MS - 1 })]);
    expect(await idsOf(search.find({}, null, 10))).toEqual(['c', 'b', 'a', 'd']);
    expect(await idsOf(search.find({}, null, 3))).toEqual(['c', 'b', 'a']);
  });

  it('goes on behind a place, whether its payment is still there or not', async () => {
    const { search, store } = open();
    await store([stored('a'), stored('c'), stored('d', { createdAtMs: START_MS - 1 })]);
    const behind = (place: PagePlace) => idsOf(search.find({}, place, 10));
    expect(await behind({ createdAtMs: START_MS, id: 'c' })).toEqual(['a', 'd']);
    expect(await behind({ createdAtMs: START_MS, id: 'b' })).toEqual(['a', 'd']);
    expect(await behind({ createdAtMs: START_MS - 1, id: 'd' })).toEqual([]);
  });

  it('finds what meets every condition that is given', async () => {
    const { search, store } = open();
    await store([
      stored('a', { caller: 'shop', asset: 'TRX', reference: 'r', status: 'confirmed' }),
      stored('b', { createdAtMs: START_MS + 5 }),
    ]);
    const found = (filter: PaymentFilter) => idsOf(search.find(filter, null, 10));
    for (const filter of [
      { caller: 'shop' },
      { asset: 'TRX' },
      { reference: 'r' },
      { status: 'confirmed' },
      { toMs: START_MS + 5 },
      { caller: 'shop', asset: 'TRX', fromMs: START_MS },
    ] as const) {
      expect([filter, await found(filter)]).toEqual([filter, ['a']]);
    }
    expect(await found({ fromMs: START_MS + 1 })).toEqual(['b']);
    expect(await found({ caller: 'shop', asset: 'USDT' })).toEqual([]);
  });

  it('may be left at any step, and gives all that is asked for where it is not', async () => {
    const { search, store } = open();
    const ids = many.map(({ _id }) => _id);
    await store(many);
    for (const countMax of [1, 101, 102]) {
      expect(await idsOf(search.find({}, null, 201), countMax)).toEqual(ids.toReversed().slice(0, countMax));
    }
    expect(await idsOf(search.find({}, null, 201))).toEqual(ids.toReversed().slice(0, 201));
  });
});

describe('the search on MongoDB', () => {
  it('finds no batches, whose payments it finds', async () => {
    const { search, store } = onMongo();
    const batch = { ...stored('bat_1'), items: [] };
    await store([stored('a'), batch]);
    expect(await idsOf(search.find({}, null, 10))).toEqual(['a']);
  });

  it('ends on the database what is left early, and reads no more of it', async () => {
    const commands: string[] = [];
    database.client().on('commandStarted', ({ commandName }) => commands.push(commandName));
    await database.db().collection<{ _id: string }>(PAYMENTS).insertMany(many);
    commands.length = 0;
    expect(await idsOf(mongoPaymentSearch(database.db()).find({}, null, 201), 1)).toHaveLength(1);
    expect(commands).toEqual(['find', 'killCursors']);
  });

  it('says so when the database is out of reach', async () => {
    const { client, db } = connectMongo({
      url: `mongodb://127.0.0.1:${await freePort()}/?directConnection=true`,
      database: 'x',
      credentials: null,
      connectTimeoutMs: 200,
      serverSelectionTimeoutMs: 200,
      maxPoolSize: 1,
    });
    await expect(idsOf(mongoPaymentSearch(db).find({}, null, 1))).rejects.toMatchObject({
      code: 'store_unavailable',
    });
    await client.close();
  });
});
