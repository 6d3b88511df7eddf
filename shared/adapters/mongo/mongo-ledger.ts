import type { Collection, Db, Filter, UpdateFilter } from 'mongodb';
import { NEW_BREAKER, TRANSITIONS_MAX, type Transition } from '../../domain/breaker.ts';
import { ServiceError } from '../../domain/errors.ts';
import { HISTORY_MAX, LIVE_STATUSES } from '../../domain/payment.ts';
import type { Ledger, PaymentChange, PaymentGuard } from '../../ports/ledger.ts';
import {
  BREAKER,
  BREAKER_ID,
  type BreakerDocument,
  breakerDocument,
  breakerFrom,
  circuitText,
  PAYMENTS,
  type PaymentDocument,
  packSlots,
  paymentDocument,
  paymentFrom,
} from './documents.ts';
import { readServerTimeMs } from './server-time.ts';
import { isDuplicateKey, type StoreAccess, storeAccess } from './store-errors.ts';

/** The ledger on MongoDB: every change one conditional update of one document. */
export function mongoLedger(db: Db): Ledger {
  const payments: Collection<PaymentDocument> = db.collection(PAYMENTS);
  const breakers: Collection<BreakerDocument> = db.collection(BREAKER);
  const access = storeAccess(db.client);
  const { reading, writing } = access;

  async function changeBreaker(
    condition: Filter<BreakerDocument>,
    update: UpdateFilter<BreakerDocument>,
  ): Promise<boolean> {
    const result = await writing(() => breakers.updateOne({ _id: BREAKER_ID, ...condition }, update));
    return result.matchedCount === 1;
  }

  async function changePayment(
    { paymentId, generation, attemptNumber }: PaymentGuard,
    condition: Filter<PaymentDocument>,
    change: PaymentChange,
    update: UpdateFilter<PaymentDocument> = {},
  ): Promise<boolean> {
    const result = await writing(() =>
      payments.updateOne(
        { _id: paymentId, generation, attemptNumber, ...condition },
        withChange(update, change),
      ),
    );
    return result.matchedCount === 1;
  }

  async function readBreakerDocument(): Promise<BreakerDocument> {
    const found = await reading(() => breakers.findOne({ _id: BREAKER_ID }));
    if (found !== null) return found;
    await prepare(payments, breakers, access);
    return reading(async () => (await breakers.findOne({ _id: BREAKER_ID })) ?? breakerDocument(NEW_BREAKER));
  }

  return {
    serverTimeMs: () => readServerTimeMs(db, access),

    async readBreaker() {
      return breakerFrom(await readBreakerDocument());
    },

    pushTransition(version, transition, slots) {
      const { asset } = transition;
      return changeBreaker(
        {
          version,
          'transitions.paymentId': { $ne: transition.paymentId },
          [`transitions.${TRANSITIONS_MAX - 1}`]: { $exists: false },
        },
        {
          $inc: { version: 1n, [`books.${asset}.outstandingMicro`]: effectOf(transition) },
          $push: { transitions: transition },
          ...(slots === null
            ? {}
            : {
                $set: {
                  [`books.${asset}.hour`]: packSlots(slots.hour),
                  [`books.${asset}.day`]: packSlots(slots.day),
                },
              }),
        },
      );
    },

    dropTransition(id) {
      return changeBreaker({ 'transitions.id': id }, { $pull: { transitions: { id } } });
    },

    takeOutReservation({ id, asset, amountMicro }) {
      return changeBreaker(
        { 'transitions.id': id },
        { $pull: { transitions: { id } }, $inc: { [`books.${asset}.outstandingMicro`]: -amountMicro } },
      );
    },

    replaceCircuit(read, next) {
      return changeBreaker({ circuit: circuitText(read) }, { $set: { circuit: circuitText(next) } });
    },

    advanceSolidHead(head) {
      return changeBreaker(
        { $or: [{ solidHead: null }, { 'solidHead.number': { $lt: head.number } }] },
        { $set: { solidHead: head } },
      );
    },

    async insertPayment(payment) {
      try {
        await writing(() => payments.insertOne(paymentDocument(payment)));
        return 'inserted';
      } catch (error) {
        // The id is new, so it can only be the caller's key.
        if (isDuplicateKey(error)) return 'exists';
        throw error;
      }
    },

    async findPayment(paymentId) {
      const found = await reading(() => payments.findOne({ _id: paymentId }));
      return found === null ? null : paymentFrom(found);
    },

    async findPaymentByKey(caller, idempotencyKey) {
      const found = await reading(() => payments.findOne({ caller, idempotencyKey }));
      return found === null ? null : paymentFrom(found);
    },

    async findDue(nowMs, limit) {
      const due = payments
        .find({ settleAtMs: { $lte: nowMs } })
        .sort({ settleAtMs: 1 })
        .limit(limit);
      return (await reading(() => due.toArray())).map(paymentFrom);
    },

    async rescheduleVisit(paymentId, seenSettleAtMs, settleAtMs) {
      const result = await writing(() =>
        payments.updateOne(
          {
            _id: paymentId,
            settleAtMs: seenSettleAtMs,
            // A retry may have opened it again in the same millisecond.
            ...(settleAtMs === null ? { status: { $nin: [...LIVE_STATUSES] } } : {}),
          },
          settleAtMs === null ? { $unset: { settleAtMs: '' } } : { $set: { settleAtMs } },
        ),
      );
      return result.matchedCount === 1;
    },

    noteReservation(guard, reservationId, change) {
      return changePayment(guard, { status: 'accepted', reservationId: null }, change, {
        $set: { reservationId },
        $push: { notedIds: reservationId },
      });
    },

    async storeSigned(guard, attempt, noteId, change) {
      const condition: Filter<PaymentDocument> = {
        status: 'accepted',
        reservationId: noteId === null ? { $ne: null } : { $in: [null, noteId] },
      };
      try {
        const stored = await changePayment(guard, condition, change, {
          $set: {
            status: 'signed',
            lastBroadcastAtMs: null,
            ...(noteId === null ? {} : { reservationId: noteId }),
          },
          $push: { attempts: attempt, txIds: attempt.txId },
          ...(noteId === null ? {} : { $addToSet: { notedIds: noteId } }),
        });
        return stored ? 'stored' : 'moved';
      } catch (error) {
        if (isDuplicateKey(error)) return 'tx_id_taken';
        throw error;
      }
    },

    recordBroadcast(guard, lastBroadcastAtMs, isOut, change) {
      return changePayment(guard, { status: { $in: ['signed', 'broadcast'] } }, change, {
        $set: { lastBroadcastAtMs, ...(isOut ? { status: 'broadcast' } : {}) },
      });
    },

    reaccept(guard, change) {
      return changePayment(
        guard,
        { status: { $in: ['signed', 'broadcast'] }, 'attempts.number': guard.attemptNumber },
        change,
        {
          $set: {
            status: 'accepted',
            attemptNumber: guard.attemptNumber + 1,
            'attempts.$.outcome': 'expired',
          },
        },
      );
    },

    closePayment(guard, from, end, change) {
      const { status, reason, endedAtMs, included } = end;
      const outcome = { confirmed: 'paid', failed: 'reverted', expired: 'expired' } as const;
      const attemptOutcome = status in outcome ? outcome[status as keyof typeof outcome] : undefined;
      const concernsAttempt = from !== 'accepted' && attemptOutcome !== undefined;
      return changePayment(
        guard,
        { status: from, ...(concernsAttempt ? { 'attempts.number': guard.attemptNumber } : {}) },
        change,
        {
          $set: {
            status,
            reason,
            endedAtMs,
            ...(concernsAttempt ? { 'attempts.$.outcome': attemptOutcome } : {}),
            ...(concernsAttempt && included !== null
              ? {
                  'attempts.$.blockNumber': included.blockNumber,
                  'attempts.$.blockTimeMs': included.blockTimeMs,
                  'attempts.$.feeMicro': included.feeMicro,
                }
              : {}),
          },
        },
      );
    },

    noteClose(guard, status, closeId, change) {
      return changePayment(guard, { status, reservationId: { $ne: null }, closeId: null }, change, {
        $set: { closeId },
        $push: { notedIds: closeId },
      });
    },

    retryRefused(guard, payByMs, change) {
      return changePayment(
        guard,
        { status: 'refused', $or: [{ reservationId: null }, { closeId: { $ne: null } }] },
        change,
        {
          $set: {
            status: 'accepted',
            generation: guard.generation + 1,
            reservationId: null,
            closeId: null,
            endedAtMs: null,
            payByMs,
          },
        },
      );
    },
  };
}

