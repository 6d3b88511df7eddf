import type { SolidHead } from '../../shared/domain/breaker.ts';
import type { NodeTestimony } from '../../shared/domain/transfer-evidence.ts';
import type { TransferPlan } from '../../shared/ports/payment-network.ts';
import { START_MS } from '../support/test-engine.ts';

/**
 * As much of a chain as the protocol needs: transactions that are out and may be included while they are valid, or
 * never; and what was included, which every node knows at once.
 */
export interface ChainTransaction {
  readonly txId: string;
  readonly amountMicro: bigint;
  /** Included only before this instant. */
  readonly expirationMs: number;
  readonly state: 'out' | 'paid' | 'reverted';
  /** The time of the block that holds it. */
  readonly atMs: number | null;
}
/** In the order of their ids. */
export type Chain = readonly ChainTransaction[];

/** One step of time. Everything that has a length in a model is a number of these. */
export const TICK_MS = 60_000;
export const FEE_MAX_MICRO = 11n;
export const FEE_BURNED_MICRO = 3n;

export function timeOf(tick: number): number {
  return START_MS + tick * TICK_MS;
}

export function headAt(tick: number): SolidHead {
  return { number: tick, blockId: `block ${tick}`, timestampMs: timeOf(tick) };
}

export function planAt(tick: number): TransferPlan {
  return {
    referenceBlock: headAt(tick),
    feeLimitMicro: 10n,
    feeMaxMicro: FEE_MAX_MICRO,
    estimate: { energy: 0, bandwidth: 0, feeMicro: FEE_MAX_MICRO, activates: false },
  };
}

/** Signed bytes that say what they are, in plain words. */
export function bytesOf(txId: string, amountMicro: bigint, expirationMs: number): Uint8Array {
  return Buffer.from(JSON.stringify([txId, amountMicro.toString(), expirationMs]));
}

export function sendBytes(chain: Chain, bytes: Uint8Array, nowMs: number): Chain {
  const [txId, amount, expirationMs] = JSON.parse(Buffer.from(bytes).toString()) as [string, string, number];
  if (nowMs >= expirationMs || chain.some((held) => held.txId === txId)) return chain;
  const sent = { txId, amountMicro: BigInt(amount), expirationMs, state: 'out', atMs: null } as const;
  return [...chain, sent].sort((a, b) => (a.txId < b.txId ? -1 : 1));
}

export function include(chain: Chain, txId: string, state: 'paid' | 'reverted', nowMs: number): Chain {
  return chain.map((held) => (held.txId === txId ? { ...held, state, atMs: nowMs } : held));
}

/** What was not included in time is nowhere any more. */
export function withoutExpired(chain: Chain, nowMs: number): Chain {
  const isGone = ({ state, expirationMs }: ChainTransaction) => state === 'out' && expirationMs <= nowMs;
  return chain.some(isGone) ? chain.filter((held) => !isGone(held)) : chain;
}

export type Witness = 'true' | 'absent' | 'contradictory';

/** What two nodes say about a transaction; `as` other than true is a lie that both of them tell. */
export function testify(chain: Chain, txId: string, tick: number, as: Witness): NodeTestimony[] {
  const found = chain.find((held) => held.txId === txId && held.state !== 'out');
  const shown = shownAs(found, txId, tick, as);
  return ['one', 'two'].map((node) => ({ node, solidHead: headAt(tick), headNumber: tick + 2, ...shown }));
}

function shownAs(found: ChainTransaction | undefined, txId: string, tick: number, as: Witness) {
  if (as === 'contradictory') return transactionIn(`not ${txId}`, tick, false);
  if (found?.atMs == null || as === 'absent') return { transaction: null, info: null, block: null };
  return transactionIn(txId, (found.atMs - START_MS) / TICK_MS, found.state === 'reverted');
}

function transactionIn(txId: string, blockNumber: number, isReverted: boolean) {
  const { blockId, timestampMs } = headAt(blockNumber);
  const parentId = headAt(blockNumber - 1).blockId;
  return {
    transaction: { txId, contractRet: isReverted ? 'REVERT' : 'SUCCESS' },
    info: {
      txId,
      blockNumber,
      blockTimeMs: timestampMs,
      feeMicro: FEE_BURNED_MICRO,
      receiptResult: null,
      result: isReverted ? 'FAILED' : null,
      logs: [],
    },
    block: { number: blockNumber, blockId, parentId, timestampMs, txIds: [txId], isBound: true },
  };
}
