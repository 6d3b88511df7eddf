import { canFollow, type SolidHead } from './breaker.ts';
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
  /** The solid block that the info names; null where there is no info, or the node does not hold that block. */
  readonly block: SolidBlock | null;
}

/** One solid block. */
export interface SolidBlock {
  readonly number: number;
  readonly blockId: string;
  readonly parentId: string;
  readonly timestampMs: number;
  readonly txIds: readonly string[];
  /**
   * Whether the id was computed again from all that the block shows, its transactions included: then nothing in
   * it can have been left out or changed without changing the id.
   */
  readonly isBound: boolean;
}

export type Evidence =
  | {
      readonly kind: 'paid';
      readonly blockId: string;
      readonly blockNumber: number;
      readonly blockTimeMs: number;
      readonly feeMicro: bigint;
    }
  | {
      readonly kind: 'reverted';
      readonly blockId: string;
      readonly blockNumber: number;
      readonly blockTimeMs: number;
      readonly feeMicro: bigint;
      readonly reason: string;
    }
  | { readonly kind: 'contradictory'; readonly reason: string }
  /** Not in this node's solid history as of its solid head. */
  | { readonly kind: 'absent'; readonly headNumber: number }
  | { readonly kind: 'unknown'; readonly reason: string };

/** keccak256("Transfer(address,address,uint256)"): the event every TRC-20 token emits. */
const TRANSFER_TOPIC = 'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';

/**
 * The longest unsolid end of a healthy chain, in blocks: one for each representative. What a node calls its newest
 * block counts only so far above its solid head, for nothing else holds it to the truth.
 */
const UNSOLID_BLOCKS_MAX = 27;

/**
 * Leaves out answers whose solid head lies in the future, or cannot follow on the one that was seen: such a
 * node, or its clock, is wrong about all the rest too.
 * @param latestMs the database server's time, and some leeway
 */
export function credible<T extends { readonly solidHead: SolidHead }>(
  answers: readonly T[],
  knownHead: SolidHead | null,
  latestMs: number,
): T[] {
  return answers.filter(
    ({ solidHead }) => solidHead.timestampMs <= latestMs && canFollow(knownHead, solidHead),
  );
}

/**
 * Judges one node's testimony about one attempt. The block need not be bound by its id here: one odd transaction
 * beside this one would keep it open for ever, while a node that lies alone can make up a bound block just as well.
 */
export function judgeTestimony(
  transfer: Transfer,
  txId: string,
  testimony: NodeTestimony,
  confirmationsRequired: number,
): Evidence {
  const { transaction, info, block, solidHead } = testimony;
  if (transaction === null && info === null) return { kind: 'absent', headNumber: solidHead.number };
  // A load balancer may have asked two backends of different height; the next visit sees both.
  if (transaction === null || info === null) {
    return { kind: 'unknown', reason: 'the node holds only half of the transaction so far' };
  }
  if (transaction.txId !== txId || info.txId !== txId) {
    return { kind: 'contradictory', reason: 'the node answered with another transaction' };
  }
  if (info.blockNumber > solidHead.number) {
    return { kind: 'unknown', reason: 'the block is ahead of the solid head that the node showed' };
  }
  if (info.blockTimeMs > solidHead.timestampMs) {
    return { kind: 'contradictory', reason: 'the block is later than the solid head above it' };
  }
  if (block === null) {
    return { kind: 'unknown', reason: 'the node does not show the block that it names so far' };
  }
  if (block.number !== info.blockNumber || block.timestampMs !== info.blockTimeMs) {
    return { kind: 'contradictory', reason: 'the receipt and its block disagree about number or time' };
  }
  if (!block.txIds.includes(txId)) {
    return {
      kind: 'contradictory',
      reason: 'the block that the receipt names does not hold the transaction',
    };
  }
  const unsolidBlocks = Math.min(Math.max(0, testimony.headNumber - solidHead.number), UNSOLID_BLOCKS_MAX);
  const depth = solidHead.number + unsolidBlocks - info.blockNumber;
  if (depth < confirmationsRequired) {
    return {
      kind: 'unknown',
      reason: `in a solid block ${depth} deep, ${confirmationsRequired} are required`,
    };
  }
  return judgeResult(transfer, transaction, info, block);
}