function effectOf({ kind, amountMicro }: Transition): bigint {
  return kind === 'reserve' ? amountMicro : -amountMicro;
}

/** Adds what every change of a payment also does: an entry in its history, and its next visit. */
function withChange(
  update: UpdateFilter<PaymentDocument>,
  change: PaymentChange,
): UpdateFilter<PaymentDocument> {
  const { entry, settleAtMs, reason } = change;
  const set = {
    ...update.$set,
    ...(settleAtMs === null ? {} : { settleAtMs }),
    ...(reason === undefined ? {} : { reason }),
  };
  return {
    ...update,
    ...(Object.keys(set).length === 0 ? {} : { $set: set }),
    ...(settleAtMs === null ? { $unset: { settleAtMs: '' } } : {}),
    $push: { ...update.$push, history: { $each: [entry], $slice: -HISTORY_MAX } },
  } as UpdateFilter<PaymentDocument>;
}

/**
 * Makes the collections ready. The breaker document is inserted last: where it is, the unique indexes that
 * paying once rests on are there too.
 * @throws ServiceError `store_unavailable` where there are payments without it: books that were lost must not be
 *   taken for empty ones
 */
async function prepare(
  payments: Collection<PaymentDocument>,
  breakers: Collection<BreakerDocument>,
  { reading, writing }: StoreAccess,
): Promise<void> {
  await writing(() =>
    payments.createIndexes([
      { key: { caller: 1, idempotencyKey: 1 }, name: 'one_payment_per_key', unique: true },
      { key: { txIds: 1 }, name: 'one_payment_per_transaction', unique: true, sparse: true },
      { key: { settleAtMs: 1 }, name: 'unfinished_by_next_visit', sparse: true },
      { key: { createdAtMs: -1 }, name: 'newest_first' },
      { key: { caller: 1, reference: 1 }, name: 'by_reference' },
    ]),
  );
  const { _id, ...fresh } = breakerDocument(NEW_BREAKER);
  const payment = await reading(() => payments.findOne({}, { projection: { _id: 1 } }));
  if (payment !== null) {
    // Another first start may just have made it, and already taken a payment.
    if ((await reading(() => breakers.findOne({ _id }))) !== null) return;
    throw new ServiceError(
      'store_unavailable',
      'The breaker document is missing; an operator must restore it.',
    );
  }
  try {
    await writing(() => breakers.updateOne({ _id }, { $setOnInsert: fresh }, { upsert: true }));
  } catch (error) {
    // Two first starts at once: the other one made it.
    if (!isDuplicateKey(error)) throw error;
  }
}
