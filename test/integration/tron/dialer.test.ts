import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { composeNodes } from '../../../shared/adapters/tron/compose-nodes.ts';
import { type Dialer, torDialer } from '../../../shared/adapters/tron/dialer.ts';
import { type NodeClient, nodeClient } from '../../../shared/adapters/tron/node-client.ts';
import type { Config } from '../../../shared/runtime/config.ts';
import { type FakeNode, startFakeNode } from '../../support/fake-node.ts';
import { freePort } from '../../support/ports.ts';
import { type SocksServer, type SocksServerSettings, startSocksServer } from '../../support/socks-server.ts';
import { waitUntil } from '../../support/wait-until.ts';

let node: FakeNode;
let socks: SocksServer;

beforeEach(async () => {
  node = await startFakeNode({ '/x': { fine: true } });
  socks = await startSocksServer({ destinationPort: node.port });
});
afterEach(async () => {
  await socks.close();
  await node.close();
});

async function replaceProxy(settings: SocksServerSettings): Promise<void> {
  await socks.close();
  socks = await startSocksServer(settings);
}

function throughProxy(port = socks.port): Dialer {
  return torDialer({ host: '127.0.0.1', port });
}

function clientOf(url: string, dialer = throughProxy(), purpose = 'pay', timeoutMs = 20_000): NodeClient {
  return nodeClient({ url, dialer, purpose, timeoutMs });
}

describe('what the proxy is told', () => {
  it.each([
    ['a name', 'http://node.example:8090', { addressType: 'name', host: 'node.example', port: 8090 }],
    [
      'an onion name',
      `http://${'a'.repeat(56)}.onion`,
      { addressType: 'name', host: `${'a'.repeat(56)}.onion`, port: 80 },
    ],
    ['a name of this machine', 'http://localhost:1', { addressType: 'name', host: 'localhost', port: 1 }],
    ['an IPv4 address', 'http://192.0.2.7:8090', { addressType: 'ipv4', host: '192.0.2.7', port: 8090 }],
    [
      'an IPv6 address',
      'http://[2001:db8::7]:8090',
      { addressType: 'ipv6', host: '20010db8000000000000000000000007', port: 8090 },
    ],
  ])('%s, as it stands in the URL and never looked up here', async (_, url, expected) => {
    expect(await clientOf(url).post('/x', {})).toEqual({ fine: true });
    expect(socks.requests).toEqual([expect.objectContaining(expected)]);
    expect(node.asked[0]?.headers.host).toBe(new URL(url).host);
  });

  // A dialer that guesses from the call stack whether TLS is wanted would send in the clear without one.
  it.each([Error.stackTraceLimit, 0])(
    'a name and port also where TLS follows, and nothing in the clear (stack traces of %d)',
    async (limit) => {
      // The node speaks no TLS, so nothing is answered; what matters is what was sent.
      const plain = createServer();
      const greeting = new Promise<Buffer>((resolve) => {
        plain.on('connection', (socket) =>
          socket
            .on('error', () => {})
            .once('data', (data) => {
              resolve(data);
              socket.destroy();
            }),
        );
      });
      await listen(plain);
      await replaceProxy({ destinationPort: (plain.address() as AddressInfo).port });
      const usual = Error.stackTraceLimit;
      Error.stackTraceLimit = limit;
      const outcome = await clientOf('https://api.trongrid.io')
        .post('/x', { to: 'T' })
        .catch((error: unknown) => error);
      Error.stackTraceLimit = usual;
      expect(outcome).toMatchObject({ code: 'chain_unavailable' });
      expect(socks.requests).toEqual([
        expect.objectContaining({ addressType: 'name', host: 'api.trongrid.io', port: 443 }),
      ]);
      const bytes = await greeting;
      // TLS: a handshake record (22), with the name in it.
      expect(bytes[0]).toBe(22);
      expect(bytes.includes('api.trongrid.io')).toBe(true);
      expect(bytes.includes('POST')).toBe(false);
      plain.close();
    },
  );

  it('who asks: each purpose and each host under its own name, hence on its own circuit', async () => {
    const dialer = throughProxy();
    const asks = [
      ['pay', 'http://one.example'],
      ['health', 'http://one.example'],
      ['pay', 'http://two.example'],
      ['pay', 'http://one.example:8090'],
    ] as const;
    for (const [purpose, url] of asks) await clientOf(url, dialer, purpose).post('/x', {});
    const credentials = socks.requests.map(({ user, password }) => `${user} ${password}`);
    expect(credentials).toEqual([
      'pay one.example',
      'health one.example',
      'pay two.example',
      'pay one.example:8090',
    ]);
  });
});

