import type { Breaker, SolidHead, Transition } from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import type { LimitVerdict } from '../domain/limits.ts';
import { formatAmount } from '../domain/money.ts';
import { type Attempt, type EndStatus, isLive, liveAttempt, type Payment } from '../domain/payment.ts';
import {
  type Evidence,
  joinEvidence,
  judgeTestimony,
  type NodeTestimony,
  provesAbsenceByTwoNodes,
  provesAbsenceByWalk,
  type Transfer,
} from '../domain/transfer-evidence.ts';
import type { PaymentChange, PaymentEnd } from '../ports/ledger.ts';
import type { BroadcastAnswer, TransferPlan } from '../ports/payment-network.ts';
import type { Engine } from './engine.ts';
import { closeAccounts, guardOf, noteReservation, reserve } from './reserve-and-close.ts';

/**
 * Moves one payment on, as far as it goes now, from what is stored. `pay` calls it once for a new payment and
 * `settle` for every unfinished one, so a crash at any line is resumed by the same code that met it.
 */

/** How far a payment got. Problems that only make it wait are told, not thrown. */
export interface Progress {
  readonly payment: Payment;
  /** Why it could not go further at this moment; the payment itself is fine. */
  readonly waitsFor: ServiceError | null;
}

export interface AdvanceOptions {
  /** A breaker document read before the payment was last seen as it is. */
  readonly breaker?: Breaker;
  /** Stop once the amount is reserved; `settle` signs. */
  readonly reserveOnly?: boolean;
}

/** Two equal transfers in one millisecond are rare; more than this many in a row are a fault. */
const SIGNATURES_MAX = 8;

export async function advancePayment(
  engine: Engine,
  payment: Payment,
  options: AdvanceOptions = {},
): Promise<Progress> {
  if (!isLive(payment.status)) {
    await closeAccounts(engine, payment.id);
    return progress(await reread(engine, payment));
  }
  return payment.status === 'accepted'
    ? advanceAccepted(engine, payment, options)
    : followAttempt(engine, payment);
}

async function advanceAccepted(engine: Engine, payment: Payment, options: AdvanceOptions): Promise<Progress> {
  const { ledger, network } = engine;
  const nowMs = await ledger.serverTimeMs();
  if (nowMs >= payment.payByMs) {
    return end(engine, payment, 'expired', 'it could not be paid in time', nowMs);
  }
  if (await engine.stopSwitch.isSet()) return { payment, waitsFor: stopped() };

  // A reservation is noted by the very write that stores the signed bytes, where nothing comes between.
  let unnoted: Transition | null = null;
  if (payment.reservationId === null) {
    const reservation = await reserve(engine, payment, options.breaker);
    if (reservation.kind === 'moved') return progress(await reread(engine, payment));
    if (reservation.kind === 'busy') return { payment, waitsFor: tooBusy() };
    if (reservation.kind === 'over_limit') {
      const refusal = limitExceeded(payment, reservation.verdict, nowMs);
      return end(engine, payment, 'refused', refusal.message, nowMs, refusal);
    }
    unnoted = reservation.transition;
  }
  if (options.reserveOnly === true) {
    if (unnoted !== null) await noteReservation(engine, payment, unnoted, 'the amount is reserved');
    return progress(await reread(engine, payment));
  }

  let plan: TransferPlan;
  try {
    plan = await network.prepareTransfer(transferOf(engine, payment));
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    if (unnoted !== null) await noteReservation(engine, payment, unnoted, error.message);
    if (isRefusal(error)) {
      // Ended as it was read: should another process have signed it meanwhile, this refusal is not its own.
      return end(engine, payment, 'refused', error.message, nowMs, error);
    }
    return { payment: await reread(engine, payment), waitsFor: error };
  }
  return signAndSend(engine, payment, plan, unnoted?.id ?? null);
}

