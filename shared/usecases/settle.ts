import { isBatchId } from '../domain/batch.ts';
import { ServiceError } from '../domain/errors.ts';
import { END_STATUSES, isLive, isSettled, type Payment } from '../domain/payment.ts';
import { judgeBatchTransition, judgeTransition } from '../domain/transition-rules.ts';
import type { Lease } from '../ports/ledger.ts';
import { advancePayment } from './advance-payment.ts';
import type { Engine } from './engine.ts';
import { advanceBatch, resolveBatchTransition } from './pay-batch.ts';
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

type OnError = (paymentId: string, error: unknown) => void;

/**
 * Drives every unfinished payment on from stored state alone. Several runs at once share the work: each takes up
 * what is due under a lease of its own. Whatever a run leaves undone is due again when its lease ends.
 * @param onError told of visits that failed unexpectedly
 */
export async function settle(engine: Engine, bounds: SettleBounds, onError: OnError): Promise<SettleReport> {
  const { ledger, clock, ids, rules } = engine;
  const transitions = await resolveLeftovers(engine, onError);
  const ended: Record<string, number> = {};
  const waiting: Record<string, number> = {};
  const owner = ids.next();
  let visited = 0;
  let errors = transitions.errors;
  let headAsked = false;

  for (;;) {
    if (visited >= bounds.paymentsMax || clock.nowMs() >= bounds.deadlineMs) return report(true);
    const nowMs = await ledger.serverTimeMs();
    // The lease also fixes the next visit, so a payment that fails every time never holds up the others.
    const lease: Lease = { owner, untilMs: nowMs + rules.leaseMs };
    const due = await ledger.claimDue(lease, nowMs, Math.min(PAGE, bounds.paymentsMax - visited));
    const ids = [...due.payments, ...due.batches].map(({ id }) => id);
    if (ids.length === 0) break;
    // Slots free only as far as the last solid head seen, so every run that has work brings a newer one.
    if (!headAsked) await refreshSolidHead(engine);
    headAsked = true;
    visited += ids.length;
    const toClose = new Set<string>();
    for (const batch of due.batches) await attempt(batch.id, () => advanceBatch(engine, batch));
    await inParallel(due.payments, (payment) =>
      attempt(payment.id, async () => {
        const after = await visit(payment);
        if ((END_STATUSES as readonly string[]).includes(after.status) && !isOver(after)) {
          toClose.add(after.id);
        }
      }),
    );
    if (toClose.size > 0) await attempt([...toClose].join(), () => closeAccounts(engine, ...toClose));
    await ledger.putOff(lease, ids, nowMs + rules.revisitMs);
  }
  if (!headAsked) await probe(engine);
  return report(false);

  async function visit(payment: Payment): Promise<Payment> {
    const { payment: after, waitsFor } = await advancePayment(engine, payment, { leaveOpen: true });
    if (waitsFor !== null) waiting[waitsFor.code] = (waiting[waitsFor.code] ?? 0) + 1;
    if (isLive(payment.status) && !isLive(after.status)) ended[after.status] = (ended[after.status] ?? 0) + 1;
    return after;
  }

  async function attempt(id: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      // Without the store nothing can be done for any payment.
      if (error instanceof ServiceError && error.code === 'store_unavailable') throw error;
      errors += 1;
      onError(id, error);
    }
  }

  function report(more: boolean): SettleReport {
    return {
      transitions_resolved: transitions.resolved,
      transitions_anomalous: transitions.anomalous,
      visited,
      ended,
      waiting,
      errors,
      more,
    };
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
  await Promise.all(Array.from({ length: Math.min(VISITS_AT_ONCE, items.length) }, next));
}

/** Resolves every transition found in the breaker document, each against its payment as read afterwards. */
async function resolveLeftovers(
  engine: Engine,
  onError: OnError,
): Promise<{ resolved: number; anomalous: number; errors: number }> {
  const { ledger } = engine;
  const breaker = await ledger.readBreaker();
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
      if (error instanceof ServiceError && error.code === 'store_unavailable') throw error;
      errors += 1;
      onError(transition.paymentId, error);
    }
  }
  const left = await closeAccounts(engine, ...closing);
  return { resolved: resolved + closing.length - left.length, anomalous, errors };
}

/** While the circuit is not closed, a run with nothing to pay still asks whether the network is back. */
async function probe(engine: Engine): Promise<void> {
  const { circuit } = await engine.ledger.readBreaker();
  if (circuit.kind !== 'closed') await refreshSolidHead(engine);
}
