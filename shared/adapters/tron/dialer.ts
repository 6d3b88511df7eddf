import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { SocksProxyAgent } from 'socks-proxy-agent';

/**
 * The only way out to TRON nodes. Everything that talks to a node asks a dialer for its agent; nothing else in
 * the service opens a connection outwards.
 */
export interface Dialer {
  /**
   * @param purpose connections of different purposes never share a Tor circuit, so that one node cannot tie
   *   them together and one bad circuit does not stop them all
   */
  agentFor(url: URL, purpose: string): HttpAgent;
}

/**
 * Dials through Tor. Host names are resolved at the proxy (`socks5h`), whatever the configured scheme says: a
 * look-up made here would tell the local resolver which node is used.
 * @param proxyUrl `socks5://` or `socks5h://` host and port
 */
export function torDialer(proxyUrl: string): Dialer {
  const agents = new Map<string, HttpAgent>();
  return {
    agentFor(url, purpose) {
      const circuit = `${purpose}@${url.host}`;
      const known = agents.get(circuit);
      if (known !== undefined) return known;
      const proxy = new URL(proxyUrl.replace(/^socks5h?:/, 'socks5h:'));
      // Tor keeps streams of different SOCKS credentials on different circuits (IsolateSOCKSAuth).
      proxy.username = encodeURIComponent(purpose);
      proxy.password = encodeURIComponent(url.host);
      const agent: HttpAgent = new SocksProxyAgent(proxy, { keepAlive: true });
      agents.set(circuit, agent);
      return agent;
    },
  };
}

/** Dials directly. The configuration allows it for development chains only, never in production. */
export function directDialer(): Dialer {
  const http = new HttpAgent({ keepAlive: true });
  const https = new HttpsAgent({ keepAlive: true });
  return { agentFor: (url) => (url.protocol === 'https:' ? https : http) };
}
