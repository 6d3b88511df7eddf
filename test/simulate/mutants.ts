import type {
  DocumentFilter,
  DocumentStore,
  DocumentUpdate,
} from '../../shared/adapters/mongo/document-store.ts';
import {
  BREAKER,
  BREAKER_ID,
  PAYMENTS,
  type PaymentDocument,
  paymentFrom,
} from '../../shared/adapters/mongo/documents.ts';
import { documentLedger } from '../../shared/adapters/mongo/ledger.ts';
import type { Amounts, Closing, Transition } from '../../shared/domain/breaker.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import { ASSETS } from '../../shared/domain/money.ts';
import { type EndStatus, holdsReservation, type Payment } from '../../shared/domain/payment.ts';
import { isReservation } from '../../shared/domain/transition-rules.ts';
import type { Ledger } from '../../shared/ports/ledger.ts';
import type { PaymentNetwork } from '../../shared/ports/payment-network.ts';
import { fingerprintOf } from '../../shared/usecases/claims.ts';
import type { payOut } from '../../shared/usecases/pay-out.ts';
import { payment as storedPayment } from '../support/stored-payment.ts';
import type { FocusName } from './world.ts';

/**
 * A fault that is put into the engine, for the simulation to find: production's own code, of which one condition,
 * one step or one order of steps is changed on its way to the store or to the chain.
 */
export interface Mutant {
  readonly name: string;
  /** What the schedules are about that look for it; all kinds, where none is named. */
  readonly focus?: FocusName;
  /** Reads see what only the primary holds. */
  readonly readConcern?: 'local';
  /** Any block is taken for a solid one. */
  readonly provenBy?: 'head';
  readonly ledger?: (ledger: Ledger, parts: Parts) => Ledger;
  readonly payOut?: (pay: typeof payOut) => typeof payOut;
}

interface Parts {
  readonly store: DocumentStore;
  readonly network: PaymentNetwork;
}

const MICRO: Amounts = { USDT: 0n, TRX: 0n };
const NEVER_MS = 10 ** 15;
const RELEASED: ReadonlySet<EndStatus> = new Set(['failed', 'refused', 'expired', 'cancelled', 'rejected']);

