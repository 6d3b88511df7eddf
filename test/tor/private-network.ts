/**
 * A Tor network of this machine's own: three directory authorities, three relays, a client with the configuration
 * of production, and an onion service. Each Tor is given the authorities' lines before anything else, so that none
 * of them knows the public network.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cp, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { startChildPart } from '../../deploy/local/child-part.ts';
import type { RunningPart } from '../../deploy/local/part.ts';
import { AUTHORITY, authorityLine, EXIT as EXIT_RELAY, SHARED } from '../../deploy/planes/private-tor.ts';
import { CHAIN, EXIT, EXIT_RESOLVER, ONION_SERVICE } from './addresses.ts';
import { NETWORK_CACHE, type Tools } from './namespace.ts';

const run = promisify(execFile);

/** The configuration that production runs. */
const PRODUCTION_TORRC = resolve(import.meta.dirname, '../../deploy/planes/configs/tor/torrc.payment');
const AUTHORITIES = ['a1', 'a2', 'a3'] as const;
const RELAYS = ['r1', 'r2', 'r3'] as const;
/** Authorities' certificates are made for a year. */
const KEYS_AGE_MS_MAX = 300 * 24 * 60 * 60_000;
const CONSENSUS_TIMEOUT_MS = 300_000;
const BOOTSTRAP_TIMEOUT_MS = 300_000;
const POLL_MS = 250;

export interface TorNetwork {
  /** The host name of the onion service, which leads to the chain. */
  readonly onion: string;
  /** Where the client keeps the cookie of its control port. */
  readonly cookieFile: string;
  /** The client's process, for a signal that blocks it. */
  readonly clientPid: () => number;
  /** Ends the client in good order. */
  stopClient(): Promise<void>;
  /** Resolves once the client has a circuit again. */
  startClient(): Promise<void>;
  /** How long each step of the start took, in milliseconds. */
  readonly tookMs: Readonly<Record<string, number>>;
  /** What a Tor has logged; the last lines, for a failure. */
  log(name: string): readonly string[];
  stop(): Promise<void>;
}

/** @throws Error that names the step; by then everything is ended. */
export async function startTorNetwork(tools: Tools): Promise<TorNetwork> {
  const folder = await mkdtemp(join(tmpdir(), 'tpf-tor-'));
  const network = new Network(tools, folder);
  try {
    await network.start();
    return network;
  } catch (error) {
    await network.stop();
    throw error;
  }
}

class Network implements TorNetwork {
  onion = '';
  readonly tookMs: Record<string, number> = {};
  readonly cookieFile: string;
  readonly #tools: Tools;
  readonly #folder: string;
  readonly #logs = new Map<string, string[]>();
  readonly #running = new Map<string, RunningPart>();
  #common = '';

  constructor(tools: Tools, folder: string) {
    this.#tools = tools;
    this.#folder = folder;
    this.cookieFile = join(folder, 'client/control_auth_cookie');
  }

