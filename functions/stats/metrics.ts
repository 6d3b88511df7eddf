import { Gauge, Registry } from 'prom-client';
import { BOOKS, FINDING_KINDS } from '../../shared/domain/audit.ts';
import { formatAmount } from '../../shared/domain/money.ts';
import type { Period, PeriodSums, Standing } from '../../shared/usecases/report.ts';

/** What a scrape tells of payments: the last hour and day. Longer is for Prometheus itself to keep. */
export const METRIC_PERIODS: readonly Period[] = ['hour', 'day'];

export interface MetricsInput {
  readonly periods: readonly PeriodSums[];
  readonly standing: Standing;
}

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

/**
 * Writes the figures as Prometheus reads them. The registry is made anew for each scrape and filled from the
 * database, so that every instance tells the same, and what no longer exists vanishes.
 */
export async function writeMetrics({ periods, standing }: MetricsInput): Promise<MetricsText> {
  const registry = new Registry();
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name: `tron_payment_${name}`, help, labelNames, registers: [registry] });

  const payments = gauge('payments', 'Payments created within the rolling period, by present status.', [
    'asset',
    'status',
    'period',
  ]);
  const amounts = gauge('amount', 'Their amounts, in whole units of the asset.', [
    'asset',
    'status',
    'period',
  ]);
  for (const { period, sums } of periods) {
    for (const { asset, status, count, amountMicro } of sums) {
      payments.set({ asset, status, period }, count);
      amounts.set({ asset, status, period }, units(amountMicro));
    }
  }

  const limit = gauge('limit', 'The limit of the rolling window, in units of the asset.', [
    'asset',
    'window',
  ]);
  const used = gauge('limit_used', 'What counts against the limit now, in units of the asset.', [
    'asset',
    'window',
  ]);
  for (const { asset, window, limitMicro, usedMicro } of standing.limits) {
    limit.set({ asset, window }, units(limitMicro));
    used.set({ asset, window }, units(usedMicro));
  }

  const outstanding = gauge(
    'outstanding',
    'Reserved and neither spent nor given back, in units of the asset.',
    ['asset'],
  );
  outstanding.set({ asset: 'USDT' }, units(standing.outstandingMicro.USDT));
  outstanding.set({ asset: 'TRX' }, units(standing.outstandingMicro.TRX));

  const state = gauge('circuit_breaker_state', '1 for the state that the circuit breaker is in.', ['state']);
  for (const each of ['closed', 'open', 'half_open'] as const) {
    state.set({ state: each }, standing.circuit.status === each ? 1 : 0);
  }
  gauge('circuit_breaker_failures', 'Consecutive failures while closed.').set(standing.circuit.failures);

  gauge('tripped', '1 while the circuit is open until an operator resets it.').set(
    standing.circuit.needsReset ? 1 : 0,
  );
  gauge('paused', '1 while an operator has paused payments.').set(standing.pause === null ? 0 : 1);
  gauge('unreconciled', '1 while a restored system does not know what was paid since the backup.').set(
    standing.restore !== null && standing.restore.reconciledAtMs === null ? 1 : 0,
  );
  gauge('fee_limit', 'The daily cap of all fees, in TRX.').set(units(standing.fees.limitMicro));
  gauge('fee_limit_used', 'What counts against it now, in TRX.').set(units(standing.fees.usedMicro));

  gauge('unfinished', 'Payments that settle still has to visit.').set(standing.unfinished.count);
  gauge('oldest_unfinished_age_seconds', 'Age of the oldest of them; 0 where there is none.').set(
    (standing.unfinished.oldestAgeMs ?? 0) / 1000,
  );
  gauge('transitions', 'Steps between the breaker and payments that are under way.').set(
    standing.transitions,
  );
  if (standing.solidHead !== null) {
    gauge('solid_head_block', 'The newest solid block that any instance has seen.').set(
      standing.solidHead.number,
    );
    gauge('solid_head_age_seconds', 'Its age by the database server.').set(standing.solidHead.ageMs / 1000);
  }
  const { audit } = standing;
  const findings = gauge(
    'audit_finding',
    'What two audits in a row have found not to add up, in units of the asset.',
    ['kind', 'of'],
  );
  for (const kind of FINDING_KINDS) {
    for (const book of BOOKS) {
      // The wallet loses fees as TRX.
      if (kind !== 'outflow' || book !== 'fees') findings.set({ kind, of: book }, 0);
    }
  }
  for (const { kind, of, amountMicro, isConfirmed } of audit.findings) {
    if (isConfirmed) findings.set({ kind, of }, units(amountMicro));
  }
  gauge(
    'old_transitions',
    'Steps between the breaker and payments that have been half done for minutes.',
  ).set(audit.oldTransitions);
  const age = gauge('audit_age_seconds', 'Since the last audit that could compare it.', ['of']);
  for (const half of ['books', 'wallet'] as const) {
    const { ageMs } = audit[half];
    if (ageMs !== null) age.set({ of: half }, ageMs / 1000);
  }
  return { contentType: registry.contentType, text: await registry.metrics() };
}

/** Prometheus knows floats alone. They are shown; nothing is ever computed from them. */
function units(amountMicro: bigint): number {
  return Number(formatAmount(amountMicro));
}
