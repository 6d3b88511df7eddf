import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Logger } from 'pino';
import type { Endpoint, FunctionName } from './config.ts';
import type { FunctionPool } from './pool.ts';
import { type ProbeResult, probeRie } from './rie-client.ts';

/** All addresses of a host, as `dns.lookup` with `all` gives them (the hosts file included). */
export type Resolve = (host: string) => Promise<readonly string[]>;

export interface FleetOptions {
  readonly pools: ReadonlyMap<FunctionName, FunctionPool>;
  readonly endpoints: Readonly<Record<FunctionName, readonly Endpoint[]>>;
  readonly logger: Logger;
  readonly resolve?: Resolve;
  readonly probe?: (address: string) => Promise<ProbeResult>;
  readonly resolveIntervalMs?: number;
  readonly probeIntervalMs?: number;
}

const RESOLVE_INTERVAL_MS = 5_000;
/** Instances that do not answer are asked this often, live ones every fourth time. */
const PROBE_INTERVAL_MS = 500;
const PROBE_ALIVE_EVERY = 4;

/** Keeps the pools true to the world: which instances there are (DNS) and which of them live (probes). */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #addresses = new Map<string, readonly string[]>();
  readonly #probing = new Set<string>();
  readonly #stop = new AbortController();
  #timers: NodeJS.Timeout[] = [];
  #probeRound = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Resolves once every host was looked up and every instance probed once, whatever came of it. */
  async start(): Promise<void> {
    await this.#resolveAll();
    await this.#probeAll(() => true);
    this.#every(this.#options.resolveIntervalMs ?? RESOLVE_INTERVAL_MS, () => this.#resolveAll());
    this.#every(this.#options.probeIntervalMs ?? PROBE_INTERVAL_MS, () => {
      this.#probeRound += 1;
      const askAll = this.#probeRound % PROBE_ALIVE_EVERY === 0;
      return this.#probeAll((alive) => askAll || !alive);
    });
  }

  stop(): void {
    this.#stop.abort();
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }

  /** One run at a time: an unknown name can take ten seconds to fail. */
  #every(intervalMs: number, run: () => Promise<void>): void {
    let running = false;
    const timer = setInterval(async () => {
      if (running) return;
      running = true;
      await run();
      running = false;
    }, intervalMs);
    timer.unref();
    this.#timers.push(timer);
  }

  async #resolveAll(): Promise<void> {
    const { pools, endpoints } = this.#options;
    await Promise.all(
      [...pools].map(async ([name, pool]) => {
        const lists = await Promise.all(endpoints[name].map((endpoint) => this.#resolveOne(endpoint)));
        if (!this.#stop.signal.aborted) pool.setAddresses(new Set(lists.flat()));
      }),
    );
  }

  /** A name that does not resolve keeps its last addresses: the probes tell whether they still answer. */
  async #resolveOne({ host, port }: Endpoint): Promise<readonly string[]> {
    const key = `${host}:${port}`;
    const before = this.#addresses.get(key) ?? [];
    try {
      const found = isIP(host) === 0 ? await (this.#options.resolve ?? resolveHost)(host) : [host];
      const addresses = found.map((ip) => `${isIP(ip) === 6 ? `[${ip}]` : ip}:${port}`).sort();
      if (addresses.join() !== before.join()) {
        this.#options.logger.info({ host, addresses }, 'instances discovered');
      }
      this.#addresses.set(key, addresses);
      return addresses;
    } catch (error) {
      this.#options.logger.warn({ host, reason: String(error) }, 'host name does not resolve');
      return before;
    }
  }

  async #probeAll(isDue: (alive: boolean) => boolean): Promise<void> {
    const { pools, logger, probe = probeRie } = this.#options;
    const probes = [...pools].flatMap(([name, pool]) =>
      pool.probeTargets().map(async ({ address, alive, leases }) => {
        if (this.#probing.has(address) || !isDue(alive)) return;
        this.#probing.add(address);
        const result = await probe(address);
        this.#probing.delete(address);
        if (this.#stop.signal.aborted) return;
        pool.noteProbe(address, leases, result);
        if (alive !== (result === 'alive'))
          logger.info({ function: name, address, result }, 'instance changed');
      }),
    );
    await Promise.all(probes);
  }
}

async function resolveHost(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, family: 4 });
  return [...new Set(found.map(({ address }) => address))];
}
