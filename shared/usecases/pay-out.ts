import type { Breaker } from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import { mayRetry, type Payment, type PaymentOrder, UNTOUCHED } from '../domain/payment.ts';
import type { Claimed } from '../ports/ledger.ts';
import { advancePayment, type Progress } from './advance-payment.ts';
import { afterClaim, fingerprintOf, inFlight, keyReused, referenceTaken, unclear } from './claims.ts';
import { findDoubt } from './doubt.ts';
import type { Engine } from './engine.ts';
import { demandOfOrder, findObstacle, judgeOrder } from './obstacles.ts';
import { guardOf } from './reserve-and-close.ts';

/** One request to pay. */
export interface PayOutRequest {
  readonly order: PaymentOrder;
  readonly caller: string;
  readonly idempotencyKey: string;
  /** The caller does not wait for the broadcast: answer once the amount is reserved. */
  readonly respondAsync: boolean;
}

export interface PayOutResult {
  readonly payment: Payment;
  /** The key had been used before, with the same order: this is that payment as it is now. */
  readonly replayed: boolean;
}

/**
 * Pays an order once, however often and wherever it is asked with the same key.
 *
 * @throws ServiceError
 * - `limit_exceeded`, `circuit_open`, `payments_stopped`, `payments_paused`, `too_busy`, `above_maximum`,
 *   `reference_taken`, `store_unavailable`: nothing is under way; the same key and order may be tried again
 * - `recipient_refused`, `insufficient_funds`, `fee_above_cap`, `simulation_failed`: refused, and stored as such;
 *   likewise
 * - `idempotency_key_reused`: the key stands for another order
 * - `payment_in_flight`: another invocation is at it right now
 * - `outcome_unknown`: it may be under way; ask again with the same key
 */
export async function payOut(engine: Engine, request: PayOutRequest): Promise<PayOutResult> {
  const { ledger } = engine;
  const { caller, idempotencyKey, order } = request;
  const fingerprint = fingerprintOf(order);
  const breaker = await ledger.readBreaker();
  const nowMs = await ledger.serverTimeMs();
  const verdict = await judgeOrder(engine, breaker, order);
  const refusal = verdict.refusal ?? (await findObstacle(engine, breaker, demandOfOrder(order), nowMs));
  if (refusal !== null) {
    // Only a new payment is turned away: one that stands already is shown as it is.
    const standing = await ledger.findByKey(caller, idempotencyKey);
    if (standing === null || isRefused(standing, fingerprint)) throw refusal;
    return replay(engine, standing, fingerprint);
  }

  const payment = newPayment(engine, request, fingerprint, verdict.needsApproval, nowMs);
  const claim = await ledger.insertPayment(payment);
  if (claim === 'reference_taken') throw referenceTaken();
  if (claim === 'inserted') {
    if (verdict.needsApproval !== null) return { payment, replayed: false };
    return pay(engine, payment, request, breaker);
  }

  const standing = await ledger.findByKey(caller, idempotencyKey);
  if (standing === null) throw unclear();
  if (isRefused(standing, fingerprint) && standing.kind === 'payment' && mayRetry(standing.payment)) {
    return retry(engine, standing.payment, request, breaker, verdict.needsApproval);
  }
  return replay(engine, standing, fingerprint);
}

function isRefused(standing: Claimed, fingerprint: string): boolean {
  return (
    standing.kind === 'payment' &&
    standing.payment.status === 'refused' &&
    standing.payment.fingerprint === fingerprint
  );
}

async function pay(
  engine: Engine,
  payment: Payment,
  request: PayOutRequest,
  breaker: Breaker | undefined,
): Promise<PayOutResult> {
  let progress: Progress;
  try {
    progress = await advancePayment(engine, payment, {
      ...(breaker === undefined ? {} : { breaker }),
      reserveOnly: request.respondAsync,
    });
  } catch (error) {
    throw afterClaim(error);
  }
  const { waitsFor } = progress;
  // Refused, and stored as refused: now it may be said. Not even reserved: the caller may as well try again.
  if (progress.payment.status === 'refused') {
    throw (
      waitsFor ??
      new ServiceError('payment_in_flight', 'The payment was refused; try again.', { retryAfterSeconds: 1 })
    );
  }
  if (progress.payment.reservationId === null && waitsFor !== null) throw unclear(waitsFor);
  return { payment: progress.payment, replayed: false };
}

async function retry(
  engine: Engine,
  refused: Payment,
  request: PayOutRequest,
  breaker: Breaker,
  needsApproval: string | null,
): Promise<PayOutResult> {
  const { ledger, rules } = engine;
  const nowMs = await ledger.serverTimeMs();
  const doubt = await findDoubt(engine, breaker, refused, refused);
  // Who has approved this very order has done so for good; but not whoever did so before the system was restored.
  const waits = doubt !== null || (needsApproval !== null && refused.approvedBy === null);
  const payByMs = nowMs + (waits ? rules.approveByMs : rules.payByMs);
  const opened = await ledger.retryRefused(
    guardOf(refused),
    waits ? 'awaiting_approval' : 'accepted',
    payByMs,
    {
      entry: {
        atMs: nowMs,
        event: waits ? 'awaiting_approval' : 'accepted',
        detail: 'asked again with the same key',
      },
      settleAtMs: waits ? payByMs : nowMs + rules.leaseMs,
      reason: waits ? (doubt ?? needsApproval) : null,
    },
  );
  if (!opened) throw inFlight();
  const payment = await ledger.findPayment(refused.id).catch((error: unknown) => {
    throw afterClaim(error);
  });
  if (payment === null) throw inFlight();
  return waits ? { payment, replayed: false } : pay(engine, payment, request, undefined);
}

async function replay(engine: Engine, standing: Claimed, fingerprint: string): Promise<PayOutResult> {
  if (standing.kind !== 'payment' || standing.payment.fingerprint !== fingerprint) throw keyReused();
  const { payment } = standing;
  const notReserved = payment.status === 'accepted' && payment.reservationId === null;
  const leaseEndsMs = payment.settleAtMs ?? 0;
  if (notReserved && (await engine.ledger.serverTimeMs()) < leaseEndsMs) throw inFlight();
  if (payment.status === 'refused') throw inFlight();
  return { payment, replayed: true };
}

function newPayment(
  { ids, rules }: Engine,
  { order, caller, idempotencyKey }: PayOutRequest,
  fingerprint: string,
  needsApproval: string | null,
  nowMs: number,
): Payment {
  const waits = needsApproval !== null;
  const payByMs = nowMs + (waits ? rules.approveByMs : rules.payByMs);
  const status = waits ? 'awaiting_approval' : 'accepted';
  return {
    ...UNTOUCHED,
    ...order,
    id: `pay_${ids.next()}`,
    caller,
    idempotencyKey,
    fingerprint,
    status,
    history: [{ atMs: nowMs, event: status, detail: `asked by ${caller}` }],
    createdAtMs: nowMs,
    payByMs,
    reason: needsApproval,
    settleAtMs: waits ? payByMs : nowMs + rules.leaseMs,
    leaseOwner: ids.next(),
  };
}
