import { isBatchId } from '../domain/batch.ts';
import type { Breaker } from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import { END_STATUSES, isLive, isSettled, type Payment } from '../domain/payment.ts';
import { isUnreconciled } from '../domain/restore.ts';
import { judgeBatchTransition, judgeTransition } from '../domain/transition-rules.ts';
import type { Lease } from '../ports/ledger.ts';
import { advancePayment, type Glance } from './advance-payment.ts';
import { type AuditReport, audit } from './audit.ts';
import type { Engine } from './engine.ts';
import { advanceBatch, resolveBatchTransition } from './pay-batch.ts';
import { type ReconciliationReport, reconcile } from './reconcile.ts';
import { closeAccounts, refreshSolidHead, resolveTransition } from './reserve-and-close.ts';

/** What one run did, in counts. */
export interface SettleReport {
  /** Transitions that a crash had left between two documents, and that are resolved now. */
  readonly transitions_resolved: number;
  /** Transitions that the rules know no answer to: an operator should look. */
  readonly transitions_anomalous: number;
  readonly visited: number;
  /** Payments that reached an end in this run, by that end. */
  readonly ended: Readonly<Record<string, number>>;
  /** Payments that wait for something that is away, by its code. */
  readonly waiting: Readonly<Record<string, number>>;
  /** Payments whose transition or visit failed unexpectedly; they are visited again. */
  readonly errors: number;
  /** Whether work was left because the run had reached its bounds. */
  readonly more: boolean;
  /** Null where nothing has to be found out. */
  readonly reconciliation: ReconciliationReport | null;
  /** Null where none was due. */
  readonly audit: AuditReport | null;
}

export interface SettleBounds {
  /** This process's time at which the run stops taking up payments. */
  readonly deadlineMs: number;
  readonly paymentsMax: number;
}

/** One page of due payments: bounded memory however long the backlog is. */
const PAGE = 50;
/** Visits at once: the chain's answers are what a visit waits for. */
const VISITS_AT_ONCE = 8;

/** Told of what failed unexpectedly: a payment's or batch's id, `audit` or `reconciliation`. */
export type OnError = (what: string, error: unknown) => void;

/**
 * Settles run after run, as one process does. Once a run has found nothing left over and the circuit closed, the next
 * ones, for as long as an audit's interval, cost a single read while nothing is unfinished. What a crash leaves in the
 * breaker document then belongs to a payment that is due again, or to one that is over, whose amount is counted too
 * long until the next look: never too little. What is remembered here is a hint; all that decides is in the store.
 */
export function settler(engine: Engine, onError: OnError): (bounds: SettleBounds) => Promise<SettleReport> {
  let quietSinceMs: number | null = null;
  return async (bounds) => {
    const nowMs = engine.clock.nowMs();
    const isQuiet =
      quietSinceMs !== null && nowMs >= quietSinceMs && nowMs < quietSinceMs + engine.rules.auditIntervalMs;
    if (isQuiet && (await isNothingDue(engine))) return NOTHING_DONE;
    const run = await runOnce(engine, bounds, onError);
    quietSinceMs = run.isQuiet ? nowMs : null;
    return run.report;
  };
}

/**
 * Drives every unfinished payment on from stored state alone. Several runs at once share the work: each takes up
 * what is due under a lease of its own. Whatever a run leaves undone is due again when its lease ends.
 */
export async function settle(engine: Engine, bounds: SettleBounds, onError: OnError): Promise<SettleReport> {
  return (await runOnce(engine, bounds, onError)).report;
}

const NOTHING_DONE: SettleReport = {
  transitions_resolved: 0,
  transitions_anomalous: 0,
  visited: 0,
  ended: {},
  waiting: {},
  errors: 0,
  more: false,
  reconciliation: null,
  audit: null,
};

async function isNothingDue({ ledger }: Engine): Promise<boolean> {
  const firstDueMs = await ledger.firstDueMs();
  return firstDueMs === null || firstDueMs > (await ledger.serverTimeMs());
}

