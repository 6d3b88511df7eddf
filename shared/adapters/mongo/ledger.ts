import { NEW_AUDIT } from '../../domain/audit.ts';
import type { Batch } from '../../domain/batch.ts';
import { type Closing, NEW_BREAKER, type Reservation, TRANSITIONS_MAX } from '../../domain/breaker.ts';
import type { Asset } from '../../domain/money.ts';
import {
  ANSWERS_MAX,
  closingKind,
  HISTORY_MAX,
  type Payment,
  type PaymentStatus,
} from '../../domain/payment.ts';
import { mayEnd, PAYMENT_LIFE, type PaymentEvent, takes } from '../../domain/payment-life.ts';
import { orderKey } from '../../domain/restore.ts';
import type {
  BatchGuard,
  Claim,
  Inclusion,
  Ledger,
  PaymentChange,
  PaymentGuard,
} from '../../ports/ledger.ts';
import type { DocumentFilter, DocumentStore, DocumentUpdate, FilterCondition } from './document-store.ts';
import {
  AUDIT_ID,
  type AuditDocument,
  assetsIn,
  auditFrom,
  type BatchDocument,
  BREAKER,
  BREAKER_ID,
  type BreakerDocument,
  batchDocument,
  batchFrom,
  breakerDocument,
  breakerFrom,
  circuitFrom,
  circuitText,
  isBatchDocument,
  PAYMENTS,
  type PaymentDocument,
  packSlots,
  paymentDocument,
  paymentFrom,
} from './documents.ts';

/**
 * A payment keeps its newest notes only, so that a key that is refused and tried again for years cannot grow it
 * without bound. None older can be met again: a payment has one entry in the breaker at a time, so each note's
 * entry was removed before the next one was pushed.
 */
const NOTED_IDS_MAX = 40;
/** Settlers that may be faster, one after the other, before one takes it that they need no help. */
const CLAIMS_MAX = 5;
/** Where the last transition stands that the breaker may hold. */
const LAST_TRANSITION = `transitions.${TRANSITIONS_MAX - 1}`;
const OUTSTANDING: Readonly<Record<Asset, string>> = {
  USDT: 'books.USDT.outstandingMicro',
  TRX: 'books.TRX.outstandingMicro',
};
const SPENT_TOTAL: Readonly<Record<Asset, string>> = {
  USDT: 'books.USDT.spentTotalMicro',
  TRX: 'books.TRX.spentTotalMicro',
};
/** Payments of one batch that are inserted at once. */
const INSERTS_AT_ONCE = 10;