function judgeResult(
  transfer: Transfer,
  transaction: SolidTransaction,
  info: SolidTransactionInfo,
  { blockId }: SolidBlock,
): Evidence {
  const { blockNumber, blockTimeMs, feeMicro } = info;
  const found = { blockId, blockNumber, blockTimeMs, feeMicro };
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
 * Joins what several nodes say. Solid evidence wins over the absence that a node shows which is not yet as far as
 * that block. A node that is past it and still lacks the transaction leaves all open: it may be a load balancer's
 * backend that lags, and then the next visit sees it; or one of the two lies, and then nobody can tell which.
 * Nodes that tell of different blocks, or of different results, leave the payment to a person.
 */
export function joinEvidence(evidences: readonly Evidence[]): Evidence {
  const contradiction = evidences.find((evidence) => evidence.kind === 'contradictory');
  if (contradiction !== undefined) return contradiction;
  const [found, ...others] = evidences.filter(
    (evidence) => evidence.kind === 'paid' || evidence.kind === 'reverted',
  );
  if (found === undefined) {
    const unknown = evidences.find((evidence) => evidence.kind === 'unknown');
    return unknown ?? evidences[0] ?? { kind: 'unknown', reason: 'no node answered' };
  }
  if (others.some(({ kind }) => kind !== found.kind)) {
    return { kind: 'contradictory', reason: 'one node shows the transfer, another shows it reverted' };
  }
  if (others.some(({ blockId, feeMicro }) => blockId !== found.blockId || feeMicro !== found.feeMicro)) {
    return { kind: 'contradictory', reason: 'two nodes show it in different blocks, or with different fees' };
  }
  if (evidences.some((one) => one.kind === 'absent' && one.headNumber >= found.blockNumber)) {
    return { kind: 'unknown', reason: 'one node shows it in a solid block, another is past it and lacks it' };
  }
  return found;
}

/** Prices may rise by vote between signing and inclusion, by no such factor. */
const FEE_FACTOR_MAX = 10n;

/** A fee out of all proportion to what was reserved for it would use up the day's cap: a person must look. */
export function doubtFee(evidence: Evidence, feeReservedMicro: bigint): Evidence {
  if (evidence.kind !== 'paid' && evidence.kind !== 'reverted') return evidence;
  if (evidence.feeMicro <= feeReservedMicro * FEE_FACTOR_MAX) return evidence;
  return { kind: 'contradictory', reason: 'the fee is out of all proportion to what was reserved for it' };
}

/** An attempt that may have expired. */
export interface Expiring {
  readonly txId: string;
  readonly referenceBlockId: string;
  readonly expirationMs: number;
}

/**
 * The first way to prove that an attempt can no longer land: two independently operated nodes, each with a
 * solid head past the expiration plus a margin, both lacking it when asked after that head. (The other way is a
 * walk of solid blocks, see `provesAbsenceByWalk`.)
 *
 * An absence says only as much as the backend that tells it: behind a load balancer the head may come from one
 * and the absence from another that lags. The margin covers the usual lag, and whoever decides on this asks twice,
 * the second time only nodes that show the first one's solid head. A walk needs no such care, for its blocks
 * vouch for themselves.
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
    lacking.length === testimonies.length &&
    new Set(lacking.map((testimony) => operatorOf(testimony.node))).size >= 2
  );
}

/**
 * Whom a node counts as, by its host and port: two ports of one host are one operator's, for the full node and its
 * solidity node share their data. On this machine itself, where development chains run, the ports are told apart.
 */
export function operatorOf(node: string): string {
  return /^(?:127\.|localhost|\[::1\])/.test(node) ? node : node.replace(/:\d+$/, '');
}

/**
 * The second way: every solid block from the reference block to the first one at or past the expiration, parent
 * hash by parent hash, none holding the transaction. A block's transactions are checked against its parent's
 * time (java-tron refuses an expiration at or before the head it builds on), so the first block past the
 * expiration may still hold it and later ones cannot. Each block's id must be bound to all it shows, so that a
 * node cannot pass over a transaction without making up all the blocks that follow.
 * @param latestMs the database server's time, and some leeway: no block lies in the future
 */
export function provesAbsenceByWalk(
  blocks: readonly SolidBlock[],
  { txId, referenceBlockId, expirationMs }: Expiring,
  latestMs: number,
): boolean {
  const [first] = blocks;
  const last = blocks.at(-1);
  if (first === undefined || last === undefined || first.blockId !== referenceBlockId) return false;
  if (last.timestampMs < expirationMs || last.timestampMs > latestMs) return false;
  return areLinked(blocks) && blocks.every((block) => block.isBound && !block.txIds.includes(txId));
}

/** Whether each block names the one before it as its parent. */
export function areLinked(blocks: readonly SolidBlock[]): boolean {
  return blocks.every((block, index) => {
    const parent = blocks[index - 1];
    return parent === undefined || (block.parentId === parent.blockId && block.number === parent.number + 1);
  });
}
