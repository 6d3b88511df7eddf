import type { Collection, Db, Filter, OptionalUnlessRequiredId, UpdateFilter } from 'mongodb';
import { NEW_BREAKER } from '../../domain/breaker.ts';
import { ServiceError } from '../../domain/errors.ts';
import type { CollectionName, Document, DocumentStore, FindOptions, Value } from './document-store.ts';
import { BREAKER, BREAKER_ID, breakerDocument, PAYMENTS } from './documents.ts';
import { readServerTimeMs } from './server-time.ts';
import { isDuplicateKey, type StoreAccess, storeAccess } from './store-errors.ts';

/** A sum over all that is held takes milliseconds by its index; what takes longer is given up. */
const SUM_MS_MAX = 5_000;

/** Documents in MongoDB; the collections and their indexes are made ready before the first of them is used. */
export function mongoStore(db: Db): DocumentStore {
  const collections = collectionsOf(db);
  const access = storeAccess(db.client);
  const { reading, writing } = access;

  return {
    serverTimeMs: () => readServerTimeMs(db, access),

    async findOne<T extends Document>(name: CollectionName, filter: object, { only }: FindOptions = {}) {
      const read = () =>
        reading(() => collections[name].findOne<T>(filter as Filter<Document>, projected(only)));
      const found = await read();
      if (found !== null || name !== 'breaker') return found;
      await prepare(collections, access);
      return read();
    },

    find<T extends Document>(name: CollectionName, filter: object, options: FindOptions = {}) {
      const { sort, limit, only } = options;
      const found = collections[name].find<T>(filter as Filter<Document>, {
        ...(sort === undefined ? {} : { sort: sort as Record<string, 1 | -1> }),
        ...(limit === undefined ? {} : { limit }),
        ...projected(only),
      });
      return reading(() => found.toArray());
    },

    async sum(name, filter, by, fields) {
      const groups = collections[name].aggregate<Record<string, number | bigint> & { _id: Value }>(
        [
          { $match: filter },
          {
            $group: {
              _id: `$${by}`,
              ...Object.fromEntries(fields.map((field) => [field, { $sum: `$${field}` }])),
            },
          },
        ],
        { maxTimeMS: SUM_MS_MAX },
      );
      return (await reading(() => groups.toArray())).map((group) => ({
        of: group._id,
        // Servers give sums as 32-bit or 64-bit integers, as they fit.
        sums: Object.fromEntries(fields.map((field) => [field, BigInt(group[field] ?? 0)])),
      }));
    },

    async updateOne(name, filter, update) {
      try {
        const result = await writing(() =>
          collections[name].updateOne(filter as Filter<Document>, update as UpdateFilter<Document>),
        );
        return result.matchedCount === 1;
      } catch (error) {
        if (isDuplicateKey(error)) return 'duplicate';
        throw error;
      }
    },

    async updateMany(name, filter, update) {
      await writing(() =>
        collections[name].updateMany(filter as Filter<Document>, update as UpdateFilter<Document>),
      );
    },

    async insertOne(name, document) {
      try {
        await writing(() => collections[name].insertOne(document as OptionalUnlessRequiredId<Document>));
        return 'inserted';
      } catch (error) {
        if (isDuplicateKey(error)) return 'duplicate';
        throw error;
      }
    },
  };
}

function projected(only: FindOptions['only']) {
  return only === undefined ? {} : { projection: Object.fromEntries(only.map((field) => [field, 1])) };
}

/**
 * Makes the collections and their indexes ready, for whoever sets up a database before its first function starts:
 * then the functions need no right to make indexes. Harmless where all is there.
 * @throws ServiceError as `prepare` does
 */
export async function prepareDatabase(db: Db): Promise<void> {
  await prepare(collectionsOf(db), storeAccess(db.client));
}

function collectionsOf(db: Db): Record<CollectionName, Collection<Document>> {
  return { payments: db.collection(PAYMENTS), breaker: db.collection(BREAKER) };
}

/**
 * Makes the collections ready. The breaker document is inserted last: where it is, the unique indexes that
 * paying once rests on are there too.
 * @throws ServiceError `store_unavailable` where there are payments without it: books that were lost must not be
 *   taken for empty ones
 */
async function prepare(
  { payments, breaker }: Record<CollectionName, Collection<Document>>,
  { reading, writing }: StoreAccess,
): Promise<void> {
  await writing(() =>
    payments.createIndexes([
      { key: { caller: 1, idempotencyKey: 1 }, name: 'one_payment_per_key', unique: true },
      { key: { txIds: 1 }, name: 'one_payment_per_transaction', unique: true, sparse: true },
      { key: { referenceKeys: 1 }, name: 'one_payment_per_reference', unique: true, sparse: true },
      { key: { settleAtMs: 1 }, name: 'unfinished_by_next_visit', sparse: true },
      { key: { isHeld: 1 }, name: 'held_reservations', sparse: true },
      { key: { standsFor: 1 }, name: 'recovered_by_what_they_stand_for', sparse: true },
      { key: { createdAtMs: -1, _id: -1 }, name: 'newest_first' },
      { key: { caller: 1, reference: 1 }, name: 'by_reference' },
    ]),
  );
  const { _id, ...fresh } = breakerDocument(NEW_BREAKER);
  const payment = await reading(() => payments.findOne({}, { projection: { _id: 1 } }));
  if (payment !== null) {
    // Another first start may just have made it, and already taken a payment.
    if ((await reading(() => breaker.findOne({ _id: BREAKER_ID }))) !== null) return;
    throw new ServiceError(
      'store_unavailable',
      'The breaker document is missing; an operator must restore it.',
    );
  }
  try {
    await writing(() => breaker.updateOne({ _id }, { $setOnInsert: fresh }, { upsert: true }));
  } catch (error) {
    // Two first starts at once: the other one made it.
    if (!isDuplicateKey(error)) throw error;
  }
}
