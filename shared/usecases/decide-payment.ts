import { ServiceError } from '../domain/errors.ts';
import { freeableUntilMs } from '../domain/limits.ts';
import {
  type Attempt,
  type EndStatus,
  type HistoryEntry,
  isLive,
  liveAttempt,
  type Payment,
} from '../domain/payment.ts';
import { PAYMENT_LIFE, takes } from '../domain/payment-life.ts';
import { isRecovered, orderKey } from '../domain/restore.ts';
import { advancePayment, type Progress } from './advance-payment.ts';
import { findDoubt, readReconciled } from './doubt.ts';
import type { Engine } from './engine.ts';
import { refuseOutdated } from './order-age.ts';
import { closeAccounts, guardOf, refreshSolidHead } from './reserve-and-close.ts';

/**
 * What people decide about a single payment. Each decision is one conditional change of the payment, so of two
 * that race, or of one that races with signing, one wins; and one that was taken already is answered as done.
 */

/** Who decides, and why. */
export interface Decision {
  readonly by: string;
  /** Required of whoever decides about money that is not their own. */
  readonly reason: string | null;
  /** By the clock of who decides; left out where no decision can come twice. */
  readonly orderedAtMs?: number;
}

/** The events of a payment's life that people decide. */
type Ruling = 'approve' | 'reject' | 'cancel' | 'resolve_paid' | 'resolve_not_paid';

/**
 * Takes a payment back that is not signed yet.
 * @throws ServiceError `payment_not_cancellable` where signing has won, or it is over, or it may have been paid before
 *   the system was restored; `not_reconciled` while that is not known
 */
export async function cancelPayment(engine: Engine, payment: Payment, decision: Decision): Promise<Payment> {
  if (payment.status === 'cancelled') return payment;
  if (!takes(payment.status, 'cancel')) throw refusal('cancel', payment);
  const doubt = await findDoubt(engine, await readReconciled(engine), payment, payment);
  if (doubt !== null) throw new ServiceError(PAYMENT_LIFE.cancel.refusal, `A person has to look: ${doubt}.`);
  const after = await close(engine, payment, 'cancelled', decision);
  if (after.status !== 'cancelled') throw refusal('cancel', after);
  return after;
}

/**
 * Lets a payment be made that waits for a second person, and makes it.
 * @throws ServiceError `approval_by_maker`, `payment_not_awaiting_approval`; and whatever stands in its way now is
 *   told as `waitsFor`, while `settle` goes on with it
 */
export async function approvePayment(
  engine: Engine,
  payment: Payment,
  by: string,
  reason: string | null = null,
): Promise<Progress> {
  if (payment.caller === by) {
    throw new ServiceError('approval_by_maker', 'Another caller has to approve it than the one who made it.');
  }
  if (payment.approvedBy === by) return { payment, waitsFor: null };
  if (!takes(payment.status, 'approve')) throw refusal('approve', payment);
  const { ledger, rules } = engine;
  const nowMs = await ledger.serverTimeMs();
  if (nowMs >= payment.payByMs) throw refusal('approve', payment);
  const approved = await ledger.approve(guardOf(payment), by, nowMs + rules.payByMs, {
    entry: { atMs: nowMs, event: 'approved', detail: tell({ by, reason }) },
    settleAtMs: nowMs + rules.leaseMs,
    reason: null,
  });
  const after = await reread(engine, payment);
  if (!approved) {
    if (after.approvedBy === by) return { payment: after, waitsFor: null };
    throw refusal('approve', after);
  }
  return advancePayment(engine, after);
}

/** @throws ServiceError `payment_not_awaiting_approval`; `not_reconciled` while it may be paid, for all that is known */
export async function rejectPayment(engine: Engine, payment: Payment, decision: Decision): Promise<Payment> {
  if (payment.status === 'rejected') return payment;
  if (!takes(payment.status, 'reject')) throw refusal('reject', payment);
  await readReconciled(engine);
  const after = await close(engine, payment, 'rejected', decision);
  if (after.status !== 'rejected') throw refusal('reject', after);
  return after;
}

/**
 * Ends a payment under review by a person's ruling: whether its money has left the wallet. So ends, too, one that is held
 * because a restored system has found an equal transfer, where that was this very payment.
 * @throws ServiceError `payment_not_in_review`; `order_outdated` where it came under review after the ruling was
 *   given; `attempt_may_land` where it is ruled unpaid while its bytes are
 *   still valid; `too_busy` while its amount is yet to be counted
 */
export async function resolvePayment(
  engine: Engine,
  payment: Payment,
  outcome: 'paid' | 'not_paid',
  decision: Decision,
): Promise<Payment> {
  const event = outcome === 'paid' ? 'resolve_paid' : 'resolve_not_paid';
  const status = PAYMENT_LIFE[event].to;
  if (outcome === 'paid' && isRecovered(payment) && payment.status === 'confirmed') {
    return dismissRecovered(engine, payment, decision);
  }
  if (!takes(payment.status, event)) {
    const isDone = payment.status === status && payment.history.some(({ event }) => event === 'resolved');
    if (isDone) return payment;
    throw refusal(event, payment);
  }
  refuseOutdated(decision.orderedAtMs, underReviewSinceMs(payment));
  const isHeld = payment.status === 'awaiting_approval';
  if (!isHeld && payment.reservationId === null) {
    throw new ServiceError('too_busy', 'Its amount is being counted; ask again.', { retryAfterSeconds: 2 });
  }
  const attempt = liveAttempt(payment);
  if (outcome === 'not_paid' && attempt !== undefined) await assertVoid(engine, attempt);
  const recovered =
    outcome === 'paid' && isUnpaidByItself(payment) ? await claimFor(engine, payment, decision) : null;
  // Only for the sake of what was found can one be ruled on that was never made.
  if (isHeld && recovered === null) throw refusal(event, payment);
  const ruling = recovered === null ? decision : withTransaction(decision, recovered);
  const after = await close(engine, payment, status, ruling, 'resolved');
  if (after.status !== status) throw refusal(event, after);
  return after;
}

