import type { Db, Filter } from 'mongodb';
import type { PaymentSearch } from '../../ports/payment-search.ts';
import { PAYMENTS, type PaymentDocument, paymentFrom } from './documents.ts';
import { storeAccess } from './store-errors.ts';

/** A search that takes the database longer is given up: it is needed for payments. */
const SEARCH_MS_MAX = 5_000;

/** The most that come at once, for they can be long; as many as MongoDB sends first by itself. */
const BATCH_MAX = 101;

/** Payments from MongoDB, by the index `newest_first`. */
export function mongoPaymentSearch(db: Db): PaymentSearch {
  const payments = db.collection<PaymentDocument & { readonly items?: never }>(PAYMENTS);
  const { reading } = storeAccess(db.client);
  return {
    async *find(filter, after, countMax) {
      const { fromMs, toMs, ...equal } = filter;
      const conditions: Filter<PaymentDocument>[] = [{ ...equal }];
      if (fromMs !== undefined) conditions.push({ createdAtMs: { $gte: fromMs } });
      if (toMs !== undefined) conditions.push({ createdAtMs: { $lt: toMs } });
      if (after !== null) {
        conditions.push({
          $or: [
            { createdAtMs: { $lt: after.createdAtMs } },
            { createdAtMs: after.createdAtMs, _id: { $lt: after.id } },
          ],
        });
      }
      const found = payments
        .find({ $and: conditions, items: { $exists: false } } as Filter<PaymentDocument>, {
          maxTimeMS: SEARCH_MS_MAX,
          batchSize: BATCH_MAX,
        })
        .sort({ createdAtMs: -1, _id: -1 })
        .limit(countMax);
      try {
        for (;;) {
          const document = await reading(() => found.next());
          if (document === null) return;
          yield paymentFrom(document);
        }
      } finally {
        await found.close();
      }
    },
  };
}
