import { type Circuit, CLOSED_CIRCUIT } from './circuit.ts';
import { type AssetBook, EMPTY_BOOK } from './limits.ts';
import type { Asset } from './money.ts';

/**
 * The one document that all instances share: the circuit, the books of both assets, and the transitions that
 * are under way between it and single payments. It stays small however many payments are unfinished.
 */
export interface Breaker {
  /** Raised by every pushed transition, and by nothing else. */
  readonly version: bigint;
  readonly circuit: Circuit;
  readonly books: Readonly<Record<Asset, AssetBook>>;
  readonly transitions: readonly Transition[];
  /** The newest solid block that any instance has seen. */
  readonly solidHead: SolidHead | null;
}

/**
 * One step that touches two documents. It is pushed into the breaker together with its effect, then noted in
 * the payment, then dropped; whoever finds it left over can finish it or take it out.
 */
export interface Transition {
  /** Fresh for every push, so that a note names exactly one push. */
  readonly id: string;
  readonly paymentId: string;
  readonly kind: TransitionKind;
  /** The payment's generation for which it was pushed. */
  readonly generation: number;
  readonly asset: Asset;
  readonly amountMicro: bigint;
}

/** reserve: outstanding grows · commit: outstanding becomes spent · release: outstanding shrinks. */
export type TransitionKind = 'reserve' | 'commit' | 'release';

/** A solidified block: no fork can remove it. */
export interface SolidHead {
  readonly number: number;
  /** Hex, 64 characters; its first 16 are the number. */
  readonly blockId: string;
  readonly timestampMs: number;
}

/** More transitions than these under way at once are refused; they bound the document's size. */
export const TRANSITIONS_MAX = 64;

export const NEW_BREAKER: Breaker = {
  version: 0n,
  circuit: CLOSED_CIRCUIT,
  books: { USDT: EMPTY_BOOK, TRX: EMPTY_BOOK },
  transitions: [],
  solidHead: null,
};

/** The transition under way for a payment; at most one can be. */
export function transitionOf(breaker: Breaker, paymentId: string): Transition | undefined {
  return breaker.transitions.find((transition) => transition.paymentId === paymentId);
}

/** Whether another transition of this payment may be pushed onto this version. */
export function mayPush(breaker: Breaker, paymentId: string): boolean {
  return breaker.transitions.length < TRANSITIONS_MAX && transitionOf(breaker, paymentId) === undefined;
}
