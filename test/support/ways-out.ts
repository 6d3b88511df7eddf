import { createSocket } from 'node:dgram';
import dns, { lookup as lookupByName } from 'node:dns';
import { lookup as lookupPromised, Resolver as PromisedResolver } from 'node:dns/promises';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect as http2Connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { connect as netConnect, Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { promisify } from 'node:util';
import { MongoClient } from 'mongodb';
import { SocksProxyAgent } from 'socks-proxy-agent';
import { providers } from 'tronweb';
import { fetch as undiciFetch } from 'undici';

/** How long one way is tried; what it sends first is sent long before that. */
const PATIENCE_MS = 500;

/** Tries to get out, and rejects where it cannot. */
type WayOut = (host: string, port: number) => Promise<unknown>;

/** Every way in which code of this process, ours or a library's, may open a connection to a host. */
export const CONNECTIONS: Readonly<Record<string, WayOut>> = {
  'net.connect': async (host, port) => connected(netConnect({ host, port })),
  'net.connect by arguments': async (host, port) => connected(netConnect(port, host)),
  'Socket.connect': async (host, port) => connected(new Socket().connect({ host, port })),
  'Socket.connect by arguments': async (host, port) => connected(new Socket().connect(port, host)),
  'tls.connect': async (host, port) => connected(tlsConnect({ host, port, rejectUnauthorized: false })),
  'http.request': async (host, port) => answered(httpRequest({ host, port }).end()),
  'https.request': async (host, port) =>
    answered(httpsRequest({ host, port, rejectUnauthorized: false }).end()),
  'http2.connect': async (host, port) => {
    const session = http2Connect(`http://${authority(host, port)}`).on('error', () => {});
    try {
      const stream = session.request().on('error', () => {});
      await once(stream, 'response', { signal: inTime() });
    } finally {
      session.destroy();
    }
  },
  fetch: (host, port) => fetch(`http://${authority(host, port)}/`, { signal: inTime() }),
  "undici's fetch": (host, port) => undiciFetch(`http://${authority(host, port)}/`, { signal: inTime() }),
  WebSocket: (host, port) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${authority(host, port)}/`);
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', ({ error }) => reject(error));
    }),
  "tronweb's provider": (host, port) =>
    new providers.HttpProvider(`http://${authority(host, port)}`, PATIENCE_MS).request('wallet/getnowblock'),
  'the MongoDB driver': async (host, port) => {
    const client = new MongoClient(`mongodb://${authority(host, port)}/?directConnection=true`, {
      serverSelectionTimeoutMS: PATIENCE_MS,
    });
    try {
      await client.db('x').command({ ping: 1 });
    } finally {
      await client.close(true);
    }
  },
  'another proxy': async (host, port) =>
    answered(
      httpRequest({
        host: 'node.example',
        agent: new SocksProxyAgent(`socks5h://${authority(host, port)}`, { timeout: PATIENCE_MS }),
      }).end(),
    ),
};

/** Every way to ask the local resolver for a name. */
export const LOOKUPS: Readonly<Record<string, (name: string) => Promise<unknown>>> = {
  'dns.lookup': (name) => promisify(dns.lookup)(name),
  'dns.lookup by its name': (name) => promisify(lookupByName)(name),
  'dns.promises.lookup': (name) => dns.promises.lookup(name),
  'dns/promises by its name': (name) => lookupPromised(name),
  'dns.resolve4': (name) => promisify(dns.resolve4)(name),
  'dns.resolve for a service': (name) => promisify(dns.resolve)(`_http._tcp.${name}`, 'SRV'),
  'dns.promises.resolve6': (name) => dns.promises.resolve6(name),
  'a Resolver': (name) =>
    promisify((asked: string, done: LookedUp) => quick(dns.Resolver).resolve4(asked, done))(name),
  'a promised Resolver': (name) => quick(PromisedResolver).resolve4(name),
};

/** Ways that send datagrams. */
export const DATAGRAMS: Readonly<Record<string, WayOut>> = {
  'a datagram': (host, port) =>
    datagram((socket) => promisify<void>((done) => socket.send('x', port, host, (error) => done(error)))()),
  'a connected datagram socket': (host, port) =>
    datagram(async (socket) => {
      socket.connect(port, host);
      await once(socket, 'connect');
      socket.send('x');
    }),
};

/** Whether an attempt led somewhere; it is given up after a while. */
export async function succeeds(attempt: () => Promise<unknown>): Promise<boolean> {
  const late = new Promise<never>((_, reject) =>
    setTimeout(() => reject(new Error('no answer')), 2 * PATIENCE_MS).unref(),
  );
  try {
    await Promise.race([attempt(), late]);
    return true;
  } catch {
    return false;
  }
}

type LookedUp = (error: NodeJS.ErrnoException | null, addresses: string[]) => void;

function quick<R>(Resolver: new (options: { timeout: number; tries: number }) => R): R {
  return new Resolver({ timeout: PATIENCE_MS, tries: 1 });
}

function inTime(): AbortSignal {
  return AbortSignal.timeout(PATIENCE_MS);
}

function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

async function connected(socket: Socket): Promise<void> {
  try {
    await once(socket, 'connect', { signal: inTime() });
  } finally {
    socket.destroy();
  }
}

async function answered(request: ReturnType<typeof httpRequest>): Promise<void> {
  try {
    await once(request, 'response', { signal: inTime() });
  } finally {
    request.on('error', () => {}).destroy();
  }
}

async function datagram(send: (socket: ReturnType<typeof createSocket>) => Promise<unknown>): Promise<void> {
  const socket = createSocket('udp4');
  try {
    await send(socket);
  } finally {
    socket.close();
  }
}
