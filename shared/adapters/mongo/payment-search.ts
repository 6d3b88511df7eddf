import type { Db, Filter } from 'mongodb';
import type { PaymentSearch } from '../../ports/payment-search.ts';
import { PAYMENTS, type PaymentDocument, paymentFrom } from './documents.ts';
import { storeAccess } from './store-errors.ts';

/** A page that takes longer is given up: the database is needed for payments. */
const SEARCH_MS_MAX = 5_000;

/** Pages of payments from MongoDB, by the index `newest_first`. */
export function mongoPaymentSearch(db: Db): PaymentSearch {
  const payments = db.collection<PaymentDocument & { readonly items?: never }>(PAYMENTS);
  const { reading } = storeAccess(db.client);
  return {
    async findPage(filter, after, limit) {
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
      const page = payments
        .find({ $and: conditions, items: { $exists: false } } as Filter<PaymentDocument>, {
          maxTimeMS: SEARCH_MS_MAX,
        })
        .sort({ createdAtMs: -1, _id: -1 })
        .limit(limit);
      return (await reading(() => page.toArray())).map(paymentFrom);
    },
  };
}
