import { connect } from 'node:net';
import type { ProxyProbe } from '../../ports/proxy-probe.ts';

const VERSION = 5;
/** RFC 1928 section 3: no authentication, and user name with password (by which Tor separates circuits). */
const METHODS = [0x00, 0x02];
const NO_ACCEPTABLE_METHOD = 0xff;

/**
 * Greets a SOCKS5 proxy as RFC 1928 section 3 begins every connection, and hangs up: it shows that the proxy
 * listens and speaks, and sends nothing into the network.
 */
export function socksProbe(
  proxy: { readonly host: string; readonly port: number },
  timeoutMs: number,
): ProxyProbe {
  return {
    greet: () =>
      new Promise((resolve, reject) => {
        const socket = connect({ host: proxy.host, port: proxy.port });
        const end = (why?: string) => {
          clearTimeout(timer);
          socket.destroy();
          if (why === undefined) resolve();
          else reject(new Error(`the Tor proxy ${why}`));
        };
        // Over the whole greeting: a socket's own timeout begins anew with every byte.
        const timer = setTimeout(() => end('did not answer in time'), timeoutMs);
        let answer = Buffer.alloc(0);
        socket.on('connect', () => socket.write(Uint8Array.of(VERSION, METHODS.length, ...METHODS)));
        socket.on('data', (chunk) => {
          answer = Buffer.concat([answer, chunk]);
          if (answer.length < 2) return;
          if (answer[0] !== VERSION) end('does not speak SOCKS5');
          else if (answer[1] === NO_ACCEPTABLE_METHOD) end('accepts no method of ours');
          else if (!METHODS.includes(answer[1] ?? NO_ACCEPTABLE_METHOD)) end('does not speak SOCKS5');
          else end();
        });
        socket.on('error', (error: NodeJS.ErrnoException) =>
          end(`is out of reach (${error.code ?? 'unknown'})`),
        );
        socket.on('close', () => end('hung up'));
      }),
  };
}
