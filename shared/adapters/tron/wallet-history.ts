import { ServiceError } from '../../domain/errors.ts';
import {
  type BlockLink,
  type HistoryBlock,
  type HistoryFloor,
  isAtFloor,
  type OutgoingTransfer,
} from '../../domain/restore.ts';
import { operatorOf } from '../../domain/transfer-evidence.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Account } from '../../ports/payment-network.ts';
import { leftOfCallMs } from './call-deadline.ts';
import { chainAway, type GenuineNodes } from './genuine-nodes.ts';
import { isAbsent, readBlock, readTransactionInfo } from './node-answers.ts';
import type { JsonObject, NodeClient } from './node-client.ts';
import { type FoundTransfer, findOutgoing } from './outgoing-transfers.ts';

/** Blocks asked for at once, at the most: as many as come in time, for they may be large, and Tor slow. */
const WIDTH_MAX = 8;
/** One call leaves time for what is done with its blocks before the invocation is over. */
const READ_MS_MAX = 5_000;
const BLOCKS_MAX = 400;

/** Reads what an account has sent out of solid blocks, from newer ones to older ones. */
export class WalletHistory {
  readonly #genuine: GenuineNodes;
  readonly #clock: Clock;
  #width = 1;

  constructor(genuine: GenuineNodes, clock: Clock) {
    this.#genuine = genuine;
    this.#clock = clock;
  }

  /** @throws ServiceError `chain_unavailable`, also where a node shows another block than the one that is linked */
  read(account: Account, from: BlockLink, floor: HistoryFloor): Promise<HistoryBlock[]> {
    return this.#genuine.fromFirst((node) => this.#readOn(node, account, from, floor));
  }

  async #readOn(
    node: NodeClient,
    account: Account,
    from: BlockLink,
    floor: HistoryFloor,
  ): Promise<HistoryBlock[]> {
    const blocks: HistoryBlock[] = [];
    const endMs = this.#clock.nowMs() + Math.min(READ_MS_MAX, leftOfCallMs() / 2);
    let next = from;
    do {
      const width = Math.max(1, Math.min(this.#width, next.number - floor.number + 1));
      let shown: JsonObject[];
      try {
        shown = await Promise.all(
          Array.from({ length: width }, (_, below) => readShown(node, next.number - below)),
        );
        this.#width = Math.min(WIDTH_MAX, this.#width * 2);
      } catch (error) {
        this.#width = Math.max(1, Math.floor(this.#width / 2));
        // What was read before is not lost: the next call goes on from there.
        if (blocks.length > 0 && error instanceof ServiceError) return blocks;
        throw error;
      }
      for (const one of shown) {
        const block = await this.#link(node, account, next, one);
        blocks.push(block);
        if (isAtFloor(block, floor)) return blocks;
        next = { number: block.number - 1, blockId: block.parentId };
      }
    } while (blocks.length < BLOCKS_MAX && this.#clock.nowMs() < endMs);
    return blocks;
  }

  /** Takes a block for what it is only by its id, which vouches for all that it shows. */
  async #link(node: NodeClient, account: Account, link: BlockLink, shown: JsonObject): Promise<HistoryBlock> {
    const { number, blockId, parentId, timestampMs, txIds, isBound } = readBlock(shown);
    if (number !== link.number || blockId !== link.blockId) {
      throw chainAway(`${node.host} shows another block ${link.number} than the one above it names`);
    }
    const found = findOutgoing(shown, account);
    if (!isBound) await this.#assertWitnessed(node, account, link, { txIds, found });
    const transfers = await Promise.all(found.map((transfer) => withFee(node, transfer, number)));
    return { number, blockId, parentId, timestampMs, transfers };
  }

  /**
   * A block whose id cannot be computed again, as it holds something that is not known here, is believed where another
   * operator's node shows the same transactions, and of the wallet's that the same have succeeded. Where there is one
   * operator alone, its word has to do.
   */
  async #assertWitnessed(
    node: NodeClient,
    account: Account,
    link: BlockLink,
    { txIds, found }: { readonly txIds: readonly string[]; readonly found: readonly FoundTransfer[] },
  ): Promise<void> {
    const others = this.#genuine.nodes.filter(({ host }) => operatorOf(host) !== operatorOf(node.host));
    if (others.length === 0) return;
    for (const other of others) {
      await this.#genuine.assertGenesis(other);
      const shown = await readShown(other, link.number);
      const seen = readBlock(shown);
      const isSame = seen.blockId === link.blockId && seen.txIds.join() === txIds.join();
      if (isSame && outcomes(findOutgoing(shown, account)) === outcomes(found)) return;
    }
    throw chainAway(`no second node shows the transactions of block ${link.number} as ${node.host} does`);
  }
}

function outcomes(transfers: readonly FoundTransfer[]): string {
  return transfers.map(({ txId, succeeded }) => `${txId} ${succeeded}`).join();
}

async function readShown(node: NodeClient, number: number): Promise<JsonObject> {
  const shown = await node.post('/walletsolidity/getblockbynum', { num: number });
  if (isAbsent(shown)) throw chainAway(`${node.host} does not have block ${number}`);
  return shown;
}

async function withFee(
  node: NodeClient,
  transfer: FoundTransfer,
  blockNumber: number,
): Promise<OutgoingTransfer> {
  const { txId } = transfer;
  const info = readTransactionInfo(
    await node.post('/walletsolidity/gettransactioninfobyid', { value: txId }),
  );
  if (info?.txId !== txId || info.blockNumber !== blockNumber) {
    throw chainAway(`${node.host} shows no receipt for a transaction in block ${blockNumber}`);
  }
  return { ...transfer, feeMicro: info.feeMicro };
}
