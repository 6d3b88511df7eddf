import type { SolidHead } from '../../domain/breaker.ts';
import { ServiceError } from '../../domain/errors.ts';
import type { TronAddress } from '../../domain/tron-address.ts';
import type { ChainStatus } from '../../ports/chain-status.ts';
import { readHead } from './node-answers.ts';
import type { NodeClient } from './node-client.ts';
import { readTokenBalance, readTrxBalance } from './tron-network.ts';

export interface ChainStatusSettings {
  /** Asked one after the other until one answers. */
  readonly nodes: readonly NodeClient[];
  readonly genesisBlockId: string;
  readonly usdtContract: TronAddress;
}

/** The state of the chain and of accounts, read from nodes that are shown to serve the pinned network. */
export function tronChainStatus(settings: ChainStatusSettings): ChainStatus {
  const genuine = new Set<NodeClient>();

  async function assertGenesis(node: NodeClient): Promise<void> {
    if (genuine.has(node)) return;
    const { blockId } = readHead(await node.post('/wallet/getblockbynum', { num: 0 }));
    if (blockId !== settings.genesisBlockId) throw away(`${node.host} belongs to another network`);
    genuine.add(node);
  }

  async function fromFirst<T>(ask: (node: NodeClient) => Promise<T>): Promise<T> {
    let last: unknown = away('no node is configured');
    for (const node of settings.nodes) {
      try {
        const [answer] = await Promise.all([ask(node), assertGenesis(node)]);
        return answer;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  return {
    readSolidHead: (): Promise<SolidHead> =>
      fromFirst(async (node) => readHead(await node.post('/walletsolidity/getnowblock', {}))),
    readTrxBalanceMicro: (address) => fromFirst((node) => readTrxBalance(node, address)),
    readTokenBalanceMicro: (address) =>
      fromFirst((node) => readTokenBalance(node, settings.usdtContract, address)),
  };
}

function away(why: string): ServiceError {
  return new ServiceError('chain_unavailable', why, { retryAfterSeconds: 10 });
}
