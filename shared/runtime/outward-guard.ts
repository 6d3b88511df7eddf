/**
 * Refuses, in one place for the whole process, every connection and every name look-up that does not go to a
 * destination of the configuration. The dialer already takes every call to a node through Tor; this is for all the
 * code that nobody thought of: a library that reports home, a provider of tronweb's, a call that forgot its agent.
 *
 * It holds for whatever Node itself dials, since `net`, `tls`, `http`, `http2`, `fetch` and WebSocket all connect by
 * the one method that is replaced here. It does not hold against code that means harm, and not for native code or
 * child processes; against those the networks stand, on which a function has no way out but the proxy.
 */
import { Socket as DatagramSocket } from 'node:dgram';
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { isIP, Socket } from 'node:net';
import type { Config } from './config.ts';

/** Where connections may go. A host that begins with a dot stands for all below it; without a port, any. */
export interface Destination {
  readonly host: string;
  readonly port?: number;
}

/** What was not let through, as it was asked for. */
export interface Refused {
  readonly kind: 'connection' | 'look-up' | 'datagram';
  /** A host with its port, a name, or the path of a local socket. */
  readonly to: string;
}

const MONGO_PORT = 27017;

/**
 * The database, and the proxy alone beside it: where one is configured no node may be dialled, not even one whose
 * address is known. Without a proxy (development chains on this machine) it is the nodes.
 * @param runtimeApi `AWS_LAMBDA_RUNTIME_API`, HOST:PORT on this machine, from which the runtime takes its events
 */
export function allowedDestinations(
  config: Pick<Config, 'mongo' | 'tor' | 'tron'>,
  runtimeApi: string | undefined,
): Destination[] {
  const { proxy } = config.tor;
  return [
    ...(proxy === null ? config.tron.nodeUrls.map(destinationOfUrl) : [proxy]),
    ...mongoDestinations(config.mongo.url),
    ...(runtimeApi ? [destinationOfUrl(`http://${runtimeApi}`)] : []),
  ];
}