/** Those of the protocol between the breaker document and the payments. */
export const PROTOCOL_MUTANTS: readonly Mutant[] = [
  {
    // Pushed with its effect, so that the note no longer decides between two that are pushed one after the other.
    name: 'release or commit takes effect when it is announced',
    ledger: (ledger, { store }) => ({
      ...ledger,
      pushClosings: (closings) =>
        documentLedger(
          rewriting(store, (filter, update) => [
            filter,
            { ...update, $inc: { ...update.$inc, ...effectsOf(closings) } },
          ]),
        ).pushClosings(closings),
      applyClosings: (...args) => documentLedger(rewriting(store, withoutSums)).applyClosings(...args),
    }),
  },
  {
    name: 'reservation without a nonce',
    ledger: (ledger) => {
      const nonces = new Map<string, string>();
      const plain = (id: string) => nonces.get(id) ?? id;
      return {
        ...ledger,
        pushReservation: (reservation, room) => {
          const id = `${reservation.paymentId}.${reservation.generation}`;
          nonces.set(reservation.id, id);
          return ledger.pushReservation({ ...reservation, id }, room);
        },
        noteReservation: (guard, note, change) =>
          ledger.noteReservation(guard, { ...note, reservationId: plain(note.reservationId) }, change),
        storeSigned: (guard, attempt, note, change) =>
          ledger.storeSigned(
            guard,
            attempt,
            note === null ? null : { ...note, reservationId: plain(note.reservationId) },
            change,
          ),
        noteBatchReservation: (guard, id) => ledger.noteBatchReservation(guard, plain(id)),
        admitBatch: (guard, id) => ledger.admitBatch(guard, plain(id)),
        dropTransition: (id) => ledger.dropTransition(plain(id)),
      };
    },
  },
  {
    name: 'release before the payment is closed',
    ledger: (ledger, { store }) => ({
      ...ledger,
      closePayment: async (guard, from, end, change) => {
        const payment = await ledger.findPayment(guard.paymentId);
        if (payment !== null && RELEASED.has(end.status) && holdsReservation(payment)) {
          const { asset, amountMicro, feeReservedMicro } = payment;
          const $inc = outstandingBy({ ...MICRO, [asset]: amountMicro }, feeReservedMicro);
          await store.updateOne(BREAKER, { _id: BREAKER_ID }, { $inc });
        }
        return ledger.closePayment(guard, from, end, change);
      },
      applyClosings: (slotsVersion, closings, after) =>
        ledger.applyClosings(
          slotsVersion,
          closings.map((closing) =>
            closing.kind === 'release' ? { ...closing, amounts: MICRO, feeMicro: 0n } : closing,
          ),
          after,
        ),
    }),
  },
  {
    name: 'payment read before the breaker',
    focus: 'refusals',
    ledger: (ledger, { store }) => {
      let seen = new Map<string, PaymentDocument>();
      let transitions: readonly Transition[] = [];
      const isConcerned = (id: string) => transitions.some(({ paymentId }) => paymentId === id);
      return {
        ...ledger,
        readBreaker: async () => {
          const documents = await store.find<PaymentDocument>(PAYMENTS, {});
          seen = new Map(documents.map((document) => [document._id, document]));
          const breaker = await ledger.readBreaker();
          ({ transitions } = breaker);
          return breaker;
        },
        findPayment: (id) => {
          const document = isConcerned(id) ? seen.get(id) : undefined;
          seen.delete(id);
          return document === undefined ? ledger.findPayment(id) : Promise.resolve(paymentFrom(document));
        },
      };
    },
  },
  {
    name: 'refused key tried again in the same generation',
    ledger: (ledger, { store }) => {
      const same = documentLedger(
        rewriting(store, (filter, update) => [filter, without(update, 'generation')]),
      );
      return { ...ledger, retryRefused: same.retryRefused, retryBatch: same.retryBatch };
    },
  },
  {
    name: 'taken out after a failed note, without reading again',
    ledger: (ledger) => ({
      ...ledger,
      noteReservation: async (guard, note, change) => {
        if (await ledger.noteReservation(guard, note, change)) return true;
        const { transitions } = await ledger.readBreaker();
        const entry = transitions.find(({ id }) => id === note.reservationId);
        if (entry !== undefined && isReservation(entry)) await ledger.takeOutReservation(entry);
        return false;
      },
    }),
  },
  { name: 'note whatever the state', ledger: forgetting('noteReservation', 'status') },
  {
    name: 'dropped before it is noted',
    ledger: (ledger) => ({
      ...ledger,
      noteReservation: async (guard, note, change) => {
        await ledger.dropTransition(note.reservationId);
        return ledger.noteReservation(guard, note, change);
      },
      storeSigned: async (guard, attempt, note, change) => {
        if (note !== null) await ledger.dropTransition(note.reservationId);
        return ledger.storeSigned(guard, attempt, note, change);
      },
      noteBatchReservation: async (guard, id) => {
        await ledger.dropTransition(id);
        return ledger.noteBatchReservation(guard, id);
      },
    }),
  },
  {
    name: 'taken out whether it is there or not',
    ledger: forgetting('takeOutReservation', 'transitions.id'),
  },
  {
    name: 'closed whichever attempt is out',
    focus: 'retries',
    ledger: forgetting('closePayment', 'attemptNumber'),
  },
  { name: 'signed whatever the state', ledger: forgetting('storeSigned', 'status') },
  {
    name: 'release clears the notes',
    ledger: (ledger, { store }) => ({
      ...ledger,
      noteClose: (...args) =>
        documentLedger(
          rewriting(store, (filter, { $push, ...update }) => {
            const { notedIds: _cleared, ...pushes } = $push ?? {};
            const $set = { ...update.$set, reservationId: null, closeId: null, notedIds: [] };
            return [filter, { ...update, $set, $push: pushes }];
          }),
        ).noteClose(...args),
    }),
  },
];

/** Those between the store and the chain. */
const CHAIN: readonly Mutant[] = [
  {
    name: 'broadcast before it is stored',
    ledger: (ledger, { network }) => ({
      ...ledger,
      storeSigned: async (guard, attempt, note, change) => {
        await network.broadcast(attempt.sealed, attempt.txId);
        return ledger.storeSigned(guard, attempt, note, change);
      },
    }),
  },
  { name: 'local read concern', readConcern: 'local' },
  {
    name: 'signed again on a duplicate',
    ledger: (ledger) => ({
      ...ledger,
      recordBroadcast: (guard, broadcast, change) =>
        broadcast.answers.some(({ code }) => code === 'DUP_TRANSACTION_ERROR')
          ? ledger.reaccept(guard, change)
          : ledger.recordBroadcast(guard, broadcast, change),
    }),
  },
  { name: 'expiry by head instead of solid head', provenBy: 'head' },
  {
    name: 'release on an unclear answer',
    ledger: (ledger) => ({
      ...ledger,
      recordBroadcast: async (guard, broadcast, change) => {
        const isClear = broadcast.answers.some(({ code }) => /^(SUCCESS|DUP.*|SIGERROR)$/.test(code));
        const recorded = await ledger.recordBroadcast(guard, broadcast, change);
        if (isClear || !recorded) return recorded;
        const end = {
          status: 'failed',
          reason: 'no answer',
          endedAtMs: broadcast.atMs,
          included: null,
        } as const;
        return ledger.closePayment(guard, 'broadcast', end, change);
      },
    }),
  },
  {
    name: 'permit without a lease',
    focus: 'probing',
    ledger: (ledger) => ({
      ...ledger,
      replaceCircuit: (read, next) =>
        ledger.replaceCircuit(
          read,
          next.kind === 'half_open'
            ? { ...next, permits: next.permits.map(({ id }) => ({ id, expiresAtMs: NEVER_MS })) }
            : next,
        ),
    }),
  },
  {
    name: 'key burned by a 503',
    payOut: (pay) => async (engine, request) => {
      try {
        return await pay(engine, request);
      } catch (error) {
        const isBurned = error instanceof ServiceError && /^(circuit_open|payments_)/.test(error.code);
        if (isBurned) await engine.ledger.insertPayment(endedPayment(request));
        throw error;
      }
    },
  },
];

