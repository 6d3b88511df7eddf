import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type Caller,
  FunctionPool,
  type Lease,
  type LeaseEnd,
  type PoolOptions,
  type PoolRefusal,
} from '../../../../deploy/sidecar/pool.ts';
import type { ProbeResult } from '../../../../deploy/sidecar/rie-client.ts';

const TIMEOUT_MS = 30_000;
const QUEUE_TIMEOUT_MS = 5_000;

/** Which address a lease belongs to: the pool asks for one client for each. */
const addressOf = new WeakMap<object, string>();

function createPool(changes: Partial<PoolOptions> = {}): FunctionPool {
  return new FunctionPool({
    functionName: 'pay',
    functionTimeoutMs: TIMEOUT_MS,
    queueMax: 3,
    queueTimeoutMs: QUEUE_TIMEOUT_MS,
    connect: (address) => {
      const client = { invoke: () => Promise.reject(new Error('not used')), destroy() {} };
      addressOf.set(client, address);
      return client;
    },
    nowMs: () => Date.now(),
    ...changes,
  });
}

function probeAll(pool: FunctionPool, result: ProbeResult): void {
  for (const { address, leases } of pool.probeTargets()) pool.noteProbe(address, leases, result);
}

function livePool(addresses: string[], changes: Partial<PoolOptions> = {}): FunctionPool {
  const pool = createPool(changes);
  pool.setAddresses(new Set(addresses));
  probeAll(pool, 'alive');
  return pool;
}

/** What a lease attempt came to, once it did. */
function attempt(pool: FunctionPool, caller?: Caller): { lease?: Lease; refusal?: string } {
  const outcome: { lease?: Lease; refusal?: string } = {};
  const refuse = (error: PoolRefusal): void => {
    outcome.refusal = error.reason;
  };
  try {
    const granted = pool.lease(caller);
    if (granted instanceof Promise) {
      granted.then((lease) => {
        outcome.lease = lease;
      }, refuse);
    } else outcome.lease = granted;
  } catch (error) {
    refuse(error as PoolRefusal);
  }
  return outcome;
}

