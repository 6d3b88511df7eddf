import { Check, Errors } from 'typebox/schema';
import { describe, expect, it } from 'vitest';
import { buildStatsApp } from '../../../../functions/stats/app.ts';
import { StatsAnswer } from '../../../../functions/stats/schema.ts';
import { type AuditRecord, NEW_AUDIT } from '../../../../shared/domain/audit.ts';
import { type Breaker, NEW_BREAKER } from '../../../../shared/domain/breaker.ts';
import { tripCircuit } from '../../../../shared/domain/circuit.ts';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { LIMIT_WINDOWS } from '../../../../shared/domain/limits.ts';
import type { PaymentReports } from '../../../../shared/ports/payment-reports.ts';
import { Authenticator } from '../../../../shared/runtime/auth.ts';
import { Secret } from '../../../../shared/runtime/secret.ts';
import { mintToken } from '../../../../shared/runtime/token.ts';

const NOW_MS = Date.parse('2026-03-04T05:06:07Z');
const HOUR_MS = 3_600_000;
const SECRETS = {
  gateway: new Secret('gateway-secret-of-thirty-two-bytes-or-more'),
  payer: new Secret('payers-secret-of-thirty-two-bytes-or-more!'),
};
const MONITORING = new Secret('monitoring-key-of-thirty-two-bytes-or-more');

const BREAKER: Breaker = {
  ...NEW_BREAKER,
  circuit: {
    kind: 'open',
    generation: 3,
    openedAtMs: NOW_MS - 60_000,
    reason: 'five failures',
    until: 'recovery',
  },
  books: {
    USDT: {
      outstandingMicro: 100_000_000n,
      spentTotalMicro: 0n,
      hour: [
        { untilMs: NOW_MS - 2 * HOUR_MS, amountMicro: 999_000_000n },
        { untilMs: NOW_MS - 1_000, amountMicro: 50_500_000n },
      ],
      day: [{ untilMs: NOW_MS - 2 * HOUR_MS, amountMicro: 300_000_000n }],
    },
    TRX: { outstandingMicro: 2_000_000n, spentTotalMicro: 0n, hour: [], day: [] },
  },
  fees: { outstandingMicro: 1_500_000n, spentTotalMicro: 0n, day: [] },
  solidHead: { number: 42, blockId: '00', timestampMs: NOW_MS - 60_000 },
};

const AUDIT: AuditRecord = {
  ...NEW_AUDIT,
  books: { clearAtMs: NOW_MS - 12_400, unclear: null },
  wallet: { clearAtMs: NOW_MS - 72_400, unclear: 'no node answers' },
  findings: [
    { kind: 'outflow', of: 'USDT', amountMicro: 3_500_000n, isConfirmed: true },
    { kind: 'overcounted', of: 'fees', amountMicro: 1n, isConfirmed: false },
  ],
  transitions: [
    { id: 'old', sinceMs: NOW_MS - HOUR_MS },
    { id: 'new', sinceMs: NOW_MS },
  ],
};

function build(changes: Partial<PaymentReports> = {}) {
  const asked: number[] = [];
  const app = buildStatsApp({
    reports: {
      serverTimeMs: async () => NOW_MS,
      readBreaker: async () => BREAKER,
      readAudit: async () => AUDIT,
      summariseUnfinished: async () => ({ count: 2, oldestCreatedAtMs: NOW_MS - 90_500 }),
      sumByStatus: async (sinceMs) => {
        asked.push(NOW_MS - sinceMs);
        return [
          { asset: 'USDT', status: 'confirmed', count: 3, amountMicro: 75_000_001n },
          { asset: 'USDT', status: 'broadcast', count: 1, amountMicro: 10_000_000n },
          { asset: 'USDT', status: 'accepted', count: 1, amountMicro: 500_000n },
          { asset: 'TRX', status: 'failed', count: 2, amountMicro: 4_000_000n },
        ];
      },
      ...changes,
    },
    rules: {
      circuit: { failureThreshold: 5, recoveryTimeoutMs: 300_000, halfOpenMaxCalls: 3, permitMs: 60_000 },
      limits: {
        USDT: { hourlyMicro: 1_000_000_000n, dailyMicro: 350_000_000n },
        TRX: { hourlyMicro: 1_000_000_000n, dailyMicro: 10_000_000_000n },
      },
      windows: LIMIT_WINDOWS,
      feeLimitDailyMicro: 100_000_000n,
    },
    authenticator: new Authenticator({
      callers: {
        gateway: { secrets: [SECRETS.gateway], scopes: ['read'] },
        payer: { secrets: [SECRETS.payer], scopes: ['pay'] },
      },
      audience: 'tron-payment-service',
      tokenLifetimeMaxSeconds: 86_400,
      monitoringKey: MONITORING,
      nowMs: () => NOW_MS,
    }),
  });
  return { app, asked };
}

