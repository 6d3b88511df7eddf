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

interface Seen {
  readonly addresses: readonly string[];
  /** The larger, the later. */
  readonly lookUp: number;
}

const NEVER_SEEN: Seen = { addresses: [], lookUp: 0 };

/** Keeps the pools true to the world: which instances there are (DNS) and which of them live (probes). */
export class Fleet {
  readonly #options: FleetOptions;
  /** What each `host:port` was last seen to be, and by which look-up of all. */
  readonly #seen = new Map<string, Seen>();
  #lookUps = 0;
  readonly #probing = new Set<string>();
  readonly #stop = new AbortController();
  #timers: NodeJS.Timeout[] = [];
  #probeRound = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Resolves once every host was looked up and every instance probed once, whatever came of it. */
  async start(): Promise<void> {
    const names = [...this.#options.pools.keys()];
    await Promise.all(names.map((name) => this.#resolve(name)));
    await this.#probeAll(() => true);
    // Each by itself: an unknown name can take ten seconds to fail.
    for (const name of names) {
      this.#every(this.#options.resolveIntervalMs ?? RESOLVE_INTERVAL_MS, () => this.#resolve(name));
    }
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

  /** One run at a time. */
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

  async #resolve(name: FunctionName): Promise<void> {
    await Promise.all(this.#options.endpoints[name].map((endpoint) => this.#lookUp(endpoint)));
    if (!this.#stop.signal.aborted) this.#share();
  }

  /** A name that does not resolve keeps its last addresses: the probes tell whether they still answer. */
  async #lookUp({ host, port }: Endpoint): Promise<void> {
    const key = `${host}:${port}`;
    try {
      const found = isIP(host) === 0 ? await (this.#options.resolve ?? resolveHost)(host) : [host];
      const addresses = found.map((ip) => `${isIP(ip) === 6 ? `[${ip}]` : ip}:${port}`).sort();
      if (addresses.join() !== this.#seen.get(key)?.addresses.join()) {
        this.#options.logger.info({ host, addresses }, 'instances discovered');
      }
      this.#lookUps += 1;
      this.#seen.set(key, { addresses, lookUp: this.#lookUps });
    } catch (error) {
      this.#options.logger.warn({ host, reason: String(error) }, 'host name does not resolve');
    }
  }

  /**
   * An address that a container left is soon another's, of another function it may be. It belongs to the name that was
   * seen with it last: two pools that share an instance would invoke it twice at once, which ends it.
   */
  #share(): void {
    const { pools, endpoints } = this.#options;
    const owners = new Map<string, { readonly name: FunctionName; readonly lookUp: number }>();
    for (const name of pools.keys()) {
      for (const { host, port } of endpoints[name]) {
        const { addresses, lookUp } = this.#seen.get(`${host}:${port}`) ?? NEVER_SEEN;
        for (const address of addresses) {
          if ((owners.get(address)?.lookUp ?? 0) < lookUp) owners.set(address, { name, lookUp });
        }
      }
    }
    for (const [name, pool] of pools) {
      const own = [...owners].filter(([, owner]) => owner.name === name).map(([address]) => address);
      pool.setAddresses(new Set(own));
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
