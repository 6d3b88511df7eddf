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
 * Dials through Tor. Host names are resolved at the proxy (`socks5h`): a look-up made here would tell the local
 * resolver which node is used.
 */
export function torDialer(proxy: { readonly host: string; readonly port: number }): Dialer {
  const agents = new Map<string, HttpAgent>();
  return {
    agentFor(url, purpose) {
      const circuit = `${purpose}@${url.protocol}//${url.host}`;
      const known = agents.get(circuit);
      if (known !== undefined) return known;
      // Tor keeps streams of different SOCKS credentials on different circuits (IsolateSOCKSAuth).
      const isolation = `${encodeURIComponent(purpose)}:${encodeURIComponent(url.host)}`;
      const proxyHost = proxy.host.includes(':') ? `[${proxy.host}]` : proxy.host;
      const agent = new TorAgent(`socks5h://${isolation}@${proxyHost}:${proxy.port}`, { keepAlive: true });
      // Said once, since the agent would otherwise guess from the call stack whether TLS is wanted.
      agent.protocol = url.protocol;
      agents.set(circuit, agent);
      return agent;
    },
  };
}

class TorAgent extends SocksProxyAgent {
  /** Tells a connection that the proxy did not give from one that the node broke. */
  override async connect(...request: Parameters<SocksProxyAgent['connect']>) {
    try {
      return await super.connect(...request);
    } catch (cause) {
      throw Object.assign(new Error('the SOCKS proxy gave no connection', { cause }), { code: 'EPROXY' });
    }
  }
}

/** Dials directly. The configuration allows it for development chains only, never in production. */
export function directDialer(): Dialer {
  const http = new HttpAgent({ keepAlive: true });
  const https = new HttpsAgent({ keepAlive: true });
  return { agentFor: (url) => (url.protocol === 'https:' ? https : http) };
}
