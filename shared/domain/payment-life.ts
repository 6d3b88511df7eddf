import type { EndStatus, PaymentStatus } from './payment.ts';

/** One thing that can happen to a payment. */
interface Change {
  /** The states that take it; in any other it changes nothing. */
  readonly from: readonly PaymentStatus[];
  /** The state it leads to; null where the payment stays in the one it is in. */
  readonly to: PaymentStatus | null;
  /** What every other state answers. */
  readonly refusal: LifeRefusal;
}

/**
 * Why something does not happen: as people are told it, where they asked for it; `exists`: the key stands for a
 * payment; `moved`: somebody else has taken the payment further, and it must be read again.
 */
export type LifeRefusal =
  | 'exists'
  | 'moved'
  | 'payment_in_flight'
  | 'payment_not_cancellable'
  | 'payment_not_awaiting_approval'
  | 'payment_not_in_review';

/**
 * The life of a payment: all that can happen to one, in which states, and where it leads. The ledger takes its
 * conditions from here and the use cases ask it, so what is not in this table changes no payment.
 */
export const PAYMENT_LIFE = {
  claim: { from: [], to: 'accepted', refusal: 'exists' },
  claim_for_approval: { from: [], to: 'awaiting_approval', refusal: 'exists' },

  approve: { from: ['awaiting_approval'], to: 'accepted', refusal: 'payment_not_awaiting_approval' },
  reject: { from: ['awaiting_approval'], to: 'rejected', refusal: 'payment_not_awaiting_approval' },
  /** Nobody approved it in time. */
  lapse: { from: ['awaiting_approval'], to: 'expired', refusal: 'moved' },
  cancel: {
    from: ['awaiting_approval', 'accepted'],
    to: 'cancelled',
    refusal: 'payment_not_cancellable',
  },

  /** Its reservation is noted: to be made, or made by the chain against our books, its amount counts. */
  reserve: { from: ['accepted', 'needs_review'], to: null, refusal: 'moved' },
  refuse: { from: ['accepted'], to: 'refused', refusal: 'moved' },
  sign: { from: ['accepted'], to: 'signed', refusal: 'moved' },
  /** A node may have taken the bytes. */
  broadcast: { from: ['signed', 'broadcast'], to: 'broadcast', refusal: 'moved' },
  /** Every node said no, which proves nothing about bytes that left before. */
  broadcast_refused: { from: ['signed', 'broadcast'], to: null, refusal: 'moved' },
  /** The attempt is proven absent for good; another one may follow. */
  reaccept: { from: ['signed', 'broadcast'], to: 'accepted', refusal: 'moved' },
  /** Its time is over, and nothing of it can land any more. */
  expire: { from: ['accepted', 'signed', 'broadcast'], to: 'expired', refusal: 'moved' },
  /** Solid evidence; the broadcast may have been made by a process that died before it could record it. */
  confirm: { from: ['signed', 'broadcast'], to: 'confirmed', refusal: 'moved' },
  revert: { from: ['signed', 'broadcast'], to: 'failed', refusal: 'moved' },
  /** Also where nobody approved what a restored system has found to be paid, maybe. */
  contradict: {
    from: ['awaiting_approval', 'accepted', 'signed', 'broadcast'],
    to: 'needs_review',
    refusal: 'moved',
  },

  /** What it reserved is spent. */
  commit: { from: ['confirmed'], to: null, refusal: 'moved' },
  /** What it reserved, if anything, is given back. */
  release: {
    from: ['failed', 'refused', 'expired', 'cancelled', 'rejected'],
    to: null,
    refusal: 'moved',
  },
  retry: { from: ['refused'], to: 'accepted', refusal: 'payment_in_flight' },
  retry_for_approval: { from: ['refused'], to: 'awaiting_approval', refusal: 'payment_in_flight' },
  /** The chain contradicts its end. */
  reopen: {
    from: ['confirmed', 'failed', 'refused', 'expired', 'cancelled', 'rejected'],
    to: 'needs_review',
    refusal: 'moved',
  },
  /** Also where it waits for approval because it may be what a restored system found to be paid. */
  resolve_paid: {
    from: ['needs_review', 'awaiting_approval'],
    to: 'confirmed',
    refusal: 'payment_not_in_review',
  },
  resolve_not_paid: { from: ['needs_review'], to: 'failed', refusal: 'payment_not_in_review' },
} as const satisfies Readonly<Record<string, Change>>;

export type PaymentEvent = keyof typeof PAYMENT_LIFE;

/** What ends a payment. No two of them lead from the same state to the same end. */
const ENDINGS = [
  'reject',
  'lapse',
  'cancel',
  'refuse',
  'expire',
  'confirm',
  'revert',
  'contradict',
  'resolve_paid',
  'resolve_not_paid',
] as const satisfies readonly PaymentEvent[];

export type LifeVerdict = { readonly next: PaymentStatus } | { readonly refusal: LifeRefusal };

/** Where an event leads a payment that is in this state, or what it is answered. */
export function judgeEvent(status: PaymentStatus, event: PaymentEvent): LifeVerdict {
  const { from, to, refusal }: Change = PAYMENT_LIFE[event];
  return from.includes(status) ? { next: to ?? status } : { refusal };
}

export function takes(status: PaymentStatus, event: PaymentEvent): boolean {
  return 'next' in judgeEvent(status, event);
}

/** Whether anything ends a payment that is in this state in that way. */
export function mayEnd(status: PaymentStatus, end: EndStatus): boolean {
  return ENDINGS.some((event) => PAYMENT_LIFE[event].to === end && takes(status, event));
}
