import { afterEach, describe, expect, it, vi } from 'vitest';
import { type AuditRecord, NEW_AUDIT } from '../../../../shared/domain/audit.ts';
import { type Breaker, NEW_BREAKER } from '../../../../shared/domain/breaker.ts';
import { type Circuit, tripCircuit } from '../../../../shared/domain/circuit.ts';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { restored } from '../../../../shared/domain/restore.ts';
import type { TronAddress } from '../../../../shared/domain/tron-address.ts';
import {
  CHECK_NAMES,
  checkHealth,
  checkReadiness,
  type HealthParts,
} from '../../../../shared/usecases/check-health.ts';

const DEADLINE_MS = 50;
const NOW_MS = Date.parse('2026-03-04T05:06:07Z');
const never = () => new Promise<never>(() => {});
const away = (code: 'store_unavailable' | 'chain_unavailable', why: string) => async () => {
  throw new ServiceError(code, why);
};

interface Changes extends Partial<HealthParts> {
  readonly breaker?: Partial<Breaker>;
  readonly audit?: Partial<AuditRecord>;
  readonly headAgeMs?: number;
  readonly trxMicro?: bigint;
}

function parts({
  breaker,
  audit,
  headAgeMs = 60_000,
  trxMicro = 500_000_000n,
  ...changes
}: Changes = {}): HealthParts {
  return {
    reports: {
      readBreaker: async () => ({ ...NEW_BREAKER, ...breaker }),
      readAudit: async () => ({ ...NEW_AUDIT, ...audit }),
      serverTimeMs: async () => NOW_MS,
    },
    chain: {
      readSolidHead: async () => ({ number: 77, blockId: '00', timestampMs: NOW_MS - headAgeMs }),
      readTrxBalanceMicro: async () => trxMicro,
      readTokenBalanceMicro: async () => 12_500_000n,
    },
    tor: { greet: async () => {} },
    clock: { nowMs: () => NOW_MS, sleep: async () => {} },
    circuit: { failureThreshold: 5, recoveryTimeoutMs: 300_000, halfOpenMaxCalls: 3, permitMs: 60_000 },
    wallet: 'TWallet' as TronAddress,
    walletMinimumMicro: 100_000_000n,
    deadlineMs: DEADLINE_MS,
    ...changes,
  };
}

function clear(ageMs: number) {
  return { clearAtMs: NOW_MS - ageMs, unclear: null };
}

function finding(isConfirmed: boolean) {
  return { kind: 'overcounted', of: 'fees', amountMicro: 2_500_000n, isConfirmed } as const;
}

/** The only check that is expected to fail, with its reason. */
async function expectUnhealthy(changes: Changes, failing: Partial<Record<string, string | RegExp>>) {
  const report = await checkHealth(parts(changes));
  expect(report.healthy).toBe(false);
  for (const name of CHECK_NAMES) {
    const expected = failing[name];
    const { healthy, reason } = report.checks[name];
    expect({ name, healthy }).toEqual({ name, healthy: expected === undefined });
    if (expected !== undefined) expect(reason).toMatch(expected);
  }
}

afterEach(() => void vi.useRealTimers());

