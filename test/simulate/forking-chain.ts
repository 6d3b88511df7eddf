import type { Amounts, SolidHead } from '../../shared/domain/breaker.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import { type HistoryBlock, isAtFloor, type OutgoingTransfer } from '../../shared/domain/restore.ts';
import type { NodeTestimony, SolidBlock, Transfer } from '../../shared/domain/transfer-evidence.ts';
import type { TronAddress } from '../../shared/domain/tron-address.ts';
import type {
  BroadcastAnswer,
  PaymentNetwork,
  Signer,
  TransferPlan,
} from '../../shared/ports/payment-network.ts';
import type { Random } from '../support/random.ts';
import { transferLog } from '../support/transfer-log.ts';

/** A signed transaction, as its bytes tell it. */
export interface Transaction {
  readonly txId: string;
  readonly transfer: Transfer;
  readonly expirationMs: number;
  readonly feeLimitMicro: bigint;
}

interface Block extends SolidBlock {
  readonly txIds: string[];
}

export interface Inclusion {
  readonly transaction: Transaction;
  readonly block: Block;
  readonly reverted: boolean;
  readonly feeMicro: bigint;
}

interface Pending {
  readonly transaction: Transaction;
  /** No block before this instant takes it. */
  readonly fromMs: number;
  /** Forgotten from then on. */
  readonly untilMs: number;
  /** Taken by the very last block that may take it. */
  readonly atTheEdge: boolean;
}

/** What a node does with what is sent to it. */
export type Reception =
  | 'takes'
  /** Says that it took it, and forgets it. */
  | 'drops'
  /** Takes it, and never answers. */
  | 'takes_silently'
  /** Neither takes it nor gives a clear answer. */
  | 'busy'
  | 'refuses';

export const RECEPTIONS: readonly Reception[] = ['takes', 'drops', 'takes_silently', 'busy', 'refuses'];

/** One of the nodes that the service asks. */
export interface ChainNode {
  readonly name: string;
  isAway: boolean;
  /** How many blocks it is behind. */
  lag: number;
  reception: Reception;
  /** Its receipts contradict its transactions. */
  lies: boolean;
}

const BLOCK_MS = 3_000;
/** A long wait has fewer blocks, so that it costs no more than a short one. */
const BLOCKS_AT_ONCE_MAX = 100;
const RECENT_MS = 90_000;
/** What the wallet holds before anything is paid. */
const WALLET_MICRO = 1_000_000_000n;
const NEVER_MS = Number.MAX_SAFE_INTEGER;
/** What a transfer may burn beside its fee limit. */
const BANDWIDTH_MICRO = 2n;
export const FEE_LIMIT_MAX_MICRO = 10n;
export const FEE_MAX_MICRO = FEE_LIMIT_MAX_MICRO + BANDWIDTH_MICRO;

/**
 * A chain that forks above its solid blocks, with a pool of pending transactions that may be late, vanish or come
 * back, asked through two nodes that may lag, fail or lie. All chance is drawn from one source.
 */
export class ForkingChain {
  readonly wallet: TronAddress;
  readonly contract: TronAddress;
  readonly nodes: readonly ChainNode[];
  readonly signer: Signer;
  readonly included = new Map<string, Inclusion>();
  /** Pending transactions reach blocks late, at the last moment, or not at all. */
  isCongested = false;
  /** No new blocks. */
  isHalted = false;
  /** New blocks, none of which becomes solid. */
  isStalled = false;
  reverts = false;
  /** Why transfers are refused before they are signed. */
  refusal: 'insufficient_funds' | 'recipient_refused' | 'simulation_failed' | null = null;
  /** What a transfer of tokens may burn as things stand. */
  priceMicro = 6n;
  readonly #random: Random;
  readonly #solidLag: number;
  readonly #blocks: Block[] = [];
  #solidNumber = 0;
  #pool: Pending[] = [];
  /** What bytes stand for, by the text that they are. */
  readonly #signed = new Map<string, Transaction>();
  /** All that ever reached a node: somebody may still hold it, and send it again. */
  readonly #seen = new Map<string, { readonly transaction: Transaction; readonly seenAtMs: number }>();
  #forks = 0;
  #nowMs: number;
  /** Blocks bear the time at which they were made: after a halt there are none for the time of the halt. */
  #haltedUntilMs = 0;

