import type { Breaker, SolidHead } from './breaker.ts';
import type { Asset } from './money.ts';
import { type Payment, type PaymentOrder, UNTOUCHED } from './payment.ts';
import type { TronAddress } from './tron-address.ts';

/**
 * A database that was put back from a backup knows nothing of what was paid since: orders that it shows as waiting may
 * be paid, callers will send keys again that it has lost, and its books count too little. The chain knows. So a
 * restored system is paused, and before it can be resumed the wallet's solid history is read, down to the last block
 * that the backup had seen. Each transfer in it that no payment stands for becomes one: it counts against the limits,
 * and an order that is equal to it is not paid until a person has said that it is another one.
 *
 * The history is read downwards, from a block whose parents' ids then vouch for all the others. It begins once nothing
 * that was signed before the restore can land any more.
 */
export interface Restore {
  /** Fresh for each restore. */
  readonly id: string;
  /** What happened before this is in the backup. */
  readonly backupAtMs: number;
  /** Since then nothing is signed by the lost state's rules. */
  readonly restoredAtMs: number;
  /** Whether all payments are back; until then nothing is done with them. */
  readonly isLoaded: boolean;
  /** The last solid block that the backup had seen; all the wallet's transfers up to it are in the ledger. */
  readonly knownHead: SolidHead | null;
  /** How far the history is read; null before it has begun. */
  readonly walk: HistoryWalk | null;
  /** When the history was read to its end; null until then. */
  readonly reconciledAtMs: number | null;
  /** Transfers that no payment stood for. */
  readonly recovered: number;
}

/** A walk from newer blocks to older ones. */
export interface HistoryWalk {
  /** Where it began: beside it a person sees how far it has come. */
  readonly from: SolidHead;
  /** The block to be read next; its id is known from the one above it. */
  readonly next: BlockLink;
}

export interface BlockLink {
  readonly number: number;
  readonly blockId: string;
}

/** A solid block, as far as the wallet's history goes. */
export interface HistoryBlock extends SolidHead {
  readonly parentId: string;
  readonly transfers: readonly OutgoingTransfer[];
}

/** A transfer that the wallet signed, as a solid block shows it. */
export interface OutgoingTransfer {
  readonly txId: string;
  /** The signed protobuf bytes. */
  readonly bytes: Uint8Array;
  readonly asset: Asset;
  readonly amountMicro: bigint;
  readonly recipient: TronAddress;
  readonly succeeded: boolean;
  /** What it burned, in sun. */
  readonly feeMicro: bigint;
  readonly feeLimitMicro: bigint;
  readonly signedAtMs: number;
  readonly expirationMs: number;
}

/** Who all recovered payments belong to, for nobody knows who asked for them. No caller can have this name. */
export const RECOVERED = '(recovered)';

export function isRecovered({ caller }: Pick<Payment, 'caller'>): boolean {
  return caller === RECOVERED;
}

/** When a backup was made, and when it was put back. */
export interface RestoreMarks {
  readonly restoreId: string;
  readonly backupAtMs: number;
  readonly restoredAtMs: number;
  readonly isLoaded: boolean;
}

/** What a backup's breaker is to be in the restored system: paused, and marked. */
export function restored(breaker: Breaker, marks: RestoreMarks): Breaker {
  const { restoreId: id, restoredAtMs, isLoaded } = marks;
  // The backup may itself be of a system that was restored, and had not found out everything yet.
  const earlier = isUnreconciled(breaker.restore) ? breaker.restore : null;
  const backupAtMs = Math.min(marks.backupAtMs, earlier?.backupAtMs ?? marks.backupAtMs);
  const reason = `it was put back from a backup of ${new Date(marks.backupAtMs).toISOString()}`;
  return {
    ...breaker,
    pause: { reason, by: 'restore', atMs: restoredAtMs },
    restore: {
      id,
      backupAtMs,
      restoredAtMs,
      isLoaded,
      knownHead: earlier === null ? breaker.solidHead : earlier.knownHead,
      walk: null,
      reconciledAtMs: null,
      recovered: 0,
    },
  };
}

/** Whether the system was restored, and does not know yet what it has paid. */
export function isUnreconciled(restore: Restore | null): restore is Restore {
  return restore !== null && restore.reconciledAtMs === null;
}

/**
 * When nothing can land any more that was signed before the restore. The server that was lost may have been ahead of the
 * chain, and of the one that was restored to, by no more than what lies between the backup's time and the block that it
 * knew; and with a chain further behind than clocks may differ nothing is signed.
 * @param skewMs how far clocks may differ
 */
export function voidAtMs(
  { backupAtMs, restoredAtMs, knownHead }: Restore,
  expirationMs: number,
  marginMs: number,
  skewMs: number,
): number {
  const aheadMs = knownHead === null ? skewMs : Math.max(0, backupAtMs - knownHead.timestampMs);
  return restoredAtMs + Math.min(aheadMs, skewMs) + expirationMs + marginMs;
}

/** Whatever an earlier walk has found is found again. */
export function beginWalk(restore: Restore, from: SolidHead): Restore {
  return { ...restore, walk: { from, next: { number: from.number, blockId: from.blockId } }, recovered: 0 };
}

/** Where the history ends that has to be read. */
export interface HistoryFloor {
  /** The lowest block that is read. */
  readonly number: number;
  /** The first block from before this is the last one that is read. */
  readonly timestampMs: number;
}

/** @param skewMs how far clocks may differ, where only the time tells what the backup had seen */
export function historyFloor({ knownHead, backupAtMs }: Restore, skewMs: number): HistoryFloor {
  if (knownHead !== null) return { number: knownHead.number + 1, timestampMs: Number.NEGATIVE_INFINITY };
  return { number: 0, timestampMs: backupAtMs - skewMs };
}

