/** Asks another TRON node which network it serves, before anything is started on it. */
import { readFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { SocksProxyAgent } from 'socks-proxy-agent';
import {
  NETWORK_FACTS as PUBLIC_NETWORKS,
  TRON_NETWORKS,
  type TronNetwork,
} from '../../shared/runtime/tron-networks.ts';
import { type Account, accountOf } from './accounts.ts';
import type { NetworkFacts } from './environment.ts';
import type { ChainOptions } from './options.ts';

const REQUEST_TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 1_000_000;

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
  const answer: unknown = JSON.parse(await post(`${nodeUrl}/wallet/getblockbynum`, '{"num":0}', torProxy));
  const id = (answer as { readonly blockID?: unknown } | null)?.blockID;
  if (typeof id !== 'string' || !/^0{16}[0-9a-f]{48}$/.test(id)) throw new Error('it answered no block 0');
  return id;
}

/** Not `fetch`: it takes no SOCKS proxy, and nothing may go to a node around Tor. */
function post(url: string, body: string, torProxy: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = (url.startsWith('https:') ? requestHttps : requestHttp)(
      url,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
        ...(torProxy === undefined ? {} : { agent: new SocksProxyAgent(torProxy) }),
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > ANSWER_BYTES_MAX) response.destroy(new Error('its answer is too long'));
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`it answered status ${response.statusCode}`));
        });
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}
