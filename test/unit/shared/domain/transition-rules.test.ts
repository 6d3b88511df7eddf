import { describe, expect, it } from 'vitest';
import type { Batch } from '../../../../shared/domain/batch.ts';
import { amountsOf, type Closing, type Reservation } from '../../../../shared/domain/breaker.ts';
import { PAYMENT_STATUSES, type Payment, type PaymentStatus } from '../../../../shared/domain/payment.ts';
import {
  closingOf,
  isReservation,
  judgeBatchTransition,
  judgeTransition,
} from '../../../../shared/domain/transition-rules.ts';
import { attempt, payment } from '../../../support/stored-payment.ts';
import { START_MS } from '../../../support/test-engine.ts';

const RESERVATION: Reservation = {
  id: 't1',
  paymentId: 'pay_1',
  generation: 3,
  kind: 'reserve',
  amounts: amountsOf('USDT', 5n),
  feeMicro: 7n,
};
const closing = (kind: Closing['kind']): Closing => ({
  ...RESERVATION,
  kind,
  feeBurnedMicro: 1n,
  endedAtMs: START_MS,
});
const of = (over: Partial<Payment>) => payment({ id: 'pay_1', generation: 3, ...over });
const HELD = { reservationId: 'r1', closeId: null };

describe('a reservation that is left over', () => {
  const judge = (over: Partial<Payment>) => judgeTransition(RESERVATION, of(over));

  it.each(PAYMENT_STATUSES)('is noted, or taken out, by a payment that is %s and has none', (status) => {
    const waits = status === 'accepted' || status === 'needs_review';
    expect(judge({ status })).toBe(waits ? 'note' : 'take_out');
  });

  it('is taken out where another one is noted', () => {
    expect(judge({ status: 'accepted', ...HELD })).toBe('take_out');
    expect(judge({ status: 'needs_review', ...HELD })).toBe('take_out');
  });

  it('is taken out where the payment has begun another generation', () => {
    expect(judge({ status: 'accepted', generation: 4 })).toBe('take_out');
  });

  it('is dropped where it is noted, whatever has become of the payment', () => {
    for (const status of PAYMENT_STATUSES) {
      expect(judge({ status, generation: 4, notedIds: ['t0', 't1'] })).toBe('drop');
    }
  });

  it('is an anomaly where there is no payment', () => {
    expect(judgeTransition(RESERVATION, null)).toBe('anomaly');
  });
});

describe.each(['commit', 'release'] as const)('a %s that is left over', (kind) => {
  const released: readonly PaymentStatus[] = ['failed', 'refused', 'expired', 'cancelled', 'rejected'];
  const ends = kind === 'commit' ? ['confirmed'] : released;

  it.each(PAYMENT_STATUSES)('is noted, or taken out, by a payment that is %s', (status) => {
    const judge = (over: Partial<Payment>) => judgeTransition(closing(kind), of({ status, ...over }));
    expect(judge(HELD)).toBe(ends.includes(status) ? 'note' : 'take_out');
    expect(judge({ reservationId: 'r1', closeId: 'c1' })).toBe('take_out');
    expect(judge({})).toBe('take_out');
    expect(judge({ ...HELD, generation: 4 })).toBe('take_out');
    expect(judge({ reservationId: 'r1', closeId: 't1', notedIds: ['r1', 't1'] })).toBe('drop');
  });
});

describe('a batch’s reservation that is left over', () => {
  const batch = (over: Partial<Batch> = {}): Batch => ({
    id: 'bat_1',
    caller: 'gateway',
    idempotencyKey: 'k',
    fingerprint: 'f',
    status: 'accepted',
    generation: 3,
    items: [],
    reservationId: null,
    notedIds: [],
    feeReservedMicro: 0n,
    createdAtMs: START_MS,
    payByMs: START_MS,
    reason: null,
    settleAtMs: null,
    leaseOwner: null,
    ...over,
  });

  it.each<[string, Partial<Batch>, string]>([
    ['waits for one', {}, 'note'],
    ['has noted another one', { reservationId: 'r1' }, 'take_out'],
    ['is refused', { status: 'refused' }, 'take_out'],
    ['is admitted under another one', { status: 'admitted', reservationId: 'r1' }, 'take_out'],
    ['has begun another generation', { generation: 4 }, 'take_out'],
    ['holds it, its payments yet to come', { reservationId: 't1', notedIds: ['t1'] }, 'admit'],
    ['is admitted under it', { status: 'admitted', reservationId: 't1', notedIds: ['t0', 't1'] }, 'drop'],
  ])('is answered by one that %s', (_, over, verdict) => {
    expect(judgeBatchTransition(RESERVATION, batch(over))).toBe(verdict);
  });

  it('is an anomaly where there is no batch, as is a closing', () => {
    expect(judgeBatchTransition(RESERVATION, null)).toBe('anomaly');
    expect(judgeBatchTransition(closing('commit'), batch({ notedIds: ['t1'] }))).toBe('anomaly');
  });
});

describe('the closing that a payment owes', () => {
  const ended = of({
    ...HELD,
    status: 'confirmed',
    asset: 'TRX',
    amountMicro: 9n,
    feeReservedMicro: 7n,
    endedAtMs: START_MS + 5,
    attempts: [attempt({ blockNumber: 4 }), attempt({ blockNumber: null }), attempt({ blockNumber: 3 })],
  });

  it('says what was reserved, what was burned, when it ended and its newest block', () => {
    expect(closingOf(ended, 'c1', 2n)).toEqual({
      id: 'c1',
      paymentId: 'pay_1',
      generation: 3,
      kind: 'commit',
      amounts: { USDT: 0n, TRX: 9n },
      feeMicro: 7n,
      feeBurnedMicro: 2n,
      endedAtMs: START_MS + 5,
      blockNumber: 4,
    });
    expect(closingOf({ ...ended, status: 'expired' }, 'c1', 0n)?.kind).toBe('release');
  });

  it('names no block where none is known', () => {
    expect(closingOf({ ...ended, attempts: [attempt()] }, 'c1', 0n)).not.toHaveProperty('blockNumber');
  });

  it.each<[string, Partial<Payment>]>([
    ['may still move money', { status: 'broadcast' }],
    ['is under review', { status: 'needs_review' }],
    ['reserved nothing', { reservationId: null }],
    ['is closed', { closeId: 'c0' }],
    ['has no end', { endedAtMs: null }],
  ])('is none where it %s', (_, over) => {
    expect(closingOf({ ...ended, ...over }, 'c1', 0n)).toBeNull();
  });
});

it('a reservation is told from a closing', () => {
  expect(isReservation(RESERVATION)).toBe(true);
  expect(isReservation(closing('commit'))).toBe(false);
  expect(isReservation(closing('release'))).toBe(false);
});
