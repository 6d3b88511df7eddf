import { Check, Errors } from 'typebox/schema';
import { describe, expect, it } from 'vitest';
import { buildHealthApp } from '../../../../functions/health/app.ts';
import { HealthAnswer, LiveAnswer, ReadyAnswer } from '../../../../functions/health/schema.ts';
import { NEW_AUDIT } from '../../../../shared/domain/audit.ts';
import { NEW_BREAKER } from '../../../../shared/domain/breaker.ts';
import type { TronAddress } from '../../../../shared/domain/tron-address.ts';
import { type Invocation, runInvocation } from '../../../../shared/runtime/invocation.ts';
import type { HealthParts } from '../../../../shared/usecases/check-health.ts';

function build(changes: Partial<HealthParts> = {}) {
  return buildHealthApp({
    reports: {
      readBreaker: async () => NEW_BREAKER,
      readAudit: async () => NEW_AUDIT,
      serverTimeMs: async () => 0,
    },
    chain: {
      readSolidHead: async () => ({ number: 7, blockId: '00', timestampMs: 0 }),
      readTrxBalanceMicro: async () => 1n,
      readTokenBalanceMicro: async () => 1n,
    },
    tor: null,
    clock: { nowMs: () => 0, sleep: async () => {} },
    circuit: { failureThreshold: 5, recoveryTimeoutMs: 1, halfOpenMaxCalls: 3, permitMs: 1 },
    wallet: 'TWallet' as TronAddress,
    walletMinimumMicro: 0n,
    deadlineMs: 1_000,
    ...changes,
  });
}

const brokenStore = {
  readBreaker: async () => Promise.reject(new Error('gone')),
  readAudit: async () => Promise.reject(new Error('gone')),
  serverTimeMs: async () => 0,
};

function expectShape(schema: object, body: unknown): void {
  expect(Check(schema, body), JSON.stringify(Errors(schema, body)[1])).toBe(true);
}

describe('GET /health', () => {
  it('answers 200 while all checks are healthy', async () => {
    const response = await build().inject({ url: '/health' });
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(response.headers['cache-control']).toBe('no-store');
    expectShape(HealthAnswer, response.json());
    expect(response.json()).toMatchObject({ status: 'healthy', checks: { tor: { status: 'healthy' } } });
  });

  it('answers 503 with the same shape when one check is not', async () => {
    const response = await build({ walletMinimumMicro: 2n }).inject({ url: '/health' });
    expect(response.statusCode).toBe(503);
    expectShape(HealthAnswer, response.json());
    expect(response.json()).toMatchObject({
      status: 'unhealthy',
      checks: { wallet: { status: 'unhealthy' }, mongo: { status: 'healthy' } },
    });
  });
});

describe('the log line', () => {
  it('tells which checks failed and why', async () => {
    const invocation: Invocation = { requestId: 'request-1' };
    // An injected request begins when it is awaited.
    await runInvocation(
      invocation,
      async () => await build({ reports: brokenStore }).inject({ url: '/health' }),
    );
    expect(invocation).toMatchObject({
      route: '/health',
      status: 503,
      unhealthy: {
        mongo: 'gone',
        circuit_breaker: 'not known while the database is away',
        audit: 'not known while the database is away',
      },
    });
    expect(Object.keys(invocation.unhealthy ?? {})).toHaveLength(3);
  });
});

describe('GET /health/live', () => {
  it('answers 200 whatever is away', async () => {
    const response = await build({ reports: brokenStore }).inject({ url: '/health/live' });
    expect(response.statusCode).toBe(200);
    expectShape(LiveAnswer, response.json());
  });
});

describe('GET /health/ready', () => {
  it('answers 200 while the database is there', async () => {
    const response = await build({ walletMinimumMicro: 2n }).inject({ url: '/health/ready' });
    expect(response.statusCode).toBe(200);
    expectShape(ReadyAnswer, response.json());
  });

  it('answers 503 while it is away', async () => {
    const response = await build({ reports: brokenStore }).inject({ url: '/health/ready' });
    expect(response.statusCode).toBe(503);
    expectShape(ReadyAnswer, response.json());
    expect(response.json().checks.mongo).toMatchObject({ status: 'unhealthy', reason: 'gone' });
  });
});

describe('any other route', () => {
  it('is not there', async () => {
    const response = await build().inject({ url: '/health/' });
    expect(response.statusCode).toBe(404);
    expect(response.json()).toMatchObject({ code: 'route_not_found' });
  });

  it('takes GET alone', async () => {
    const response = await build().inject({ method: 'POST', url: '/health' });
    expect(response.statusCode).toBe(405);
    expect(response.headers.allow).toBe('GET');
  });
});
