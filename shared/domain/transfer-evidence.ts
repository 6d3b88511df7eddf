import type { SolidHead } from './breaker.ts';
import type { Asset } from './money.ts';
import type { TronAddress } from './tron-address.ts';
import { addressToHex, addressToWord } from './tron-address.ts';

/**
 * Judging what nodes say about one transaction. Answers are hostile input: an end state rests only on solid
 * blocks, and whatever contradicts itself is neither paid nor unpaid.
 */

/** The transfer that an attempt signed, as it must show on the chain. */
export interface Transfer {
  readonly asset: Asset;
  readonly amountMicro: bigint;
  readonly sender: TronAddress;
  readonly recipient: TronAddress;
  /** The TRC-20 contract; unused for TRX. */
  readonly contract: TronAddress;
}

/** `walletsolidity/gettransactionbyid`, reduced to what is judged. */
export interface SolidTransaction {
  /** Computed from the raw bytes in the answer, not read from its `txID`. */
  readonly txId: string;
  readonly contractRet: string | null;
}

/** `walletsolidity/gettransactioninfobyid`, reduced to what is judged. */
export interface SolidTransactionInfo {
  readonly txId: string;
  readonly blockNumber: number;
  readonly blockTimeMs: number;
  readonly feeMicro: bigint;
  /** `receipt.result`; absent for TRX transfers. */
  readonly receiptResult: string | null;
  /** `FAILED`, or absent where it succeeded. */
  readonly result: string | null;
  readonly logs: readonly EventLog[];
}

export interface EventLog {
  /** 40 hex characters, without the 41 of TRON addresses. */
  readonly address: string;
  readonly topics: readonly string[];
  readonly data: string;
}

/** What one node answered, all of it asked after its solid head was read. */
export interface NodeTestimony {
  readonly node: string;
  readonly solidHead: SolidHead;
  /** The height of the newest block the node knows, solid or not: it tells how deep a block lies. */
  readonly headNumber: number;
  /** Null where the node answered `{}`: it does not hold the transaction in a solid block. */
  readonly transaction: SolidTransaction | null;
  readonly info: SolidTransactionInfo | null;
}

export type Evidence =
  | {
      readonly kind: 'paid';
      readonly blockNumber: number;
      readonly blockTimeMs: number;
      readonly feeMicro: bigint;
    }
  | {
      readonly kind: 'reverted';
      readonly blockNumber: number;
      readonly blockTimeMs: number;
      readonly feeMicro: bigint;
      readonly reason: string;
    }
  | { readonly kind: 'contradictory'; readonly reason: string }
  /** Not in this node's solid history as of its head. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'unknown'; readonly reason: string };

/** keccak256("Transfer(address,address,uint256)"): the event every TRC-20 token emits. */
const TRANSFER_TOPIC = 'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';

/** Judges one node's testimony about one attempt. */
export function judgeTestimony(
  transfer: Transfer,
  txId: string,
  testimony: NodeTestimony,
  confirmationsRequired: number,
): Evidence {
  const { transaction, info } = testimony;
  if (transaction === null && info === null) return { kind: 'absent' };
  // A load balancer may have asked two backends of different height; the next visit sees both.
  if (transaction === null || info === null) {
    return { kind: 'unknown', reason: 'the node holds only half of the transaction so far' };
  }
  if (transaction.txId !== txId || info.txId !== txId) {
    return { kind: 'contradictory', reason: 'the node answered with another transaction' };
  }
  if (info.blockNumber > testimony.solidHead.number) {
    return { kind: 'unknown', reason: 'the block is ahead of the solid head that the node showed' };
  }
  if (info.blockTimeMs > testimony.solidHead.timestampMs) {
    return { kind: 'contradictory', reason: 'the block is later than the solid head above it' };
  }
  const depth = Math.max(testimony.headNumber, testimony.solidHead.number) - info.blockNumber;
  if (depth < confirmationsRequired) {
    return {
      kind: 'unknown',
      reason: `in a solid block ${depth} deep, ${confirmationsRequired} are required`,
    };
  }
  return judgeResult(transfer, transaction, info);
}

