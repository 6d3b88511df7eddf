import { describe, expect, it } from 'vitest';
import {
  type Attempt,
  type AttemptOutcome,
  deadAttempts,
  END_STATUSES,
  feesBurnedMicro,
  holdsReservation,
  isLive,
  isSettled,
  LIVE_STATUSES,
  liveAttempt,
  mayRetry,
  PAYMENT_STATUSES,
  type PaymentStatus,
} from '../../../../shared/domain/payment.ts';
import { attempt, payment } from '../../../support/stored-payment.ts';

const OPEN = { reservationId: 'r1', closeId: null };
const CLOSED = { reservationId: 'r1', closeId: 'c1' };
const NEVER = { reservationId: null, closeId: null };

describe('the states of a payment', () => {
  it('are one that waits, the live ones and the ends', () => {
    expect(PAYMENT_STATUSES).toEqual(['awaiting_approval', ...LIVE_STATUSES, ...END_STATUSES]);
    expect(LIVE_STATUSES).toEqual(['accepted', 'signed', 'broadcast']);
    expect(new Set(PAYMENT_STATUSES).size).toBe(11);
  });

  it.each(PAYMENT_STATUSES)('know whether %s is live', (status) => {
    expect(isLive(status)).toBe(['accepted', 'signed', 'broadcast'].includes(status));
  });
});

describe('a payment’s reservation', () => {
  it('stands from its note until the note of its closing', () => {
    expect(holdsReservation(payment(NEVER))).toBe(false);
    expect(holdsReservation(payment(OPEN))).toBe(true);
    expect(holdsReservation(payment(CLOSED))).toBe(false);
  });

  it.each<[PaymentStatus, boolean, boolean, boolean]>([
    ['awaiting_approval', false, false, false],
    ['accepted', false, false, false],
    ['signed', false, false, false],
    ['broadcast', false, false, false],
    ['confirmed', true, false, true],
    ['failed', true, false, true],
    ['refused', true, false, true],
    ['expired', true, false, true],
    ['cancelled', true, false, true],
    ['rejected', true, false, true],
    // Nothing is left to do for it by itself once its amount counts; a person has to rule.
    ['needs_review', false, true, true],
  ])(
    'of one that is %s: settled without one %s, while it stands %s, once closed %s',
    (status, never, open, closed) => {
      expect(isSettled(payment({ status, ...NEVER }))).toBe(never);
      expect(isSettled(payment({ status, ...OPEN }))).toBe(open);
      expect(isSettled(payment({ status, ...CLOSED }))).toBe(closed);
    },
  );

  it('keeps a refused payment from being tried again until it is given back', () => {
    expect(mayRetry(payment({ status: 'refused', ...NEVER }))).toBe(true);
    expect(mayRetry(payment({ status: 'refused', ...OPEN }))).toBe(false);
    expect(mayRetry(payment({ status: 'refused', ...CLOSED }))).toBe(true);
    expect(mayRetry(payment({ status: 'expired', ...NEVER }))).toBe(false);
  });
});

describe('a payment’s attempts', () => {
  const attempts = (...outcomes: readonly AttemptOutcome[]) =>
    outcomes.map((outcome, index) => attempt({ number: index + 1, outcome }));
  const numbers = (list: readonly { number: number }[]) => list.map(({ number }) => number);

  it('have one that may still land: the newest, unless that is known to be over', () => {
    expect(liveAttempt(payment())).toBeUndefined();
    expect(liveAttempt(payment({ attempts: attempts('live') }))?.number).toBe(1);
    const second = payment({ attemptNumber: 2, attempts: attempts('expired', 'live') });
    expect(liveAttempt(second)?.number).toBe(2);
    // Accepted again: the next one is not signed yet.
    expect(liveAttempt(payment({ attemptNumber: 2, attempts: attempts('live') }))).toBeUndefined();
    expect(liveAttempt(payment({ attempts: attempts('expired') }))).toBeUndefined();
  });

  it('burn fees that add up, as far as they are known', () => {
    const burned = [attempt({ feeMicro: 3n }), attempt({ feeMicro: null }), attempt({ feeMicro: 4n })];
    expect(feesBurnedMicro(payment({ attempts: burned }))).toBe(7n);
    expect(feesBurnedMicro(payment())).toBe(0n);
  });

  it.each<[string, readonly Attempt[], bigint]>([
    ['is ruled over', [attempt({ outcome: 'live' })], 9n],
    [
      'is ruled over, beside one that is proven absent',
      [attempt({ outcome: 'expired' }), attempt({ outcome: 'live' })],
      9n,
    ],
    ['has paid', [attempt({ outcome: 'paid', feeMicro: 3n })], 3n],
    [
      'is ruled over, beside one that burned more than is reserved',
      [attempt({ outcome: 'reverted', feeMicro: 10n }), attempt({ outcome: 'live' })],
      10n,
    ],
  ])('burn what is reserved where nobody knows better: one %s', (_, all, burnedMicro) => {
    expect(feesBurnedMicro(payment({ attempts: all, feeReservedMicro: 9n }))).toBe(burnedMicro);
  });

  it('were taken for dead where they neither paid nor were reverted', () => {
    const dead = deadAttempts(
      payment({
        status: 'confirmed',
        attemptNumber: 4,
        attempts: attempts('expired', 'reverted', 'live', 'paid'),
      }),
    );
    expect(numbers(dead)).toEqual([1, 3]);
  });

  it('have none that is dead where a person ruled that the last one paid', () => {
    const ruled = payment({ status: 'confirmed', attemptNumber: 2, attempts: attempts('expired', 'live') });
    expect(numbers(deadAttempts(ruled))).toEqual([1]);
    expect(numbers(deadAttempts({ ...ruled, status: 'failed' }))).toEqual([1, 2]);
    const paidBefore = { ...ruled, attempts: attempts('paid', 'live') };
    expect(numbers(deadAttempts(paidBefore))).toEqual([2]);
  });
});
