import type { Asset } from './money.ts';
import { takes } from './payment-life.ts';
import type { TronAddress } from './tron-address.ts';

/**
 * A payment's life (`payment-life.ts` has every event of it):
 *
 *   awaiting_approval → accepted → signed → broadcast → confirmed | failed
 *          │               │ ↑        └──────────┴──→ accepted again, once the attempt is proven expired and absent
 *          │               └→ refused | expired           any live state → needs_review, on contradictory evidence
 *          └→ rejected, and from both cancelled | expired
 *
 * Live states may still move money. An end state never does; what it reserved is then committed or released.
 * Solid evidence wins even over an end: such a payment becomes `needs_review`, until an operator rules.
 */
export type PaymentStatus = WaitingStatus | LiveStatus | EndStatus;
/** Not yet to be paid: it holds no reservation, and nothing is signed for it. */
export type WaitingStatus = 'awaiting_approval';
export type LiveStatus = 'accepted' | 'signed' | 'broadcast';
export type EndStatus =
  | 'confirmed'
  | 'failed'
  | 'refused'
  | 'expired'
  | 'cancelled'
  | 'rejected'
  | 'needs_review';

export const LIVE_STATUSES: readonly LiveStatus[] = ['accepted', 'signed', 'broadcast'];
export const END_STATUSES: readonly EndStatus[] = [
  'confirmed',
  'failed',
  'refused',
  'expired',
  'cancelled',
  'rejected',
  'needs_review',
];
export const PAYMENT_STATUSES: readonly PaymentStatus[] = [
  'awaiting_approval',
  ...LIVE_STATUSES,
  ...END_STATUSES,
];

/** What the caller asked for. Nothing of it ever changes. */
export interface PaymentOrder {
  readonly asset: Asset;
  readonly amountMicro: bigint;
  readonly recipient: TronAddress;
  /** The caller's own name for it, searchable. */
  readonly reference: string | null;
}

export interface Payment extends PaymentOrder {
  /** `pay_` and a time-ordered unique id. */
  readonly id: string;
  readonly caller: string;
  /** The caller's own; for a payment of a batch one that no caller can send. */
  readonly idempotencyKey: string;
  /** The batch it came with, or null. */
  readonly batchId: string | null;
  /** SHA-256 over the canonical order: the same key with another body is a caller's mistake. */
  readonly fingerprint: string;
  readonly status: PaymentStatus;
  /** Raised each time a refused payment is tried again, so that leftovers of the last try are told apart. */
  readonly generation: number;
  /** The number of the attempt that is, or will be, signed; from 1. Raised only when one is proven expired. */
  readonly attemptNumber: number;
  /** The noted reservation of this generation. While it stands without `closeId`, the amount is counted. */
  readonly reservationId: string | null;
  /** The noted commit or release of this generation: the reservation no longer stands in `outstanding`. */
  readonly closeId: string | null;
  /** Every transition id ever noted here, over all generations: a leftover among them is only to be dropped. */
  readonly notedIds: readonly string[];
  /** The most TRX that the noted reservation counts for fees. */
  readonly feeReservedMicro: bigint;
  /** Who approved it; null where nobody had to, or has yet. */
  readonly approvedBy: string | null;
  readonly attempts: readonly Attempt[];
  readonly history: readonly HistoryEntry[];
  readonly createdAtMs: number;
  /** Past this instant no further attempt is signed. */
  readonly payByMs: number;
  /** When the payment reached its end: the later of the server's time and the block's. */
  readonly endedAtMs: number | null;
  /** Why it ended, or what it waits for, in plain words. */
  readonly reason: string | null;
  /** When `settle` looks at it next; null once nothing is left to do. */
  readonly settleAtMs: number | null;
  /** Who took it up last: a run of `settle`, or the invocation that claimed it. `settleAtMs` ends the lease. */
  readonly leaseOwner: string | null;
  readonly lastBroadcastAtMs: number | null;
}

/** What every payment is like before anything has happened to it. */
export const UNTOUCHED = {
  batchId: null,
  generation: 0,
  attemptNumber: 1,
  reservationId: null,
  closeId: null,
  notedIds: [],
  feeReservedMicro: 0n,
  approvedBy: null,
  attempts: [],
  endedAtMs: null,
  reason: null,
  leaseOwner: null,
  lastBroadcastAtMs: null,
} as const satisfies Partial<Payment>;

