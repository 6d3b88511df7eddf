import type {
  DocumentFilter,
  DocumentStore,
  DocumentUpdate,
} from '../../shared/adapters/mongo/document-store.ts';
import type { PaymentDocument } from '../../shared/adapters/mongo/documents.ts';
import { isBatchId } from '../../shared/domain/batch.ts';
import { amountsOf, type Closing } from '../../shared/domain/breaker.ts';
import { closingKind, END_STATUSES } from '../../shared/domain/payment.ts';
import { isReservation } from '../../shared/domain/transition-rules.ts';
import type { Ledger, PaymentStore, ReservationNote } from '../../shared/ports/ledger.ts';
import type { Mutant } from './engine.ts';

/**
 * The rules of the two documents, each broken in one place: by a filter that lacks a condition, or by steps in
 * another order. The search must find every one of them.
 */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'note without the status in its filter',
    model: 'cancel-while-reserving',
    store: changing(
      ({ $set = {} }) => 'isHeld' in $set && !('status' in $set),
      (filter) => without(filter, 'status'),
    ),
  },
  {
    name: 'sign without the status in its filter',
    model: 'two-visits',
    store: changing(
      ({ $set = {} }) => $set.status === 'signed',
      (filter) => without(filter, 'status'),
    ),
  },
  {
    name: 'take-out without the id in its filter',
    model: 'cancel-while-reserving',
    store: changing(
      ({ $pull = {}, $inc = {} }) =>
        typeof $pull.transitions?.id === 'string' && Object.keys($inc).length > 0,
      (filter) => without(filter, 'transitions.id'),
    ),
  },
  {
    name: 'close without the attempt in its filter',
    model: 'late-expiry',
    store: changing(
      ({ $set = {} }) => (END_STATUSES as readonly unknown[]).includes($set.status),
      (filter) => without(filter, 'attemptNumber'),
    ),
  },
  {
    name: 'refused payment tried again without a new generation',
    model: 'retry',
    store: changing(
      ({ $set = {} }) => 'payByMs' in $set && 'generation' in $set,
      (filter) => filter,
      (update) => ({ ...update, $set: without(update.$set ?? {}, 'generation') }),
    ),
  },
  {
    name: 'release that clears the notes',
    model: 'two-visits',
    store: changing(
      ({ $set = {} }) => typeof $set.closeId === 'string',
      (filter) => filter,
      ({ $push = {}, ...update }) => ({
        ...update,
        $set: { ...update.$set, notedIds: [] },
        $push: without($push, 'notedIds'),
      }),
    ),
  },
  {
    name: 'drop before note',
    model: 'cancel-while-reserving',
    ledger: (ledger) => ({
      ...ledger,
      async noteReservation(guard, note, change) {
        await ledger.dropTransition(note.reservationId);
        return ledger.noteReservation(guard, note, change);
      },
      async storeSigned(guard, attempt, note, change) {
        if (note !== null) await ledger.dropTransition(note.reservationId);
        return ledger.storeSigned(guard, attempt, note, change);
      },
    }),
  },
  {
    name: 'take-out after a failed note, without reading again',
    model: 'cancel-while-reserving',
    ledger: (ledger) => ({
      ...ledger,
      async noteReservation(guard, note, change) {
        const isNoted = await ledger.noteReservation(guard, note, change);
        const { transitions } = await ledger.readBreaker();
        const left = transitions.filter(isReservation).find(({ id }) => id === note.reservationId);
        if (!isNoted && left !== undefined) await ledger.takeOutReservation(left);
        return isNoted;
      },
    }),
  },
  { name: 'reservation without a nonce', model: 'cancel-while-reserving', ledger: withoutNonces },
  {
    name: 'release that has its effect when it is pushed',
    model: 'two-visits',
    store: (store) =>
      changing(
        (update) => announced(update).some(({ kind }) => kind === 'release'),
        (filter) => filter,
        (update) => {
          const [release] = announced(update);
          return release === undefined
            ? update
            : { ...update, $inc: { ...update.$inc, ...effectOf(release) } };
        },
      )(releasingNothing(store)),
  },
  {
    name: 'release before the payment is closed',
    model: 'cancel-while-reserving',
    store: (store) => ({
      ...releasingNothing(store),
      async updateOne(name, filter, update) {
        const status = update.$set?.status;
        if (name === 'payments' && RELEASED.includes(status)) {
          const payment = await store.findOne<PaymentDocument>(name, { _id: String(filter._id) });
          if (payment?.isHeld === true) {
            const held = {
              amounts: amountsOf(payment.asset, payment.amountMicro),
              feeMicro: payment.feeReservedMicro,
            };
            await store.updateOne('breaker', { _id: 'breaker' }, { $inc: effectOf(held) });
          }
        }
        return releasingNothing(store).updateOne(name, filter, update);
      },
    }),
  },
  { name: 'payment read before the breaker', model: 'retry', ledger: readingPaymentsFirst },
  {
    name: 'closing computed from older slots',
    model: 'two-closings',
    store: changing(
      ({ $inc = {} }) => 'slotsVersion' in $inc,
      (filter) => without(filter, 'slotsVersion'),
    ),
  },
  {
    name: 'reservation without the pause in its filter',
    model: 'pause',
    store: changing(
      ({ $inc = {}, $push = {} }) => 'pushes' in $inc && 'transitions' in $push,
      (filter) => without(filter, 'pause'),
    ),
  },
  {
    name: 'batch entry dropped before its payments stand',
    model: 'batch',
    ledger: (ledger) => ({
      ...ledger,
      async insertItems(payments) {
        const [first] = payments;
        if (first !== undefined) await ledger.dropTransition(first.reservationId ?? '');
        await ledger.insertItems(payments);
      },
    }),
  },
  {
    name: 'batch admitted before its payments stand',
    model: 'batch',
    ledger: (ledger) => {
      let left: () => Promise<void> = async () => {};
      return {
        ...ledger,
        async insertItems(payments) {
          left = () => ledger.insertItems(payments);
        },
        async admitBatch(guard, reservationId) {
          const isAdmitted = await ledger.admitBatch(guard, reservationId);
          await left();
          return isAdmitted;
        },
      };
    },
  },
  {
    name: 'review that is not counted anew',
    model: 'evidence-after-the-end',
    store: changing(
      ({ $set = {} }) => $set.status === 'needs_review' && 'generation' in $set,
      (filter) => filter,
      ({ $set = {}, ...update }) => ({
        ...update,
        $set: ['generation', 'reservationId', 'closeId', 'feeReservedMicro'].reduce(without, $set),
      }),
    ),
  },
];

