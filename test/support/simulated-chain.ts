import { createHash } from 'node:crypto';
import type { Amounts, SolidHead } from '../../shared/domain/breaker.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import type { Asset } from '../../shared/domain/money.ts';
import {
  type HistoryBlock,
  type HistoryFloor,
  isAtFloor,
  type OutgoingTransfer,
} from '../../shared/domain/restore.ts';
import type { NodeTestimony, SolidBlock, Transfer } from '../../shared/domain/transfer-evidence.ts';
import type { TronAddress } from '../../shared/domain/tron-address.ts';
import type {
  BroadcastAnswer,
  PaymentNetwork,
  Signer,
  TransferPlan,
} from '../../shared/ports/payment-network.ts';
import { transferLog } from './transfer-log.ts';

interface SimulatedBlock {
  readonly number: number;
  readonly blockId: string;
  readonly timestampMs: number;
  readonly txIds: string[];
}

export interface Pending {
  readonly transfer: Transfer;
  readonly expirationMs: number;
  readonly txId: string;
}

/** What the wallet holds of each asset before anything happens. */
const WALLET_MICRO = 1_000_000_000_000n;
/** Blocks of one answer, so that a history takes several. */
const HISTORY_BLOCKS_MAX = 7;
/** What every transfer burns, landed or reverted. */
const FEE_MICRO = 345_000n;

/** What a node makes of the truth when it is asked about a transaction; null where it does not answer. */
export type NodeView = (truth: NodeTestimony) => NodeTestimony | null;

/** Ends the world for whoever was calling: the process is gone, what it had done stays. */
export class Crash extends Error {}

/**
 * A chain in memory for rules that need thousands of lives: blocks every second, solid two blocks later. What
 * is broadcast is included in the next block unless it is told otherwise. Real transactions on a real chain are
 * tested elsewhere.
 */
export class SimulatedChain {
  readonly blocks: SimulatedBlock[];
  readonly included = new Map<string, { pending: Pending; block: SimulatedBlock; reverted: boolean }>();
  pool: Pending[] = [];
  /** While true, broadcasts are answered but vanish. */
  dropsBroadcasts = false;
  /** While true, every broadcast is refused. */
  refusesBroadcasts = false;
  /** While true, every call fails. */
  isAway = false;
  /** While true, included transfers revert. */
  reverts = false;
  /** The nodes that are asked for testimony. */
  nodes: NodeView[] = [(truth) => truth];
  /** What a node makes of the history that it is to show. */
  historyView: (truth: HistoryBlock[]) => HistoryBlock[] = (truth) => truth;
  /** What a node makes of the blocks that it is to show. */
  walkView: (truth: SolidBlock[]) => SolidBlock[] = (truth) => truth;
  readonly solidLag = 2;
  readonly #moved: { asset: Asset; amountMicro: bigint; blockNumber: number }[] = [];
  readonly #wallet: TronAddress;
  readonly #contract: TronAddress;

  constructor(wallet: TronAddress, contract: TronAddress, startMs: number) {
    this.#wallet = wallet;
    this.#contract = contract;
    this.blocks = [];
    for (let number = 0; number <= this.solidLag; number += 1) {
      this.blocks.push(block(number, startMs - (this.solidLag - number) * 1000));
    }
  }

  get head(): SimulatedBlock {
    return at(this.blocks, this.blocks.length - 1);
  }

  get solidHead(): SolidHead {
    const { number, blockId, timestampMs } = at(this.blocks, this.blocks.length - 1 - this.solidLag);
    return { number, blockId, timestampMs };
  }

  /** The transfers that moved money, in all blocks. */
  get paid() {
    return [...this.included.values()].filter(({ reverted }) => !reverted);
  }

  produceBlock(timestampMs: number): void {
    const parent = this.head;
    const next = block(parent.number + 1, timestampMs);
    for (const pending of this.pool) {
      // java-tron: an expiration at or before the head that a block builds on is refused.
      if (pending.expirationMs <= parent.timestampMs || this.included.has(pending.txId)) continue;
      next.txIds.push(pending.txId);
      this.included.set(pending.txId, { pending, block: next, reverted: this.reverts });
    }
    this.pool = [];
    this.blocks.push(next);
  }

  get signer(): Signer {
    return {
      wallet: this.#wallet,
      sign: async (transfer, _plan, { timestampMs, expirationMs }) => {
        const { asset, recipient } = transfer;
        const content = {
          asset,
          recipient,
          amount: transfer.amountMicro.toString(),
          timestampMs,
          expirationMs,
        };
        const txId = createHash('sha256').update(JSON.stringify(content)).digest('hex');
        return { txId, bytes: Buffer.from(JSON.stringify({ ...content, txId })) };
      },
    };
  }