  async start(): Promise<void> {
    this.#common = await this.#timed('keys', () => prepareAuthorities(this.#tools, this.#folder));
    await this.#timed('consensus', async () => {
      await Promise.all(AUTHORITIES.map((name, index) => this.#startTor(name, authority(name, index))));
      await Promise.all(
        RELAYS.map((name, index) => this.#startTor(name, relay(name, ORPORTS.relay + index))),
      );
      await this.#untilConsensus();
    });
    await this.#timed('bootstrap', () =>
      Promise.all([this.startClient(), this.#startTor('onion', onionService(this.#folder), true)]),
    );
    this.onion = readFileSync(join(this.#folder, 'onion/service/hostname'), 'utf8').trim();
  }

  clientPid = (): number => {
    const pid = this.#running.get('client')?.pid;
    if (pid === undefined) throw new Error('the client does not run');
    return pid;
  };

  async stopClient(): Promise<void> {
    await this.#running.get('client')?.stop();
    this.#running.delete('client');
  }

  async startClient(): Promise<void> {
    const defaults = this.#write('client', `${this.#common}\n`);
    const data = join(this.#folder, 'client');
    // Only the places differ from production: nobody runs the tests in its container.
    const places = ['--DataDirectory', data, '--CookieAuthFile', this.cookieFile];
    await this.#spawn('client', ['--defaults-torrc', defaults, '-f', PRODUCTION_TORRC, ...places], true);
  }

  log(name: string): readonly string[] {
    return this.#logs.get(name) ?? [];
  }

  async stop(): Promise<void> {
    for (const { pid } of this.#running.values()) if (pid !== undefined) process.kill(pid, 'SIGCONT');
    await Promise.all([...this.#running.values()].map((part) => part.stop()));
    this.#running.clear();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #startTor(name: string, lines: readonly string[], untilBootstrapped = false): Promise<void> {
    const text = [this.#common, `DataDirectory ${join(this.#folder, name)}`, ...lines];
    const torrc = this.#write(name, text.join('\n'));
    await this.#spawn(name, ['--defaults-torrc', EMPTY_FILE, '-f', torrc], untilBootstrapped);
  }

  #write(name: string, text: string): string {
    mkdirSync(join(this.#folder, name), { recursive: true, mode: 0o700 });
    const path = join(this.#folder, `${name}.torrc`);
    writeFileSync(path, `${text}\n`);
    return path;
  }

  async #spawn(name: string, args: readonly string[], untilBootstrapped: boolean): Promise<void> {
    const log = this.#logs.get(name) ?? [];
    this.#logs.set(name, log);
    const { path, env } = this.#tools.tor;
    const sign = untilBootstrapped ? 'Bootstrapped 100%' : 'Opened OR listener';
    const part = await startChildPart({
      command: path,
      // A Tor ends when this process is gone, however it went.
      args: [...args, '--__OwningControllerProcess', String(process.pid)],
      env: { ...env, HOME: this.#folder },
      log: (line) => log.push(line),
      readReady: (line) => (line.includes(sign) ? true : undefined),
      readyTimeoutMs: BOOTSTRAP_TIMEOUT_MS,
      stopTimeoutMs: 30_000,
    }).catch((error: Error) => {
      throw new Error(`the Tor ${name} ${error.message}:\n${log.slice(-15).join('\n')}`);
    });
    this.#running.set(name, part);
  }

  /** Ready is a network whose authorities have agreed on all of its relays. */
  async #untilConsensus(): Promise<void> {
    const url = `http://127.0.0.1:${ORPORTS.directory}/tor/status-vote/current/consensus`;
    const deadlineMs = Date.now() + CONSENSUS_TIMEOUT_MS;
    for (;;) {
      const text = await fetch(url, { signal: AbortSignal.timeout(10_000) }).then(
        (answer) => (answer.ok ? answer.text() : ''),
        () => '',
      );
      const listed = text.match(/^r /gm)?.length ?? 0;
      if (listed === AUTHORITIES.length + RELAYS.length) return;
      if (Date.now() > deadlineMs) throw new Error(`the consensus lists ${listed} of 6 relays`);
      await sleep(POLL_MS);
    }
  }

  async #timed<T>(step: string, work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    const result = await work();
    this.tookMs[step] = Math.round(performance.now() - startedMs);
    return result;
  }
}

/** Nothing else is in the namespace, so no port can be taken. */
const ORPORTS = { authority: 7001, relay: 7011, directory: 7101 } as const;
const EMPTY_FILE = '/dev/null';

function authority(name: string, index: number): string[] {
  return [
    ...relay(name, ORPORTS.authority + index),
    `DirPort 127.0.0.1:${ORPORTS.directory + index}`,
    AUTHORITY,
  ];
}

function relay(name: string, orPort: number): string[] {
  const resolvConf = join(NETWORK_CACHE, 'exit-resolv.conf');
  writeFileSync(resolvConf, `nameserver ${EXIT_RESOLVER}\n`);
  return [
    `Nickname ${name}`,
    'Address 127.0.0.1',
    `ORPort 127.0.0.1:${orPort}`,
    EXIT_RELAY,
    `OutboundBindAddressExit ${EXIT}`,
    `ServerDNSResolvConfFile ${resolvConf}`,
  ];
}

function onionService(folder: string): string[] {
  return [
    'SocksPort 0',
    'Log notice stdout',
    `OutboundBindAddress ${ONION_SERVICE}`,
    `HiddenServiceDir ${join(folder, 'onion/service')}`,
    `HiddenServicePort 80 ${CHAIN.host}:${CHAIN.port}`,
  ];
}

/** Puts the authorities' keys in place. @returns the lines that every Tor of the network begins with. */
async function prepareAuthorities(tools: Tools, folder: string): Promise<string> {
  const cache = join(NETWORK_CACHE, 'keys');
  if (existsSync(cache) && Date.now() - statSync(cache).mtimeMs > KEYS_AGE_MS_MAX) {
    rmSync(cache, { recursive: true });
  }
  const lines = await Promise.all(
    AUTHORITIES.map(async (name, index) => {
      const kept = join(cache, name);
      if (!existsSync(join(kept, 'line'))) await makeAuthority(tools, kept, name, index);
      await cp(kept, join(folder, name), { recursive: true });
      return readFileSync(join(kept, 'line'), 'utf8').trim();
    }),
  );
  return [SHARED, ...lines].join('\n');
}

async function makeAuthority(
  { tor, gencert }: Tools,
  kept: string,
  name: string,
  index: number,
): Promise<void> {
  const keys = join(kept, 'keys');
  // A run that was cut off may have left half of them.
  rmSync(kept, { recursive: true, force: true });
  mkdirSync(keys, { recursive: true, mode: 0o700 });
  const orPort = ORPORTS.authority + index;
  const directory = `127.0.0.1:${ORPORTS.directory + index}`;
  await makeIdentity(gencert, keys, directory);
  const torrc = join(kept, 'torrc');
  // Even where it only prints its fingerprint, a Tor is told of no authorities but ours.
  const nobody = `DirAuthority nobody orport=9 v3ident=${'A'.repeat(40)} 127.0.0.1:9 ${'B'.repeat(40)}`;
  writeFileSync(torrc, [SHARED, nobody, `DataDirectory ${kept}`, ...relay(name, orPort)].join('\n'));
  const { stdout } = await run(
    tor.path,
    ['--defaults-torrc', EMPTY_FILE, '-f', torrc, '--list-fingerprint', '--quiet'],
    { env: { ...tor.env, HOME: kept } },
  );
  const line = authorityLine({
    name,
    orPort,
    directory,
    printed: stdout,
    certificate: readFileSync(join(keys, 'authority_certificate'), 'utf8'),
  });
  rmSync(torrc);
  // Last, since its presence says that the keys are whole.
  writeFileSync(join(kept, 'line'), `${line}\n`);
}

async function makeIdentity(gencert: Tools['gencert'], keys: string, address: string): Promise<void> {
  const child = spawn(
    gencert.path,
    ['--create-identity-key', '--passphrase-fd', '0', '-m', '12', '-a', address],
    { cwd: keys, env: { ...gencert.env }, stdio: ['pipe', 'ignore', 'pipe'] },
  );
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  child.stdin.end('for a private network only\n');
  const code = await new Promise((done) => child.once('exit', done));
  if (code !== 0) throw new Error(`tor-gencert ended with code ${code}: ${complaint}`);
}
