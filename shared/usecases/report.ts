import { type AuditState, type Finding, oldTransitions } from '../domain/audit.ts';
import type { Breaker, OperatorOrder, Pause } from '../domain/breaker.ts';
import { type Circuit, type CircuitRules, isTripped } from '../domain/circuit.ts';
import {
  type AssetLimits,
  countedFeesMicro,
  countedMicro,
  freeableUntilMs,
  type LimitWindow,
  type LimitWindows,
} from '../domain/limits.ts';
import { ASSETS, type Asset } from '../domain/money.ts';
import { blocksLeft, type Restore } from '../domain/restore.ts';
import type { PaymentReports, StatusSum } from '../ports/payment-reports.ts';

export const PERIODS = ['hour', 'day', 'week', 'month'] as const;
export type Period = (typeof PERIODS)[number];

/** Periods are rolling and end now. A month is 30 days. */
export const PERIOD_MS: Readonly<Record<Period, number>> = {
  hour: 3_600_000,
  day: 86_400_000,
  week: 7 * 86_400_000,
  month: 30 * 86_400_000,
};

export interface ReportRules {
  readonly circuit: CircuitRules;
  readonly limits: Readonly<Record<Asset, AssetLimits>>;
  readonly windows: LimitWindows;
  /** The cap of all fees over a rolling day, in sun. */
  readonly feeLimitDailyMicro: bigint;
}

/** What all instances together have done and may still do. */
export interface Report {
  /** The database server's time of this report. */
  readonly nowMs: number;
  readonly sinceMs: number;
  /** Payments created within the period, by asset and present status; what has none is left out. */
  readonly sums: readonly StatusSum[];
  readonly standing: Standing;
}

/** The state of now, which no period changes. */
export interface Standing {
  readonly circuit: CircuitStanding;
  /** An operator's pause; null where there is none. */
  readonly pause: Pause | null;
  /** Where the database was put back from a backup; null where it never was. */
  readonly restore: RestoreStanding | null;
  /** What a person ordered of the breaker last. */
  readonly lastOrder: OperatorOrder | null;
  /** All fees against their daily cap, in sun. */
  readonly fees: Amounts;
  readonly limits: readonly LimitStanding[];
  readonly unfinished: { readonly count: number; readonly oldestAgeMs: number | null };
  /** What is reserved and neither spent nor given back, by asset. */
  readonly outstandingMicro: Readonly<Record<Asset, bigint>>;
  /** Steps between two documents that are under way. */
  readonly transitions: number;
  readonly solidHead: { readonly number: number; readonly ageMs: number } | null;
  readonly audit: AuditStanding;
}

/** How far a restored system knows what was paid since the backup. */
export interface RestoreStanding {
  readonly backupAtMs: number;
  readonly restoredAtMs: number;
  /** Null while the wallet's history is being read; until then payments cannot be resumed. */
  readonly reconciledAtMs: number | null;
  readonly blocksLeft: number | null;
  /** Transfers that no payment stood for. */
  readonly recovered: number;
}

/** What the last audits have found. */
export interface AuditStanding {
  readonly findings: readonly Finding[];
  /** Transitions that have been under way for longer than any step takes. */
  readonly oldTransitions: number;
  readonly books: ComparisonStanding;
  readonly wallet: ComparisonStanding;
}

export interface ComparisonStanding {
  /** How long ago it was last compared; null where it never was. */
  readonly ageMs: number | null;
  /** Why the latest audit came to no result; null where it did. */
  readonly unclear: string | null;
}

export interface CircuitStanding {
  readonly status: Circuit['kind'];
  /** Consecutive failures while closed. */
  readonly failures: number;
  /** Why it is open; null where it is not. */
  readonly reason: string | null;
  readonly openedAtMs: number | null;
  /** From when on an open circuit lets calls through to probe. */
  readonly probesAtMs: number | null;
  /** Open until an operator resets it. */
  readonly needsReset: boolean;
}

/** A limit, and what of it is used. */
export interface Amounts {
  readonly limitMicro: bigint;
  readonly usedMicro: bigint;
  /** Never below zero, though a lowered limit can have been passed already. */
  readonly remainingMicro: bigint;
}

export interface PeriodSums {
  readonly period: Period;
  readonly sums: readonly StatusSum[];
}

export interface LimitStanding {
  readonly asset: Asset;
  readonly window: LimitWindow;
  readonly limitMicro: bigint;
  /** Everything that counts now: reserved, and spent within the window. */
  readonly usedMicro: bigint;
  /** Never below zero, though a lowered limit can have been passed already. */
  readonly remainingMicro: bigint;
}

