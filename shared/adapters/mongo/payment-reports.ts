import type { Db } from 'mongodb';
import { NEW_AUDIT } from '../../domain/audit.ts';
import { NEW_BREAKER } from '../../domain/breaker.ts';
import type { Asset } from '../../domain/money.ts';
import { LIVE_STATUSES, type PaymentStatus } from '../../domain/payment.ts';
import type { PaymentReports } from '../../ports/payment-reports.ts';
import {
  AUDIT_ID,
  type AuditDocument,
  auditFrom,
  BREAKER,
  BREAKER_ID,
  type BreakerDocument,
  breakerFrom,
  PAYMENTS,
  type PaymentDocument,
} from './documents.ts';
import { readServerTimeMs } from './server-time.ts';
import { storeAccess } from './store-errors.ts';

/**
 * A report that takes longer is given up: figures are not worth the load they would put on the database that
 * payments need.
 */
const REPORT_MS_MAX = 5_000;

/** A batch's payments are counted; the batch itself is none. */
const NO_BATCH = { items: { $exists: false } };
const UNFINISHED: readonly PaymentStatus[] = ['awaiting_approval', ...LIVE_STATUSES];

/** Reports from MongoDB. Reads only: unlike the ledger it does not even make the collections. */
export function mongoPaymentReports(db: Db): PaymentReports {
  const payments = db.collection<PaymentDocument>(PAYMENTS);
  const breakers = db.collection<BreakerDocument>(BREAKER);

  const access = storeAccess(db.client);
  const { reading } = access;

  return {
    serverTimeMs: () => readServerTimeMs(db, access),

    async readBreaker() {
      const found = await reading(() => breakers.findOne({ _id: BREAKER_ID }));
      return found === null ? NEW_BREAKER : breakerFrom(found);
    },

    async readAudit() {
      const found = await reading(() => breakers.findOne<AuditDocument>({ _id: AUDIT_ID }));
      return found === null ? NEW_AUDIT : auditFrom(found);
    },

    async sumByStatus(createdSinceMs) {
      // The index `newest_first` bounds the read to the period, however many payments there are before it.
      const groups = payments.aggregate<StatusGroup>(
        [
          { $match: { createdAtMs: { $gte: createdSinceMs }, ...NO_BATCH } },
          {
            $group: {
              _id: { asset: '$asset', status: '$status' },
              count: { $sum: 1 },
              amountMicro: { $sum: '$amountMicro' },
            },
          },
        ],
        { maxTimeMS: REPORT_MS_MAX },
      );
      return (await reading(() => groups.toArray())).map(({ _id, count, amountMicro }) => ({
        asset: _id.asset,
        status: _id.status,
        count: Number(count),
        amountMicro: BigInt(amountMicro),
      }));
    },

    async summariseUnfinished() {
      // Only unfinished payments have the field, and the sparse index `unfinished_by_next_visit` holds them alone.
      const groups = payments.aggregate<UnfinishedGroup>(
        [
          // What has ended and given its reservation back only waits for a last look.
          {
            $match: {
              settleAtMs: { $gt: 0 },
              $or: [{ status: { $in: [...UNFINISHED] } }, { isHeld: true }],
              ...NO_BATCH,
            },
          },
          { $group: { _id: null, count: { $sum: 1 }, oldest: { $min: '$createdAtMs' } } },
        ],
        { maxTimeMS: REPORT_MS_MAX },
      );
      const [group] = await reading(() => groups.toArray());
      return group === undefined
        ? { count: 0, oldestCreatedAtMs: null }
        : { count: Number(group.count), oldestCreatedAtMs: Number(group.oldest) };
    },
  };
}

// Servers give counts as 32-bit or 64-bit integers, as they fit.
interface StatusGroup {
  readonly _id: { readonly asset: Asset; readonly status: PaymentStatus };
  readonly count: number | bigint;
  readonly amountMicro: number | bigint;
}

interface UnfinishedGroup {
  readonly count: number | bigint;
  readonly oldest: number | bigint;
}