export function isAtFloor({ number, timestampMs }: SolidHead, floor: HistoryFloor): boolean {
  return number <= floor.number || timestampMs < floor.timestampMs;
}

/** What reading on comes to. */
export type WalkVerdict =
  | { readonly kind: 'on'; readonly restore: Restore }
  | { readonly kind: 'reconciled'; readonly restore: Restore }
  /** The chain that is shown is not the one that the backup knew. */
  | { readonly kind: 'broken'; readonly reason: string };

/**
 * Takes blocks into the walk whose transfers are all in the ledger by now.
 * @param blocks from the next one downwards, each the parent of the one before
 * @param recovered how many of their transfers no payment stood for
 */
export function walkOn(
  restore: Restore,
  blocks: readonly HistoryBlock[],
  recovered: number,
  floor: HistoryFloor,
  nowMs: number,
): WalkVerdict {
  const { walk, knownHead } = restore;
  const lowest = blocks.at(-1);
  if (walk === null || lowest === undefined) return { kind: 'on', restore };
  const next: BlockLink = { number: lowest.number - 1, blockId: lowest.parentId };
  const walked = { ...restore, walk: { ...walk, next }, recovered: restore.recovered + recovered };
  if (!isAtFloor(lowest, floor)) return { kind: 'on', restore: walked };
  if (knownHead !== null && next.number === knownHead.number && next.blockId !== knownHead.blockId) {
    return {
      kind: 'broken',
      reason: `block ${next.number} is ${next.blockId} on this chain, and was ${knownHead.blockId} on the one of the backup`,
    };
  }
  return { kind: 'reconciled', restore: { ...walked, reconciledAtMs: nowMs } };
}

/** How many blocks are left to be read; null while that cannot be told. */
export function blocksLeft({ walk, knownHead, reconciledAtMs }: Restore): number | null {
  if (reconciledAtMs !== null) return 0;
  return walk === null || knownHead === null ? null : blocksAbove(knownHead, walk.next);
}

function blocksAbove(known: BlockLink, { number }: BlockLink): number {
  return Math.max(0, number - known.number);
}

/** Why payments cannot be resumed yet, in words; null where they can. */
export function obstacleToResume(restore: Restore | null): string | null {
  if (!isUnreconciled(restore)) return null;
  if (!restore.isLoaded) return 'the restore has not come to its end; run it again';
  const since = `the wallet's history since the backup of ${new Date(restore.backupAtMs).toISOString()}`;
  if (restore.walk === null) {
    return `${since} is read once nothing that was signed before the restore can land any more`;
  }
  const { walk, knownHead } = restore;
  const progress =
    knownHead === null
      ? `from block ${walk.from.number} down to block ${walk.next.number} so far`
      : `${blocksAbove(knownHead, walk.next)} of ${blocksAbove(knownHead, walk.from)} blocks are left`;
  return `${since} is being read, ${progress}`;
}

/**
 * Whether a person has said, knowing what was recovered, that this payment is to be made: it was held since that is
 * known, which says why, and approved then. What the backup shows as waiting for approval may be the very payment that
 * was approved, and made, after it.
 */
export function isClearedSince({ history }: Pick<Payment, 'history'>, { reconciledAtMs }: Restore): boolean {
  if (reconciledAtMs === null) return false;
  const held = history.findIndex(
    ({ event, atMs }) => event === 'awaiting_approval' && atMs >= reconciledAtMs,
  );
  return held >= 0 && history.slice(held).some(({ event }) => event === 'approved');
}

/** Under which an order is compared with recovered payments. */
export function orderKey({ asset, recipient, amountMicro }: PaymentOrder | Payment): string {
  return `${asset} ${recipient} ${amountMicro}`;
}

/** Why an order is held that is equal to a recovered payment. */
export function describeDoubt(recovered: Payment): string {
  const [attempt] = recovered.attempts;
  return `an equal transfer was found on the chain after a restore (${recovered.id}, transaction ${attempt?.txId}): it may be this payment`;
}

/** The payment that stands for a transfer which no other stands for. */
export function recoveredPayment(
  id: string,
  fingerprint: string,
  transfer: OutgoingTransfer,
  block: HistoryBlock,
  sealed: Uint8Array,
  nowMs: number,
): Payment {
  const { txId, asset, amountMicro, recipient } = transfer;
  const reason = `found in block ${block.number} after a restore; whose order it paid is not known`;
  return {
    ...UNTOUCHED,
    id,
    caller: RECOVERED,
    idempotencyKey: txId,
    fingerprint,
    asset,
    amountMicro,
    recipient,
    reference: null,
    status: 'needs_review',
    attempts: [
      {
        number: 1,
        txId,
        sealed,
        referenceBlockNumber: block.number - 1,
        referenceBlockId: block.parentId,
        expirationMs: transfer.expirationMs,
        feeLimitMicro: transfer.feeLimitMicro,
        signedAtMs: signedBy(block, transfer),
        outcome: transfer.succeeded ? 'paid' : 'reverted',
        answers: [],
        blockNumber: block.number,
        blockTimeMs: block.timestampMs,
        feeMicro: transfer.feeMicro,
      },
    ],
    history: [{ atMs: nowMs, event: 'recovered', detail: reason }],
    createdAtMs: nowMs,
    payByMs: nowMs,
    reason,
    settleAtMs: nowMs,
  };
}

/** The chain never looks at the time that a transaction gives itself: what stands there may be no instant at all. */
function signedBy(block: HistoryBlock, { signedAtMs }: OutgoingTransfer): number {
  return Math.max(0, Math.min(signedAtMs, block.timestampMs));
}
