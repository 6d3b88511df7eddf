import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
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

export interface CaptureOptions {
  /** Of network, or `any` of them. */
  readonly device: string;
  /** Which packets, in the words of pcap-filter(7). */
  readonly filter: string;
  /** An address to which nobody sends but the capture, and that the device leads to. */
  readonly beacon: string;
  /** The process in whose network namespace it is; without one that of this process. */
  readonly pid?: number;
  /** Shows what is in questions for names, on whatever port they are asked. */
  readonly showsQuestions?: boolean;
}

const START_TIMEOUT_MS = 60_000;
const BEACON_TIMEOUT_MS = 60_000;

/** Whether something is said in a packet; what only opens, acknowledges or ends a connection says nothing. */
export function isSpoken({ text }: Packet): boolean {
  return !/: tcp 0$/.test(text);
}

/** Whether a packet is a question to a resolver, or its answer. */
export function isDns({ from, to }: Packet): boolean {
  return from.port === 53 || to.port === 53;
}

/** Watches a network device. */
export class Capture {
  /** In the order in which they were sent. */
  readonly packets: Packet[] = [];
  readonly #child: ChildProcess;
  readonly #options: CaptureOptions;
  readonly #beacons = new Map<number, () => void>();
  #report = '';
  #beacon = 1024;

  private constructor(child: ChildProcess, options: CaptureOptions) {
    this.#child = child;
    this.#options = options;
  }

  static async start(tcpdump: Tool, options: CaptureOptions): Promise<Capture> {
    const { device, filter, beacon, showsQuestions = false } = options;
    const [program, ...args] = inNamespace(options, [
      ...[tcpdump.path, '-i', device, '-nn', '-t', '-l', '--immediate-mode', '-Z', 'root'],
      // The kernel keeps room for the longest packet each time: shorter ones are more of them.
      ...['-B', '16384', '-s', '512'],
      ...(showsQuestions ? ['-T', 'domain'] : ['-q']),
      `(${filter}) or dst host ${beacon}`,
    ]);
    const child = spawn(program, args, { env: { ...tcpdump.env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const capture = new Capture(child, options);
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
    const late = setTimeout(
      () => seen.reject(new Error(`the capture shows nothing any more: ${this.#report}`)),
      BEACON_TIMEOUT_MS,
    );
    try {
      await this.#sendBeacon(port);
      await seen.promise;
    } finally {
      clearTimeout(late);
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

  async #sendBeacon(port: number): Promise<void> {
    const { beacon, pid } = this.#options;
    if (pid !== undefined) {
      const [program, ...args] = inNamespace(this.#options, [
        'bash',
        '-c',
        `echo >/dev/udp/${beacon}/${port}`,
      ]);
      await promisify(execFile)(program, args);
      return;
    }
    const socket = createSocket('udp4').unref();
    try {
      await promisify<void>((done) => socket.send('beacon', port, beacon, (error) => done(error)))();
    } finally {
      socket.close();
    }
  }

  #read(line: string): void {
    if (line === '') return;
    // `IP 198.51.100.6.40001 > 198.51.100.7.9090: tcp 0`, and no ports where the protocol has none. Of any device each
    // line begins with its name and whether the packet came or went.
    const [, from, to] = /(?:^| )IP6? (\S+) > (\S+):/.exec(line) ?? [];
    if (from === undefined || to === undefined) {
      this.packets.push({ from: NOBODY, to: NOBODY, text: line });
      return;
    }
    const packet = { from: endpointOf(from), to: endpointOf(to), text: line };
    // And what tells that nobody takes a beacon.
    if (packet.to.host !== this.#options.beacon) this.packets.push(packet);
    else if (packet.to.port !== null) this.#beacons.get(packet.to.port)?.();
  }
}

function inNamespace({ pid }: CaptureOptions, command: readonly string[]): readonly [string, ...string[]] {
  const [program = '', ...args] = command;
  return pid === undefined ? [program, ...args] : ['nsenter', `--net=/proc/${pid}/ns/net`, '--', ...command];
}

const NOBODY: Endpoint = { host: 'unreadable', port: null };

function endpointOf(text: string): Endpoint {
  const [, host = text, port] = /^((?:\d+\.){3}\d+|[0-9a-f:]+)(?:\.(\d+))?$/.exec(text) ?? [];
  return { host, port: port === undefined ? null : Number(port) };
}