class FakeCaller extends EventEmitter implements Caller {
  closed = false;
  leave(): void {
    this.closed = true;
    this.emit('close');
  }
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('the pool of a function', () => {
  it('leases an instance to one at a time, and serves the queue in its order', async () => {
    const pool = livePool(['a:1']);
    const first = attempt(pool);
    const second = attempt(pool);
    const third = attempt(pool);
    expect([first.lease, second.lease, third.lease].map(Boolean)).toEqual([true, false, false]);
    first.lease?.release('free');
    await vi.advanceTimersByTimeAsync(0);
    expect([second.lease, third.lease].map(Boolean)).toEqual([true, false]);
  });

  it('refuses at once beyond the queue, and after its time within it', async () => {
    const pool = livePool(['a:1'], { queueMax: 1 });
    attempt(pool);
    const queued = attempt(pool);
    expect(attempt(pool).refusal).toBe('queue_full');
    await vi.advanceTimersByTimeAsync(QUEUE_TIMEOUT_MS - 1);
    expect(queued.refusal).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(queued.refusal).toBe('queue_timeout');
    expect(pool.counts().queued).toBe(0);
  });

  it('refuses when no instance lives, those who wait included', async () => {
    const pool = createPool();
    expect(attempt(pool).refusal).toBe('no_instance');
    pool.setAddresses(new Set(['a:1']));
    expect(attempt(pool).refusal).toBe('no_instance');
    probeAll(pool, 'alive');
    const running = attempt(pool);
    const queued = attempt(pool);
    running.lease?.release('unknown');
    await vi.advanceTimersByTimeAsync(0);
    expect(queued.refusal).toBe('no_instance');
  });

  it('drops from the queue whom the caller left, and serves the next', async () => {
    const pool = livePool(['a:1']);
    const running = attempt(pool);
    const caller = new FakeCaller();
    const left = attempt(pool, caller);
    const next = attempt(pool);
    caller.leave();
    running.lease?.release('free');
    await vi.advanceTimersByTimeAsync(0);
    expect(left).toEqual({ refusal: 'abandoned' });
    expect(next.lease).toBeDefined();
    expect(caller.listenerCount('close')).toBe(0);
  });

  it('keeps an instance out for one function timeout when its invoke may still be running', () => {
    const pool = livePool(['a:1'], { queueMax: 0 });
    attempt(pool).lease?.release('unknown');
    probeAll(pool, 'alive');
    expect(attempt(pool).refusal).toBe('queue_full');
    vi.advanceTimersByTime(TIMEOUT_MS);
    expect(attempt(pool).refusal).toBe('queue_full');
    expect(pool.counts()).toMatchObject({ live: 1, quarantined: 1 });
    vi.advanceTimersByTime(1_000);
    expect(pool.counts()).toMatchObject({ live: 1, quarantined: 0 });
    expect(attempt(pool).lease).toBeDefined();
  });

  it('serves who waits the moment the wait is over', async () => {
    const pool = livePool(['a:1'], { queueTimeoutMs: 10 * TIMEOUT_MS });
    attempt(pool).lease?.release('unknown');
    probeAll(pool, 'alive');
    const queued = attempt(pool);
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS + 1_000);
    expect(queued.lease).toBeDefined();
  });

  it('takes an instance back at once when nothing listened there in between: that process is gone', () => {
    const pool = livePool(['a:1']);
    attempt(pool).lease?.release('unknown');
    probeAll(pool, 'silent');
    probeAll(pool, 'alive');
    expect(attempt(pool).lease).toBeUndefined();
    probeAll(pool, 'refused');
    probeAll(pool, 'alive');
    expect(attempt(pool).lease).toBeDefined();
  });

  it('does not believe a probe that began before a lease', () => {
    const pool = livePool(['a:1']);
    const [target] = pool.probeTargets();
    const leases = target?.leases ?? -1;
    attempt(pool).lease?.release('unknown');
    pool.noteProbe('a:1', leases, 'refused');
    probeAll(pool, 'alive');
    expect(attempt(pool).lease).toBeUndefined();
  });

  it('holds every instance back after an unclean end, unless it is seen to be new', () => {
    const holdUntilMs = Date.now() + TIMEOUT_MS;
    const pool = livePool(['old:1'], { holdUntilMs, queueMax: 0 });
    expect(attempt(pool).refusal).toBe('queue_full');
    pool.setAddresses(new Set(['old:1', 'new:1']));
    pool.noteProbe('new:1', 0, 'refused');
    pool.noteProbe('new:1', 0, 'alive');
    const { lease } = attempt(pool);
    expect(lease && addressOf.get(lease.client)).toBe('new:1');
    vi.advanceTimersByTime(TIMEOUT_MS);
    expect(attempt(pool).lease).toBeDefined();
  });

  it('leases no instance that left DNS, forgets it when it is free, and knows it again while it is not', () => {
    const pool = livePool(['a:1', 'b:1']);
    const onA = attempt(pool);
    pool.setAddresses(new Set(['b:1']));
    expect(pool.counts().known).toBe(1);
    pool.setAddresses(new Set(['a:1', 'b:1']));
    pool.setAddresses(new Set(['b:1']));
    onA.lease?.release('free');
    expect(pool.probeTargets().map(({ address }) => address)).toEqual(['b:1']);
  });

  it('keeps the quarantine of an instance that leaves DNS and comes back', () => {
    const pool = livePool(['a:1']);
    attempt(pool).lease?.release('unknown');
    pool.setAddresses(new Set());
    pool.setAddresses(new Set(['a:1']));
    probeAll(pool, 'alive');
    expect(attempt(pool).lease).toBeUndefined();
  });

  it('ignores a second release', () => {
    const pool = livePool(['a:1']);
    const first = attempt(pool).lease;
    first?.release('free');
    const second = attempt(pool).lease;
    first?.release('free');
    expect(second).toBeDefined();
    expect(attempt(pool).lease).toBeUndefined();
  });

  it('drains: refuses the new, serves the queued, ends when all is given back', async () => {
    const pool = livePool(['a:1']);
    const running = attempt(pool);
    const queued = attempt(pool);
    let drained = false;
    void pool.drain().then(() => {
      drained = true;
    });
    expect(attempt(pool).refusal).toBe('draining');
    running.lease?.release('free');
    await vi.advanceTimersByTimeAsync(0);
    expect(drained).toBe(false);
    queued.lease?.release('free');
    await vi.advanceTimersByTimeAsync(0);
    expect(drained).toBe(true);
    expect(pool.isQuiet()).toBe(true);
  });

  it('is not quiet while an invoke may be running inside an instance', () => {
    const pool = livePool(['a:1']);
    attempt(pool).lease?.release('unknown');
    expect(pool.isQuiet()).toBe(false);
    vi.advanceTimersByTime(TIMEOUT_MS + 1_000);
    expect(pool.isQuiet()).toBe(true);
  });

  it('never has two invokes in one instance, whatever happens in whatever order', async () => {
    const addresses = ['a:1', 'b:1', 'c:1'];
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('lease' as const) }) },
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('release' as const),
          pick: fc.nat(),
          end: fc.constantFrom<LeaseEnd>('free', 'unreached', 'foreign', 'unknown'),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('probe' as const), address: fc.constantFrom(...addresses) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('restart' as const),
          address: fc.constantFrom(...addresses),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('addresses' as const), list: fc.subarray(addresses) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('wait' as const),
          ms: fc.constantFrom(1, 900, 4_000, 29_999, 31_000),
        }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const pool = livePool(addresses);
        // The world: until when an invoke runs inside each instance. RIE ends it after the function timeout.
        const runningUntilMs = new Map<string, number>();
        const held: { lease: Lease; address: string }[] = [];
        const attempts: { lease?: Lease; refusal?: string }[] = [];
        const begin = (): void => {
          for (const outcome of attempts.splice(0)) {
            if (outcome.lease === undefined) {
              if (outcome.refusal === undefined) attempts.push(outcome);
              continue;
            }
            const address = addressOf.get(outcome.lease.client) ?? '';
            expect(runningUntilMs.get(address) ?? 0, `a second invoke in ${address}`).toBeLessThanOrEqual(
              Date.now(),
            );
            runningUntilMs.set(address, Number.POSITIVE_INFINITY);
            held.push({ lease: outcome.lease, address });
          }
        };
        for (const action of steps) {
          if (action.kind === 'lease') attempts.push(attempt(pool));
          else if (action.kind === 'wait') await vi.advanceTimersByTimeAsync(action.ms);
          else if (action.kind === 'addresses') pool.setAddresses(new Set(action.list));
          else if (action.kind === 'release') {
            const [done] = held.length === 0 ? [] : held.splice(action.pick % held.length, 1);
            if (done !== undefined) {
              // After `unknown` the invoke runs on, at most to its timeout.
              runningUntilMs.set(done.address, action.end === 'unknown' ? Date.now() + TIMEOUT_MS : 0);
              done.lease.release(action.end);
            }
          } else {
            const target = pool.probeTargets().find(({ address }) => address === action.address);
            if (target === undefined) continue;
            if (action.kind === 'restart') {
              runningUntilMs.delete(action.address);
              pool.noteProbe(action.address, target.leases, 'refused');
            } else pool.noteProbe(action.address, target.leases, 'alive');
          }
          await vi.advanceTimersByTimeAsync(0);
          begin();
          expect(pool.counts().queued).toBeLessThanOrEqual(3);
        }
        pool.destroy();
      }),
      { numRuns: 300 },
    );
  });
});
