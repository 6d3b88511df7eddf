import { type AuditState, describeFinding, oldTransitions } from '../domain/audit.ts';
import type { Breaker } from '../domain/breaker.ts';
import type { Circuit, CircuitRules } from '../domain/circuit.ts';
import { formatAmount } from '../domain/money.ts';
import { obstacleToResume } from '../domain/restore.ts';
import type { TronAddress } from '../domain/tron-address.ts';
import type { ChainStatus } from '../ports/chain-status.ts';
import type { Clock } from '../ports/clock.ts';
import type { PaymentReports } from '../ports/payment-reports.ts';
import type { ProxyProbe } from '../ports/proxy-probe.ts';

export const CHECK_NAMES = ['mongo', 'tron', 'tor', 'circuit_breaker', 'wallet', 'audit'] as const;
export type CheckName = (typeof CHECK_NAMES)[number];

export interface CheckResult {
  readonly healthy: boolean;
  readonly latencyMs: number;
  /** What was found, in plain words, good or bad. */
  readonly reason: string;
}

export interface HealthReport {
  /** Whether all checks are. */
  readonly healthy: boolean;
  readonly checks: Readonly<Record<CheckName, CheckResult>>;
}

export interface HealthParts {
  readonly reports: Pick<PaymentReports, 'readBreaker' | 'readAudit' | 'serverTimeMs'>;
  readonly chain: ChainStatus;
  /** Null where Tor is not in use. */
  readonly tor: ProxyProbe | null;
  readonly clock: Clock;
  readonly circuit: CircuitRules;
  readonly wallet: TronAddress;
  /** Less TRX than this cannot pay fees for long. */
  readonly walletMinimumMicro: bigint;
  /** Each check ends after this, whatever it waits for. */
  readonly deadlineMs: number;
}

/** Solid blocks follow the head by about a minute; five minutes mean that the chain or the node stands still. */
const SOLID_HEAD_AGE_MS_MAX = 5 * 60_000;

/** Looks at everything that paying depends on, all at once, each within the deadline. */
export async function checkHealth(parts: HealthParts): Promise<HealthReport> {
  // One read serves two checks: that it came tells of the database, what it says of the circuit.
  const shared = readShared(parts);
  const [mongo, tron, tor, circuit_breaker, wallet, audit] = await Promise.all([
    runCheck(parts, () => checkStore(shared)),
    runCheck(parts, () => checkChain(parts)),
    runCheck(parts, () => checkTor(parts)),
    runCheck(parts, () => checkCircuit(parts, shared)),
    runCheck(parts, () => checkWallet(parts)),
    runCheck(parts, () => checkAudit(parts, shared)),
  ]);
  const checks = { mongo, tron, tor, circuit_breaker, wallet, audit };
  return { healthy: Object.values(checks).every(({ healthy }) => healthy), checks };
}

/** Whether requests can be served at all: the configuration was read, and the store answers. */
export function checkReadiness(
  parts: Pick<HealthParts, 'clock' | 'deadlineMs'> & { readonly reports: BreakerReports },
): Promise<CheckResult> {
  return runCheck(parts, () => checkStore(readShared(parts)));
}

interface Finding {
  readonly healthy: boolean;
  readonly reason: string;
}

const good = (reason: string): Finding => ({ healthy: true, reason });
const bad = (reason: string): Finding => ({ healthy: false, reason });

type BreakerReports = Pick<PaymentReports, 'readBreaker' | 'serverTimeMs'>;

interface SharedState {
  readonly breaker: Breaker;
  readonly serverTimeMs: number;
}

async function readShared({ reports }: { readonly reports: BreakerReports }): Promise<SharedState> {
  const [breaker, serverTimeMs] = await Promise.all([reports.readBreaker(), reports.serverTimeMs()]);
  return { breaker, serverTimeMs };
}

async function checkStore(shared: Promise<SharedState>): Promise<Finding> {
  await shared;
  return good('the database answers reads from its majority');
}

async function checkChain({ chain, clock }: HealthParts): Promise<Finding> {
  const head = await chain.readSolidHead();
  const ageMs = clock.nowMs() - head.timestampMs;
  const told = `the newest solid block is ${head.number}, ${seconds(Math.abs(ageMs))}`;
  if (ageMs > SOLID_HEAD_AGE_MS_MAX) return bad(`${told} old: the chain or its node stands still`);
  if (ageMs < -SOLID_HEAD_AGE_MS_MAX) return bad(`${told} ahead of this machine's clock`);
  return good(ageMs < 0 ? `${told} ahead of this machine's clock` : `${told} old`);
}