describe('connections through the proxy', () => {
  it('are kept and used again, one after the other', async () => {
    const client = clientOf('http://node.example');
    for (let count = 0; count < 5; count += 1) await client.post('/x', {});
    expect(node.asked).toHaveLength(5);
    expect(socks.connections()).toBe(1);
    expect(node.connections()).toBe(1);
  });

  it('are shared by the clients of one purpose and host, and by no others', async () => {
    const dialer = throughProxy();
    await clientOf('http://one.example', dialer).post('/x', {});
    await clientOf('http://one.example', dialer).post('/x', {});
    expect(socks.connections()).toBe(1);
    await clientOf('http://two.example', dialer).post('/x', {});
    expect(socks.connections()).toBe(2);
  });
});

describe('a proxy that fails', () => {
  it('ends the call; the node sees no connection', async () => {
    const client = clientOf(node.url, throughProxy(await freePort()));
    await expect(client.post('/x', {})).rejects.toMatchObject({
      code: 'chain_unavailable',
      message: expect.stringMatching(/could not be reached \(EPROXY\)$/),
    });
    expect(node.connections()).toBe(0);
  });

  it('by refusing, ends the call; the node sees no connection', async () => {
    await replaceProxy({ destinationPort: null });
    await expect(clientOf(node.url).post('/x', {})).rejects.toMatchObject({ code: 'chain_unavailable' });
    expect(socks.requests).toHaveLength(1);
    expect(node.connections()).toBe(0);
  });

  it.each(['greeting', 'connection'] as const)(
    'by hanging at the %s, is cut off at the deadline',
    async (hangsAt) => {
      await replaceProxy({ destinationPort: node.port, hangsAt });
      await expect(clientOf(node.url, throughProxy(), 'pay', 300).post('/x', {})).rejects.toMatchObject({
        code: 'chain_unavailable',
        message: expect.stringMatching(/did not answer in time$/),
      });
      expect(node.connections()).toBe(0);
    },
  );

  it('by going away, is noticed; what was kept is not used around it', async () => {
    const client = clientOf(node.url);
    await client.post('/x', {});
    await socks.close();
    await waitUntil(async () => (await client.post('/x', {}).catch(() => null)) === null);
    expect(node.connections()).toBe(1);
  });
});