  get network(): PaymentNetwork {
    const answering = <T>(answer: () => T): Promise<T> =>
      this.isAway
        ? Promise.reject(new ServiceError('chain_unavailable', 'the simulated chain is away'))
        : Promise.resolve(answer());
    return {
      readSolidHead: () => answering(() => this.solidHead),
      prepareTransfer: () =>
        answering(
          (): TransferPlan => ({
            referenceBlock: this.solidHead,
            feeLimitMicro: 10_000_000n,
            feeMaxMicro: 11_000_000n,
            estimate: { energy: 64_285, bandwidth: 345, feeMicro: 6_428_500n, activates: false },
          }),
        ),
      broadcast: (bytes) =>
        this.isAway
          ? Promise.resolve([{ node: 'simulated', kind: 'unclear', code: 'away' } satisfies BroadcastAnswer])
          : Promise.resolve([this.#receive(bytes)]),
      takeTestimony: (txId, knownHead) =>
        answering(() =>
          this.nodes
            .map((view) => view(this.#testify(txId)))
            .filter((testimony) => testimony !== null)
            .filter(({ solidHead }) => solidHead.number >= (knownHead?.number ?? 0)),
        ),
      walkSolidBlocks: (fromNumber, untilMs) =>
        answering(() => this.walkView(this.#walk(fromNumber, untilMs))),
      readHistory: (_, from, floor) => answering(() => this.historyView(this.#readBack(from.number, floor))),
      readHoldings: () =>
        answering(() => [{ node: 'simulated', solidHead: this.solidHead, amounts: this.holdings }]),
    };
  }

  /** What the wallet holds in solid blocks. */
  get holdings(): Amounts {
    const held = { USDT: WALLET_MICRO, TRX: WALLET_MICRO };
    const isSolid = (blockNumber: number) => blockNumber <= this.solidHead.number;
    for (const { pending, block: holder, reverted } of this.included.values()) {
      if (!isSolid(holder.number)) continue;
      held.TRX -= FEE_MICRO;
      if (!reverted) held[pending.transfer.asset] -= pending.transfer.amountMicro;
    }
    for (const { asset, amountMicro, blockNumber } of this.#moved) {
      if (isSolid(blockNumber)) held[asset] += amountMicro;
    }
    return held;
  }

  /** Money that comes to the wallet, or leaves it (a negative amount), in the newest block and by nobody's payment. */
  move(asset: Asset, amountMicro: bigint): void {
    this.#moved.push({ asset, amountMicro, blockNumber: this.head.number });
  }

  #receive(bytes: Uint8Array): BroadcastAnswer {
    const sent = JSON.parse(Buffer.from(bytes).toString()) as {
      asset: Transfer['asset'];
      recipient: TronAddress;
      amount: string;
      expirationMs: number;
      txId: string;
    };
    if (this.refusesBroadcasts) return { node: 'simulated', kind: 'refused', code: 'SIGERROR' };
    if (sent.expirationMs <= this.head.timestampMs) {
      return { node: 'simulated', kind: 'unclear', code: 'TRANSACTION_EXPIRATION_ERROR' };
    }
    if (this.included.has(sent.txId) || this.pool.some(({ txId }) => txId === sent.txId)) {
      return { node: 'simulated', kind: 'duplicate', code: 'DUP_TRANSACTION_ERROR' };
    }
    if (!this.dropsBroadcasts) {
      const { asset, recipient, txId, expirationMs } = sent;
      const transfer = {
        asset,
        recipient,
        amountMicro: BigInt(sent.amount),
        sender: this.#wallet,
        contract: this.#contract,
      };
      this.pool.push({ transfer, expirationMs, txId });
    }
    return { node: 'simulated', kind: 'accepted', code: 'SUCCESS' };
  }

  #testify(txId: string): NodeTestimony {
    const { solidHead } = this;
    const found = this.included.get(txId);
    const testimony = { node: 'simulated', solidHead, headNumber: this.head.number };
    if (found === undefined || found.block.number > solidHead.number) {
      return { ...testimony, transaction: null, info: null, block: null };
    }
    const { pending, block: holder, reverted } = found;
    const { transfer } = pending;
    const isToken = transfer.asset === 'USDT';
    return {
      ...testimony,
      transaction: { txId, contractRet: reverted ? 'REVERT' : 'SUCCESS' },
      info: {
        txId,
        blockNumber: holder.number,
        blockTimeMs: holder.timestampMs,
        feeMicro: FEE_MICRO,
        receiptResult: isToken ? (reverted ? 'REVERT' : 'SUCCESS') : null,
        result: reverted ? 'FAILED' : null,
        logs: isToken && !reverted ? [transferLog(transfer)] : [],
      },
      block: this.#show(holder.number),
    };
  }

  #show(number: number): SolidBlock {
    const parentId = this.blocks[number - 1]?.blockId ?? '';
    return { ...at(this.blocks, number), parentId, isBound: true };
  }

  #readBack(fromNumber: number, floor: HistoryFloor): HistoryBlock[] {
    const blocks: HistoryBlock[] = [];
    for (let number = fromNumber; number >= 0 && blocks.length < HISTORY_BLOCKS_MAX; number -= 1) {
      const { isBound: _, txIds, ...shown } = this.#show(number);
      blocks.push({ ...shown, transfers: txIds.map((txId) => this.#outgoing(txId)) });
      if (isAtFloor(shown, floor)) break;
    }
    return blocks;
  }

  #outgoing(txId: string): OutgoingTransfer {
    const found = this.included.get(txId);
    if (found === undefined) throw new RangeError(`nothing is known of ${txId}`);
    const { transfer, expirationMs } = found.pending;
    const { asset, amountMicro, recipient } = transfer;
    return {
      txId,
      bytes: Buffer.from(txId),
      asset,
      amountMicro,
      recipient,
      succeeded: !found.reverted,
      feeMicro: FEE_MICRO,
      feeLimitMicro: 10_000_000n,
      signedAtMs: expirationMs - 60_000,
      expirationMs,
    };
  }

  #walk(fromNumber: number, untilMs: number): SolidBlock[] {
    const walked: SolidBlock[] = [];
    for (let number = fromNumber; number <= this.solidHead.number; number += 1) {
      const block = this.#show(number);
      walked.push(block);
      if (block.timestampMs >= untilMs) break;
    }
    return walked;
  }
}

function block(number: number, timestampMs: number): SimulatedBlock {
  const tail = createHash('sha256').update(`${number}/${timestampMs}`).digest('hex').slice(16);
  return { number, blockId: number.toString(16).padStart(16, '0') + tail, timestampMs, txIds: [] };
}

function at<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new RangeError(`nothing at ${index}`);
  return found;
}
