import { createHash } from 'node:crypto';
import { type Breaker, TRANSITIONS_MAX } from '../domain/breaker.ts';
import { admitCall } from '../domain/circuit.ts';
import { ServiceError } from '../domain/errors.ts';
import { mayRetry, type Payment, type PaymentOrder } from '../domain/payment.ts';
import { advancePayment, limitExceeded, type Progress, stopped, tooBusy } from './advance-payment.ts';
import type { Engine } from './engine.ts';
import { circuitOpen } from './payment-network-with-breaker.ts';
import { guardOf, judgeOrder, refreshSolidHead } from './reserve-and-close.ts';

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
 * - `limit_exceeded`, `circuit_open`, `payments_stopped`, `too_busy`, `store_unavailable`: nothing is under way;
 *   the same key and order may be tried again
 * - `recipient_refused`, `insufficient_funds`, `fee_above_cap`, `simulation_failed`: refused, and stored as such;
 *   likewise
 * - `idempotency_key_reused`: the key stands for another order
 * - `payment_in_flight`: another invocation is at it right now
 * - `outcome_unknown`: it may be under way; ask again with the same key
 */
export async function payOut(engine: Engine, request: PayOutRequest): Promise<PayOutResult> {
  const fingerprint = fingerprintOf(request.order);
  const breaker = await engine.ledger.readBreaker();
  const nowMs = await engine.ledger.serverTimeMs();
  const refusal = await findObstacle(engine, breaker, request.order, nowMs);
  if (refusal !== null) {
    // Only a new payment is turned away: one that stands already is shown as it is.
    const standing = await engine.ledger.findPaymentByKey(request.caller, request.idempotencyKey);
    const isNew =
      standing === null || (standing.status === 'refused' && standing.fingerprint === fingerprint);
    if (isNew) throw refusal;
    return replay(engine, standing, fingerprint);
  }

  const payment = newPayment(engine, request, fingerprint, nowMs);
  const claimed = await engine.ledger.insertPayment(payment);
  if (claimed === 'inserted') return pay(engine, payment, request, breaker);

  const standing = await engine.ledger.findPaymentByKey(request.caller, request.idempotencyKey);
  if (standing === null) throw unclear();
  if (standing.fingerprint === fingerprint && mayRetry(standing)) return retry(engine, standing, request);
  return replay(engine, standing, fingerprint);
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

async function retry(engine: Engine, refused: Payment, request: PayOutRequest): Promise<PayOutResult> {
  const nowMs = await engine.ledger.serverTimeMs();
  const opened = await engine.ledger.retryRefused(guardOf(refused), nowMs + engine.rules.payByMs, {
    entry: { atMs: nowMs, event: 'accepted', detail: 'asked again with the same key' },
    settleAtMs: nowMs + engine.rules.leaseMs,
    reason: null,
  });
  if (!opened) throw inFlight();
  const payment = await engine.ledger.findPayment(refused.id).catch((error: unknown) => {
    throw afterClaim(error);
  });
  if (payment === null) throw inFlight();
  return pay(engine, payment, request, undefined);
}

async function replay(engine: Engine, standing: Payment, fingerprint: string): Promise<PayOutResult> {
  if (standing.fingerprint !== fingerprint) {
    throw new ServiceError('idempotency_key_reused', 'This key was used before, for another payment.', {
      field: 'Idempotency-Key',
    });
  }
  const notReserved = standing.status === 'accepted' && standing.reservationId === null;
  const leaseEndsMs = standing.settleAtMs ?? 0;
  if (notReserved && (await engine.ledger.serverTimeMs()) < leaseEndsMs) throw inFlight();
  if (standing.status === 'refused') throw inFlight();
  return { payment: standing, replayed: true };
}

/** What stands in the way of any new payment of this order, told before anything is stored. */
async function findObstacle(
  engine: Engine,
  breaker: Breaker,
  order: PaymentOrder,
  nowMs: number,
): Promise<ServiceError | null> {
  const { ledger, rules } = engine;
  if (await engine.stopSwitch.isSet()) return stopped();
  if (breaker.transitions.length >= TRANSITIONS_MAX) return tooBusy();
  const admission = admitCall(breaker.circuit, rules.circuit, nowMs, 'dry-run');
  if (!admission.admitted) return circuitOpen(admission.reason, admission.retryAtMs - nowMs);

  const first = judgeOrder(engine, breaker, order, nowMs);
  let { verdict } = first;
  // Nothing may have asked for a head in a while; a newer one frees what has left the window since.
  if (first.newerHeadHelps && (await refreshSolidHead(engine))) {
    ({ verdict } = judgeOrder(engine, await ledger.readBreaker(), order, nowMs));
  }
  return verdict.fits ? null : limitExceeded(order, verdict, nowMs);
}

function newPayment(engine: Engine, request: PayOutRequest, fingerprint: string, nowMs: number): Payment {
  return {
    ...request.order,
    id: `pay_${engine.ids.next()}`,
    caller: request.caller,
    idempotencyKey: request.idempotencyKey,
    fingerprint,
    status: 'accepted',
    generation: 0,
    attemptNumber: 1,
    reservationId: null,
    closeId: null,
    notedIds: [],
    attempts: [],
    history: [{ atMs: nowMs, event: 'accepted', detail: `asked by ${request.caller}` }],
    createdAtMs: nowMs,
    payByMs: nowMs + engine.rules.payByMs,
    endedAtMs: null,
    reason: null,
    settleAtMs: nowMs + engine.rules.leaseMs,
    lastBroadcastAtMs: null,
  };
}

/** The same for every body that orders the same payment, whatever its spelling (`25` and `25.0`). */
function fingerprintOf(order: PaymentOrder): string {
  const canonical = JSON.stringify([
    order.asset,
    order.amountMicro.toString(),
    order.recipient,
    order.reference,
  ]);
  return createHash('sha256').update(canonical).digest('hex');
}

function inFlight(): ServiceError {
  return new ServiceError(
    'payment_in_flight',
    'This payment is being worked on; ask again with the same key.',
    {
      retryAfterSeconds: 1,
    },
  );
}

/**
 * The claim stands and `settle` goes on with it, so whatever stopped this invocation ("the store is away", "too
 * busy"), that nothing is under way is no longer ours to say.
 */
function afterClaim(error: unknown): unknown {
  return error instanceof ServiceError && error.code !== 'internal' ? unclear(error) : error;
}

function unclear(cause?: ServiceError): ServiceError {
  return new ServiceError('outcome_unknown', 'The payment may be under way; ask again with the same key.', {
    retryAfterSeconds: cause?.retryAfterSeconds ?? 2,
    cause,
  });
}
