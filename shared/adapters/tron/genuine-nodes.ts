import type { SolidHead } from '../../domain/breaker.ts';
import { ServiceError } from '../../domain/errors.ts';
import { withPartOfCall } from './call-deadline.ts';
import { isAbsent, readHead } from './node-answers.ts';
import type { NodeClient } from './node-client.ts';

/** For so many calls a node that has failed is asked after the others: failing may have taken all of its time. */
const CALLS_ASKED_LAST = 20;

/** Nodes that are only believed once they have shown the pinned genesis block. */
export class GenuineNodes {
  readonly nodes: readonly NodeClient[];
  readonly #genesisBlockId: string;
  readonly #shown = new Set<NodeClient>();
  /** Nodes that have failed, with the calls that are left. */
  readonly #askedLast = new Map<NodeClient, number>();

  constructor(nodes: readonly NodeClient[], genesisBlockId: string) {
    this.nodes = nodes;
    this.#genesisBlockId = genesisBlockId;
  }

  /** A node of another network would answer every question truthfully, and wrongly. */
  async assertGenesis(node: NodeClient): Promise<void> {
    if (this.#shown.has(node)) return;
    const { blockId } = readHead(await node.post('/wallet/getblockbynum', { num: 0 }));
    if (blockId !== this.#genesisBlockId) throw chainAway(`${node.host} belongs to another network`);
    this.#shown.add(node);
  }

  /** Asks one node after the other until one answers; what it refuses is an answer. */
  async fromFirst<T>(ask: (node: NodeClient) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const [index, node] of this.#inOrder().entries()) {
      try {
        // Both at once, but the network first: what a node of another network refuses means nothing here.
        const [answer, belongs] = await withPartOfCall(this.nodes.length - index, () =>
          Promise.allSettled([ask(node), this.assertGenesis(node)]),
        );
        if (belongs.status === 'rejected') throw belongs.reason;
        if (answer.status === 'rejected') throw answer.reason;
        return answer.value;
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'chain_unavailable') throw error;
        last = error;
        this.#askedLast.set(node, CALLS_ASKED_LAST);
      }
    }
    throw last ?? chainAway('no node is configured');
  }

  /** As they are configured, but for those that have failed. */
  #inOrder(): NodeClient[] {
    const isLast = (node: NodeClient) => Number(this.#askedLast.has(node));
    const order = this.nodes.toSorted((a, b) => isLast(a) - isLast(b));
    for (const [node, left] of this.#askedLast) {
      if (left > 1) this.#askedLast.set(node, left - 1);
      else this.#askedLast.delete(node);
    }
    return order;
  }
}

// Headers alone: a block of the main net with its transactions is hundreds of kilobytes, and takes its time over Tor.

/** The newest solid block that a node has. */
export async function readSolidHead(node: NodeClient): Promise<SolidHead> {
  return readHead(await node.post('/walletsolidity/getblock', { detail: false }));
}

/** The solid block of a height, or null where the node's solid chain is not that long yet. */
export async function readSolidHeader(node: NodeClient, number: number): Promise<SolidHead | null> {
  const shown = await node.post('/walletsolidity/getblock', { id_or_num: String(number), detail: false });
  return isAbsent(shown) ? null : readHead(shown);
}

/** The height of the newest block that a node has, solid or not. */
export async function readHeight(node: NodeClient): Promise<number> {
  return readHead(await node.post('/wallet/getblock', { detail: false })).number;
}

/**
 * Whether a node's solid chain holds the last solid block that was seen: `behind` where it is not there yet,
 * which a backend of a load balancer may well be.
 * @throws ServiceError `chain_unavailable` where the node shows another block in its place
 */
export async function compareSolidHead(
  node: NodeClient,
  solidHead: SolidHead,
  knownHead: SolidHead | null,
): Promise<'holds' | 'behind'> {
  if (knownHead === null) return 'holds';
  if (solidHead.number < knownHead.number) return 'behind';
  const shown = await readSolidHeader(node, knownHead.number);
  if (shown === null) return 'behind';
  if (shown.blockId === knownHead.blockId) return 'holds';
  throw chainAway(`${node.host} does not show the last solid block that was seen`);
}

export function chainAway(why: string): ServiceError {
  return new ServiceError('chain_unavailable', why, { retryAfterSeconds: 10 });
}
