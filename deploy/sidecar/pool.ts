import type { FunctionName } from './config.ts';
import type { ProbeResult, RieClient } from './rie-client.ts';

/** Why a request got no instance. */
export type PoolRefusalReason = 'queue_full' | 'queue_timeout' | 'no_instance' | 'draining' | 'abandoned';

export class PoolRefusal extends Error {
  readonly reason: PoolRefusalReason;

  constructor(reason: PoolRefusalReason) {
    super(reason);
    this.name = 'PoolRefusal';
    this.reason = reason;
  }
}

/** Who waits for a lease, and may leave before it comes; a server's response is one. */
export interface Caller {
  readonly closed: boolean;
  once(event: 'close', listener: () => void): unknown;
  off(event: 'close', listener: () => void): unknown;
}

/**
 * What is known of the instance when its lease ends. `free`: it answered. `unreached`: no connection came
 * about, so it did nothing. `foreign`: it is an instance of another function, and did nothing. `unknown`: the invoke may
 * still be running inside.
 */
export type LeaseEnd = 'free' | 'unreached' | 'foreign' | 'unknown';

/** The right to invoke one instance once. It ends by `release`, on every path. */
export interface Lease {
  readonly client: RieClient;
  release(end: LeaseEnd): void;
}

export interface PoolOptions {
  readonly functionName: FunctionName;
  readonly functionTimeoutMs: number;
  readonly queueMax: number;
  readonly queueTimeoutMs: number;
  readonly connect: (address: string) => RieClient;
  /** Told of an address where another function's instance answered. */
  readonly onForeign?: (address: string) => void;
  /** Monotonic. */
  readonly nowMs: () => number;
  /** No instance is leased before this instant unless it is seen to be new; for the start after an unclean end. */
  readonly holdUntilMs?: number;
}

export interface PoolCounts {
  /** Answering, leased ones included. */
  readonly live: number;
  readonly busy: number;
  /** Not leased because an invoke may still run inside. */
  readonly quarantined: number;
  readonly known: number;
  readonly queued: number;
}

interface Instance {
  readonly address: string;
  readonly client: RieClient;
  alive: boolean;
  leased: boolean;
  /** Counts leases, so that a probe that overlapped one is not believed. */
  leases: number;
  /** An invoke may be running inside until then; 0 when none can be. */
  quarantinedUntilMs: number;
  /** No longer in DNS, or another function's: gone as soon as it is free. */
  retired: boolean;
}

/** `busy`: an invoke runs inside, or may. `idle`: none can. `gone`: this pool does not know it, or no more. */
export type DrainState = 'busy' | 'idle' | 'gone';

interface Waiter {
  readonly resolve: (lease: Lease) => void;
  readonly reject: (refusal: PoolRefusal) => void;
  readonly stopWaiting: () => void;
}

/** Added to a quarantine, for the way that the invoke took and for what RIE needs to end a function. */
const QUARANTINE_MARGIN_MS = 1_000;

/**
 * The instances of one function and the queue before them. RIE in classic mode dies of a second concurrent
 * invoke, so at most one lease is out for each instance, and an instance whose invoke brought no answer stays
 * out for one function timeout, or until nothing listens at its address any more.
 */
