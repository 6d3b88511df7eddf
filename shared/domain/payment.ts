import type { Asset } from './money.ts';
import type { TronAddress } from './tron-address.ts';

/**
 * A payment's life:
 *
 *   accepted → signed → broadcast → confirmed | failed
 *      ↑          └──────────┴──→ accepted again, once the attempt is proven expired and absent
 *      └→ refused | expired            any live state → needs_review, on contradictory evidence
 *
 * Live states may still move money. An end state never does; what it reserved is then committed or released.
 */
export type PaymentStatus = LiveStatus | EndStatus;
export type LiveStatus = 'accepted' | 'signed' | 'broadcast';
export type EndStatus = 'confirmed' | 'failed' | 'refused' | 'expired' | 'needs_review';

export const LIVE_STATUSES: readonly LiveStatus[] = ['accepted', 'signed', 'broadcast'];

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
  readonly idempotencyKey: string;
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
  readonly lastBroadcastAtMs: number | null;
}

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
  /** The block that holds it, once solid. */
  readonly blockNumber: number | null;
  readonly blockTimeMs: number | null;
  readonly feeMicro: bigint | null;
}

/** live: may still land · expired: proven absent · paid, reverted: found in a solid block. */
export type AttemptOutcome = 'live' | 'expired' | 'paid' | 'reverted';

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
export function closingKind(status: EndStatus): 'commit' | 'release' | 'none' {
  switch (status) {
    case 'confirmed':
      return 'commit';
    case 'failed':
    case 'refused':
    case 'expired':
      return 'release';
    case 'needs_review':
      // Nobody knows whether the money left, so it goes on counting until an operator rules.
      return 'none';
  }
}

/** Whether the payment's part in the breaker document is over. */
export function isSettled(payment: Payment): boolean {
  if (isLive(payment.status)) return false;
  return payment.reservationId === null || payment.closeId !== null || payment.status === 'needs_review';
}

/** Whether the same key may try again: refused for good, with nothing of the last try left standing. */
export function mayRetry(payment: Payment): boolean {
  return payment.status === 'refused' && (payment.reservationId === null || payment.closeId !== null);
}