/**
 * Rules that a recovered payment, which has ended as the chain shows it, paid none of the orders that are still to
 * come: whatever it was for is dealt with, and nothing that is equal to it is held any more.
 */
async function dismissRecovered(engine: Engine, recovered: Payment, decision: Decision): Promise<Payment> {
  const entry = await claimed(engine, decision, 'no order that is to come');
  await engine.ledger.claimRecovered(recovered, recovered.id, entry);
  return reread(engine, recovered);
}

/** Whether it can only be paid by a transaction that the system did not know when it was restored. */
function isUnpaidByItself({ attempts }: Payment): boolean {
  return attempts.every(({ outcome }) => outcome === 'expired' || outcome === 'reverted');
}

function withTransaction(decision: Decision, { attempts }: Payment): Decision {
  const paidBy = `paid by transaction ${attempts[0]?.txId}, before the system was restored`;
  return { ...decision, reason: decision.reason === null ? paidBy : `${decision.reason} (${paidBy})` };
}

/**
 * Takes the recovered payment for which an order is held. It is taken first, by one order for good; should this process
 * die then, the same ruling finds it taken for this very order.
 */
async function claimFor(engine: Engine, payment: Payment, decision: Decision): Promise<Payment | null> {
  const { ledger } = engine;
  const taken = await ledger.findRecovered(payment.id);
  if (taken !== null) return taken;
  for (;;) {
    const recovered = await ledger.findRecovered(orderKey(payment));
    if (recovered === null) return null;
    const entry = await claimed(engine, decision, payment.id);
    // Where another order was faster, there may be a further one.
    if (await ledger.claimRecovered(recovered, payment.id, entry)) return recovered;
  }
}

async function claimed({ ledger }: Engine, { by, reason }: Decision, what: string): Promise<HistoryEntry> {
  const detail = `it paid ${what}, says ${by}${reason === null ? '' : `: ${reason}`}`;
  return { atMs: await ledger.serverTimeMs(), event: 'claimed', detail };
}

/** Bytes are void by the time of the chain alone: while it stands still, its next block may hold them yet. */
async function assertVoid(engine: Engine, { expirationMs }: Attempt): Promise<void> {
  const { ledger, rules } = engine;
  const voidAtMs = expirationMs + rules.expirationMarginMs;
  const isVoid = async () => {
    const { solidHead } = await ledger.readCircuit();
    return freeableUntilMs(await ledger.serverTimeMs(), solidHead?.timestampMs ?? null) >= voidAtMs;
  };
  if ((await isVoid()) || ((await refreshSolidHead(engine)) && (await isVoid()))) return;
  const waitMs = voidAtMs - (await ledger.serverTimeMs());
  throw new ServiceError('attempt_may_land', 'Its transaction is still valid, and could be included yet.', {
    retryAfterSeconds: Math.max(10, Math.ceil(waitMs / 1000)),
  });
}

/** Where it is ruled as paid, its money may have left as late as the bytes could be included. */
function latestPaidMs({ attempts }: Payment): number {
  return Math.max(
    ...attempts.map(({ outcome, blockTimeMs, expirationMs }) =>
      outcome === 'live' ? expirationMs : (blockTimeMs ?? 0),
    ),
  );
}

function underReviewSinceMs({ history }: Payment): number {
  return history.findLast(({ event }) => event === 'needs_review')?.atMs ?? 0;
}

async function close(
  engine: Engine,
  payment: Payment,
  status: EndStatus,
  decision: Decision,
  event: string = status,
): Promise<Payment> {
  const { ledger } = engine;
  const nowMs = await ledger.serverTimeMs();
  const detail = tell(decision);
  const endedAtMs = status === 'confirmed' ? Math.max(nowMs, latestPaidMs(payment)) : nowMs;
  const end = { status, reason: `${event} ${detail}`, endedAtMs, included: null };
  const closed = await ledger.closePayment(guardOf(payment), payment.status, end, {
    entry: { atMs: nowMs, event, detail },
    settleAtMs: nowMs,
  });
  // What it had reserved is given back now; should this fail, `settle` does it.
  if (closed) await closeAccounts(engine, payment.id);
  return reread(engine, payment);
}

function tell({ by, reason }: Decision): string {
  return `by ${by}${reason === null ? '' : `: ${reason}`}`;
}

async function reread({ ledger }: Engine, payment: Payment): Promise<Payment> {
  const seen = await ledger.findPayment(payment.id);
  if (seen === null) throw new ServiceError('internal', `Payment ${payment.id} has vanished from the store.`);
  return seen;
}

/** What a payment answers whose state does not take the decision. */
function refusal(decision: Ruling, { status }: Payment): ServiceError {
  const isSigned = decision === 'cancel' && isLive(status);
  const why = isSigned ? 'is signed and may be paid at any moment' : `is ${status.replaceAll('_', ' ')}`;
  return new ServiceError(PAYMENT_LIFE[decision].refusal, `The payment ${why}.`);
}