/** The ledger on a store of documents: every change one conditional update of one document. */
export function documentLedger(store: DocumentStore): Ledger {
  const changeBreaker = (condition: DocumentFilter, update: DocumentUpdate) =>
    isDone(store.updateOne(BREAKER, { ...condition, _id: BREAKER_ID }, update));

  const changePayment = (
    guard: PaymentGuard,
    condition: DocumentFilter,
    change: PaymentChange,
    update: DocumentUpdate,
  ) => isDone(store.updateOne(PAYMENTS, asRead(guard, condition), withChange(update, change)));

  const changeBatch = (
    { batchId, generation }: BatchGuard,
    condition: DocumentFilter,
    update: DocumentUpdate,
  ) => isDone(store.updateOne(PAYMENTS, { ...condition, _id: batchId, generation }, update));

  async function claim(document: PaymentDocument | BatchDocument): Promise<Claim> {
    if ((await store.insertOne(PAYMENTS, document)) === 'inserted') return 'inserted';
    // The id is new, so it is the key or a reference; servers do not say which alike.
    const { caller, idempotencyKey } = document;
    const standing = await store.findOne(PAYMENTS, { caller, idempotencyKey });
    return standing === null ? 'reference_taken' : 'exists';
  }

  return {
    serverTimeMs: () => store.serverTimeMs(),

    async firstDueMs() {
      const [first] = await store.find<PaymentDocument | BatchDocument>(
        PAYMENTS,
        { settleAtMs: { $gt: 0 } },
        { sort: { settleAtMs: 1 }, limit: 1, only: ['settleAtMs'] },
      );
      return first?.settleAtMs ?? null;
    },

    async claimDue(lease, nowMs, limit) {
      for (let claim = 0; claim < CLAIMS_MAX; claim += 1) {
        const due = await store.find(
          PAYMENTS,
          { settleAtMs: { $lte: nowMs } },
          { sort: { settleAtMs: 1 }, limit, only: ['settleAtMs'] },
        );
        if (due.length === 0) break;
        const ids = due.map(({ _id }) => _id);
        await store.updateMany(
          PAYMENTS,
          { _id: { $in: ids }, settleAtMs: { $lte: nowMs } },
          { $set: { leaseOwner: lease.owner, settleAtMs: lease.untilMs } },
        );
        const held = await store.find<PaymentDocument | BatchDocument>(PAYMENTS, {
          _id: { $in: ids },
          leaseOwner: lease.owner,
          settleAtMs: lease.untilMs,
        });
        // All of them went to somebody who was faster: what is due after them is still to be had.
        if (held.length === 0) continue;
        held.sort((a, b) => ids.indexOf(a._id) - ids.indexOf(b._id));
        const payments: Payment[] = [];
        const batches: Batch[] = [];
        for (const document of held) {
          if (isBatchDocument(document)) batches.push(batchFrom(document));
          else payments.push(paymentFrom(document));
        }
        return { payments, batches };
      }
      return { payments: [], batches: [] };
    },

    async putOff({ owner, untilMs }, ids, settleAtMs) {
      await store.updateMany(
        PAYMENTS,
        // What a visit has set since is left as it is.
        { _id: { $in: ids }, leaseOwner: owner, settleAtMs: untilMs },
        { $set: { settleAtMs } },
      );
    },

    async readBreaker() {
      const document = await store.findOne<BreakerDocument>(BREAKER, { _id: BREAKER_ID });
      return breakerFrom(document ?? breakerDocument(NEW_BREAKER));
    },

    async readCircuit() {
      const only = ['circuit', 'solidHead'] as const;
      const document = await store.findOne<Pick<BreakerDocument, '_id' | (typeof only)[number]>>(
        BREAKER,
        { _id: BREAKER_ID },
        { only },
      );
      if (document === null) return NEW_BREAKER;
      return { circuit: circuitFrom(document), solidHead: document.solidHead };
    },

    pushReservation(reservation, room) {
      const { paymentId, amounts } = reservation;
      const fits: Record<string, FilterCondition> = {
        'transitions.paymentId': { $ne: paymentId },
        [LAST_TRANSITION]: { $exists: false },
      };
      if (room !== null) {
        fits.pause = null;
        fits.slotsVersion = room.slotsVersion;
        fits['restore.id'] = room.restoreId;
        fits['fees.outstandingMicro'] = { $lte: room.feesOutstandingMaxMicro };
        for (const asset of assetsIn(amounts)) {
          fits[OUTSTANDING[asset]] = { $lte: room.outstandingMaxMicro[asset] };
        }
      }
      return changeBreaker(fits, {
        $inc: { ...outstandingBy(reservation, 1n), pushes: 1n },
        $push: { transitions: reservation },
      });
    },

    pushClosings(closings) {
      return changeBreaker(
        {
          'transitions.paymentId': { $nin: closings.map(({ paymentId }) => paymentId) },
          [`transitions.${TRANSITIONS_MAX - closings.length}`]: { $exists: false },
        },
        { $inc: { pushes: 1n }, $push: { transitions: { $each: closings } } },
      );
    },

    applyClosings(slotsVersion, closings, after) {
      const ids = closings.map(({ id }) => id);
      // Sums change by what these closings say, for reservations may have come since the books were read; slots
      // are replaced, so they must be the ones that were read.
      const sums: Record<string, bigint> = {};
      const add = (path: string, micro: bigint) => {
        if (micro !== 0n) sums[path] = (sums[path] ?? 0n) + micro;
      };
      for (const { kind, amounts, feeMicro, feeBurnedMicro } of closings) {
        for (const asset of assetsIn(amounts)) {
          add(OUTSTANDING[asset], -amounts[asset]);
          if (kind === 'commit') add(SPENT_TOTAL[asset], amounts[asset]);
        }
        add('fees.outstandingMicro', -feeMicro);
        add('fees.spentTotalMicro', feeBurnedMicro);
      }
      const condition = { 'transitions.id': { $all: ids } };
      const $pull = { transitions: { id: { $in: ids } } };
      if (!after.chargesSlots) return changeBreaker(condition, { $pull, $inc: sums });
      const { books, fees, spentBlockNumber } = after;
      return changeBreaker(
        { ...condition, slotsVersion },
        {
          $pull,
          $inc: { ...sums, slotsVersion: 1n },
          $set: {
            'fees.day': packSlots(fees.day),
            'books.USDT.hour': packSlots(books.USDT.hour),
            'books.USDT.day': packSlots(books.USDT.day),
            'books.TRX.hour': packSlots(books.TRX.hour),
            'books.TRX.day': packSlots(books.TRX.day),
            spentBlockNumber,
          },
        },
      );
    },

    dropTransition(id) {
      return changeBreaker({ 'transitions.id': id }, { $pull: { transitions: { id } } });
    },

    takeOutReservation(reservation) {
      const { id } = reservation;
      return changeBreaker(
        { 'transitions.id': id },
        { $pull: { transitions: { id } }, $inc: outstandingBy(reservation, -1n) },
      );
    },

    replaceCircuit(read, next) {
      return changeBreaker({ circuit: circuitText(read) }, { $set: { circuit: circuitText(next) } });
    },

    setPause(pause) {
      return changeBreaker({ pause: null }, { $set: { pause } });
    },

    liftPause({ atMs, by }) {
      return changeBreaker({ 'pause.atMs': atMs, 'pause.by': by, ...RECONCILED }, { $set: { pause: null } });
    },

    moveRestore(read, next) {
      return changeBreaker(
        {
          'restore.id': read.id,
          'restore.isLoaded': true,
          'restore.reconciledAtMs': null,
          'restore.walk.next.blockId': read.walk?.next.blockId ?? null,
        },
        { $set: { restore: next } },
      );
    },

    async recordOrder(lastOrder) {
      await changeBreaker({}, { $set: { lastOrder } });
    },

    advanceSolidHead(head) {
      return changeBreaker(
        { $or: [{ solidHead: null }, { 'solidHead.number': { $lt: head.number } }] },
        { $set: { solidHead: head } },
      );
    },

    insertPayment: (payment) => claim(paymentDocument(payment, true)),

    async findPayment(paymentId) {
      const found = await store.findOne<PaymentDocument | BatchDocument>(PAYMENTS, { _id: paymentId });
      return found === null || isBatchDocument(found) ? null : paymentFrom(found);
    },

    async findPayments(paymentIds) {
      const found = await store.find<PaymentDocument>(PAYMENTS, {
        _id: { $in: paymentIds },
        items: { $exists: false },
      });
      return found.map(paymentFrom);
    },

    async findByKey(caller, idempotencyKey) {
      const found = await store.findOne<PaymentDocument | BatchDocument>(PAYMENTS, {
        caller,
        idempotencyKey,
      });
      if (found === null) return null;
      return isBatchDocument(found)
        ? { kind: 'batch', batch: batchFrom(found) }
        : { kind: 'payment', payment: paymentFrom(found) };
    },

    async findByTransaction(txId) {
      const found = await store.findOne<PaymentDocument>(PAYMENTS, { txIds: txId });
      return found === null ? null : paymentFrom(found);
    },

    async findRecovered(...standsFor) {
      const [oldest] = await store.find<PaymentDocument>(
        PAYMENTS,
        { standsFor: { $in: standsFor }, status: { $ne: PAYMENT_LIFE.revert.to } },
        { sort: { _id: 1 }, limit: 1 },
      );
      return oldest === undefined ? null : paymentFrom(oldest);
    },

    claimRecovered(recovered, standsFor, entry) {
      return isDone(
        store.updateOne(
          PAYMENTS,
          { _id: recovered.id, standsFor: orderKey(recovered) },
          { $set: { standsFor }, $push: { history: newest([entry], HISTORY_MAX) } },
        ),
      );
    },

    endVisits(guard, status) {
      const update = { $unset: { settleAtMs: '' as const } };
      return isDone(store.updateOne(PAYMENTS, asRead(guard, { ...NOT_HELD, status }), update));
    },

    noteReservation(guard, { reservationId, feeReservedMicro }, change) {
      const condition = { ...takesEvent('reserve'), reservationId: null };
      return changePayment(guard, condition, change, {
        $set: { reservationId, feeReservedMicro, isHeld: true },
        $push: { notedIds: newest([reservationId], NOTED_IDS_MAX) },
      });
    },

    async storeSigned(guard, attempt, note, change) {
      const condition: DocumentFilter = {
        ...takesEvent('sign'),
        // A settler may have noted this very reservation meanwhile.
        reservationId: note === null ? { $ne: null } : { $in: [null, note.reservationId] },
      };
      const stored = await store.updateOne(
        PAYMENTS,
        asRead(guard, condition),
        withChange(
          {
            $set: {
              status: PAYMENT_LIFE.sign.to,
              lastBroadcastAtMs: null,
              ...(note === null ? {} : { ...note, isHeld: true }),
            },
            $push: {
              attempts: attempt,
              txIds: attempt.txId,
            },
            ...(note === null ? {} : { $addToSet: { notedIds: note.reservationId } }),
          },
          change,
        ),
      );
      if (stored === 'duplicate') return 'tx_id_taken';
      return stored ? 'stored' : 'moved';
    },

    recordBroadcast(guard, { atMs, isOut, answers }, change) {
      return changePayment(
        guard,
        {
          ...takesEvent(isOut ? 'broadcast' : 'broadcast_refused'),
          'attempts.number': guard.attemptNumber,
        },
        change,
        {
          $set: { lastBroadcastAtMs: atMs, ...(isOut ? { status: PAYMENT_LIFE.broadcast.to } : {}) },
          $push: { 'attempts.$.answers': newest(answers, ANSWERS_MAX) },
        },
      );
    },

    reaccept(guard, change) {
      return changePayment(
        guard,
        { ...takesEvent('reaccept'), 'attempts.number': guard.attemptNumber },
        change,
        {
          $set: {
            status: PAYMENT_LIFE.reaccept.to,
            attemptNumber: guard.attemptNumber + 1,
            'attempts.$.outcome': 'expired',
          },
        },
      );
    },

    closePayment(guard, from, end, change) {
      const { status, reason, endedAtMs, included } = end;
      const outcome = OUTCOMES[status];
      // Only an attempt that was under way learns what became of it; an operator's ruling is about the payment.
      const concernsAttempt = (from === 'signed' || from === 'broadcast') && outcome !== undefined;
      return changePayment(
        guard,
        {
          ...stillIn(from, mayEnd(from, status)),
          ...(concernsAttempt ? { 'attempts.number': guard.attemptNumber } : {}),
        },
        change,
        {
          $set: {
            status,
            reason,
            endedAtMs,
            ...(concernsAttempt ? { 'attempts.$.outcome': outcome } : {}),
            ...(concernsAttempt && included !== null ? attemptFields(included) : {}),
          },
        },
      );
    },

    noteClose(guard, status, closeId, change) {
      const owesClosing = stillIn(status, closingKind(status) !== 'none');
      const condition = { ...owesClosing, reservationId: { $ne: null }, closeId: null };
      return changePayment(guard, condition, change, {
        $set: { closeId },
        $unset: { isHeld: '' },
        $push: { notedIds: newest([closeId], NOTED_IDS_MAX) },
      });
    },

    retryRefused(guard, status, payByMs, change) {
      return changePayment(guard, { ...takesEvent('retry'), ...NOT_HELD }, change, {
        $set: {
          status,
          generation: guard.generation + 1,
          reservationId: null,
          closeId: null,
          feeReservedMicro: 0n,
          endedAtMs: null,
          payByMs,
          // Who approved it before has not approved this.
          ...(status === 'awaiting_approval' ? { approvedBy: null } : {}),
        },
      });
    },

    approve(guard, approvedBy, payByMs, change) {
      return changePayment(guard, takesEvent('approve'), change, {
        $set: { status: PAYMENT_LIFE.approve.to, approvedBy, payByMs },
      });
    },

    reopenForReview(guard, from, holds, { attemptNumber, included }, change) {
      const counted = holds ? { reservationId: { $ne: null }, closeId: null } : NOT_HELD;
      const condition = {
        ...stillIn(from, takes(from, 'reopen')),
        ...counted,
        'attempts.number': attemptNumber,
      };
      return changePayment(guard, condition, change, {
        $set: {
          status: PAYMENT_LIFE.reopen.to,
          'attempts.$.outcome': 'paid',
          ...attemptFields(included),
          ...(holds
            ? {}
            : {
                generation: guard.generation + 1,
                reservationId: null,
                closeId: null,
                feeReservedMicro: 0n,
              }),
        },
      });
    },

    insertBatch: (batch) => claim(batchDocument(batch)),

    async findBatch(batchId) {
      const found = await store.findOne<PaymentDocument | BatchDocument>(PAYMENTS, { _id: batchId });
      return found !== null && isBatchDocument(found) ? batchFrom(found) : null;
    },

    noteBatchReservation(guard, reservationId) {
      return changeBatch(
        guard,
        { status: 'accepted', reservationId: null },
        { $set: { reservationId }, $push: { notedIds: newest([reservationId], NOTED_IDS_MAX) } },
      );
    },

    async insertItems(payments) {
      for (let from = 0; from < payments.length; from += INSERTS_AT_ONCE) {
        const some = payments.slice(from, from + INSERTS_AT_ONCE);
        // Those that stand already have gone on living; they are left alone.
        await Promise.all(some.map((payment) => store.insertOne(PAYMENTS, paymentDocument(payment, false))));
      }
    },

    admitBatch(guard, reservationId) {
      return changeBatch(
        guard,
        { status: 'accepted', reservationId },
        { $set: { status: 'admitted' }, $unset: { settleAtMs: '' } },
      );
    },

    refuseBatch(guard, reason) {
      return changeBatch(
        guard,
        { status: 'accepted', reservationId: null },
        { $set: { status: 'refused', reason }, $unset: { settleAtMs: '' } },
      );
    },

    retryBatch(guard, feeReservedMicro, payByMs, settleAtMs) {
      return changeBatch(
        guard,
        { status: 'refused' },
        {
          $set: {
            status: 'accepted',
            generation: guard.generation + 1,
            reason: null,
            feeReservedMicro,
            payByMs,
            settleAtMs,
          },
        },
      );
    },

    async claimAudit(owner, nowMs, dueAtMs) {
      const taken = { _id: AUDIT_ID, owner };
      const due = { _id: AUDIT_ID, dueAtMs: { $lte: nowMs } };
      if ((await store.updateOne(BREAKER, due, { $set: { owner, dueAtMs } })) === true) {
        const document = await store.findOne<AuditDocument>(BREAKER, taken);
        return document === null ? null : auditFrom(document);
      }
      if ((await store.findOne(BREAKER, { _id: AUDIT_ID })) !== null) return null;
      const first = await store.insertOne(BREAKER, { ...taken, dueAtMs, ...NEW_AUDIT } as AuditDocument);
      return first === 'inserted' ? NEW_AUDIT : null;
    },

    storeAudit(owner, record) {
      return isDone(store.updateOne(BREAKER, { _id: AUDIT_ID, owner }, { $set: { ...record } }));
    },

    async sumHeld({ paymentIds, batchIds }) {
      const groups = await store.sum(
        PAYMENTS,
        {
          isHeld: true,
          ...(paymentIds.length === 0 ? {} : { _id: { $nin: paymentIds } }),
          ...(batchIds.length === 0 ? {} : { batchId: { $nin: batchIds } }),
        },
        'asset',
        ['amountMicro', 'feeReservedMicro'],
      );
      const of = (asset: Asset) => groups.find((group) => group.of === asset)?.sums;
      return {
        USDT: of('USDT')?.amountMicro ?? 0n,
        TRX: of('TRX')?.amountMicro ?? 0n,
        fees: groups.reduce((sum, { sums }) => sum + (sums.feeReservedMicro ?? 0n), 0n),
      };
    },
  };
}