/** Further conditions that the promises rest on. */
const FURTHER: readonly Mutant[] = [
  {
    name: 'reservation without its room in the filter',
    ledger: forgetting(
      'pushReservation',
      'books.USDT.outstandingMicro',
      'books.TRX.outstandingMicro',
      'fees.outstandingMicro',
      'slotsVersion',
    ),
  },
  {
    name: 'slots charged over newer ones',
    focus: 'limits',
    ledger: forgetting('applyClosings', 'slotsVersion'),
  },
  {
    name: 'circuit replaced whatever it is by now',
    focus: 'probing',
    ledger: forgetting('replaceCircuit', 'circuit'),
  },
  {
    name: 'accepted again whichever attempt is out',
    focus: 'expiry',
    ledger: forgetting('reaccept', 'attemptNumber'),
  },
];

export const MUTANTS: readonly Mutant[] = [...PROTOCOL_MUTANTS, ...CHAIN, ...FURTHER];

export function mutantNamed(name: string | null): Mutant | null {
  return MUTANTS.find((mutant) => mutant.name === name) ?? null;
}

/** One method of the ledger whose filter lacks some conditions. */
export function forgetting(
  method: keyof Ledger,
  ...conditions: readonly string[]
): NonNullable<Mutant['ledger']> {
  return (ledger, { store }) => {
    const lax = documentLedger(
      rewriting(store, (filter, update) => [
        Object.fromEntries(Object.entries(filter).filter(([path]) => !conditions.includes(path))),
        update,
      ]),
    );
    return { ...ledger, [method]: lax[method] };
  };
}

export function rewriting(
  store: DocumentStore,
  rewrite: (filter: DocumentFilter, update: DocumentUpdate) => readonly [DocumentFilter, DocumentUpdate],
): DocumentStore {
  return {
    serverTimeMs: () => store.serverTimeMs(),
    findOne: (name, filter) => store.findOne(name, filter),
    find: (name, filter, options) => store.find(name, filter, options),
    sum: (name, filter, by, fields) => store.sum(name, filter, by, fields),
    updateMany: (name, filter, update) => store.updateMany(name, filter, update),
    insertOne: (name, document) => store.insertOne(name, document),
    updateOne: (name, filter, update) => store.updateOne(name, ...rewrite(filter, update)),
  };
}

function without(update: DocumentUpdate, field: string): DocumentUpdate {
  const { [field]: _gone, ...$set } = update.$set ?? {};
  return { ...update, $set };
}

function withoutSums(
  filter: DocumentFilter,
  { $inc, ...update }: DocumentUpdate,
): readonly [DocumentFilter, DocumentUpdate] {
  const kept = Object.entries($inc ?? {}).filter(([path]) => !path.endsWith('Micro'));
  return [filter, { ...update, $inc: Object.fromEntries(kept) }];
}

function effectsOf(closings: readonly Closing[]): Record<string, bigint> {
  const sums: Record<string, bigint> = {};
  for (const { kind, amounts, feeMicro, feeBurnedMicro } of closings) {
    const effects = {
      ...outstandingBy(amounts, feeMicro),
      'fees.spentTotalMicro': feeBurnedMicro,
      ...Object.fromEntries(
        ASSETS.map((asset) => [`books.${asset}.spentTotalMicro`, kind === 'commit' ? amounts[asset] : 0n]),
      ),
    };
    for (const [path, micro] of Object.entries(effects)) sums[path] = (sums[path] ?? 0n) + micro;
  }
  return sums;
}

function outstandingBy(amounts: Amounts, feeMicro: bigint): Record<string, bigint> {
  return {
    'books.USDT.outstandingMicro': -amounts.USDT,
    'books.TRX.outstandingMicro': -amounts.TRX,
    'fees.outstandingMicro': -feeMicro,
  };
}

/** What a key stands for that was claimed before anybody asked whether it could be paid. */
function endedPayment({ order, caller, idempotencyKey }: Parameters<typeof payOut>[1]): Payment {
  return storedPayment({
    ...order,
    id: `burned_${idempotencyKey}`,
    caller,
    idempotencyKey,
    fingerprint: fingerprintOf(order),
    status: 'expired',
    endedAtMs: 0,
    settleAtMs: null,
  });
}
