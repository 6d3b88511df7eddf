/** Asks another TRON node which network it serves, before anything is started on it. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { directDialer, torDialer } from '../../shared/adapters/tron/dialer.ts';
import { readHead } from '../../shared/adapters/tron/node-answers.ts';
import { type NodeClient, nodeClient } from '../../shared/adapters/tron/node-client.ts';
import {
  NETWORK_FACTS as PUBLIC_NETWORKS,
  TRON_NETWORKS,
  type TronNetwork,
} from '../../shared/runtime/tron-networks.ts';
import { type Account, accountOf } from './accounts.ts';
import type { NetworkFacts } from './environment.ts';
import type { ChainOptions } from './options.ts';

const REQUEST_TIMEOUT_MS = 30_000;
/** Half of the age at which payments would take the chain to be stalled. */
const SOLID_AGE_MS_MAX = 150_000;
const SOLID_POLL_MS = 100;

/**
 * Reads block 0 of the node and the wallet's key.
 *
 * @throws Error with one line: the node does not answer, the key is none, or the network is main net although
 * the configuration is not production's.
 */
export async function inspectNode(
  chain: Extract<ChainOptions, { kind: 'node' }>,
  isProduction: boolean,
): Promise<NetworkFacts> {
  const wallet = readWallet(chain.keyFile);
  const genesisBlockId = await readGenesis(chain.url, chain.torProxy).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`--node ${chain.url}: block 0 could not be read: ${reason}`, { cause: error });
  });
  const network = networkOf(genesisBlockId);
  if (network === 'mainnet' && !isProduction) {
    throw new Error(
      `${chain.url} serves TRON's main net, where payments are real money: ` +
        'refused unless LUCID_ENV=production, with secrets of your own',
    );
  }
  return {
    network,
    nodeUrl: chain.url,
    genesisBlockId,
    usdtAddress: chain.usdtAddress,
    walletAddress: wallet.address,
    walletKeyFile: chain.keyFile,
    torProxy: chain.torProxy,
  };
}

/** The public network with that genesis block, or `private` for any other. */
export function networkOf(genesisBlockId: string): TronNetwork {
  return (
    TRON_NETWORKS.find((network) => PUBLIC_NETWORKS[network].genesisBlockId === genesisBlockId) ?? 'private'
  );
}

function readWallet(keyFile: string): Account {
  try {
    return accountOf(readFileSync(keyFile, 'utf8'));
  } catch (error) {
    throw new Error(`--key-file ${keyFile}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function readGenesis(nodeUrl: string, torProxy: string | undefined): Promise<string> {
  const { blockId } = readHead(await nodeAt(nodeUrl, torProxy).post('/wallet/getblockbynum', { num: 0 }));
  return blockId;
}

/**
 * Waits until the solid head of a chain that was just started is of now. After a pause it is as old as the pause,
 * and payments would rightly take the chain to be stalled.
 */
export async function untilSolidNow(nodeUrl: string, signal: AbortSignal): Promise<void> {
  const node = nodeAt(nodeUrl, undefined);
  for (;;) {
    const { timestampMs } = readHead(await node.post('/walletsolidity/getnowblock', {}));
    if (Date.now() - timestampMs < SOLID_AGE_MS_MAX) return;
    await sleep(SOLID_POLL_MS, undefined, { signal });
  }
}

/** The same client that the functions use: nothing goes to a node around Tor. */
function nodeAt(url: string, torProxy: string | undefined): NodeClient {
  const proxy = torProxy === undefined ? undefined : new URL(torProxy);
  const dialer =
    proxy === undefined ? directDialer() : torDialer({ host: proxy.hostname, port: Number(proxy.port) });
  return nodeClient({ url, dialer, purpose: 'local-stack', timeoutMs: REQUEST_TIMEOUT_MS });
}
