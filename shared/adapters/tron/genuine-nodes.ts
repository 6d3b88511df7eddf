import type { SolidHead } from '../../domain/breaker.ts';
import { ServiceError } from '../../domain/errors.ts';
import { withPartOfCall } from './call-deadline.ts';
import { isAbsent, readHead } from './node-answers.ts';
import type { NodeClient } from './node-client.ts';

/** Nodes that are only believed once they have shown the pinned genesis block. */
export class GenuineNodes {
  readonly nodes: readonly NodeClient[];
  readonly #genesisBlockId: string;
  readonly #shown = new Set<NodeClient>();

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
    for (const [index, node] of this.nodes.entries()) {
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
      }
    }
    throw last ?? chainAway('no node is configured');
  }
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
  const shown = await node.post('/walletsolidity/getblockbynum', { num: knownHead.number });
  if (isAbsent(shown)) return 'behind';
  if (readHead(shown).blockId === knownHead.blockId) return 'holds';
  throw chainAway(`${node.host} does not show the last solid block that was seen`);
}

export function chainAway(why: string): ServiceError {
  return new ServiceError('chain_unavailable', why, { retryAfterSeconds: 10 });
}