export class FunctionPool {
  readonly #options: PoolOptions;
  readonly #instances = new Map<string, Instance>();
  readonly #waiters = new Set<Waiter>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #idleListeners = new Set<() => void>();
  #draining = false;
  /** Addresses that are not leased any more, because an operator is about to end what is there. */
  #leaving: ReadonlySet<string> = new Set();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  get functionName(): FunctionName {
    return this.#options.functionName;
  }

  /**
   * Leases an instance, at once or from the queue. A caller that leaves while it waits is
   * dropped: nothing was invoked for it.
   *
   * @throws PoolRefusal
   */
  lease(caller?: Caller): Lease | Promise<Lease> {
    if (this.#draining) throw new PoolRefusal('draining');
    const instance = this.#findFree();
    if (instance !== undefined) return this.#leaseOf(instance);
    if (!this.#someAlive()) throw new PoolRefusal('no_instance');
    if (this.#waiters.size >= this.#options.queueMax) throw new PoolRefusal('queue_full');
    if (caller?.closed) throw new PoolRefusal('abandoned');
    return this.#enqueue(caller);
  }

  /** Brings the pool to these addresses (`ip:port`). Instances that left are not leased again. */
  setAddresses(addresses: ReadonlySet<string>): void {
    for (const address of addresses) {
      const known = this.#instances.get(address);
      if (known !== undefined) known.retired = false;
      else this.#add(address);
    }
    for (const instance of this.#instances.values()) {
      if (!addresses.has(instance.address)) instance.retired = true;
    }
    this.#pump();
  }

  /** From now on these addresses are not leased, and all others are again. */
  setLeaving(addresses: ReadonlySet<string>): void {
    this.#leaving = addresses;
    this.#pump();
  }

  /** How far an address is that was set to leave. */
  drainState(address: string): DrainState {
    const instance = this.#instances.get(address);
    if (instance === undefined) return 'gone';
    return instance.leased || instance.quarantinedUntilMs > this.#options.nowMs() ? 'busy' : 'idle';
  }

  /** Instances to probe now: a leased one is known by its invoke. */
  probeTargets(): { readonly address: string; readonly alive: boolean; readonly leases: number }[] {
    return [...this.#instances.values()].filter(({ leased }) => !leased);
  }

  /** Takes a probe's finding, unless the instance was leased since the probe began (`leases`). */
  noteProbe(address: string, leases: number, result: ProbeResult): void {
    const instance = this.#instances.get(address);
    if (instance === undefined || instance.leases !== leases) return;
    instance.alive = result === 'alive';
    if (result === 'refused') instance.quarantinedUntilMs = 0;
    this.#pump();
  }

  counts(): PoolCounts {
    const nowMs = this.#options.nowMs();
    const present = [...this.#instances.values()].filter(({ retired }) => !retired);
    return {
      live: present.filter(({ alive }) => alive).length,
      busy: present.filter(({ leased }) => leased).length,
      quarantined: present.filter(({ quarantinedUntilMs }) => quarantinedUntilMs > nowMs).length,
      known: present.length,
      queued: this.#waiters.size,
    };
  }

  /** Resolves when nothing is leased and nothing waits. New leases are refused from now on. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#isIdle()) return;
    await new Promise<void>((resolve) => this.#idleListeners.add(resolve));
  }

  /** True when no instance can be running anything that this process started. */
  isQuiet(): boolean {
    const nowMs = this.#options.nowMs();
    const running = [...this.#instances.values()].some(
      ({ leased, quarantinedUntilMs }) => leased || quarantinedUntilMs > nowMs,
    );
    return !running && this.#waiters.size === 0;
  }

  /** Ends every connection. Whoever still waits is refused. */
  destroy(): void {
    this.#draining = true;
    this.#refuseAll('draining');
    for (const timer of this.#timers) clearTimeout(timer);
    for (const { client } of this.#instances.values()) client.destroy();
  }

  #enqueue(caller: Caller | undefined): Promise<Lease> {
    return new Promise((resolve, reject) => {
      const refuse = (reason: PoolRefusalReason) => (): void => {
        waiter.stopWaiting();
        reject(new PoolRefusal(reason));
        this.#noteIdle();
      };
      const abandon = refuse('abandoned');
      const timer = setTimeout(refuse('queue_timeout'), this.#options.queueTimeoutMs);
      const waiter: Waiter = {
        resolve,
        reject,
        stopWaiting: () => {
          clearTimeout(timer);
          caller?.off('close', abandon);
          this.#waiters.delete(waiter);
        },
      };
      this.#waiters.add(waiter);
      caller?.once('close', abandon);
    });
  }

  #add(address: string): void {
    const quarantinedUntilMs = this.#options.holdUntilMs ?? 0;
    this.#instances.set(address, {
      address,
      client: this.#options.connect(address),
      alive: false,
      leased: false,
      leases: 0,
      quarantinedUntilMs,
      retired: false,
    });
    this.#pumpAt(quarantinedUntilMs);
  }

  #leaseOf(instance: Instance): Lease {
    instance.leased = true;
    instance.leases += 1;
    let released = false;
    return {
      client: instance.client,
      release: (end) => {
        if (released) return;
        released = true;
        this.#release(instance, end);
      },
    };
  }

  #release(instance: Instance, end: LeaseEnd): void {
    instance.leased = false;
    instance.alive = end === 'free';
    if (end === 'foreign') {
      instance.retired = true;
      this.#options.onForeign?.(instance.address);
    }
    if (end === 'unknown') {
      const { nowMs, functionTimeoutMs } = this.#options;
      instance.quarantinedUntilMs = nowMs() + functionTimeoutMs + QUARANTINE_MARGIN_MS;
      this.#pumpAt(instance.quarantinedUntilMs);
    }
    this.#pump();
  }

  /** The first one first: it stays warm, and a quiet service wakes no more instances than it needs. */
  #findFree(): Instance | undefined {
    for (const instance of this.#instances.values()) {
      if (!this.#isUsable(instance) || instance.leased) continue;
      if (instance.quarantinedUntilMs === 0 || instance.quarantinedUntilMs <= this.#options.nowMs())
        return instance;
    }
    return undefined;
  }

  #someAlive(): boolean {
    for (const instance of this.#instances.values()) if (this.#isUsable(instance)) return true;
    return false;
  }

  #isUsable({ alive, retired, address }: Instance): boolean {
    return alive && !retired && !this.#leaving.has(address);
  }

  /** Runs after every change: removes who left, serves who waits, refuses them when nobody can serve. */
  #pump(): void {
    for (const instance of this.#instances.values()) if (instance.retired) this.#removeIfFree(instance);
    for (const waiter of this.#waiters) {
      const instance = this.#findFree();
      if (instance === undefined) break;
      waiter.stopWaiting();
      waiter.resolve(this.#leaseOf(instance));
    }
    if (this.#waiters.size > 0 && !this.#someAlive()) this.#refuseAll('no_instance');
    this.#noteIdle();
  }

  #removeIfFree(instance: Instance): void {
    if (instance.leased || instance.quarantinedUntilMs > this.#options.nowMs()) return;
    instance.client.destroy();
    this.#instances.delete(instance.address);
  }

  #pumpAt(instantMs: number): void {
    const delayMs = instantMs - this.#options.nowMs();
    if (delayMs <= 0) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#pump();
    }, Math.ceil(delayMs));
    timer.unref();
    this.#timers.add(timer);
  }

  #refuseAll(reason: PoolRefusalReason): void {
    for (const waiter of this.#waiters) {
      waiter.stopWaiting();
      waiter.reject(new PoolRefusal(reason));
    }
  }

  #isIdle(): boolean {
    if (this.#waiters.size > 0) return false;
    for (const { leased } of this.#instances.values()) if (leased) return false;
    return true;
  }

  #noteIdle(): void {
    if (this.#idleListeners.size === 0 || !this.#isIdle()) return;
    for (const listener of this.#idleListeners) listener();
    this.#idleListeners.clear();
  }
}