  constructor(options: {
    readonly wallet: TronAddress;
    readonly contract: TronAddress;
    readonly nodes: number;
    readonly solidLag: number;
    readonly startMs: number;
    readonly random: Random;
  }) {
    this.wallet = options.wallet;
    this.contract = options.contract;
    this.signer = this.#signerOf(options.wallet);
    this.#random = options.random;
    this.#solidLag = options.solidLag;
    this.#nowMs = options.startMs;
    this.nodes = Array.from({ length: options.nodes }, (_, index) => ({
      name: `node-${index + 1}`,
      isAway: false,
      lag: 0,
      reception: 'takes',
      lies: false,
    }));
    for (let number = 0; number <= options.solidLag; number += 1) {
      this.#append(options.startMs - (options.solidLag - number) * BLOCK_MS);
    }
  }

  get head(): Block {
    return this.#at(this.#blocks.length - 1);
  }

  get solidNumber(): number {
    return this.#solidNumber;
  }

  get solidTimeMs(): number {
    return this.#at(this.#solidNumber).timestampMs;
  }

  /** What moved money, in all blocks. */
  get paid(): Inclusion[] {
    return [...this.included.values()].filter(({ reverted }) => !reverted);
  }

  isSolid(txId: string): boolean {
    const found = this.included.get(txId);
    return found !== undefined && found.block.number <= this.#solidNumber;
  }

