import type { SolidHead } from '../../domain/breaker.ts';
import type { TronAddress } from '../../domain/tron-address.ts';
import type { ChainStatus } from '../../ports/chain-status.ts';
import { GenuineNodes, readSolidHead } from './genuine-nodes.ts';
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
  const genuine = new GenuineNodes(settings.nodes, settings.genesisBlockId);

  return {
    readSolidHead: (): Promise<SolidHead> => genuine.fromFirst(readSolidHead),
    readTrxBalanceMicro: (address) => genuine.fromFirst((node) => readTrxBalance(node, address)),
    readTokenBalanceMicro: (address) =>
      genuine.fromFirst((node) => readTokenBalance(node, settings.usdtContract, address)),
  };
}
