import type { SolidBlock } from '../../domain/transfer-evidence.ts';
import { chainAway } from './genuine-nodes.ts';
import { isAbsent, readBlock } from './node-answers.ts';
import type { NodeClient } from './node-client.ts';

/** An hour and more of blocks, as many as the longest attempt may live; some 30 MB where the main net is full. */
const BLOCKS_MAX = 1_300;

/**
 * Solid blocks as each node showed them, remembered while the process lives: they never change, and over Tor a full
 * block takes its time. So a walk that ran out of time goes on where it stopped, and one walk serves all payments
 * of its time.
 */
export class SolidBlocks {
  readonly #byNode = new Map<NodeClient, Map<number, SolidBlock>>();

  /**
   * @returns null where the node's solid chain is not that long yet
   * @throws ServiceError `chain_unavailable`
   */
  async read(node: NodeClient, number: number): Promise<SolidBlock | null> {
    const seen = this.#byNode.get(node)?.get(number);
    if (seen !== undefined) return seen;
    const answer = await node.post('/walletsolidity/getblockbynum', { num: number });
    if (isAbsent(answer)) return null;
    const block = readBlock(answer);
    if (block.number !== number)
      throw chainAway(`${node.host} answered with another block than the one asked for`);
    if (block.isBound) this.#remember(node, block);
    return block;
  }

  /** Forgets what a node showed: it does not fit together, and the node may show better next time. */
  forget(node: NodeClient): void {
    this.#byNode.delete(node);
  }

  #remember(node: NodeClient, block: SolidBlock): void {
    const blocks = this.#byNode.get(node) ?? new Map<number, SolidBlock>();
    this.#byNode.set(node, blocks.set(block.number, block));
    const [oldest] = blocks.keys();
    if (blocks.size > BLOCKS_MAX && oldest !== undefined) blocks.delete(oldest);
  }
}