async function signAndSend(
  engine: Engine,
  payment: Payment,
  plan: TransferPlan,
  noteId: string | null,
): Promise<Progress> {
  const { ledger, rules, signer, vault, ids } = engine;
  const guard = guardOf(payment);
  const nowMs = await ledger.serverTimeMs();
  const expirationMs = Math.max(nowMs, plan.referenceBlock.timestampMs) + rules.expirationMs;
  let timestampMs = nowMs;
  for (let signature = 0; signature < SIGNATURES_MAX; signature += 1) {
    const signed = await signer.sign(transferOf(engine, payment), plan, { timestampMs, expirationMs });
    const attempt: Attempt = {
      number: payment.attemptNumber,
      txId: signed.txId,
      sealed: vault.seal(signed.bytes, payment.id, payment.attemptNumber),
      referenceBlockNumber: plan.referenceBlock.number,
      referenceBlockId: plan.referenceBlock.blockId,
      expirationMs,
      feeLimitMicro: plan.feeLimitMicro,
      signedAtMs: nowMs,
      outcome: 'live',
      blockNumber: null,
      blockTimeMs: null,
      feeMicro: null,
    };
    const stored = await storeSigned(engine, guard, attempt, noteId, {
      entry: {
        atMs: nowMs,
        event: 'signed',
        detail: `attempt ${attempt.number}, transaction ${attempt.txId}`,
      },
      settleAtMs: nowMs + rules.revisitMs,
      reason: null,
    });
    if (stored === 'moved') return progress(await reread(engine, payment));
    if (stored === 'stored') {
      // The entry in the breaker is only a leftover from here on; dropping it need not hold up the broadcast.
      const [answers] = await Promise.all([
        send(engine, signed.bytes, attempt),
        noteId === null ? undefined : dropQuietly(engine, noteId),
      ]);
      return recordAnswers(engine, payment, answers);
    }
    // Two equal transfers signed in one millisecond would be one transaction: take another timestamp.
    timestampMs += 1 + Math.floor(ids.random() * 1_000);
  }
  throw new ServiceError('too_busy', 'No unique transaction could be made; try again.', {
    retryAfterSeconds: 1,
  });
}

/** Stores the attempt; where the acknowledgement was lost, reads whether these very bytes are the stored ones. */
async function storeSigned(
  engine: Engine,
  guard: ReturnType<typeof guardOf>,
  attempt: Attempt,
  noteId: string | null,
  change: PaymentChange,
): Promise<'stored' | 'moved' | 'tx_id_taken'> {
  try {
    return await engine.ledger.storeSigned(guard, attempt, noteId, change);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== 'outcome_unknown') throw error;
    const seen = await engine.ledger.findPayment(guard.paymentId);
    const isStored = seen !== null && liveAttempt(seen)?.txId === attempt.txId;
    // Not there yet does not mean that it never will be; the next visit sees what came of it.
    return isStored ? 'stored' : 'moved';
  }
}

/** Looks for the attempt's transaction in solid blocks, and does what that asks for. */
async function followAttempt(engine: Engine, payment: Payment): Promise<Progress> {
  const { ledger, network, rules } = engine;
  const attempt = liveAttempt(payment);
  const nowMs = await ledger.serverTimeMs();
  if (attempt === undefined) {
    return end(
      engine,
      payment,
      'needs_review',
      'it is marked as signed, but holds no attempt that can land',
      nowMs,
    );
  }
  const { solidHead } = await ledger.readBreaker();
  let testimonies: NodeTestimony[];
  try {
    testimonies = await network.takeTestimony(attempt.txId, solidHead);
  } catch (error) {
    if (error instanceof ServiceError) return { payment, waitsFor: error };
    throw error;
  }
  const transfer = transferOf(engine, payment);
  const evidence = joinEvidence(
    testimonies.map((testimony) =>
      judgeTestimony(transfer, attempt.txId, testimony, rules.confirmationsRequired),
    ),
  );
  switch (evidence.kind) {
    case 'paid':
      return end(engine, payment, 'confirmed', null, nowMs, null, evidence);
    case 'reverted': {
      const reason = `the chain reverted it (${evidence.reason}); the funds did not move`;
      return end(engine, payment, 'failed', reason, nowMs, null, evidence);
    }
    case 'contradictory':
      return end(engine, payment, 'needs_review', evidence.reason, nowMs);
    case 'unknown':
      return progress(payment);
    case 'absent':
      if (await isProvenAbsent(engine, attempt, testimonies, solidHead))
        return expireAttempt(engine, payment, nowMs);
      return rebroadcast(engine, payment, attempt, nowMs);
  }
}

