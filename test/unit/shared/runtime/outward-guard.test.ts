import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Config } from '../../../../shared/runtime/config.ts';
import {
  allowedDestinations,
  type Destination,
  guardOutward,
  type Refused,
} from '../../../../shared/runtime/outward-guard.ts';
import { waitUntil } from '../../../support/wait-until.ts';
import { CONNECTIONS, DATAGRAMS, LOOKUPS, succeeds } from '../../../support/ways-out.ts';

let server: Server;
let connections: number;
let port: number;
let told: Refused[];
let end: () => void = () => {};

beforeEach(async () => {
  connections = 0;
  told = [];
  server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => {}).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterEach(() => {
  end();
  server.close();
});

function guard(...allowed: Destination[]): void {
  end = guardOutward(allowed, (refused) => told.push(refused));
}

const dialPlainly = async (host: string, to: number) => once(connect({ host, port: to }), 'connect');

describe('a connection that is not allowed', () => {
  it.each(Object.entries(CONNECTIONS))('is refused to %s, and told', async (_, dial) => {
    guard({ host: '127.0.0.1', port: port + 1 });
    expect(await succeeds(() => dial('127.0.0.1', port))).toBe(false);
    expect(told[0]).toEqual({ kind: 'connection', to: `127.0.0.1:${port}` });
    expect(connections).toBe(0);
  });

  // The control: without it a way that leads nowhere anyhow would pass for a way that is refused.
  it.each(Object.entries(CONNECTIONS))('would be made by %s where nobody stands guard', async (_, dial) => {
    await succeeds(() => dial('127.0.0.1', port));
    await waitUntil(() => connections > 0);
  });

  it('is refused to a name without looking it up', async () => {
    guard({ host: 'tor-proxy', port: 9050 });
    expect(await succeeds(() => fetch('https://node.example'))).toBe(false);
    expect(told).toEqual([{ kind: 'connection', to: 'node.example:443' }]);
  });

  it('is refused to a local socket', async () => {
    guard({ host: '127.0.0.1', port });
    const request = httpRequest({ socketPath: '/run/somebody.sock' }).end();
    const [error] = await once(request, 'error');
    expect(error).toMatchObject({ code: 'EREFUSEDOUTWARD' });
    expect(told).toEqual([{ kind: 'connection', to: '/run/somebody.sock' }]);
  });

  it('is refused in every spelling of an address that is none of the allowed', async () => {
    guard({ host: '127.0.0.1', port });
    for (const host of ['127.1', '0x7f000001', '::ffff:127.0.0.1', 'localhost', '127.0.0.1.example']) {
      expect(await succeeds(() => dialPlainly(host, port))).toBe(false);
    }
    expect(connections).toBe(0);
  });
});

describe('a look-up that is not allowed', () => {
  it.each(Object.entries(LOOKUPS))('is refused to %s, and told', async (_, look) => {
    guard({ host: 'tor-proxy', port: 9050 });
    expect(await succeeds(() => look('node.example'))).toBe(false);
    expect(told).toEqual([{ kind: 'look-up', to: expect.stringMatching(/^(_http\._tcp\.)?node\.example$/) }]);
  });

  it('of an address to a name is refused as well', async () => {
    guard({ host: 'tor-proxy', port: 9050 });
    const { promises } = await import('node:dns');
    expect(await succeeds(() => promises.reverse('192.0.2.7'))).toBe(false);
    expect(await succeeds(() => promises.lookupService('192.0.2.7', 80))).toBe(false);
  });
});

it.each(Object.entries(DATAGRAMS))('%s is refused', async (_, send) => {
  const receiver = createSocket('udp4');
  receiver.bind(0, '127.0.0.1');
  await once(receiver, 'listening');
  guard({ host: '127.0.0.1', port: receiver.address().port });
  expect(await succeeds(() => send('127.0.0.1', receiver.address().port))).toBe(false);
  // Where to, and nothing of what it says.
  expect(told).toEqual([{ kind: 'datagram', to: `127.0.0.1:${receiver.address().port}` }]);
  receiver.close();
});

describe('what is allowed', () => {
  it.each(Object.entries(CONNECTIONS))('is dialled by %s as ever', async (_, dial) => {
    guard({ host: '127.0.0.1', port });
    await succeeds(() => dial('127.0.0.1', port));
    await waitUntil(() => connections > 0);
    expect(told).toEqual([]);
  });

  it('may be a name, looked up by every way there is', async () => {
    guard({ host: 'Localhost', port });
    await succeeds(() => dialPlainly('localhost.', port));
    for (const look of Object.values(LOOKUPS)) {
      await succeeds(() => look('localhost'));
    }
    expect(told).toEqual([]);
  });

  it('is what it was once the guard has ended', async () => {
    guard();
    end();
    await succeeds(() => dialPlainly('127.0.0.1', port));
    await waitUntil(() => connections === 1);
  });
});

describe('the destinations of a configuration', () => {
  const PROXY = { host: 'tor-proxy', port: 9050 };
  const destinations = (
    url: string,
    proxy: typeof PROXY | null = PROXY,
    nodeUrls: readonly string[] = ['https://api.trongrid.io'],
    runtimeApi?: string,
  ) =>
    allowedDestinations(
      { mongo: { url }, tor: { proxy }, tron: { nodeUrls } } as unknown as Config,
      runtimeApi,
    );

  it('are the proxy and the database, and no node', () => {
    expect(destinations('mongodb://mongo:27017/lucid_payments?replicaSet=rs0')).toEqual([
      PROXY,
      { host: 'mongo', port: 27017 },
    ]);
  });

  it('are all members of the database that its URL names', () => {
    expect(destinations('mongodb://a,b:27018,[2001:db8::7]:27019')).toEqual([
      PROXY,
      { host: 'a', port: 27017 },
      { host: 'b', port: 27018 },
      { host: '[2001:db8::7]', port: 27019 },
    ]);
  });

  it('are what stands below the parent domain where the DNS names the members', () => {
    expect(destinations('mongodb+srv://cluster0.abc.example.net/?x=y')).toEqual([
      PROXY,
      { host: 'cluster0.abc.example.net' },
      { host: '.abc.example.net' },
    ]);
    expect(destinations('mongodb+srv://example.net')).toEqual([
      PROXY,
      { host: 'example.net' },
      { host: '.example.net' },
    ]);
  });

  it('are the nodes where no proxy is configured', () => {
    const nodes = ['http://127.0.0.1:9090', 'https://10.0.0.5', 'http://10.0.0.6/path'];
    expect(destinations('mongodb://mongo', null, nodes)).toEqual([
      { host: '127.0.0.1', port: 9090 },
      { host: '10.0.0.5', port: 443 },
      { host: '10.0.0.6', port: 80 },
      { host: 'mongo', port: 27017 },
    ]);
  });

  it("are the runtime's own interface as well", () => {
    expect(destinations('mongodb://mongo', PROXY, [], '127.0.0.1:9001')).toContainEqual({
      host: '127.0.0.1',
      port: 9001,
    });
  });

  it('let the records of a database in the DNS be asked for, and no others', async () => {
    guard(...destinations('mongodb+srv://cluster0.abc.example.net'));
    const { promises } = await import('node:dns');
    const quick = new promises.Resolver({ timeout: 50, tries: 1 });
    quick.setServers([`127.0.0.1:${port}`]);
    await succeeds(() => quick.resolveSrv('_mongodb._tcp.cluster0.abc.example.net'));
    expect(await succeeds(() => quick.resolveSrv('_mongodb._tcp.cluster0.other.example.net'))).toBe(false);
  });
});
