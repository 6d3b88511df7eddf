import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { SocksProxyAgent } from 'socks-proxy-agent';

/**
 * The only way out to TRON nodes. Everything that talks to a node asks a dialer for its agent; nothing else in
 * the service opens a connection outwards.
 */
export interface Dialer {
  /**
   * The way to take for the next request. It is asked for each time: a way that keeps failing is replaced.
   * @param purpose connections of different purposes never share a Tor circuit, so that one node cannot tie
   *   them together and one bad circuit does not stop them all
   */
  wayTo(url: URL, purpose: string): Way;
}

/** How one purpose reaches one node, and what became of the requests that went there. */
export interface Way {
  readonly agent: HttpAgent;
  /** To be told of every whole answer, whatever it says: the way is good. */
  noteAnswer(): void;
  /** To be told where there was none: no connection, one that broke, or none in time. */
  noteFailure(): void;
}

/** So many requests in a row without an answer, and a new circuit is taken. */
const FAILURES_ON_FIRST_CIRCUIT = 3;
/**
 * Each further circuit is given twice the patience, up to this: where no circuit helps, because the node or Tor
 * itself is away, asking for ever more of them would only be one more load on Tor.
 */
const FAILURES_ON_A_CIRCUIT_MAX = 48;

/**
 * Dials through Tor. Host names are resolved at the proxy (`socks5h`): a look-up made here would tell the local
 * resolver which node is used.
 */
export function torDialer(proxy: { readonly host: string; readonly port: number }): Dialer {
  const proxyHost = proxy.host.includes(':') ? `[${proxy.host}]` : proxy.host;
  const ways = new Map<string, Way>();

  /** @param number 1 for the first circuit; Tor keeps streams of other credentials on other circuits. */
  function take(url: URL, purpose: string, key: string, number: number, patience: number): Way {
    const password = number === 1 ? url.host : `${url.host} ${number}`;
    const isolation = `${encodeURIComponent(purpose)}:${encodeURIComponent(password)}`;
    const agent = new TorAgent(`socks5h://${isolation}@${proxyHost}:${proxy.port}`, { keepAlive: true });
    // Said once, since the agent would otherwise guess from the call stack whether TLS is wanted.
    agent.protocol = url.protocol;
    let failures = 0;
    let failuresMax = patience;
    const way: Way = {
      agent,
      noteAnswer() {
        failures = 0;
        failuresMax = FAILURES_ON_FIRST_CIRCUIT;
      },
      noteFailure() {
        failures += 1;
        // Calls that began on a circuit which has been given up meanwhile say nothing about the one after it.
        if (failures < failuresMax || ways.get(key) !== way) return;
        take(url, purpose, key, number + 1, Math.min(failuresMax * 2, FAILURES_ON_A_CIRCUIT_MAX));
        agent.retire();
      },
    };
    ways.set(key, way);
    return way;
  }

  return {
    wayTo(url, purpose) {
      const key = `${purpose}@${url.protocol}//${url.host}`;
      return ways.get(key) ?? take(url, purpose, key, 1, FAILURES_ON_FIRST_CIRCUIT);
    },
  };
}

class TorAgent extends SocksProxyAgent {
  /** Keeps no connection any longer. Those that are in use end with their answers. */
  retire(): void {
    this.maxFreeSockets = 0;
    for (const socket of Object.values(this.freeSockets).flat()) socket?.destroy();
  }

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
  const [http, https] = [new HttpAgent({ keepAlive: true }), new HttpsAgent({ keepAlive: true })];
  return {
    wayTo: (url) => ({
      agent: url.protocol === 'https:' ? https : http,
      noteAnswer() {},
      noteFailure() {},
    }),
  };
}