describe('a circuit that keeps failing', () => {
  const passwords = () => socks.requests.map(({ password }) => password);

  async function failTimes(client: NodeClient, count: number): Promise<void> {
    for (let failed = 0; failed < count; failed += 1) {
      await expect(client.post('/x', {})).rejects.toMatchObject({ code: 'chain_unavailable' });
    }
  }

  it('is given up after three failures in a row, and not before', async () => {
    await replaceProxy({ destinationPort: null });
    await failTimes(clientOf('http://node.example'), 4);
    expect(passwords()).toEqual(['node.example', 'node.example', 'node.example', 'node.example 2']);
    expect(new Set(socks.requests.map(({ user }) => user))).toEqual(new Set(['pay']));
  });

  it('is left more patience each time, so that an outage does not use up circuits without end', async () => {
    await replaceProxy({ destinationPort: null });
    await failTimes(clientOf('http://node.example'), 200);
    const lengths = [...new Set(passwords())].map(
      (name) => passwords().filter((each) => each === name).length,
    );
    expect(lengths).toEqual([3, 6, 12, 24, 48, 48, 48, 11]);
  });

  it('is kept where an answer, be it a refusal, came in between', async () => {
    node.table['/slow'] = () => new Promise(() => {});
    const dialer = throughProxy();
    const hurried = clientOf('http://node.example', dialer, 'pay', 50);
    for (let round = 0; round < 3; round += 1) {
      for (let failed = 0; failed < 2; failed += 1) {
        await expect(hurried.post('/slow', {})).rejects.toMatchObject({ code: 'chain_unavailable' });
      }
      // Status 405.
      await expect(clientOf('http://node.example', dialer).post('/nothing', {})).rejects.toThrow('405');
    }
    expect(new Set(passwords())).toEqual(new Set(['node.example']));
  });

  it('does not count for the circuits of other purposes and hosts', async () => {
    await replaceProxy({ destinationPort: null });
    const proxy = throughProxy();
    await failTimes(clientOf('http://one.example', proxy), 3);
    await failTimes(clientOf('http://one.example', proxy, 'health'), 1);
    await failTimes(clientOf('http://two.example', proxy), 1);
    expect(passwords().slice(3)).toEqual(['one.example', 'two.example']);
  });

  it('is given up once, however many calls fail on it at the same time', async () => {
    await replaceProxy({ destinationPort: null });
    const client = clientOf('http://node.example');
    await Promise.allSettled(Array.from({ length: 12 }, () => client.post('/x', {})));
    await failTimes(client, 1);
    expect(passwords().slice(0, 12)).toEqual(Array(12).fill('node.example'));
    expect(passwords().at(-1)).toBe('node.example 2');
  });

  it('leaves the next one to answer', async () => {
    const proxyPort = socks.port;
    const client = clientOf('http://node.example');
    await client.post('/x', {});
    await replaceProxy({ destinationPort: null, port: proxyPort });
    await failTimes(client, 3);
    await replaceProxy({ destinationPort: node.port, port: proxyPort });
    expect(await client.post('/x', {})).toEqual({ fine: true });
    expect(passwords()).toEqual(['node.example 2']);
  });
});

describe('proxies and exceptions named by the environment', () => {
  const run = promisify(execFile);
  const script = fileURLToPath(new URL('post-once.ts', import.meta.url));
  let other: Server;
  let otherConnections: number;

  beforeEach(async () => {
    otherConnections = 0;
    other = createServer((socket) => {
      otherConnections += 1;
      socket.destroy();
    });
    await listen(other);
  });
  afterEach(() => {
    other.close();
  });

  async function postOnce(proxyPort: number, environment: Record<string, string>): Promise<string> {
    const { stdout } = await run(process.execPath, [script, String(proxyPort), node.url], {
      env: { ...environment },
      timeout: 60_000,
    });
    return stdout;
  }

  it('change nothing: the call goes through our proxy or nowhere', async () => {
    const elsewhere = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    const named: Record<string, string> = { NODE_USE_ENV_PROXY: '1' };
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY']) {
      named[name] = elsewhere;
      named[name.toLowerCase()] = elsewhere;
    }
    const excepted = { NODE_USE_ENV_PROXY: '1', NO_PROXY: '*', no_proxy: '127.0.0.1,localhost' };
    for (const environment of [named, excepted, { ...named, ...excepted }]) {
      const before = socks.requests.length;
      expect(await postOnce(socks.port, environment)).toBe('{"fine":true}');
      expect(socks.requests).toHaveLength(before + 1);
    }
    const connections = node.connections();
    const nobody = await freePort();
    for (const environment of [named, excepted]) {
      expect(await postOnce(nobody, environment)).toBe('chain_unavailable');
    }
    expect(node.connections()).toBe(connections);
    expect(otherConnections).toBe(0);
  });
});

describe('the configured nodes', () => {
  function composed(url: string): NodeClient {
    const config = {
      tor: { proxy: { host: '127.0.0.1', port: socks.port } },
      tron: { nodeUrls: [url], timeoutMs: 20_000, apiKey: { reveal: () => 'the-secret-api-key' } },
    };
    const [client] = composeNodes(config as unknown as Config, 'pay');
    if (client === undefined) throw new Error('no client');
    return client;
  }

  it('stand behind the proxy, and do not see a key that is not theirs', async () => {
    for (const url of ['http://node.example', 'http://api.trongrid.io']) {
      await composed(url).post('/x', {});
      const { headers } = node.asked.at(-1) ?? { headers: {} };
      expect(JSON.stringify(headers)).not.toMatch(/secret|tron-pro/i);
    }
    expect(socks.requests.map(({ host }) => host)).toEqual(['node.example', 'api.trongrid.io']);
  });
});

async function listen(server: Server): Promise<void> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}