  /**
   * From when on a chain in which nothing goes wrong tells more of a transaction than it does now: that its block is
   * deep enough, or that it is past its time.
   * @param depth the blocks that have to follow the one that holds it, beside those that make it solid
   */
  newsAtMs(txId: string, expirationMs: number, marginMs: number, depth: number): number {
    const { head } = this;
    const waitMs = Math.max(this.#solidLag, depth) * BLOCK_MS;
    const block = this.included.get(txId)?.block;
    if (block !== undefined) return head.timestampMs + (block.number - head.number) * BLOCK_MS + waitMs;
    const pending = this.#pool.find(({ transaction }) => transaction.txId === txId);
    if (pending !== undefined) {
      const takenAtMs = Math.max(pending.fromMs, pending.atTheEdge ? expirationMs : 0);
      return Math.max(takenAtMs, head.timestampMs + BLOCK_MS) + waitMs;
    }
    // Nobody has it: while there is time, it helps to send it again.
    return this.#nowMs < expirationMs ? this.#nowMs : expirationMs + marginMs + waitMs;
  }

  /** Produces the blocks that are due by then. */
  advanceTo(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.isHalted) {
      this.#haltedUntilMs = nowMs;
      return;
    }
    const stepMs = Math.max(BLOCK_MS, Math.floor((nowMs - this.head.timestampMs) / BLOCKS_AT_ONCE_MAX));
    for (;;) {
      // The newest ones come as fast as ever: how far the solid head is behind does not depend on how long one waits.
      const isRecent = this.head.timestampMs > nowMs - RECENT_MS;
      const atMs = Math.max(this.head.timestampMs + (isRecent ? BLOCK_MS : stepMs), this.#haltedUntilMs);
      if (atMs > nowMs) return;
      this.#produce(atMs);
    }
  }

  /** Replaces blocks that are not solid by others. @returns how many */
  fork(): number {
    const unsolid = this.#blocks.length - 1 - this.#solidNumber;
    if (unsolid === 0) return 0;
    const depth = this.#random.between(1, unsolid);
    const orphans = this.#blocks.splice(-depth);
    this.#forks += 1;
    for (const { txIds } of orphans) {
      for (const txId of txIds) {
        const dropped = this.included.get(txId);
        this.included.delete(txId);
        // Some nodes take what a fork drops back into their pool; it may come late, or never.
        if (dropped !== undefined && this.#random.chance(0.6)) this.#await(dropped.transaction);
      }
    }
    for (const { timestampMs } of orphans) this.#produce(timestampMs);
    return depth;
  }

  /** Somebody sends again what was forgotten. @returns what, if anything */
  resurrect(): string | null {
    const forgotten = [...this.#seen.values()].filter(
      ({ transaction: { txId } }) => !this.included.has(txId) && !this.#isPending(txId),
    );
    if (forgotten.length === 0) return null;
    const { transaction } = this.#random.pick(forgotten);
    this.#await(transaction);
    return transaction.txId;
  }

  /** The price of energy changes. */
  reprice(): void {
    this.priceMicro = BigInt(this.#random.between(4, Number(FEE_LIMIT_MAX_MICRO)));
  }

  heal(): void {
    Object.assign(this, { isCongested: false, isHalted: false, isStalled: false, reverts: false });
    this.refusal = null;
    for (const node of this.nodes)
      Object.assign(node, { isAway: false, lag: 0, reception: 'takes', lies: false });
  }

  /** Its transactions are their own ids: whoever reads along sees what they are. */
  #signerOf(wallet: TronAddress): Signer {
    return {
      wallet,
      sign: async (transfer, { referenceBlock, feeLimitMicro }, { timestampMs, expirationMs }) => {
        const what = `${transfer.asset}/${transfer.recipient}/${transfer.amountMicro}/${feeLimitMicro}`;
        const txId = `${what}/${timestampMs}/${expirationMs}/${referenceBlock.number}`;
        this.#signed.set(txId, { txId, transfer, expirationMs, feeLimitMicro });
        return { txId, bytes: Buffer.from(txId) };
      },
    };
  }

  /**
   * The network as a process sees it.
   * @param provenBy a service that took any block for a solid one would ask for `head`
   */
  network(provenBy: 'solid' | 'head' = 'solid'): PaymentNetwork {
    return {
      readSolidHead: async () => this.#solidHeadOf(this.#firstNode(), provenBy),
      prepareTransfer: async (transfer) => this.#prepare(transfer, provenBy),
      broadcast: async (bytes) => {
        const transaction = this.#read(bytes);
        return this.nodes.map((node) => this.#receive(node, transaction));
      },
      takeTestimony: async (txId, knownHead) =>
        this.#fromEach(knownHead, (node) => this.#testify(node, txId, provenBy)),
      readHoldings: async (_, knownHead) =>
        this.#fromEach(knownHead, (node) => {
          const solidHead = this.#solidHeadOf(node, provenBy);
          return { node: node.name, solidHead, amounts: this.#holdingsAt(solidHead.number) };
        }),
      readHistory: async (_, from, floor) => {
        this.#firstNode();
        const blocks: HistoryBlock[] = [];
        for (let { number } = from; number >= 0; number -= 1) {
          const { blockId, parentId, timestampMs, txIds } = this.#at(number);
          const transfers = txIds.flatMap((txId) => this.#outgoing(txId));
          blocks.push({ number, blockId, parentId, timestampMs, transfers });
          if (isAtFloor({ number, blockId, timestampMs }, floor)) break;
        }
        return blocks;
      },
      walkSolidBlocks: async (fromNumber, untilMs, knownHead) => {
        const walks = this.#fromEach(knownHead, (node) => {
          const solidHead = this.#solidHeadOf(node, provenBy);
          return { solidHead, blocks: this.#walk(fromNumber, untilMs, solidHead.number) };
        });
        for (const { blocks } of walks) {
          const last = blocks.at(-1);
          if (last === undefined || last.timestampMs < untilMs) continue;
          // One node's word alone is no proof where there are others.
          const witnesses = walks.filter(({ solidHead }) => solidHead.number >= last.number);
          if (witnesses.length >= this.nodes.length || witnesses.length > 1) return blocks;
        }
        return [];
      },
    };
  }

  #outgoing(txId: string): OutgoingTransfer[] {
    const found = this.included.get(txId);
    if (found === undefined) return [];
    const { transaction, reverted, feeMicro } = found;
    const { transfer, expirationMs, feeLimitMicro } = transaction;
    const { asset, amountMicro, recipient } = transfer;
    return [
      {
        txId,
        bytes: Buffer.from(txId),
        asset,
        amountMicro,
        recipient,
        succeeded: !reverted,
        feeMicro,
        feeLimitMicro,
        signedAtMs: expirationMs,
        expirationMs,
      },
    ];
  }

  /** What each node answers that is there, and not behind the last solid block that was seen. */
  #fromEach<T extends { readonly solidHead: SolidHead }>(
    knownHead: SolidHead | null,
    ask: (node: ChainNode) => T,
  ): T[] {
    const nodes = this.nodes.filter(({ isAway }) => !isAway);
    if (nodes.length === 0) throw away();
    return nodes.map(ask).filter(({ solidHead }) => solidHead.number >= (knownHead?.number ?? 0));
  }