/** One signed transaction. Its bytes are fixed before any of them leave, and never change. */
export interface Attempt {
  readonly number: number;
  /** Hex, 64 characters: the SHA-256 of the raw transaction. */
  readonly txId: string;
  /** The signed protobuf bytes, encrypted. */
  readonly sealed: Uint8Array;
  readonly referenceBlockNumber: number;
  readonly referenceBlockId: string;
  readonly expirationMs: number;
  readonly feeLimitMicro: bigint;
  readonly signedAtMs: number;
  readonly outcome: AttemptOutcome;
  /** What nodes answered when it was sent, the newest last. */
  readonly answers: readonly NodeAnswer[];
  /** The block that holds it, once solid. */
  readonly blockNumber: number | null;
  readonly blockTimeMs: number | null;
  readonly feeMicro: bigint | null;
}

/** live: may still land · expired: proven absent · paid, reverted: found in a solid block. */
export type AttemptOutcome = 'live' | 'expired' | 'paid' | 'reverted';

/** A node's answer to one broadcast, for people to read: it is never an outcome. */
export interface NodeAnswer {
  readonly atMs: number;
  readonly node: string;
  readonly code: string;
}

/** An attempt keeps its newest answers only. */
export const ANSWERS_MAX = 20;

/** More attempts than these are not signed, so that a payment cannot outgrow its document. */
export const ATTEMPTS_MAX = 250;

/** Something that happened to a payment, for people to read. */
export interface HistoryEntry {
  readonly atMs: number;
  readonly event: string;
  readonly detail: string;
}

/** The history keeps its newest entries only, so that a long-waiting payment cannot grow without bound. */
export const HISTORY_MAX = 100;

export function isLive(status: PaymentStatus): status is LiveStatus {
  return (LIVE_STATUSES as readonly string[]).includes(status);
}

/** The attempt whose bytes may be on their way, or undefined before signing and after a proven expiry. */
export function liveAttempt(payment: Payment): Attempt | undefined {
  const newest = payment.attempts.at(-1);
  return newest?.number === payment.attemptNumber && newest.outcome === 'live' ? newest : undefined;
}

/** What is still owed to the breaker document after an end: spent for good, or given back. */
export function closingKind(status: PaymentStatus): 'commit' | 'release' | 'none' {
  if (takes(status, 'commit')) return 'commit';
  // Elsewhere money may still move, or nobody knows whether it did: it goes on counting.
  return takes(status, 'release') ? 'release' : 'none';
}

/** Whether its amount is counted as outstanding under a reservation that is noted and not closed. */
export function holdsReservation(payment: Payment): boolean {
  return payment.reservationId !== null && payment.closeId === null;
}

/** Whether the payment is over: ended, and nothing of it is left to be committed or released. */
export function isSettled(payment: Payment): boolean {
  if (payment.status === 'needs_review') return payment.reservationId !== null;
  return closingKind(payment.status) !== 'none' && !holdsReservation(payment);
}

/** Whether the same key may try again: refused for good, with nothing of the last try left standing. */
export function mayRetry(payment: Payment): boolean {
  return takes(payment.status, 'retry') && !holdsReservation(payment);
}

/**
 * The TRX that all attempts of an ended payment have burned, in sun. Where an operator has ruled over one of which
 * nobody knows whether it landed, all that was reserved for fees counts as burned.
 */
export function feesBurnedMicro({ attempts, feeReservedMicro }: Payment): bigint {
  const knownMicro = attempts.reduce((sum, { feeMicro }) => sum + (feeMicro ?? 0n), 0n);
  const mayHaveBurned = attempts.some(({ outcome }) => outcome === 'live');
  return mayHaveBurned && feeReservedMicro > knownMicro ? feeReservedMicro : knownMicro;
}

/**
 * The attempts of an ended payment that were taken for dead: should one be found on the chain, a person must look.
 * Where an operator ruled that the payment is paid, it is its last attempt that paid it.
 */
export function deadAttempts(payment: Payment): readonly Attempt[] {
  const { attempts, attemptNumber, status } = payment;
  const ruledPaid = status === 'confirmed' && attempts.every(({ outcome }) => outcome !== 'paid');
  return attempts.filter(
    ({ outcome, number }) =>
      (outcome === 'expired' || outcome === 'live') && !(ruledPaid && number === attemptNumber),
  );
}