async function get(
  url: string,
  changes: Partial<PaymentReports> = {},
  caller: keyof typeof SECRETS = 'gateway',
) {
  const { app, asked } = build(changes);
  const token = await mintToken({
    caller,
    secret: SECRETS[caller],
    audience: 'tron-payment-service',
    nowMs: NOW_MS,
    lifetimeSeconds: 60,
    tokenId: 'token-1',
  });
  const response = await app.inject({ url, headers: { authorization: `Bearer ${token}` } });
  return { response, asked };
}

describe('GET /stats', () => {
  it('tells counts, amounts and limits, the circuit breaker on top', async () => {
    const { response } = await get('/stats?period=hour');
    expect(response.statusCode).toBe(200);
    const body = response.json();
    expect(Check(StatsAnswer, body), JSON.stringify(Errors(StatsAnswer, body)[1])).toBe(true);
    expect(body).toEqual({
      circuit_breaker_status: 'open',
      circuit_breaker: {
        consecutive_failures: 0,
        reason: 'five failures',
        opened_at: '2026-03-04T05:05:07.000Z',
        probes_at: '2026-03-04T05:10:07.000Z',
        needs_reset: false,
      },
      paused: null,
      restored: null,
      last_order: null,
      period: 'hour',
      since: '2026-03-04T04:06:07.000Z',
      until: '2026-03-04T05:06:07.000Z',
      payments: {
        total: 7,
        by_status: {
          accepted: 1,
          signed: 0,
          broadcast: 1,
          confirmed: 3,
          failed: 2,
          refused: 0,
          expired: 0,
          needs_review: 0,
          awaiting_approval: 0,
          cancelled: 0,
          rejected: 0,
        },
      },
      amounts: {
        USDT: { confirmed: '75.000001', unfinished: '10.5', needs_review: '0', total: '85.500001' },
        TRX: { confirmed: '0', unfinished: '0', needs_review: '0', total: '4' },
      },
      limits: {
        USDT: {
          // What lies two hours back no longer counts.
          hour: { limit: '1000', used: '150.5', remaining: '849.5' },
          // More is used than a limit that was lowered allows.
          day: { limit: '350', used: '400', remaining: '0' },
        },
        TRX: {
          hour: { limit: '1000', used: '2', remaining: '998' },
          day: { limit: '10000', used: '2', remaining: '9998' },
        },
      },
      fees: { day: { limit: '100', used: '1.5', remaining: '98.5' } },
      unfinished: { count: 2, oldest_age_seconds: 90 },
      solid_head: { number: 42, age_seconds: 60 },
      audit: {
        findings: [
          { kind: 'outflow', of: 'USDT', amount: '3.5', confirmed: true },
          { kind: 'overcounted', of: 'fees', amount: '0.000001', confirmed: false },
        ],
        old_transitions: 1,
        books: { age_seconds: 12, unclear: null },
        wallet: { age_seconds: 72, unclear: 'no node answers' },
      },
    });
  });

  it('tells of a restore, and how far what was paid since the backup is known', async () => {
    const restore = {
      id: 'restore-1',
      backupAtMs: NOW_MS - 3_600_000,
      restoredAtMs: NOW_MS - 60_000,
      isLoaded: true,
      knownHead: { number: 1_000, blockId: 'a'.repeat(64), timestampMs: NOW_MS - HOUR_MS },
      walk: {
        from: { number: 2_000, blockId: 'c'.repeat(64), timestampMs: NOW_MS },
        next: { number: 1_500, blockId: 'b'.repeat(64) },
      },
      reconciledAtMs: null,
      recovered: 3,
    };
    const { response } = await get('/stats', { readBreaker: async () => ({ ...BREAKER, restore }) });
    expect(response.json()).toMatchObject({
      restored: {
        backup_at: '2026-03-04T04:06:07.000Z',
        restored_at: '2026-03-04T05:05:07.000Z',
        reconciled_at: null,
        blocks_left: 500,
        recovered: 3,
      },
    });
  });

  it('tells of a pause, and of a circuit that waits for a reset', async () => {
    const { response } = await get('/stats', {
      readBreaker: async () => ({
        ...BREAKER,
        circuit: tripCircuit(NEW_BREAKER.circuit, 'an outflow', NOW_MS),
        pause: { reason: 'audit', by: 'operator', atMs: NOW_MS },
        lastOrder: { action: 'pause', reason: 'audit', by: 'operator', atMs: NOW_MS },
      }),
    });
    expect(response.json()).toMatchObject({
      circuit_breaker_status: 'open',
      circuit_breaker: { needs_reset: true, probes_at: null, reason: 'an outflow' },
      paused: { reason: 'audit', by: 'operator', at: '2026-03-04T05:06:07.000Z' },
      last_order: { action: 'pause', reason: 'audit', by: 'operator', at: '2026-03-04T05:06:07.000Z' },
    });
  });

  it.each([
    ['/stats', 24],
    ['/stats?period=hour', 1],
    ['/stats?period=day', 24],
    ['/stats?period=week', 24 * 7],
    ['/stats?period=month', 24 * 30],
  ])('%s looks back %i hours', async (url, hours) => {
    const { asked } = await get(url);
    expect(asked).toEqual([hours * HOUR_MS]);
  });

  it.each([
    ['/stats?period=year', 'field_invalid', 'period'],
    ['/stats?period=', 'field_invalid', 'period'],
    ['/stats?period=day&period=hour', 'field_invalid', 'period'],
    ['/stats?periode=day', 'field_unknown', 'periode'],
  ])('%s is refused', async (url, code, field) => {
    const { response, asked } = await get(url);
    expect(response.statusCode).toBe(400);
    expect(response.json()).toMatchObject({ code, field });
    expect(asked).toEqual([]);
  });

  it('tells a service that was never used', async () => {
    const { response } = await get('/stats', {
      readBreaker: async () => NEW_BREAKER,
      summariseUnfinished: async () => ({ count: 0, oldestCreatedAtMs: null }),
      sumByStatus: async () => [],
    });
    expect(Check(StatsAnswer, response.json())).toBe(true);
    expect(response.json()).toMatchObject({
      circuit_breaker_status: 'closed',
      payments: { total: 0 },
      unfinished: { count: 0, oldest_age_seconds: null },
      solid_head: null,
    });
  });

  it('answers 503 while the database is away', async () => {
    const { response } = await get('/stats', {
      serverTimeMs: async () => {
        throw new ServiceError('store_unavailable', 'the database is out of reach');
      },
    });
    expect(response.statusCode).toBe(503);
    expect(response.headers['retry-after']).toBe('5');
    expect(response.json()).toMatchObject({ code: 'store_unavailable' });
  });
});