function destinationOfUrl(text: string): Destination {
  const { hostname, port, protocol } = new URL(text);
  return { host: hostname, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

/** The members that the URL names; what a member says of others is not enough to dial them. */
function mongoDestinations(url: string): Destination[] {
  const hosts = /^mongodb(?:\+srv)?:\/\/([^/?]+)/.exec(url)?.[1]?.split(',') ?? [];
  if (!url.startsWith('mongodb+srv:')) {
    return hosts.map((host) => ({ port: MONGO_PORT, ...destinationOfHost(host) }));
  }
  // The members' names come from the DNS; the driver takes only those of the same parent domain.
  return hosts.flatMap((host) => {
    const isShort = host.split('.').length < 3;
    return [{ host }, { host: isShort ? `.${host}` : host.slice(host.indexOf('.')) }];
  });
}

function destinationOfHost(text: string): Destination {
  const [, host = text, port] = /^(.*?)(?::(\d+))?$/.exec(text) ?? [];
  return { host, ...(port === undefined ? {} : { port: Number(port) }) };
}

/**
 * Stands guard from now on, over every connection that is opened later.
 * @param tell hears of each refusal; who asked gets an error with the code `EREFUSEDOUTWARD`
 * @returns ends the guard; for tests
 */
export function guardOutward(allowed: readonly Destination[], tell: (refused: Refused) => void): () => void {
  const isAllowed = (host: string, port?: number) =>
    allowed.some(
      (destination) =>
        isHostOf(plainHost(host), plainHost(destination.host)) &&
        (port === undefined || destination.port === undefined || destination.port === port),
    );
  const refuse = (kind: Refused['kind'], to: string): Error => {
    tell({ kind, to });
    return Object.assign(new Error(`refused to dial ${to}: neither the proxy nor the database`), {
      code: 'EREFUSEDOUTWARD',
    });
  };
  const ends = [
    guardConnections(isAllowed, refuse),
    guardDatagrams(refuse),
    ...[dns, dns.Resolver.prototype].map((place) => guardLookups(place, 'callback', isAllowed, refuse)),
    ...[dns.promises, dns.promises.Resolver.prototype].map((place) =>
      guardLookups(place, 'promise', isAllowed, refuse),
    ),
  ];
  // Those who import a function by its name get the guarded one, too.
  syncBuiltinESMExports();
  return () => {
    for (const end of ends) end();
    syncBuiltinESMExports();
  };
}

type IsAllowed = (host: string, port?: number) => boolean;
type Refuse = (kind: Refused['kind'], to: string) => Error;

function guardConnections(isAllowed: IsAllowed, refuse: Refuse): () => void {
  return replace(
    Socket.prototype,
    'connect',
    (connect) =>
      function (this: unknown, ...request: unknown[]) {
        const to = readConnectRequest(request);
        if (to.path === undefined && isAllowed(to.host, to.port))
          return Reflect.apply(connect, this, request);
        const socket = this as Socket & { connecting: boolean };
        const error = refuse('connection', to.path ?? `${to.host}:${to.port}`);
        // As Node fails a connection: what is written meanwhile waits, and the error comes when all listen.
        socket.connecting = true;
        process.nextTick(() => socket.destroy(error));
        return socket;
      },
  );
}

/** Nothing here speaks UDP; a library that does would do so behind everybody's back. */
function guardDatagrams(refuse: Refuse): () => void {
  const ends = (['send', 'connect'] as const).map((name) =>
    replace(DatagramSocket.prototype, name, () => (...request: unknown[]) => {
      // The port and the address come last, behind what is sent.
      const to = name === 'send' ? request.slice(1) : request;
      const host = to.findLast((value) => typeof value === 'string') ?? 'localhost';
      throw refuse('datagram', `${host}:${to.findLast((value) => typeof value === 'number')}`);
    }),
  );
  return () => {
    for (const end of ends) end();
  };
}

/** A question to the local resolver tells the network whom we are about to call. */
function guardLookups(
  place: object,
  style: 'callback' | 'promise',
  isAllowed: IsAllowed,
  refuse: Refuse,
): () => void {
  const names = Object.getOwnPropertyNames(place).filter((name) => /^(?:lookup|resolve|reverse)/.test(name));
  const ends = names.map((name) =>
    replace(
      place as Record<string, AnyFunction>,
      name,
      (look) =>
        function (this: unknown, ...request: unknown[]) {
          const asked = typeof request[0] === 'string' ? request[0] : '';
          const isHarmless =
            name === 'lookup' && (asked === '' || asked === 'localhost' || isIP(asked) !== 0);
          // The records that lead to a database's members begin with an underscore: `_mongodb._tcp.HOST`.
          if (isHarmless || isAllowed(asked.replace(/^(?:_[^.]+\.)+/, '')))
            return Reflect.apply(look, this, request);
          const error = refuse('look-up', asked);
          const callback = request.at(-1);
          if (style === 'promise') return Promise.reject(error);
          if (typeof callback !== 'function') throw error;
          return void process.nextTick(() => callback(error));
        },
    ),
  );
  return () => {
    for (const end of ends) end();
  };
}

type AnyFunction = (this: unknown, ...request: unknown[]) => unknown;

function replace<K extends string>(
  place: Record<K, unknown>,
  name: K,
  make: (original: AnyFunction) => AnyFunction,
): () => void {
  const original = place[name] as AnyFunction;
  const { length: _, name: __, prototype: ___, ...members } = Object.getOwnPropertyDescriptors(original);
  // Among its members is what `util.promisify` makes of it.
  place[name] = Object.defineProperties(make(original), members as PropertyDescriptorMap);
  return () => {
    place[name] = original;
  };
}

interface ConnectRequest {
  readonly path?: string;
  readonly host: string;
  readonly port: number;
}

/** Reads the arguments of `Socket.connect` in each of the forms that Node takes. */
function readConnectRequest(request: readonly unknown[]): ConnectRequest {
  // `net.connect` hands its arguments on as one array.
  const [first, second] = Array.isArray(request[0]) ? (request[0] as unknown[]) : request;
  if (typeof first === 'object' && first !== null) {
    const { path, host, port } = first as { path?: unknown; host?: unknown; port?: unknown };
    if (typeof path === 'string') return { path, host: '', port: 0 };
    return { host: typeof host === 'string' && host !== '' ? host : 'localhost', port: Number(port) };
  }
  if (typeof first === 'string' && !(Number(first) >= 0)) return { path: first, host: '', port: 0 };
  return { host: typeof second === 'string' ? second : 'localhost', port: Number(first) };
}

/** Without the brackets of an IPv6 address, and a name without the dot that may end it. */
function plainHost(host: string): string {
  return host
    .replace(/^\[|\]$/g, '')
    .replace(/(?<=.)\.$/, '')
    .toLowerCase();
}

function isHostOf(host: string, allowed: string): boolean {
  return allowed.startsWith('.') ? host.endsWith(allowed) : host === allowed;
}