function judgeResult(
  transfer: Transfer,
  transaction: SolidTransaction,
  info: SolidTransactionInfo,
): Evidence {
  const { blockNumber, blockTimeMs, feeMicro } = info;
  const found = { blockNumber, blockTimeMs, feeMicro };
  const succeeded = transaction.contractRet === 'SUCCESS';
  if (transaction.contractRet === null) {
    return { kind: 'unknown', reason: 'the node shows no result for the transaction yet' };
  }
  if (succeeded !== (info.result !== 'FAILED')) {
    return { kind: 'contradictory', reason: 'the transaction and its receipt disagree about success' };
  }
  const moved = info.logs.some((log) => isTransferLog(log, transfer));
  if (!succeeded) {
    if (moved)
      return { kind: 'contradictory', reason: 'the transaction failed, yet its log shows the transfer' };
    return { kind: 'reverted', ...found, reason: transaction.contractRet };
  }
  if (transfer.asset === 'TRX') return { kind: 'paid', ...found };
  if (info.receiptResult !== 'SUCCESS') {
    return {
      kind: 'contradictory',
      reason: `the receipt says ${info.receiptResult ?? 'nothing'}, not SUCCESS`,
    };
  }
  if (!moved) {
    return { kind: 'contradictory', reason: 'the call succeeded, but no Transfer event shows this payment' };
  }
  return { kind: 'paid', ...found };
}

function isTransferLog(log: EventLog, transfer: Transfer): boolean {
  return (
    log.address.toLowerCase() === addressToHex(transfer.contract).slice(2) &&
    log.topics.length === 3 &&
    log.topics[0]?.toLowerCase() === TRANSFER_TOPIC &&
    log.topics[1]?.toLowerCase() === addressToWord(transfer.sender) &&
    log.topics[2]?.toLowerCase() === addressToWord(transfer.recipient) &&
    log.data.toLowerCase() === transfer.amountMicro.toString(16).padStart(64, '0')
  );
}

/**
 * Joins what several nodes say. Solid evidence wins over absence (a node may lag), and two nodes that
 * contradict each other leave the payment to a person.
 */
export function joinEvidence(evidences: readonly Evidence[]): Evidence {
  const contradiction = evidences.find((evidence) => evidence.kind === 'contradictory');
  if (contradiction !== undefined) return contradiction;
  const paid = evidences.find((evidence) => evidence.kind === 'paid');
  const reverted = evidences.find((evidence) => evidence.kind === 'reverted');
  if (paid !== undefined && reverted !== undefined) {
    return { kind: 'contradictory', reason: 'one node shows the transfer, another shows it reverted' };
  }
  const found = paid ?? reverted;
  if (found !== undefined) return found;
  const unknown = evidences.find((evidence) => evidence.kind === 'unknown');
  if (unknown !== undefined) return unknown;
  return evidences.length === 0 ? { kind: 'unknown', reason: 'no node answered' } : { kind: 'absent' };
}

/**
 * The first way to prove that an attempt can no longer land: two independently operated nodes, each with a
 * solid head past the expiration plus a margin, both lacking it when asked after that head. (The other way is a
 * walk of solid blocks, see `provesAbsenceByWalk`.)
 */
export function provesAbsenceByTwoNodes(
  testimonies: readonly NodeTestimony[],
  expirationMs: number,
  marginMs: number,
): boolean {
  const lacking = testimonies.filter(
    (testimony) =>
      testimony.transaction === null &&
      testimony.info === null &&
      testimony.solidHead.timestampMs >= expirationMs + marginMs,
  );
  return (
    lacking.length === testimonies.length && new Set(lacking.map((testimony) => testimony.node)).size >= 2
  );
}

/** One solid block of a walk. */
export interface WalkedBlock {
  readonly number: number;
  readonly blockId: string;
  readonly parentId: string;
  readonly timestampMs: number;
  readonly txIds: readonly string[];
}

/**
 * The second way: every solid block from the reference block to the first one at or past the expiration, parent
 * hash by parent hash, none holding the transaction. A block's transactions are checked against its parent's
 * time (java-tron refuses an expiration at or before the head it builds on), so the first block past the
 * expiration may still hold it and later ones cannot.
 */
export function provesAbsenceByWalk(
  blocks: readonly WalkedBlock[],
  referenceBlockId: string,
  txId: string,
  expirationMs: number,
): boolean {
  const [first] = blocks;
  const last = blocks.at(-1);
  if (first === undefined || last === undefined) return false;
  if (first.blockId !== referenceBlockId || last.timestampMs < expirationMs) return false;
  return blocks.every((block, index) => {
    const parent = blocks[index - 1];
    const linked =
      parent === undefined || (block.parentId === parent.blockId && block.number === parent.number + 1);
    return linked && !block.txIds.includes(txId);
  });
}
