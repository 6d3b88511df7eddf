import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { BEACON, CHAIN, EXIT, EXIT_RESOLVER, JUDGE, ONION_SERVICE, PROXY } from './addresses.ts';
import type { Tool } from './debian-tool.ts';

export interface Packet {
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** As tcpdump shows it. */
  readonly text: string;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number | null;
}

/** On whose behalf a packet may be on the network. What is none of these is a leak. */
export type Party = 'exit' | 'onion service' | 'exit resolver' | 'leak';

const START_TIMEOUT_MS = 15_000;
const BEACON_TIMEOUT_MS = 10_000;

/**
 * Every packet that is neither between 127.0.0.0/8 and itself, nor between the functions and their proxy, nor the
 * judge's. What is left may be Tor's own, or it is a leak.
 */
const FILTER = [
  'not (src net 127.0.0.0/8 and dst net 127.0.0.0/8)',
  'not (src host ::1 and dst host ::1)',
  `not (host ${PROXY.host} and tcp port ${PROXY.port})`,
  `not (host ${JUDGE} and host ${CHAIN.host} and tcp port ${CHAIN.faultsPort})`,
].join(' and ');

/** Who sent a packet, or was sent it. */
export function partyOf({ from, to }: Packet): Party {
  const isWithChain = (host: string) =>
    (from.host === host && isChain(to)) || (to.host === host && isChain(from));
  if (isWithChain(EXIT)) return 'exit';
  if (isWithChain(ONION_SERVICE)) return 'onion service';
  // Tor binds its questions to no address; but nobody else is told of this resolver.
  if ([from, to].some(({ host, port }) => host === EXIT_RESOLVER && port === 53)) return 'exit resolver';
  return 'leak';
}

function isChain({ host, port }: Endpoint): boolean {
  return host === CHAIN.host && port === CHAIN.port;
}

/** Whether something is said in a packet; what only opens, acknowledges or ends a connection says nothing. */
export function isSpoken({ text }: Packet): boolean {
  return !/: tcp 0$/.test(text);
}

/** Whether a packet is a question to a resolver, or its answer. */
export function isDns({ from, to }: Packet): boolean {
  return from.port === 53 || to.port === 53;
}

/** Watches the one network device that there is. */
export class Capture {
  /** In the order in which they were sent. */
  readonly packets: Packet[] = [];
  readonly #child: ChildProcess;
  readonly #beacons = new Map<number, () => void>();
  #report = '';
  #beacon = 1024;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(tcpdump: Tool): Promise<Capture> {
    const args = [
      '-i',
      'lo',
      '-nn',
      '-q',
      '-t',
      '-l',
      '--immediate-mode',
      '-B',
      '16384',
      '-Z',
      'root',
      FILTER,
    ];
    const child = spawn(tcpdump.path, args, {
      env: { ...tcpdump.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const capture = new Capture(child);
    createInterface({ input: child.stdout }).on('line', (line) => capture.#read(line));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      capture.#report += text;
    });
    const deadlineMs = Date.now() + START_TIMEOUT_MS;
    while (!capture.#report.includes('listening on')) {
      if (child.exitCode !== null || Date.now() > deadlineMs) {
        child.kill('SIGKILL');
        throw new Error(`tcpdump does not capture: ${capture.#report}`);
      }
      await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
    }
    await capture.catchUp();
    return capture;
  }

  /** Resolves once every packet that was sent before this call has been read. */
  async catchUp(): Promise<void> {
    this.#beacon += 1;
    const port = this.#beacon;
    const seen = Promise.withResolvers<void>();
    this.#beacons.set(port, seen.resolve);
    const socket = createSocket('udp4').unref();
    const late = setTimeout(
      () => seen.reject(new Error(`the capture shows nothing any more: ${this.#report}`)),
      BEACON_TIMEOUT_MS,
    );
    try {
      await promisify<void>((done) => socket.send('beacon', port, BEACON, (error) => done(error)))();
      await seen.promise;
    } finally {
      clearTimeout(late);
      socket.close();
    }
  }

  /** What was sent since the capture held so many packets. */
  since(count: number): readonly Packet[] {
    return this.packets.slice(count);
  }

  /** Ends the capture. @returns how many packets the kernel could not hand over; with one, nothing is proven. */
  async stop(): Promise<number> {
    if (this.#child.exitCode === null) {
      const exit = once(this.#child, 'exit');
      this.#child.kill('SIGINT');
      await exit;
    }
    const [, dropped] = /(\d+) packets? dropped by kernel/.exec(this.#report) ?? [];
    return dropped === undefined ? Number.NaN : Number(dropped);
  }

  #read(line: string): void {
    if (line === '') return;
    // `IP 198.51.100.6.40001 > 198.51.100.7.9090: tcp 0`, and no ports where the protocol has none.
    const [, from, to] = /^IP6? (\S+) > (\S+):/.exec(line) ?? [];
    if (from === undefined || to === undefined) {
      this.packets.push({ from: NOBODY, to: NOBODY, text: line });
      return;
    }
    const packet = { from: endpointOf(from), to: endpointOf(to), text: line };
    // And what tells that nobody takes a beacon.
    if (packet.to.host !== BEACON) this.packets.push(packet);
    else if (packet.to.port !== null) this.#beacons.get(packet.to.port)?.();
  }
}

const NOBODY: Endpoint = { host: 'unreadable', port: null };

function endpointOf(text: string): Endpoint {
  const [, host = text, port] = /^((?:\d+\.){3}\d+|[0-9a-f:]+)(?:\.(\d+))?$/.exec(text) ?? [];
  return { host, port: port === undefined ? null : Number(port) };
}
