import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Endpoint, FunctionName } from '../../../../deploy/sidecar/config.ts';
import { Fleet, type FleetOptions } from '../../../../deploy/sidecar/fleet.ts';
import { FunctionPool } from '../../../../deploy/sidecar/pool.ts';
import type { ProbeResult } from '../../../../deploy/sidecar/rie-client.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function createPool(functionName: FunctionName): FunctionPool {
  return new FunctionPool({
    functionName,
    functionTimeoutMs: 1_000,
    queueMax: 1,
    queueTimeoutMs: 1_000,
    connect: () => ({ invoke: () => Promise.reject(new Error('not used')), destroy() {} }),
    nowMs: () => Date.now(),
  });
}

function createFleet(endpoints: Endpoint[], options: Pick<FleetOptions, 'resolve' | 'probe'>) {
  const pool = createPool('pay');
  const fleet = new Fleet({
    pools: new Map<FunctionName, FunctionPool>([['pay', pool]]),
    endpoints: { pay: endpoints, settle: [], health: [], stats: [] },
    logger: pino({ level: 'silent' }),
    ...options,
  });
  const known = (): string[] =>
    pool
      .probeTargets()
      .map(({ address }) => address)
      .sort();
  return { fleet, pool, known };
}

/** Two functions whose names the test answers for; probes find all alive. */
function createTwo() {
  const names: { pay: readonly string[] | Error; stats: readonly string[] | Error | 'never' } = {
    pay: ['10.0.0.1'],
    stats: ['10.0.0.2'],
  };
  const pools = { pay: createPool('pay'), stats: createPool('stats') };
  const fleet = new Fleet({
    pools: new Map<FunctionName, FunctionPool>(Object.entries(pools) as [FunctionName, FunctionPool][]),
    endpoints: {
      pay: [{ host: 'pay', port: 1 }],
      stats: [{ host: 'stats', port: 1 }],
      settle: [],
      health: [],
    },
    logger: pino({ level: 'silent' }),
    resolve: async (host) => {
      const answer = names[host as keyof typeof names];
      if (answer instanceof Error) throw answer;
      return answer === 'never' ? await new Promise<never>(() => {}) : answer;
    },
    probe: async () => 'alive',
  });
  return { fleet, names, pools, live: () => [pools.pay.counts().live, pools.stats.counts().live] };
}

describe('the fleet', () => {
  it('finds every address of a name, follows its changes, and takes literal addresses as they are', async () => {
    let addresses = ['10.0.0.1', '10.0.0.2'];
    const { fleet, known } = createFleet(
      [
        { host: 'pay', port: 8080 },
        { host: '127.0.0.1', port: 9001 },
        { host: '::1', port: 9002 },
      ],
      { resolve: async () => addresses, probe: async () => 'alive' },
    );
    await fleet.start();
    expect(known()).toEqual(['10.0.0.1:8080', '10.0.0.2:8080', '127.0.0.1:9001', '[::1]:9002']);
    addresses = ['10.0.0.2', '10.0.0.3'];
    await vi.advanceTimersByTimeAsync(5_000);
    expect(known()).toEqual(['10.0.0.2:8080', '10.0.0.3:8080', '127.0.0.1:9001', '[::1]:9002']);
    fleet.stop();
  });

  it('keeps the last addresses of a name that does not resolve, and starts without any', async () => {
    let fails = true;
    const { fleet, known } = createFleet([{ host: 'pay', port: 1 }], {
      resolve: async () => (fails ? Promise.reject(new Error('ENOTFOUND')) : ['10.0.0.1']),
      probe: async () => 'alive',
    });
    await fleet.start();
    expect(known()).toEqual([]);
    fails = false;
    await vi.advanceTimersByTimeAsync(5_000);
    fails = true;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(known()).toEqual(['10.0.0.1:1']);
    fleet.stop();
  });

  it('waits for a slow look-up instead of piling up more', async () => {
    let lookups = 0;
    const { fleet } = createFleet([{ host: 'pay', port: 1 }], {
      resolve: () => {
        lookups += 1;
        return lookups === 1 ? Promise.resolve([]) : new Promise(() => {});
      },
    });
    await fleet.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lookups).toBe(2);
    fleet.stop();
  });

  it('gives an address that another function took over to that one alone, whatever is remembered', async () => {
    const { fleet, names, pools, live } = createTwo();
    await fleet.start();
    expect(live()).toEqual([1, 1]);
    // All were stopped; `stats` is started first and gets the address that `pay` had.
    names.pay = new Error('ENOTFOUND');
    names.stats = ['10.0.0.1'];
    await vi.advanceTimersByTimeAsync(6_000);
    expect(live()).toEqual([0, 1]);
    expect(pools.pay.counts().known).toBe(0);
    names.pay = ['10.0.0.3'];
    await vi.advanceTimersByTimeAsync(6_000);
    expect(live()).toEqual([1, 1]);
    fleet.stop();
  });

  it('finds who took over an address where an invoke may still run for the one before', async () => {
    const { fleet, names, pools, live } = createTwo();
    await fleet.start();
    const lease = await pools.pay.lease();
    lease.release('unknown');
    names.pay = [];
    names.stats = ['10.0.0.1'];
    await vi.advanceTimersByTimeAsync(6_000);
    expect(live()).toEqual([0, 1]);
    fleet.stop();
  });

  it('takes what one name says without waiting for another that takes long to fail', async () => {
    const { fleet, names, live } = createTwo();
    names.pay = [];
    await fleet.start();
    names.stats = 'never';
    await vi.advanceTimersByTimeAsync(6_000);
    names.pay = ['10.0.0.1'];
    await vi.advanceTimersByTimeAsync(6_000);
    expect(live()).toEqual([1, 1]);
    fleet.stop();
  });

  it('takes a dead instance out, and back in when it answers', async () => {
    let result: ProbeResult = 'alive';
    const { fleet, pool } = createFleet([{ host: '10.0.0.1', port: 1 }], { probe: async () => result });
    await fleet.start();
    expect(pool.counts().live).toBe(1);
    result = 'refused';
    await vi.advanceTimersByTimeAsync(2_000);
    expect(pool.counts().live).toBe(0);
    result = 'alive';
    await vi.advanceTimersByTimeAsync(500);
    expect(pool.counts().live).toBe(1);
    fleet.stop();
  });

  it('never probes an instance that is leased', async () => {
    let probes = 0;
    const { fleet, pool } = createFleet([{ host: '10.0.0.1', port: 1 }], {
      probe: async () => {
        probes += 1;
        return 'alive';
      },
    });
    await fleet.start();
    void pool.lease();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(probes).toBe(1);
    fleet.stop();
  });
});