/** A store in which some updates of one document have another filter, or do something else. */
function changing(
  concerns: (update: DocumentUpdate) => boolean,
  filtered: (filter: DocumentFilter) => DocumentFilter,
  changed: (update: DocumentUpdate) => DocumentUpdate = (update) => update,
): (store: DocumentStore) => DocumentStore {
  return (store) => ({
    serverTimeMs: () => store.serverTimeMs(),
    findOne: (name, filter) => store.findOne(name, filter),
    find: (name, filter, options) => store.find(name, filter, options),
    sum: (name, filter, by, fields) => store.sum(name, filter, by, fields),
    updateMany: (name, filter, update) => store.updateMany(name, filter, update),
    insertOne: (name, document) => store.insertOne(name, document),
    updateOne: (name, filter, update) =>
      concerns(update)
        ? store.updateOne(name, filtered(filter), changed(update))
        : store.updateOne(name, filter, update),
  });
}

function without<T extends object>(fields: T, name: string): T {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => key !== name)) as T;
}

const RELEASED: readonly unknown[] = END_STATUSES.filter((status) => closingKind(status) === 'release');

function announced({ $push = {} }: DocumentUpdate): readonly Closing[] {
  const { transitions } = $push as { transitions?: { $each?: readonly Closing[] } };
  return transitions?.$each ?? [];
}

function effectOf({ amounts, feeMicro }: Pick<Closing, 'amounts' | 'feeMicro'>): Record<string, bigint> {
  return { 'books.TRX.outstandingMicro': -amounts.TRX, 'fees.outstandingMicro': -feeMicro };
}

/** A store in which applying a release changes no sum of what is outstanding: it has been changed before. */
function releasingNothing(store: DocumentStore): DocumentStore {
  const isRelease = ({ $pull = {}, $inc = {} }: DocumentUpdate) =>
    typeof $pull.transitions?.id === 'object' && !('books.TRX.spentTotalMicro' in $inc);
  return changing(
    isRelease,
    (filter) => filter,
    (update) => ({
      ...update,
      $inc: without(without(update.$inc ?? {}, 'books.TRX.outstandingMicro'), 'fees.outstandingMicro'),
    }),
  )(store);
}

/** All reservations of one generation of a payment have one name, whoever pushes them. */
function withoutNonces(ledger: Ledger): Ledger {
  const names = new Map<string, string>();
  const nameOf = (id: string) => names.get(id) ?? id;
  const named = (note: ReservationNote) => ({ ...note, reservationId: nameOf(note.reservationId) });
  return {
    ...ledger,
    pushReservation(reservation, room) {
      if (isBatchId(reservation.paymentId)) return ledger.pushReservation(reservation, room);
      const name = `reservation ${reservation.generation} of ${reservation.paymentId}`;
      names.set(reservation.id, name);
      return ledger.pushReservation({ ...reservation, id: name }, room);
    },
    noteReservation: (guard, note, change) => ledger.noteReservation(guard, named(note), change),
    storeSigned: (guard, attempt, note, change) =>
      ledger.storeSigned(guard, attempt, note === null ? null : named(note), change),
    dropTransition: (id) => ledger.dropTransition(nameOf(id)),
  };
}

/** Payments are seen as they were before the breaker was read. */
function readingPaymentsFirst(ledger: Ledger): Ledger {
  const known = new Set<string>();
  let seen: Awaited<ReturnType<PaymentStore['findPayments']>> = [];
  const take = (id: string) => {
    known.add(id);
    const payment = seen.find((one) => one.id === id);
    seen = seen.filter((one) => one.id !== id);
    return payment;
  };
  return {
    ...ledger,
    async readBreaker() {
      seen = known.size === 0 ? [] : await ledger.findPayments([...known]);
      return ledger.readBreaker();
    },
    findPayment: async (id) => take(id) ?? ledger.findPayment(id),
    async findPayments(ids) {
      const early = ids.map(take);
      return early.every((payment) => payment !== undefined) ? early : ledger.findPayments(ids);
    },
  };
}
