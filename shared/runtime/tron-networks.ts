/** Facts of the public TRON networks. A private network states its own. */

export const TRON_NETWORKS = ['mainnet', 'nile', 'shasta', 'private'] as const;
export type TronNetwork = (typeof TRON_NETWORKS)[number];

interface NetworkFacts {
  /** The id of block 0, 64 hex characters: a node that shows another serves another chain. */
  readonly genesisBlockId: string | null;
  /** The USDT contract, where there is one true one. */
  readonly usdtContract: string | null;
}

export const NETWORK_FACTS: Readonly<Record<TronNetwork, NetworkFacts>> = {
  mainnet: {
    genesisBlockId: '00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc',
    usdtContract: 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t',
  },
  nile: {
    genesisBlockId: '0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc',
    usdtContract: null,
  },
  shasta: {
    genesisBlockId: '0000000000000000de1aa88295e1fcf982742f773e0419c5a9c134c994a9059e',
    usdtContract: null,
  },
  private: { genesisBlockId: null, usdtContract: null },
};