/** Reports one period and the state of now. */
export async function report(reports: PaymentReports, rules: ReportRules, period: Period): Promise<Report> {
  const nowMs = await reports.serverTimeMs();
  const sinceMs = nowMs - PERIOD_MS[period];
  const [sums, standing] = await Promise.all([
    reports.sumByStatus(sinceMs),
    readStanding(reports, rules, nowMs),
  ]);
  return { nowMs, sinceMs, sums, standing };
}

/** Reports several periods at one instant, for a scrape. */
export async function reportPeriods(
  reports: PaymentReports,
  rules: ReportRules,
  periods: readonly Period[],
): Promise<{ readonly periods: readonly PeriodSums[]; readonly standing: Standing }> {
  const nowMs = await reports.serverTimeMs();
  const [standing, ...sums] = await Promise.all([
    readStanding(reports, rules, nowMs),
    ...periods.map(async (period) => ({
      period,
      sums: await reports.sumByStatus(nowMs - PERIOD_MS[period]),
    })),
  ]);
  return { periods: sums, standing };
}

async function readStanding(reports: PaymentReports, rules: ReportRules, nowMs: number): Promise<Standing> {
  const [breaker, unfinished, audit] = await Promise.all([
    reports.readBreaker(),
    reports.summariseUnfinished(),
    reports.readAudit(),
  ]);
  const { oldestCreatedAtMs } = unfinished;
  return {
    circuit: describeCircuit(breaker.circuit, rules.circuit),
    pause: breaker.pause,
    restore: describeRestore(breaker.restore),
    lastOrder: breaker.lastOrder,
    limits: describeLimits(breaker, rules, nowMs),
    fees: describeFees(breaker, rules, nowMs),
    unfinished: {
      count: unfinished.count,
      oldestAgeMs: oldestCreatedAtMs === null ? null : Math.max(0, nowMs - oldestCreatedAtMs),
    },
    outstandingMicro: {
      USDT: breaker.books.USDT.outstandingMicro,
      TRX: breaker.books.TRX.outstandingMicro,
    },
    transitions: breaker.transitions.length,
    solidHead:
      breaker.solidHead === null
        ? null
        : { number: breaker.solidHead.number, ageMs: nowMs - breaker.solidHead.timestampMs },
    audit: {
      findings: audit.findings,
      oldTransitions: oldTransitions(audit, nowMs),
      books: describeComparison(audit.books, nowMs),
      wallet: describeComparison(audit.wallet, nowMs),
    },
  };
}

function describeRestore(restore: Restore | null): RestoreStanding | null {
  if (restore === null) return null;
  const { backupAtMs, restoredAtMs, reconciledAtMs, recovered } = restore;
  return { backupAtMs, restoredAtMs, reconciledAtMs, blocksLeft: blocksLeft(restore), recovered };
}

function describeComparison({ clearAtMs, unclear }: AuditState, nowMs: number): ComparisonStanding {
  return { ageMs: clearAtMs === null ? null : Math.max(0, nowMs - clearAtMs), unclear };
}

function describeCircuit(circuit: Circuit, rules: CircuitRules): CircuitStanding {
  const open = circuit.kind === 'open' ? circuit : null;
  return {
    status: circuit.kind,
    failures: circuit.kind === 'closed' ? circuit.failures : 0,
    reason: open?.reason ?? null,
    openedAtMs: open?.openedAtMs ?? null,
    needsReset: isTripped(circuit),
    probesAtMs: open === null || open.until === 'reset' ? null : open.openedAtMs + rules.recoveryTimeoutMs,
  };
}

function describeLimits(breaker: Breaker, { limits, windows }: ReportRules, nowMs: number): LimitStanding[] {
  const freeMs = freeableUntilMs(nowMs, breaker.solidHead?.timestampMs ?? null);
  return ASSETS.flatMap((asset) =>
    (['hour', 'day'] as const).map((window) => {
      const limitMicro = window === 'hour' ? limits[asset].hourlyMicro : limits[asset].dailyMicro;
      const usedMicro = countedMicro(breaker.books[asset], window, windows, freeMs);
      return { asset, window, ...amounts(limitMicro, usedMicro) };
    }),
  );
}

function describeFees(
  { fees, solidHead }: Breaker,
  { windows, feeLimitDailyMicro }: ReportRules,
  nowMs: number,
): Amounts {
  const freeMs = freeableUntilMs(nowMs, solidHead?.timestampMs ?? null);
  return amounts(feeLimitDailyMicro, countedFeesMicro(fees, windows, freeMs));
}

function amounts(limitMicro: bigint, usedMicro: bigint): Amounts {
  const leftMicro = limitMicro - usedMicro;
  return { limitMicro, usedMicro, remainingMicro: leftMicro > 0n ? leftMicro : 0n };
}