/** The payment is still at the point at which it was read. */
function asRead(
  { paymentId, generation, attemptNumber }: PaymentGuard,
  condition: DocumentFilter,
): DocumentFilter {
  return { ...condition, _id: paymentId, generation, attemptNumber };
}

/** In a state that takes the event. */
function takesEvent(event: PaymentEvent) {
  return { status: { $in: PAYMENT_LIFE[event].from } };
}

/** Still in the state that was read; and where that state takes no such change, a condition that nothing meets. */
function stillIn(status: PaymentStatus, isTaken: boolean) {
  return { status: { $in: isTaken ? [status] : [] } };
}

/** Only a signed attempt can break a unique index; elsewhere nothing unique is changed. */
async function isDone(changed: Promise<boolean | 'duplicate'>): Promise<boolean> {
  return (await changed) === true;
}

/** It never was restored, or what was paid since the backup is known. */
const RECONCILED: DocumentFilter = { $or: [{ restore: null }, { 'restore.reconciledAtMs': { $ne: null } }] };

/** Nothing of the last generation stands in the books. */
const NOT_HELD: DocumentFilter = { $or: [{ reservationId: null }, { closeId: { $ne: null } }] };

const OUTCOMES: Partial<Record<Payment['status'], Payment['attempts'][number]['outcome']>> = {
  confirmed: 'paid',
  failed: 'reverted',
  expired: 'expired',
};

