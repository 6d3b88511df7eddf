import { type Circuit, CLOSED_CIRCUIT } from './circuit.ts';
import { type AssetBook, EMPTY_BOOK, EMPTY_FEE_BOOK, type FeeBook } from './limits.ts';
import type { Asset } from './money.ts';
import type { Restore } from './restore.ts';

/**
 * The one document that all instances share: the circuit, an operator's pause, the books of both assets and of
 * fees, and the transitions that are under way between it and single payments. It stays small however many
 * payments are unfinished.
 */
export interface Breaker {
  /** Raised by every change of the spent slots: what was computed from older ones is then refused. */
  readonly slotsVersion: bigint;
  /** Raised by every pushed transition: two reads that show the same one saw no step begin in between. */
  readonly pushes: bigint;
  readonly circuit: Circuit;
  readonly pause: Pause | null;
  /** What a person ordered last: a reset or a resume leaves no other trace. */
  readonly lastOrder: OperatorOrder | null;
  readonly books: Readonly<Record<Asset, AssetBook>>;
  readonly fees: FeeBook;
  readonly transitions: readonly Transition[];
  /** The newest solid block that any instance has seen. */
  readonly solidHead: SolidHead | null;
  /** The newest block of all that was counted as spent: a node that is not there yet shows a balance from before it. */
  readonly spentBlockNumber: number;
  /** Where the database was put back from a backup: what is known of the time since. Null where it never was. */
  readonly restore: Restore | null;
}

/**
 * trip: no new payments until `reset`, whatever the network does · reset: closes the circuit · pause: nothing is
 * reserved or signed until `resume`. What is out already is followed, and sent again, in every case.
 */
export const BREAKER_ACTIONS = ['trip', 'reset', 'pause', 'resume'] as const;
export type BreakerAction = (typeof BREAKER_ACTIONS)[number];

export interface OperatorOrder {
  readonly action: BreakerAction;
  readonly reason: string;
  readonly by: string;
  readonly atMs: number;
}

/** An operator's order to reserve and sign nothing; what is out is followed and sent again as ever. */
export interface Pause {
  readonly reason: string;
  readonly by: string;
  readonly atMs: number;
}

/**
 * One step that touches two documents. It is pushed into the breaker, noted in the payment, then dropped;
 * whoever finds it left over can finish it or take it out. A reservation counts from its push. A closing changes
 * nothing until it is dropped, so that of two rivals only the one whose note won has its effect.
 */
export type Transition = Reservation | Closing;

interface TransitionBase {
  /** Fresh for every push, so that a note names exactly one push. */
  readonly id: string;
  /** The payment's, or the batch's, which reserves for all its items at once. */
  readonly paymentId: string;
  /** The payment's generation for which it was pushed. */
  readonly generation: number;
}

export interface Reservation extends TransitionBase {
  readonly kind: 'reserve';
  readonly amounts: Amounts;
  /** The most TRX that may be burned for it. */
  readonly feeMicro: bigint;
}

/** commit: outstanding becomes spent · release: outstanding shrinks. Both say what was reserved. */
export interface Closing extends TransitionBase {
  readonly kind: 'commit' | 'release';
  readonly amounts: Amounts;
  readonly feeMicro: bigint;
  /** What was burned in truth: it is spent even where the amount is released. */
  readonly feeBurnedMicro: bigint;
  /** When the payment ended: the later of the server's time and the block's. */
  readonly endedAtMs: number;
  /** The newest block that holds a transaction of it; absent where none is known to. */
  readonly blockNumber?: number;
}

export type Amounts = Readonly<Record<Asset, bigint>>;

export function amountsOf(asset: Asset, amountMicro: bigint): Amounts {
  return { USDT: 0n, TRX: 0n, [asset]: amountMicro };
}

/** A solidified block: no fork can remove it. */
export interface SolidHead {
  readonly number: number;
  /** Hex, 64 characters; its first 16 are the number. */
  readonly blockId: string;
  readonly timestampMs: number;
}

/** TRON makes a block every 3 s; a development chain makes none faster than this. */
const BLOCK_MS_MIN = 50;

/**
 * Whether a chain whose solid head was the one can be at the other by now. A number that runs away from the time
 * is made up. Remembered, it would leave every true node behind, and nothing would ever end or free again.
 */
export function canFollow(known: SolidHead | null, head: SolidHead): boolean {
  if (known === null || head.number <= known.number) return true;
  return head.timestampMs - known.timestampMs >= (head.number - known.number) * BLOCK_MS_MIN;
}

/** More transitions than these under way at once are refused; they bound the document's size. */
export const TRANSITIONS_MAX = 64;

export const NEW_BREAKER: Breaker = {
  slotsVersion: 0n,
  pushes: 0n,
  circuit: CLOSED_CIRCUIT,
  pause: null,
  lastOrder: null,
  books: { USDT: EMPTY_BOOK, TRX: EMPTY_BOOK },
  fees: EMPTY_FEE_BOOK,
  transitions: [],
  solidHead: null,
  spentBlockNumber: 0,
  restore: null,
};

/** The transitions under way for a payment: usually none or one; more where rivals pushed at the same time. */
export function transitionsOf(breaker: Breaker, paymentId: string): readonly Transition[] {
  return breaker.transitions.filter((transition) => transition.paymentId === paymentId);
}

/** Whether another transition of this payment may be pushed. */
export function mayPush(breaker: Breaker, paymentId: string): boolean {
  return breaker.transitions.length < TRANSITIONS_MAX && transitionsOf(breaker, paymentId).length === 0;
}