async function isProvenAbsent(
  engine: Engine,
  attempt: Attempt,
  testimonies: NodeTestimony[],
  knownHead: SolidHead | null,
): Promise<boolean> {
  const { expirationMs, txId } = attempt;
  if (provesAbsenceByTwoNodes(testimonies, expirationMs, engine.rules.expirationMarginMs)) return true;
  if (!testimonies.some(({ solidHead }) => solidHead.timestampMs >= expirationMs)) return false;
  try {
    const blocks = await engine.network.walkSolidBlocks(
      attempt.referenceBlockNumber,
      expirationMs,
      knownHead,
    );
    return provesAbsenceByWalk(blocks, attempt.referenceBlockId, txId, expirationMs);
  } catch (error) {
    if (error instanceof ServiceError) return false;
    throw error;
  }
}

async function expireAttempt(engine: Engine, payment: Payment, nowMs: number): Promise<Progress> {
  if (nowMs >= payment.payByMs) {
    const reason = 'no attempt was included in time; each is proven absent from the chain';
    return end(engine, payment, 'expired', reason, nowMs);
  }
  await engine.ledger.reaccept(guardOf(payment), {
    entry: { atMs: nowMs, event: 'attempt_expired', detail: `attempt ${payment.attemptNumber} never landed` },
    settleAtMs: nowMs,
    reason: 'the last attempt expired; another one follows',
  });
  return progress(await reread(engine, payment));
}

async function rebroadcast(
  engine: Engine,
  payment: Payment,
  attempt: Attempt,
  nowMs: number,
): Promise<Progress> {
  const isDue =
    payment.lastBroadcastAtMs === null || nowMs >= payment.lastBroadcastAtMs + engine.rules.rebroadcastMs;
  if (!isDue || nowMs >= attempt.expirationMs) return progress(payment);
  // Bytes that cannot be opened (a wrong key in the configuration, say) fail this visit, never the payment: the
  // chain still tells whether they landed, and their expiry makes way for the next attempt.
  const bytes = engine.vault.open(attempt.sealed, payment.id, attempt.number);
  return recordAnswers(engine, payment, await send(engine, bytes, attempt));
}

