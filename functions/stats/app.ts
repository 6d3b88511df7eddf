import type { OperatorOrder } from '../../shared/domain/breaker.ts';
import { ASSETS, type Asset, formatAmount } from '../../shared/domain/money.ts';
import { isLive } from '../../shared/domain/payment.ts';
import type { PaymentReports, StatusSum } from '../../shared/ports/payment-reports.ts';
import { type App, createApp } from '../../shared/runtime/app.ts';
import type { Authenticator } from '../../shared/runtime/auth.ts';
import { viewFindings } from '../../shared/runtime/findings-view.ts';
import {
  type Amounts,
  type ComparisonStanding,
  type LimitStanding,
  type Period,
  type Report,
  type ReportRules,
  type RestoreStanding,
  report,
  reportPeriods,
} from '../../shared/usecases/report.ts';
import { METRIC_PERIODS, writeMetrics } from './metrics.ts';
import { metricsSchema, STATUS_NAMES, type StatsAnswer, statsSchema } from './schema.ts';

export interface StatsParts {
  readonly reports: PaymentReports;
  readonly rules: ReportRules;
  readonly authenticator: Authenticator;
}

const READERS = { access: { scope: 'read', monitoring: true } } as const;

export function buildStatsApp({ reports, rules, authenticator }: StatsParts): App {
  const app = createApp({ authenticator });

  app.get('/stats', { config: READERS, schema: statsSchema }, async ({ query }, reply) => {
    const period = query.period ?? 'day';
    const answer = showReport(await report(reports, rules, period), period);
    return reply.header('cache-control', 'no-store').send(answer);
  });

  app.get('/metrics', { config: READERS, schema: metricsSchema }, async (_request, reply) => {
    const { contentType, text } = await writeMetrics(await reportPeriods(reports, rules, METRIC_PERIODS));
    return reply.header('content-type', contentType).header('cache-control', 'no-store').send(text);
  });

  return app;
}

function showOrder({ action, reason, by, atMs }: OperatorOrder): StatsAnswer['last_order'] {
  return { action, reason, by, at: instant(atMs) };
}

function showReport({ nowMs, sinceMs, sums, standing }: Report, period: Period): StatsAnswer {
  const { circuit, pause, restore, lastOrder, unfinished, solidHead } = standing;
  return {
    circuit_breaker_status: circuit.status,
    circuit_breaker: {
      consecutive_failures: circuit.failures,
      reason: circuit.reason,
      opened_at: instantOrNull(circuit.openedAtMs),
      probes_at: instantOrNull(circuit.probesAtMs),
      needs_reset: circuit.needsReset,
    },
    paused: pause === null ? null : { reason: pause.reason, by: pause.by, at: instant(pause.atMs) },
    restored: restore === null ? null : showRestore(restore),
    last_order: lastOrder === null ? null : showOrder(lastOrder),
    period,
    since: instant(sinceMs),
    until: instant(nowMs),
    payments: showCounts(sums),
    amounts: byAsset((asset) => showAmounts(sums.filter((sum) => sum.asset === asset))),
    limits: byAsset((asset) => ({
      hour: showLimit(standing.limits, asset, 'hour'),
      day: showLimit(standing.limits, asset, 'day'),
    })),
    fees: { day: showAmountsOf(standing.fees) },
    unfinished: {
      count: unfinished.count,
      oldest_age_seconds: unfinished.oldestAgeMs === null ? null : Math.floor(unfinished.oldestAgeMs / 1000),
    },
    solid_head:
      solidHead === null
        ? null
        : { number: solidHead.number, age_seconds: Math.floor(solidHead.ageMs / 1000) },
    audit: {
      findings: viewFindings(standing.audit.findings),
      old_transitions: standing.audit.oldTransitions,
      books: showComparison(standing.audit.books),
      wallet: showComparison(standing.audit.wallet),
    },
  };
}

function showRestore(restore: RestoreStanding): StatsAnswer['restored'] {
  return {
    backup_at: instant(restore.backupAtMs),
    restored_at: instant(restore.restoredAtMs),
    reconciled_at: instantOrNull(restore.reconciledAtMs),
    blocks_left: restore.blocksLeft,
    recovered: restore.recovered,
  };
}

function showComparison({ ageMs, unclear }: ComparisonStanding) {
  return { age_seconds: ageMs === null ? null : Math.floor(ageMs / 1000), unclear };
}

function showCounts(sums: readonly StatusSum[]): StatsAnswer['payments'] {
  const count = (chosen: readonly StatusSum[]) => chosen.reduce((total, sum) => total + sum.count, 0);
  return {
    total: count(sums),
    by_status: Object.fromEntries(
      STATUS_NAMES.map((status) => [status, count(sums.filter((sum) => sum.status === status))]),
    ) as StatsAnswer['payments']['by_status'],
  };
}

function showAmounts(sums: readonly StatusSum[]): StatsAnswer['amounts'][Asset] {
  const amount = (fits: (sum: StatusSum) => boolean) =>
    formatAmount(sums.filter(fits).reduce((total, sum) => total + sum.amountMicro, 0n));
  return {
    confirmed: amount(({ status }) => status === 'confirmed'),
    unfinished: amount(({ status }) => isLive(status)),
    needs_review: amount(({ status }) => status === 'needs_review'),
    total: amount(() => true),
  };
}

function showLimit(limits: readonly LimitStanding[], asset: Asset, window: LimitStanding['window']) {
  const found = limits.find((limit) => limit.asset === asset && limit.window === window);
  if (found === undefined) throw new Error(`there is no ${window} limit for ${asset}`);
  return showAmountsOf(found);
}

function showAmountsOf({ limitMicro, usedMicro, remainingMicro }: Amounts) {
  return {
    limit: formatAmount(limitMicro),
    used: formatAmount(usedMicro),
    remaining: formatAmount(remainingMicro),
  };
}

function byAsset<T>(show: (asset: Asset) => T): Record<Asset, T> {
  return Object.fromEntries(ASSETS.map((asset) => [asset, show(asset)])) as Record<Asset, T>;
}

function instant(atMs: number): string {
  return new Date(atMs).toISOString();
}

function instantOrNull(atMs: number | null): string | null {
  return atMs === null ? null : instant(atMs);
}
