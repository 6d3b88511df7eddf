import { ServiceError } from '../domain/errors.ts';
import { isLive, type Payment } from '../domain/payment.ts';
import { advancePayment } from './advance-payment.ts';
import type { Engine } from './engine.ts';
import { refreshSolidHead, resolveTransition } from './reserve-and-close.ts';

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

/**
 * Drives every unfinished payment on from stored state alone. Two runs at once are harmless: each change is
 * conditional, and a visit is taken by moving its next date.
 * @param onError told of visits that failed unexpectedly
 */
export async function settle(
  engine: Engine,
  bounds: SettleBounds,
  onError: (paymentId: string, error: unknown) => void,
): Promise<SettleReport> {
  const { ledger, clock, rules } = engine;
  const transitions = await resolveLeftovers(engine, onError);
  const ended: Record<string, number> = {};
  const waiting: Record<string, number> = {};
  let visited = 0;
  let errors = transitions.errors;
  let headAsked = false;
  const outOfBounds = () => visited >= bounds.paymentsMax || clock.nowMs() >= bounds.deadlineMs;

  for (;;) {
    const nowMs = await ledger.serverTimeMs();
    const due = await ledger.findDue(nowMs, PAGE);
    if (due.length === 0) break;
    // Slots free only as far as the last solid head seen, so every run that has work brings a newer one.
    if (!headAsked) await refreshSolidHead(engine);
    headAsked = true;
    for (const payment of due) {
      if (outOfBounds()) return report(true);
      await visit(payment, nowMs);
    }
  }
  if (!headAsked) await probe(engine);
  return report(false);

  async function visit(payment: Payment, nowMs: number): Promise<void> {
    if (payment.settleAtMs === null) return;
    // Taking the visit also fixes the next one, so a payment that fails every time never holds up the others.
    if (!(await ledger.rescheduleVisit(payment.id, payment.settleAtMs, nowMs + rules.revisitMs))) return;
    visited += 1;
    try {
      const { payment: after, waitsFor } = await advancePayment(engine, payment);
      if (waitsFor !== null) waiting[waitsFor.code] = (waiting[waitsFor.code] ?? 0) + 1;
      if (isLive(payment.status) && !isLive(after.status))
        ended[after.status] = (ended[after.status] ?? 0) + 1;
    } catch (error) {
      // Without the store nothing can be done for any payment.
      if (error instanceof ServiceError && error.code === 'store_unavailable') throw error;
      errors += 1;
      onError(payment.id, error);
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

/** Resolves every transition found in the breaker document, each against its payment as read afterwards. */
async function resolveLeftovers(
  engine: Engine,
  onError: (paymentId: string, error: unknown) => void,
): Promise<{ resolved: number; anomalous: number; errors: number }> {
  const { transitions } = await engine.ledger.readBreaker();
  if (transitions.length === 0) return { resolved: 0, anomalous: 0, errors: 0 };
  const nowMs = await engine.ledger.serverTimeMs();
  let resolved = 0;
  let anomalous = 0;
  let errors = 0;
  for (const transition of transitions) {
    const payment = await engine.ledger.findPayment(transition.paymentId);
    // Somebody is at it right now; it is left over only once their lease has passed.
    if (payment !== null && isLive(payment.status) && (payment.settleAtMs ?? 0) > nowMs) continue;
    try {
      if (await resolveTransition(engine, transition, payment)) resolved += 1;
      else anomalous += 1;
    } catch (error) {
      // One that fails every time must not keep all payments from being visited.
      if (error instanceof ServiceError && error.code === 'store_unavailable') throw error;
      errors += 1;
      onError(transition.paymentId, error);
    }
  }
  return { resolved, anomalous, errors };
}

/** While the circuit is not closed, a run with nothing to pay still asks whether the network is back. */
async function probe(engine: Engine): Promise<void> {
  const { circuit } = await engine.ledger.readBreaker();
  if (circuit.kind !== 'closed') await refreshSolidHead(engine);
}
