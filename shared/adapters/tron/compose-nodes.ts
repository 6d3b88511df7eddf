import type { Config } from '../../runtime/config.ts';
import { directDialer, torDialer } from './dialer.ts';
import { type NodeClient, nodeClient } from './node-client.ts';

/**
 * Clients for all configured nodes, behind Tor wherever a proxy is configured (and it always is, but for
 * development chains on this machine).
 */
export function composeNodes(
  config: Config,
  purpose: string,
  timeoutMs = config.tron.timeoutMs,
): NodeClient[] {
  const { proxy } = config.tor;
  const dialer = proxy === null ? directDialer() : torDialer(proxy);
  const { apiKey } = config.tron;
  return config.tron.nodeUrls.map((url) =>
    nodeClient({
      url,
      dialer,
      purpose,
      timeoutMs,
      // The key is TronGrid's; another operator has no business seeing it.
      ...(apiKey !== null && isTronGrid(url) ? { apiKey: () => apiKey.reveal() } : {}),
    }),
  );
}

/** Whether a node is TronGrid's, and is asked in a way that shows the key to nobody else. */
export function isTronGrid(url: string): boolean {
  const { hostname, protocol } = new URL(url);
  return protocol === 'https:' && (hostname === 'trongrid.io' || hostname.endsWith('.trongrid.io'));
}
