import type { Db, Filter } from 'mongodb';
import type { SealedAttempt, SealedAttempts } from '../../ports/sealed-attempts.ts';
import { PAYMENTS, type PaymentDocument } from './documents.ts';
import { storeAccess } from './store-errors.ts';

/** The sealed bytes of all attempts in MongoDB. Nothing else of the payments is read. */
export function mongoSealedAttempts(db: Db): SealedAttempts {
  const payments = db.collection<PaymentDocument>(PAYMENTS);
  const { reading, writing } = storeAccess(db.client);
  return {
    async findPage(afterPaymentId, paymentsMax) {
      const page = payments
        .find({ _id: { $gt: afterPaymentId }, 'attempts.0': { $exists: true } } as Filter<PaymentDocument>)
        .project<{ readonly _id: string; readonly attempts: readonly Omit<SealedAttempt, 'index'>[] }>({
          'attempts.number': 1,
          'attempts.sealed': 1,
        })
        .sort({ _id: 1 })
        .limit(paymentsMax);
      const found = await reading(() => page.toArray());
      return found.map(({ _id, attempts }) => ({
        id: _id,
        attempts: attempts.map((attempt, index) => ({ index, ...attempt })),
      }));
    },

    async replace(paymentId, { index, number, sealed }, replacement) {
      // A change between the read and this write leaves other bytes, and then nothing matches.
      const condition = { [`attempts.${index}.number`]: number, [`attempts.${index}.sealed`]: sealed };
      const result = await writing(() =>
        payments.updateOne({ _id: paymentId, ...condition } as Filter<PaymentDocument>, {
          $set: { [`attempts.${index}.sealed`]: replacement },
        }),
      );
      return result.matchedCount === 1;
    },
  };
}
