import { describe, expect, it } from 'vitest';
import { mongoLedger } from '../../shared/adapters/mongo/mongo-ledger.ts';
import { END_STATUSES, type EndStatus, PAYMENT_STATUSES, type Payment } from '../../shared/domain/payment.ts';
import { judgeEvent, PAYMENT_LIFE, type PaymentEvent } from '../../shared/domain/payment-life.ts';
import type { Ledger } from '../../shared/ports/ledger.ts';
import { useDatabase } from '../support/database.ts';
import { memoryLedger } from '../support/memory-ledger.ts';
import { attempt, change, guardOf, payment } from '../support/stored-payment.ts';
import { START_MS } from '../support/test-engine.ts';

// As `connectMongo` reads it.
const database = useDatabase({ promoteBuffers: true, ignoreUndefined: true });

interface LedgerChange {
  /** The events that the ledger is told of by this change. */
  readonly events: readonly PaymentEvent[];
  /** Everything but the status is as the change asks for. */
  readonly fields?: Partial<Payment>;
  /** Says whether it took effect. */
  make(ledger: Ledger, stored: Payment): Promise<boolean>;
}

const included = { blockNumber: 9, blockTimeMs: START_MS, feeMicro: 1n };
const unreserved = { reservationId: null, notedIds: [] };
const later = { txId: 'd'.repeat(64), number: 2 };

const CHANGES: Readonly<Record<string, LedgerChange>> = {
  insertPayment: {
    events: ['claim', 'claim_for_approval'],
    make: async (ledger, { caller, idempotencyKey }) =>
      (await ledger.insertPayment(payment({ caller, idempotencyKey }))) !== 'exists',
  },
  approve: {
    events: ['approve'],
    make: (ledger, stored) => ledger.approve(guardOf(stored), 'boss', START_MS, change()),
  },
  noteReservation: {
    events: ['reserve'],
    fields: unreserved,
    make: (ledger, stored) =>
      ledger.noteReservation(
        guardOf(stored),
        { reservationId: 'r2', feeReservedMicro: 1n },
        change({ settleAtMs: null }),
      ),
  },
  'storeSigned, noting the reservation': {
    events: ['sign'],
    fields: unreserved,
    make: async (ledger, stored) =>
      (await ledger.storeSigned(
        guardOf(stored),
        attempt(later),
        { reservationId: 'r2', feeReservedMicro: 1n },
        change(),
      )) === 'stored',
  },
  'storeSigned, under a noted reservation': {
    events: ['sign'],
    make: async (ledger, stored) =>
      (await ledger.storeSigned(guardOf(stored), attempt(later), null, change())) === 'stored',
  },
  'recordBroadcast of bytes that are out': {
    events: ['broadcast'],
    make: (ledger, stored) =>
      ledger.recordBroadcast(guardOf(stored), { atMs: START_MS, isOut: true, answers: [] }, change()),
  },
  'recordBroadcast of refused bytes': {
    events: ['broadcast_refused'],
    make: (ledger, stored) =>
      ledger.recordBroadcast(guardOf(stored), { atMs: START_MS, isOut: false, answers: [] }, change()),
  },
  reaccept: {
    events: ['reaccept'],
    make: (ledger, stored) => ledger.reaccept(guardOf(stored), change()),
  },
  ...Object.fromEntries(END_STATUSES.map((end) => [`closePayment as ${end}`, closeAs(end)])),
  noteClose: {
    events: ['commit', 'release'],
    make: (ledger, stored) =>
      ledger.noteClose(guardOf(stored), stored.status as EndStatus, 'c1', change({ settleAtMs: null })),
  },
  retryRefused: {
    events: ['retry'],
    fields: unreserved,
    make: (ledger, stored) => ledger.retryRefused(guardOf(stored), 'accepted', START_MS, change()),
  },
  'retryRefused, which waits for approval': {
    events: ['retry_for_approval'],
    fields: unreserved,
    make: (ledger, stored) => ledger.retryRefused(guardOf(stored), 'awaiting_approval', START_MS, change()),
  },
  'reopenForReview, its reservation held': {
    events: ['reopen'],
    make: (ledger, stored) => reopen(ledger, stored, true),
  },
  'reopenForReview, its reservation closed': {
    events: ['reopen'],
    fields: { closeId: 'c1' },
    make: (ledger, stored) => reopen(ledger, stored, false),
  },
};

function closeAs(status: EndStatus): LedgerChange {
  const ending = (Object.keys(PAYMENT_LIFE) as PaymentEvent[]).filter(
    (event) => PAYMENT_LIFE[event].to === status && event !== 'reopen',
  );
  return {
    events: ending,
    make: (ledger, stored) =>
      ledger.closePayment(
        guardOf(stored),
        stored.status,
        { status, reason: 'so it is', endedAtMs: START_MS, included },
        change(),
      ),
  };
}

function reopen(ledger: Ledger, stored: Payment, holds: boolean): Promise<boolean> {
  const found = { attemptNumber: 1, included };
  return ledger.reopenForReview(guardOf(stored), stored.status as EndStatus, holds, found, change());
}

// The conditions are written in the database's language, so it is the database that has to agree with the table.
describe.each([
  ['on MongoDB', () => mongoLedger(database.db())],
  ['in memory', () => memoryLedger(() => START_MS)],
])('the ledger %s', (_, open: () => Ledger) => {
  describe.each(Object.entries(CHANGES))('%s', (__, { events, fields, make }) => {
    it.each(PAYMENT_STATUSES)('does to a payment that is %s what its life says', async (status) => {
      const ledger = open();
      await ledger.readBreaker();
      const stored = payment({
        status,
        attempts: [attempt()],
        reservationId: 'r1',
        notedIds: ['r1'],
        ...fields,
      });
      await ledger.insertPayment(stored);
      const [next] = events.flatMap((event) => {
        const verdict = judgeEvent(status, event);
        return 'next' in verdict ? [verdict.next] : [];
      });
      expect(await make(ledger, stored)).toBe(next !== undefined);
      const after = await ledger.findPayment(stored.id);
      if (next === undefined) expect(after).toEqual(stored);
      else expect(after).toMatchObject({ status: next, history: [{}, { event: 'changed' }] });
    });
  });
});

it('every event of a payment’s life is told to the ledger by some change', () => {
  const told = Object.values(CHANGES).flatMap(({ events }) => events);
  expect([...new Set(told)].sort()).toEqual(Object.keys(PAYMENT_LIFE).sort());
});