function attemptFields({ blockNumber, blockTimeMs, feeMicro }: Inclusion) {
  return {
    'attempts.$.blockNumber': blockNumber,
    'attempts.$.blockTimeMs': blockTimeMs,
    'attempts.$.feeMicro': feeMicro,
  };
}

/** What a reservation adds to the sums, or what ends with it. */
function outstandingBy({ amounts, feeMicro }: Reservation | Closing, sign: 1n | -1n): Record<string, bigint> {
  const sums: Record<string, bigint> = {};
  for (const asset of assetsIn(amounts)) sums[OUTSTANDING[asset]] = sign * amounts[asset];
  if (feeMicro !== 0n) sums['fees.outstandingMicro'] = sign * feeMicro;
  return sums;
}

/** Adds to an array that keeps its newest elements only. */
function newest(elements: readonly unknown[], max: number) {
  return { $each: elements, $slice: -max };
}

/** Adds what every change of a payment also does: an entry in its history, and its next visit. */
function withChange(update: DocumentUpdate, { entry, settleAtMs, reason }: PaymentChange): DocumentUpdate {
  const $set: Record<string, unknown> = { ...update.$set };
  if (settleAtMs !== null) $set.settleAtMs = settleAtMs;
  if (reason !== undefined) $set.reason = reason;
  const $push = { ...update.$push, history: newest([entry], HISTORY_MAX) };
  if (settleAtMs !== null) return { ...update, $set, $push };
  return { ...update, $set, $push, $unset: { ...update.$unset, settleAtMs: '' } };
}