  #holdingsAt(number: number): Amounts {
    const held = { USDT: WALLET_MICRO, TRX: WALLET_MICRO };
    for (const { block, reverted, feeMicro, transaction } of this.included.values()) {
      if (block.number > number) continue;
      held.TRX -= feeMicro;
      if (!reverted) held[transaction.transfer.asset] -= transaction.transfer.amountMicro;
    }
    return held;
  }

  #firstNode(): ChainNode {
    const node = this.nodes.find(({ isAway }) => !isAway);
    if (node === undefined) throw away();
    return node;
  }

  #headNumberOf({ lag }: ChainNode): number {
    return Math.max(0, this.head.number - lag);
  }

  #solidHeadOf(node: ChainNode, provenBy: 'solid' | 'head'): SolidHead {
    const lastNumber = provenBy === 'head' ? this.head.number : this.#solidNumber;
    const { number, blockId, timestampMs } = this.#at(Math.max(0, lastNumber - node.lag));
    return { number, blockId, timestampMs };
  }

  #prepare({ asset }: Transfer, provenBy: 'solid' | 'head'): TransferPlan {
    const node = this.#firstNode();
    if (this.refusal !== null) throw new ServiceError(this.refusal, 'the simulated chain refuses it');
    const feeLimitMicro = asset === 'TRX' ? 0n : this.priceMicro;
    return {
      referenceBlock: this.#solidHeadOf(node, provenBy),
      feeLimitMicro,
      feeMaxMicro: feeLimitMicro + BANDWIDTH_MICRO,
      estimate: { energy: 0, bandwidth: 0, feeMicro: feeLimitMicro, activates: false },
    };
  }

  #receive(node: ChainNode, transaction: Transaction): BroadcastAnswer {
    const { txId, expirationMs } = transaction;
    const answer = (kind: BroadcastAnswer['kind'], code: string) => ({ node: node.name, kind, code });
    const { reception } = node;
    if (node.isAway) return answer('unclear', 'away');
    if (reception === 'busy') return answer('unclear', 'SERVER_BUSY');
    if (reception === 'refuses') return answer('refused', 'SIGERROR');
    const headNumber = this.#headNumberOf(node);
    if (expirationMs <= this.#at(headNumber).timestampMs) {
      return answer('unclear', 'TRANSACTION_EXPIRATION_ERROR');
    }
    const block = this.included.get(txId)?.block;
    if (this.#isPending(txId) || (block !== undefined && block.number <= headNumber)) {
      return reception === 'takes_silently'
        ? answer('unclear', 'timeout')
        : answer('duplicate', 'DUP_TRANSACTION_ERROR');
    }
    if (!this.#seen.has(txId)) this.#seen.set(txId, { transaction, seenAtMs: this.#nowMs });
    if (reception !== 'drops') this.#await(transaction);
    return reception === 'takes_silently' ? answer('unclear', 'timeout') : answer('accepted', 'SUCCESS');
  }

  #read(bytes: Uint8Array): Transaction {
    const transaction = this.#signed.get(Buffer.from(bytes).toString());
    if (transaction === undefined) throw new RangeError('nobody has signed these bytes');
    return transaction;
  }

  #await(transaction: Transaction): void {
    if (this.#isPending(transaction.txId)) return;
    const nowMs = this.#nowMs;
    const pending = {
      transaction,
      fromMs: this.#seen.get(transaction.txId)?.seenAtMs ?? nowMs,
      untilMs: NEVER_MS,
      atTheEdge: false,
    };
    if (!this.isCongested) this.#pool.push(pending);
    else if (this.#random.chance(0.4)) this.#pool.push({ ...pending, atTheEdge: true });
    else if (this.#random.chance(0.5)) {
      this.#pool.push({ ...pending, fromMs: nowMs + this.#random.between(1, 12) * BLOCK_MS });
    } else {
      const fromMs = nowMs + this.#random.between(2, 6) * BLOCK_MS;
      this.#pool.push({ ...pending, fromMs, untilMs: fromMs - BLOCK_MS });
    }
  }

  #isPending(txId: string): boolean {
    return this.#pool.some(({ transaction }) => transaction.txId === txId);
  }

  #produce(timestampMs: number): void {
    const parent = this.head;
    const block = this.#append(timestampMs);
    if (this.#pool.length === 0) return;
    this.#pool = this.#pool.filter((pending) => {
      const { transaction, fromMs, untilMs, atTheEdge } = pending;
      const { txId, expirationMs } = transaction;
      // java-tron: an expiration at or before the head that a block builds on is refused.
      if (expirationMs <= parent.timestampMs || untilMs <= timestampMs || this.included.has(txId))
        return false;
      // A block holds nothing that was not there when it was made, not even one that a fork made.
      if (timestampMs < fromMs || (atTheEdge && timestampMs < expirationMs)) return true;
      const mayBurn = Number(transaction.feeLimitMicro + BANDWIDTH_MICRO);
      this.included.set(txId, {
        transaction,
        block,
        reverted: this.reverts && transaction.transfer.asset === 'USDT',
        feeMicro: BigInt(this.#random.between(0, mayBurn)),
      });
      block.txIds.push(txId);
      return false;
    });
  }

  #append(timestampMs: number): Block {
    const parent = this.#blocks.at(-1);
    const number = this.#blocks.length;
    const block: Block = {
      number,
      blockId: `${number}.${this.#forks}`,
      parentId: parent?.blockId ?? '',
      timestampMs,
      txIds: [],
      isBound: true,
    };
    this.#blocks.push(block);
    if (!this.isStalled) this.#solidNumber = Math.max(this.#solidNumber, number - this.#solidLag);
    return block;
  }

  #testify(node: ChainNode, txId: string, provenBy: 'solid' | 'head'): NodeTestimony {
    const solidHead = this.#solidHeadOf(node, provenBy);
    const testimony = { node: node.name, solidHead, headNumber: this.#headNumberOf(node) };
    const found = this.included.get(txId);
    // Whatever it takes for the head, its solid history holds solid blocks only.
    const lastNumber = Math.max(0, this.#solidNumber - node.lag);
    if (found === undefined || found.block.number > lastNumber) {
      return { ...testimony, transaction: null, info: null, block: null };
    }
    const { transaction, block, reverted, feeMicro } = found;
    const isToken = transaction.transfer.asset === 'USDT';
    return {
      ...testimony,
      transaction: { txId, contractRet: reverted ? 'REVERT' : 'SUCCESS' },
      info: {
        txId,
        blockNumber: block.number,
        blockTimeMs: block.timestampMs,
        feeMicro,
        receiptResult: isToken ? (reverted ? 'REVERT' : 'SUCCESS') : null,
        result: reverted !== node.lies ? 'FAILED' : null,
        logs: isToken && !reverted ? [transferLog(transaction.transfer)] : [],
      },
      block,
    };
  }

  #walk(fromNumber: number, untilMs: number, lastNumber: number): SolidBlock[] {
    const walked: SolidBlock[] = [];
    for (let number = fromNumber; number <= lastNumber; number += 1) {
      const block = this.#at(number);
      walked.push(block);
      if (block.timestampMs >= untilMs) break;
    }
    return walked;
  }

  #at(number: number): Block {
    const block = this.#blocks[number];
    if (block === undefined) throw new RangeError(`no block ${number}`);
    return block;
  }
}

function away(): ServiceError {
  return new ServiceError('chain_unavailable', 'the simulated chain is out of reach');
}