describe('GET /metrics', () => {
  it('tells the same in Prometheus text', async () => {
    const { response, asked } = await get('/metrics');
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    const lines = response.body.split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        '# TYPE tron_payment_payments gauge',
        'tron_payment_payments{asset="USDT",status="confirmed",period="hour"} 3',
        'tron_payment_amount{asset="USDT",status="confirmed",period="day"} 75.000001',
        'tron_payment_limit{asset="USDT",window="hour"} 1000',
        'tron_payment_limit_used{asset="USDT",window="hour"} 150.5',
        'tron_payment_outstanding{asset="USDT"} 100',
        'tron_payment_circuit_breaker_state{state="open"} 1',
        'tron_payment_circuit_breaker_state{state="closed"} 0',
        'tron_payment_unfinished 2',
        'tron_payment_oldest_unfinished_age_seconds 90.5',
        'tron_payment_solid_head_block 42',
        'tron_payment_audit_finding{kind="outflow",of="USDT"} 3.5',
        'tron_payment_audit_finding{kind="overcounted",of="fees"} 0',
        'tron_payment_old_transitions 1',
        'tron_payment_audit_age_seconds{of="wallet"} 72.4',
      ]),
    );
    expect(asked).toEqual([HOUR_MS, 24 * HOUR_MS]);
  });

  it('can be scraped again and again', async () => {
    const { app } = build();
    const headers = { authorization: `Bearer ${MONITORING.reveal()}` };
    const first = await app.inject({ url: '/metrics', headers });
    const second = await app.inject({ url: '/metrics', headers });
    expect(second.statusCode).toBe(200);
    expect(second.body).toBe(first.body);
  });
});

describe('who may read', () => {
  it.each(['/stats', '/metrics'])('%s takes the monitoring key', async (url) => {
    const { app } = build();
    const response = await app.inject({ url, headers: { authorization: `Bearer ${MONITORING.reveal()}` } });
    expect(response.statusCode).toBe(200);
  });

  it.each(['/stats', '/metrics'])('%s is closed to strangers', async (url) => {
    const { app } = build();
    expect((await app.inject({ url })).statusCode).toBe(401);
  });

  it('is closed to callers that may pay and not read', async () => {
    const { response } = await get('/stats', {}, 'payer');
    expect(response.statusCode).toBe(403);
  });
});