describe('health', () => {
  it('is good when everything that paying depends on works', async () => {
    const report = await checkHealth(parts());
    expect(report.healthy).toBe(true);
    expect(Object.fromEntries(CHECK_NAMES.map((name) => [name, report.checks[name].reason]))).toEqual({
      mongo: 'the database answers reads from its majority',
      tron: 'the newest solid block is 77, 60 s old',
      tor: 'the proxy answers',
      circuit_breaker: 'closed',
      wallet: 'the wallet holds 500 TRX and 12.5 USDT',
      audit: 'no comparison of the books yet; no comparison of the wallet yet',
    });
  });

  it('is bad while a restored system does not know what was paid, and tells how far it has come', async () => {
    const marks = { restoreId: 'r', backupAtMs: NOW_MS - 60_000, restoredAtMs: NOW_MS, isLoaded: true };
    const head = { number: 40, blockId: '00', timestampMs: NOW_MS - 90_000 };
    const breaker = restored({ ...NEW_BREAKER, solidHead: head }, marks);
    const circuit_breaker =
      /^payments are paused by restore \(it was put back from a backup of 2026-03-04T05:05:07.000Z.* can land any more\)$/;
    await expectUnhealthy({ breaker }, { circuit_breaker });
    const { restore } = breaker;
    if (restore === null) throw new Error('it is not marked');
    const walk = { from: { ...head, number: 90 }, next: { number: 57, blockId: '01' } };
    await expectUnhealthy(
      { breaker: { ...breaker, restore: { ...restore, walk } } },
      { circuit_breaker: /is being read, 17 of 50 blocks are left\)$/ },
    );
    await expectUnhealthy(
      { breaker: { ...breaker, restore: { ...restore, isLoaded: false } } },
      { circuit_breaker: /run it again\)$/ },
    );
    const circuit = tripCircuit(breaker.circuit, 'another chain', NOW_MS);
    await expectUnhealthy(
      { breaker: { ...breaker, circuit } },
      { circuit_breaker: /land any more\); the circuit is open .*another chain.*an operator must reset it$/ },
    );
  });

  it('is good without Tor where Tor is not in use, and says so', async () => {
    const { healthy, checks } = await checkHealth(parts({ tor: null }));
    expect(healthy).toBe(true);
    expect(checks.tor.reason).toBe('not in use: all nodes are on this machine or a private network');
  });

  it('is bad when the proxy does not answer', async () => {
    const tor = { greet: async () => Promise.reject(new Error('the Tor proxy hung up')) };
    await expectUnhealthy({ tor }, { tor: /^the Tor proxy hung up$/ });
  });

  it('knows nothing of the circuit and of audits while the database is away', async () => {
    const gone = away('store_unavailable', 'the database is out of reach');
    const reports = { readBreaker: gone, readAudit: gone, serverTimeMs: never };
    const unknown = /^not known while the database is away$/;
    await expectUnhealthy(
      { reports },
      { mongo: /^the database is out of reach$/, circuit_breaker: unknown, audit: unknown },
    );
  });

  it('is bad when the database tells no time, which every decision rests on', async () => {
    const reports = {
      readBreaker: async () => NEW_BREAKER,
      readAudit: async () => NEW_AUDIT,
      serverTimeMs: away('store_unavailable', 'the database is out of reach'),
    };
    await expectUnhealthy(
      { reports },
      { mongo: /out of reach/, circuit_breaker: /not known/, audit: /not known/ },
    );
  });

  it('is bad when no node answers', async () => {
    const gone = away('chain_unavailable', 'no node answers');
    const chain = { readSolidHead: gone, readTrxBalanceMicro: gone, readTokenBalanceMicro: gone };
    await expectUnhealthy({ chain }, { tron: /^no node answers$/, wallet: /^no node answers$/ });
  });

  it.each<[string, number, RegExp | undefined]>([
    ['just in time', 300_000, undefined],
    ['too old', 300_001, /the newest solid block is 77, 300 s old: the chain or its node stands still/],
    ['slightly ahead', -299_000, undefined],
    ['far ahead', -300_001, /ahead of this machine's clock/],
  ])('judges a solid head that is %s', async (_case, headAgeMs, reason) => {
    if (reason === undefined) expect((await checkHealth(parts({ headAgeMs }))).healthy).toBe(true);
    else await expectUnhealthy({ headAgeMs }, { tron: reason });
  });

  it.each<[string, Circuit, RegExp | undefined]>([
    ['closed', { kind: 'closed', generation: 1, failures: 4 }, undefined],
    [
      'open',
      {
        kind: 'open',
        generation: 1,
        openedAtMs: NOW_MS - 100_000,
        reason: 'five failures',
        until: 'recovery',
      },
      /^open since 2026-03-04T05:04:27.000Z \(five failures\); it lets calls through again in 200 s$/,
    ],
    [
      'open and due to probe',
      {
        kind: 'open',
        generation: 1,
        openedAtMs: NOW_MS - 300_000,
        reason: 'five failures',
        until: 'recovery',
      },
      /the next call probes$/,
    ],
    [
      'tripped',
      { kind: 'open', generation: 1, openedAtMs: NOW_MS - 100_000, reason: 'an outflow', until: 'reset' },
      /^open since 2026-03-04T05:04:27.000Z \(an outflow\); an operator must reset it$/,
    ],
    [
      'half-open',
      { kind: 'half_open', generation: 1, successes: 1, permits: [] },
      /^half-open: 1 of 3 calls that close it have succeeded$/,
    ],
  ])('judges a circuit that is %s', async (_case, circuit, reason) => {
    if (reason === undefined) {
      const { healthy, checks } = await checkHealth(parts({ breaker: { circuit } }));
      expect(healthy).toBe(true);
      expect(checks.circuit_breaker.reason).toBe('closed, with 4 of 5 consecutive failures');
    } else await expectUnhealthy({ breaker: { circuit } }, { circuit_breaker: reason });
  });

  it.each<[bigint, RegExp | undefined]>([
    [100_000_000n, undefined],
    [99_999_999n, /^the wallet holds 99.999999 TRX and 12.5 USDT: less TRX than the minimum of 100$/],
    [0n, /the wallet holds 0 TRX/],
  ])('judges a wallet with %s sun', async (trxMicro, reason) => {
    if (reason === undefined) expect((await checkHealth(parts({ trxMicro }))).healthy).toBe(true);
    else await expectUnhealthy({ trxMicro }, { wallet: reason });
  });

  it.each<[string, Partial<AuditRecord>, RegExp | undefined]>([
    ['that compared both', { books: clear(5_000), wallet: clear(65_000) }, undefined],
    [
      'that could not compare the wallet',
      { books: clear(5_000), wallet: { ...clear(600_000), unclear: 'no node answers' } },
      undefined,
    ],
    ['whose finding nobody has confirmed', { findings: [finding(false)] }, undefined],
    [
      'whose finding is confirmed',
      { findings: [finding(true)], books: clear(5_000), wallet: clear(5_000) },
      /^2.5 TRX of fees is counted as outstanding that no payment holds; the books compared 5 s ago; the wallet compared 5 s ago$/,
    ],
    [
      'that has seen a step half done for minutes',
      { transitions: [{ id: 't', sinceMs: NOW_MS - 300_000 }] },
      /^1 steps between the breaker and payments are left half done/,
    ],
    [
      'that has seen a step a moment ago',
      { transitions: [{ id: 't', sinceMs: NOW_MS - 299_999 }] },
      undefined,
    ],
  ])('judges an audit %s', async (_, audit, reason) => {
    if (reason === undefined) expect((await checkHealth(parts({ audit }))).healthy).toBe(true);
    else await expectUnhealthy({ audit }, { audit: reason });
  });

  it('waits for nobody beyond the deadline, and for all at once', async () => {
    vi.useFakeTimers();
    const judged = expectUnhealthy(
      {
        reports: { readBreaker: never, readAudit: never, serverTimeMs: never },
        chain: { readSolidHead: never, readTrxBalanceMicro: never, readTokenBalanceMicro: never },
        tor: { greet: never },
      },
      Object.fromEntries(CHECK_NAMES.map((name) => [name, /^no answer within 0.1 s$/])),
    );
    // Six checks one after the other would take six times as long.
    await vi.advanceTimersByTimeAsync(DEADLINE_MS);
    expect(vi.getTimerCount()).toBe(0);
    await judged;
  });
});

describe('readiness', () => {
  it('asks nothing but the database', async () => {
    const gone = away('chain_unavailable', 'no node answers');
    const chain = { readSolidHead: gone, readTrxBalanceMicro: gone, readTokenBalanceMicro: gone };
    await expect(checkReadiness(parts({ chain }))).resolves.toMatchObject({ healthy: true });
  });

  it('is bad while the database is away', async () => {
    const gone = away('store_unavailable', 'gone');
    const reports = { readBreaker: gone, readAudit: gone, serverTimeMs: async () => NOW_MS };
    await expect(checkReadiness(parts({ reports }))).resolves.toMatchObject({
      healthy: false,
      reason: 'gone',
    });
  });
});