/** Does not fail where the breaker holds the call back: the bytes are stored, and `settle` sends them. */
async function send(
  engine: Engine,
  bytes: Uint8Array,
  attempt: Attempt,
): Promise<BroadcastAnswer[] | ServiceError> {
  try {
    return await engine.network.broadcast(bytes, attempt.txId);
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
}

async function recordAnswers(
  engine: Engine,
  payment: Payment,
  answers: BroadcastAnswer[] | ServiceError,
): Promise<Progress> {
  const { ledger, rules } = engine;
  // The breaker let nothing out, so there is nothing to record.
  if (answers instanceof ServiceError) return { payment: await reread(engine, payment), waitsFor: answers };
  const nowMs = await ledger.serverTimeMs();
  const mayHaveLeft = answers.some((answer) => answer.kind !== 'refused');
  const detail = answers.map((answer) => `${answer.node}: ${answer.code}`).join(', ');
  const change: PaymentChange = {
    entry: { atMs: nowMs, event: mayHaveLeft ? 'broadcast' : 'broadcast_refused', detail },
    settleAtMs: nowMs + rules.revisitMs,
    reason: mayHaveLeft ? null : `no node takes the transaction (${detail})`,
  };
  await ledger.recordBroadcast(guardOf(payment), nowMs, mayHaveLeft, change);
  const accepted = answers.some((answer) => answer.kind === 'accepted' || answer.kind === 'duplicate');
  const waitsFor = accepted
    ? null
    : new ServiceError('chain_unavailable', `No node took the transaction (${detail}).`);
  return { payment: await reread(engine, payment), waitsFor };
}

/** Ends the payment, then settles its account with the breaker document: in this order, never the other. */
async function end(
  engine: Engine,
  payment: Payment,
  status: EndStatus,
  reason: string | null,
  nowMs: number,
  refusal: ServiceError | null = null,
  included: Extract<Evidence, { kind: 'paid' | 'reverted' }> | null = null,
): Promise<Progress> {
  const { ledger } = engine;
  const how: PaymentEnd = {
    status,
    reason,
    endedAtMs: Math.max(nowMs, included?.blockTimeMs ?? 0),
    included:
      included === null
        ? null
        : {
            blockNumber: included.blockNumber,
            blockTimeMs: included.blockTimeMs,
            feeMicro: included.feeMicro,
          },
  };
  const closed = await ledger.closePayment(guardOf(payment), payment.status, how, {
    entry: { atMs: nowMs, event: status, detail: reason ?? `in block ${included?.blockNumber}` },
    settleAtMs: status === 'needs_review' ? null : nowMs,
    reason,
  });
  if (closed && status !== 'needs_review') await closeAccounts(engine, payment.id);
  return { payment: await reread(engine, payment), waitsFor: closed ? refusal : null };
}

function progress(payment: Payment): Progress {
  return { payment, waitsFor: null };
}

async function reread(engine: Engine, payment: Payment): Promise<Payment> {
  const seen = await engine.ledger.findPayment(payment.id);
  if (seen === null) throw new ServiceError('internal', `Payment ${payment.id} has vanished from the store.`);
  return seen;
}

async function dropQuietly(engine: Engine, transitionId: string): Promise<void> {
  try {
    await engine.ledger.dropTransition(transitionId);
  } catch (error) {
    // `settle` drops what is left over; the payment itself is stored and on its way.
    if (!(error instanceof ServiceError)) throw error;
  }
}

/** The transfer that pays this payment. */
function transferOf(engine: Engine, payment: Payment): Transfer {
  const { asset, amountMicro, recipient } = payment;
  return { asset, amountMicro, recipient, sender: engine.signer.wallet, contract: engine.rules.contract };
}

/** Errors that say something about this transfer, not about the network. */
function isRefusal(error: ServiceError): boolean {
  return (
    error.code === 'recipient_refused' ||
    error.code === 'insufficient_funds' ||
    error.code === 'fee_above_cap' ||
    error.code === 'simulation_failed'
  );
}

/** The refusal for an amount that does not fit, saying which limit, what is left, and when it would fit. */
export function limitExceeded(
  order: Pick<Payment, 'asset' | 'amountMicro'>,
  verdict: Extract<LimitVerdict, { fits: false }>,
  nowMs: number,
): ServiceError {
  const { window, limitMicro, remainingMicro, fitsAtMs } = verdict;
  const name = window === 'hour' ? 'hourly' : 'daily';
  const limit = formatAmount(limitMicro);
  const remaining = formatAmount(remainingMicro);
  const extra = { limit: name, limit_amount: limit, remaining };
  if (order.amountMicro > limitMicro) {
    const message = `The amount is above the ${name} limit itself, ${limit} ${order.asset}.`;
    // No waiting helps; a day is only so that nobody asks again at once.
    return new ServiceError('limit_exceeded', message, { retryAfterSeconds: 86_400, extra });
  }
  const message = `The ${name} limit of ${limit} ${order.asset} leaves ${remaining}.`;
  if (fitsAtMs === null) {
    // It waits for open payments, and those end within minutes.
    return new ServiceError('limit_exceeded', message, { retryAfterSeconds: 60, extra });
  }
  return new ServiceError('limit_exceeded', message, {
    retryAfterSeconds: Math.max(1, Math.ceil((fitsAtMs - nowMs) / 1000)),
    extra: { ...extra, fits_at: new Date(fitsAtMs).toISOString() },
  });
}

/** The refusal while an operator's stop file is there. */
export function stopped(): ServiceError {
  return new ServiceError('payments_stopped', 'An operator has stopped all new payments.', {
    retryAfterSeconds: 60,
  });
}

/** The refusal while more payments than can be tracked are being reserved at once. */
export function tooBusy(): ServiceError {
  return new ServiceError('too_busy', 'Too many payments are being reserved at this moment.', {
    retryAfterSeconds: 1,
  });
}