async function checkTor({ tor }: HealthParts): Promise<Finding> {
  if (tor === null) return good('not in use: all nodes are on this machine or a private network');
  await tor.greet();
  return good('the proxy answers');
}

async function checkCircuit({ circuit: rules }: HealthParts, shared: Promise<SharedState>): Promise<Finding> {
  const { breaker, serverTimeMs } = await shared.catch(() => {
    throw new Error('not known while the database is away');
  });
  const { pause, circuit, restore } = breaker;
  if (pause !== null) {
    const obstacle = obstacleToResume(restore);
    const why = obstacle === null ? pause.reason : `${pause.reason}: ${obstacle}`;
    const beside = judgeCircuit(circuit, rules, serverTimeMs);
    const told = beside.healthy ? '' : `; the circuit is ${beside.reason}`;
    return bad(`payments are paused by ${pause.by} (${why})${told}`);
  }
  return judgeCircuit(circuit, rules, serverTimeMs);
}

function judgeCircuit(circuit: Circuit, rules: CircuitRules, nowMs: number): Finding {
  switch (circuit.kind) {
    case 'closed':
      return good(
        circuit.failures === 0
          ? 'closed'
          : `closed, with ${circuit.failures} of ${rules.failureThreshold} consecutive failures`,
      );
    case 'half_open':
      return bad(
        `half-open: ${circuit.successes} of ${rules.halfOpenMaxCalls} calls that close it have succeeded`,
      );
    case 'open': {
      const waitMs = circuit.openedAtMs + rules.recoveryTimeoutMs - nowMs;
      const since = new Date(circuit.openedAtMs).toISOString();
      const probing =
        waitMs > 0 ? `it lets calls through again in ${seconds(waitMs)}` : 'the next call probes';
      const next = circuit.until === 'reset' ? 'an operator must reset it' : probing;
      return bad(`open since ${since} (${circuit.reason}); ${next}`);
    }
  }
}

async function checkWallet({ chain, wallet, walletMinimumMicro }: HealthParts): Promise<Finding> {
  const [trxMicro, tokenMicro] = await Promise.all([
    chain.readTrxBalanceMicro(wallet),
    chain.readTokenBalanceMicro(wallet),
  ]);
  const told = `the wallet holds ${formatAmount(trxMicro)} TRX and ${formatAmount(tokenMicro)} USDT`;
  return trxMicro >= walletMinimumMicro
    ? good(told)
    : bad(`${told}: less TRX than the minimum of ${formatAmount(walletMinimumMicro)}`);
}

/** Whether the books agree with the payments, and the wallet with what was spent, as the last audits found. */
async function checkAudit({ reports }: HealthParts, shared: Promise<SharedState>): Promise<Finding> {
  const [record, { serverTimeMs }] = await Promise.all([reports.readAudit(), shared]).catch(() => {
    throw new Error('not known while the database is away');
  });
  const confirmed = record.findings.filter(({ isConfirmed }) => isConfirmed);
  const stuck = oldTransitions(record, serverTimeMs);
  const problems = [
    ...confirmed.map(describeFinding),
    ...(stuck === 0 ? [] : [`${stuck} steps between the breaker and payments are left half done`]),
  ];
  const told = [
    describeAudit('the books', record.books, serverTimeMs),
    describeAudit('the wallet', record.wallet, serverTimeMs),
  ].join('; ');
  return problems.length === 0 ? good(told) : bad(`${problems.join('; ')}; ${told}`);
}

function describeAudit(what: string, { clearAtMs, unclear }: AuditState, nowMs: number): string {
  const compared =
    clearAtMs === null
      ? `no comparison of ${what} yet`
      : `${what} compared ${seconds(nowMs - clearAtMs)} ago`;
  return unclear === null ? compared : `${compared} (last time: ${unclear})`;
}

/** Runs one check to its finding, whatever happens: an error is a finding, and so is silence. */
async function runCheck(
  { clock, deadlineMs }: Pick<HealthParts, 'clock' | 'deadlineMs'>,
  check: () => Promise<Finding>,
): Promise<CheckResult> {
  const startedAtMs = clock.nowMs();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<Finding>((resolve) => {
    timer = setTimeout(() => resolve(bad(`no answer within ${seconds(deadlineMs)}`)), deadlineMs);
  });
  const finding = await Promise.race([
    check().catch((error: unknown) => bad(error instanceof Error ? error.message : 'failed')),
    silence,
  ]);
  clearTimeout(timer);
  return { ...finding, latencyMs: Math.max(0, clock.nowMs() - startedAtMs) };
}

function seconds(durationMs: number): string {
  return `${Math.round(durationMs / 100) / 10} s`;
}