async function runOnce(
  engine: Engine,
  bounds: SettleBounds,
  onError: OnError,
): Promise<{ readonly report: SettleReport; readonly isQuiet: boolean }> {
  const { ledger, clock, ids, rules } = engine;
  const breaker = await ledger.readBreaker();
  const { restore } = breaker;
  // Half of the payments are not back yet: nothing can be told of the others.
  if (restore !== null && !restore.isLoaded) return { report: NOTHING_DONE, isQuiet: false };
  const transitions = await resolveLeftovers(engine, breaker, onError);
  const ended: Record<string, number> = {};
  const waiting: Record<string, number> = {};
  const owner = ids.next();
  let visited = 0;
  let errors = transitions.errors;
  let headAsked = false;
  let more = false;

  for (;;) {
    more = visited >= bounds.paymentsMax || clock.nowMs() >= bounds.deadlineMs;
    if (more) break;
    const nowMs = await ledger.serverTimeMs();
    // The lease also fixes the next visit, so a payment that fails every time never holds up the others.
    const lease: Lease = { owner, untilMs: nowMs + rules.leaseMs };
    const due = await ledger.claimDue(lease, nowMs, Math.min(PAGE, bounds.paymentsMax - visited));
    const claimed = [...due.payments, ...due.batches].map(({ id }) => id);
    if (claimed.length === 0) break;
    // Slots free only as far as the last solid head seen, so every run that has work brings a newer one.
    if (!headAsked) await refreshSolidHead(engine);
    headAsked = true;
    const { solidHead } = await ledger.readCircuit();
    const toClose = new Set<string>();
    const left = new Set(claimed);
    for (const batch of due.batches) {
      left.delete(batch.id);
      await attempt(batch.id, () => advanceBatch(engine, batch));
    }
    await inParallel(due.payments, async (payment) => {
      // Where a node is silent, a page of visits would take minutes.
      if (clock.nowMs() >= bounds.deadlineMs) return;
      left.delete(payment.id);
      await attempt(payment.id, async () => {
        const after = await visit(payment, { nowMs, solidHead });
        if ((END_STATUSES as readonly string[]).includes(after.status) && !isOver(after)) {
          toClose.add(after.id);
        }
      });
    });
    errors += (await closeAll(engine, [...toClose], onError)).errors;
    visited += claimed.length - left.size;
    await ledger.putOff(
      lease,
      claimed.filter((id) => !left.has(id)),
      nowMs + rules.revisitMs,
    );
    if (left.size > 0) await ledger.putOff(lease, [...left], nowMs);
  }
  // While the circuit is not closed, a run with nothing to pay still asks whether the network is back.
  if (!headAsked && !more && breaker.circuit.kind !== 'closed') await refreshSolidHead(engine);
  let reconciliation: ReconciliationReport | null = null;
  if (isUnreconciled(restore)) {
    await attempt('reconciliation', async () => {
      reconciliation = await reconcile(engine, restore, bounds.deadlineMs);
      const { waitsFor } = reconciliation;
      if (waitsFor !== null) waiting[waitsFor.code] = (waiting[waitsFor.code] ?? 0) + 1;
    });
  }
  let audited: AuditReport | null = null;
  await attempt('audit', async () => {
    audited = await audit(engine);
  });
  const report: SettleReport = {
    transitions_resolved: transitions.resolved,
    transitions_anomalous: transitions.anomalous,
    visited,
    ended,
    waiting,
    errors,
    more,
    reconciliation,
    audit: audited,
  };
  const isQuiet =
    !isUnreconciled(restore) &&
    breaker.transitions.length === 0 &&
    breaker.circuit.kind === 'closed' &&
    errors === 0 &&
    !more;
  return { report, isQuiet };

  async function visit(payment: Payment, glance: Glance): Promise<Payment> {
    const { payment: after, waitsFor } = await advancePayment(engine, payment, { leaveOpen: true, glance });
    if (waitsFor !== null) waiting[waitsFor.code] = (waiting[waitsFor.code] ?? 0) + 1;
    if (isLive(payment.status) && !isLive(after.status)) ended[after.status] = (ended[after.status] ?? 0) + 1;
    return after;
  }

  async function attempt(what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isStoreAway(error)) throw error;
      errors += 1;
      onError(what, error);
    }
  }
}

function isOver(payment: Payment): boolean {
  return isSettled(payment) && payment.settleAtMs === null;
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const next = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  const lines: Promise<void>[] = [];
  while (lines.length < Math.min(VISITS_AT_ONCE, items.length)) lines.push(next());
  await Promise.all(lines);
}

/** Resolves every transition found in the breaker document, each against its payment as read afterwards. */
async function resolveLeftovers(
  engine: Engine,
  breaker: Breaker,
  onError: OnError,
): Promise<{ resolved: number; anomalous: number; errors: number }> {
  const { ledger } = engine;
  if (breaker.transitions.length === 0) return { resolved: 0, anomalous: 0, errors: 0 };
  const nowMs = await ledger.serverTimeMs();
  let resolved = 0;
  let anomalous = 0;
  let errors = 0;
  // Closings share the slots, so they are finished together.
  const closing: string[] = [];
  for (const transition of breaker.transitions) {
    try {
      if (isBatchId(transition.paymentId)) {
        const batch = await ledger.findBatch(transition.paymentId);
        const verdict = judgeBatchTransition(transition, batch);
        // Somebody is at it right now; it is left over only once their lease has passed.
        if ((verdict === 'note' || verdict === 'admit') && (batch?.settleAtMs ?? 0) > nowMs) continue;
        if (await resolveBatchTransition(engine, transition, batch)) resolved += 1;
        else anomalous += 1;
        continue;
      }
      const payment = await ledger.findPayment(transition.paymentId);
      const verdict = judgeTransition(transition, payment);
      const isUnderWay = payment !== null && isLive(payment.status) && (payment.settleAtMs ?? 0) > nowMs;
      if (isUnderWay && verdict !== 'take_out') continue;
      if (payment !== null && transition.kind !== 'reserve') closing.push(payment.id);
      else if (await resolveTransition(engine, breaker, transition, payment)) resolved += 1;
      else anomalous += 1;
    } catch (error) {
      // One that fails every time must not keep all payments from being visited.
      if (isStoreAway(error)) throw error;
      errors += 1;
      onError(transition.paymentId, error);
    }
  }
  const closed = await closeAll(engine, closing, onError);
  return {
    resolved: resolved + closing.length - closed.left,
    anomalous,
    errors: errors + closed.errors,
  };
}

/** Closes accounts together; where that fails unexpectedly each by itself, so that only the one at fault stays open. */
async function closeAll(
  engine: Engine,
  ids: readonly string[],
  onError: OnError,
): Promise<{ readonly left: number; readonly errors: number }> {
  const [first, ...others] = ids;
  if (first === undefined) return { left: 0, errors: 0 };
  try {
    return { left: (await closeAccounts(engine, ...ids)).length, errors: 0 };
  } catch (error) {
    if (isStoreAway(error)) throw error;
    if (others.length === 0) {
      onError(first, error);
      return { left: 1, errors: 1 };
    }
  }
  let [left, errors] = [0, 0];
  for (const id of ids) {
    const closed = await closeAll(engine, [id], onError);
    left += closed.left;
    errors += closed.errors;
  }
  return { left, errors };
}

/** Without the store nothing can be done for any payment. */
function isStoreAway(error: unknown): boolean {
  return error instanceof ServiceError && error.code === 'store_unavailable';
}
