import type { Asset } from '../../shared/domain/money.ts';

/** What the checker judges by: the chain first, then the database, then what callers were told. */
export interface Evidence {
  readonly wallet: string;
  /** Every transfer out of the wallet in solid blocks. */
  readonly transfers: readonly ChainTransfer[];
  readonly payments: readonly PaymentRow[];
  readonly breaker: BreakerFigures;
  /** The orders that callers sent, each under its key, with every answer they got. */
  readonly orders: readonly Order[];
  readonly limits: readonly Limit[];
  /** Transactions that every node denied until their payment had ended without them; absent where nodes do not lie. */
  readonly deniedTxIds?: readonly string[];
  /** The most unexpired half-open permits that any look at the breaker found, and how often it was looked at. */
  readonly permitsSeenMax: number;
  readonly permitsMax: number;
  readonly looks: number;
}

/** One movement of money as the chain's blocks tell it. */
export interface ChainTransfer {
  readonly txId: string;
  readonly asset: Asset;
  readonly to: string;
  readonly amountMicro: bigint;
  readonly blockNumber: number;
  readonly blockTimeMs: number;
}

/** A payment as the database holds it once everything has come to rest. */
export interface PaymentRow {
  readonly id: string;
  readonly idempotencyKey: string;
  readonly batchId: string | null;
  readonly status: string;
  readonly reason: string | null;
  readonly asset: Asset;
  readonly amountMicro: bigint;
  readonly recipient: string;
  readonly txIds: readonly string[];
  /** Whether anything of it is still to be done. */
  readonly isOpen: boolean;
  /** Whether its amount still counts as outstanding. */
  readonly isHeld: boolean;
}

export interface BreakerFigures {
  readonly transitions: number;
  readonly feesOutstandingMicro: bigint;
  readonly books: Readonly<Record<Asset, { readonly outstandingMicro: bigint; readonly spentMicro: bigint }>>;
  /** Why a person would have to look; null where nothing tripped. */
  readonly tripped: string | null;
}

/** What one caller asked for under one key: one payment, or a batch of several. */
export interface Order {
  readonly idempotencyKey: string;
  readonly kind: 'payment' | 'batch';
  readonly items: readonly OrderItem[];
  readonly answers: readonly Answer[];
  /** Whether the caller asked for its cancellation. */
  readonly cancelAsked: boolean;
}

/** No two items share a recipient, so that the chain alone tells whom a transfer paid. */
export interface OrderItem {
  readonly to: string;
  readonly asset: Asset;
  readonly amountMicro: bigint;
}

export interface Answer {
  /** HTTP's, or 0 where no answer came. */
  readonly status: number;
  readonly code: string | null;
  /** The payment's or batch's, where the answer shows one. */
  readonly id: string | null;
  /** Its status, where the answer shows one. */
  readonly shown: string | null;
}

/** At most so much in every window of block times. */
export interface Limit {
  readonly asset: Asset;
  readonly name: string;
  readonly windowMs: number;
  readonly limitMicro: bigint;
}
