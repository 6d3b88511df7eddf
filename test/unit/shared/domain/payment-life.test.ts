import { describe, expect, it } from 'vitest';
import { closingKind, END_STATUSES, PAYMENT_STATUSES } from '../../../../shared/domain/payment.ts';
import {
  judgeEvent,
  mayEnd,
  PAYMENT_LIFE,
  type PaymentEvent,
  takes,
} from '../../../../shared/domain/payment-life.ts';

/** What each state takes, and where it leads. Nothing else happens to a payment. */
const LIFE: Readonly<
  Record<(typeof PAYMENT_STATUSES)[number], Partial<Record<PaymentEvent, (typeof PAYMENT_STATUSES)[number]>>>
> = {
  awaiting_approval: {
    approve: 'accepted',
    reject: 'rejected',
    lapse: 'expired',
    cancel: 'cancelled',
    contradict: 'needs_review',
    resolve_paid: 'confirmed',
  },
  accepted: {
    reserve: 'accepted',
    sign: 'signed',
    refuse: 'refused',
    cancel: 'cancelled',
    expire: 'expired',
    contradict: 'needs_review',
  },
  signed: {
    broadcast: 'broadcast',
    broadcast_refused: 'signed',
    reaccept: 'accepted',
    confirm: 'confirmed',
    revert: 'failed',
    expire: 'expired',
    contradict: 'needs_review',
  },
  broadcast: {
    broadcast: 'broadcast',
    broadcast_refused: 'broadcast',
    reaccept: 'accepted',
    confirm: 'confirmed',
    revert: 'failed',
    expire: 'expired',
    contradict: 'needs_review',
  },
  confirmed: { commit: 'confirmed', reopen: 'needs_review' },
  failed: { release: 'failed', reopen: 'needs_review' },
  refused: {
    release: 'refused',
    retry: 'accepted',
    retry_for_approval: 'awaiting_approval',
    reopen: 'needs_review',
  },
  expired: { release: 'expired', reopen: 'needs_review' },
  cancelled: { release: 'cancelled', reopen: 'needs_review' },
  rejected: { release: 'rejected', reopen: 'needs_review' },
  needs_review: { reserve: 'needs_review', resolve_paid: 'confirmed', resolve_not_paid: 'failed' },
};

/** What an event is answered by a state that does not take it. */
const REFUSALS: Readonly<Record<PaymentEvent, string>> = {
  claim: 'exists',
  claim_for_approval: 'exists',
  approve: 'payment_not_awaiting_approval',
  reject: 'payment_not_awaiting_approval',
  lapse: 'moved',
  cancel: 'payment_not_cancellable',
  reserve: 'moved',
  refuse: 'moved',
  sign: 'moved',
  broadcast: 'moved',
  broadcast_refused: 'moved',
  reaccept: 'moved',
  expire: 'moved',
  confirm: 'moved',
  revert: 'moved',
  contradict: 'moved',
  commit: 'moved',
  release: 'moved',
  retry: 'payment_in_flight',
  retry_for_approval: 'payment_in_flight',
  reopen: 'moved',
  resolve_paid: 'payment_not_in_review',
  resolve_not_paid: 'payment_not_in_review',
};

const EVENTS = Object.keys(REFUSALS) as PaymentEvent[];

describe.each(PAYMENT_STATUSES)('a payment that is %s', (status) => {
  it.each(EVENTS)('answers %s as its life says', (event) => {
    const next = LIFE[status][event];
    expect(judgeEvent(status, event)).toEqual(next === undefined ? { refusal: REFUSALS[event] } : { next });
    expect(takes(status, event)).toBe(next !== undefined);
  });

  it.each(END_STATUSES)('may end as %s only by an event that ends it so', (end) => {
    // The chain may contradict an end that stands already, which is no end but a new beginning of doubt.
    const { reopen: _, ...ending } = LIFE[status];
    const ways = Object.values(ending).filter((next) => next === end && next !== status);
    // So that the ledger need not be told which event it is.
    expect(ways.length).toBeLessThanOrEqual(1);
    expect(mayEnd(status, end)).toBe(ways.length === 1);
  });
});

describe('the life of a payment', () => {
  it('knows no other events', () => {
    expect(Object.keys(PAYMENT_LIFE).sort()).toEqual([...EVENTS].sort());
  });

  it('begins by a claim, which waits where a second person has to approve it', () => {
    expect(PAYMENT_LIFE.claim.to).toBe('accepted');
    expect(PAYMENT_LIFE.claim_for_approval.to).toBe('awaiting_approval');
  });

  it('leads from every state to where nothing moves money any more', () => {
    for (const begin of PAYMENT_STATUSES) {
      const reached = new Set([begin]);
      for (const status of reached) for (const next of Object.values(LIFE[status])) reached.add(next);
      expect([...reached].some((status) => closingKind(status) !== 'none')).toBe(true);
    }
  });

  it('signs nothing and sends nothing once it has ended, but for a refused one that is asked for again', () => {
    for (const begin of END_STATUSES) {
      const reached = new Set([begin as (typeof PAYMENT_STATUSES)[number]]);
      for (const status of reached) {
        const { retry: _, retry_for_approval: __, ...others } = LIFE[status];
        for (const next of Object.values(others)) reached.add(next);
      }
      for (const status of reached) {
        expect(takes(status, 'sign') || takes(status, 'broadcast') || takes(status, 'approve')).toBe(false);
      }
    }
  });

  it.each([
    ['confirmed', 'commit'],
    ['failed', 'release'],
    ['refused', 'release'],
    ['expired', 'release'],
    ['cancelled', 'release'],
    ['rejected', 'release'],
    ['needs_review', 'none'],
    ['awaiting_approval', 'none'],
    ['accepted', 'none'],
    ['signed', 'none'],
    ['broadcast', 'none'],
  ] as const)('%s owes the books a closing of kind %s', (status, kind) => {
    expect(closingKind(status)).toBe(kind);
  });
});
