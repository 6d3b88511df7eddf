import type { Breaker, Pause, Reservation, SolidHead } from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import { laterFeeMicro } from '../domain/limits.ts';
import { type Asset, formatAmount } from '../domain/money.ts';
import {
  ATTEMPTS_MAX,
  type Attempt,
  type EndStatus,
  holdsReservation,
  isSettled,
  liveAttempt,
  type Payment,
} from '../domain/payment.ts';
import { isRecovered, obstacleToResume } from '../domain/restore.ts';
import {
  credible,
  doubtFee,
  type Evidence,
  type NodeTestimony,
  provesAbsenceByTwoNodes,
  provesAbsenceByWalk,
  type Transfer,
} from '../domain/transfer-evidence.ts';
import type { PaymentChange, PaymentEnd, ReservationNote } from '../ports/ledger.ts';
import type { BroadcastAnswer, InFlight, TransferPlan } from '../ports/payment-network.ts';
import { UnreadableBytes } from '../ports/vault.ts';
import { findDoubt, mayBePaid, notReconciled } from './doubt.ts';
import type { Engine } from './engine.ts';
import { type Gathered, gatherEvidence } from './gather-evidence.ts';
import { lookOnceMore } from './look-once-more.ts';
import {
  closeAccounts,
  countForReview,
  guardOf,
  noteOf,
  noteReservation,
  type OverLimit,
  reserve,
} from './reserve-and-close.ts';

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
  /** Stop once the chain was asked and the amount is reserved; `settle` signs. */
  readonly reserveOnly?: boolean;
  /** Leave the account of a payment that ends to the caller, who closes many at once. */
  readonly leaveOpen?: boolean;
  /** Read once for many payments that are followed together; read anew where it is left out. */
  readonly glance?: Glance;
}

export interface Glance {
  readonly nowMs: number;
  readonly solidHead: SolidHead | null;
}

/** Two equal transfers in one millisecond are rare; more than this many in a row are a fault. */
const SIGNATURES_MAX = 8;

export async function advancePayment(
  engine: Engine,
  payment: Payment,
  options: AdvanceOptions = {},
): Promise<Progress> {
  switch (payment.status) {
    case 'awaiting_approval':
      return lapse(engine, payment);
    case 'accepted':
      return advanceAccepted(engine, payment, options);
    case 'signed':
    case 'broadcast':
      return followAttempt(engine, payment, options);
    case 'needs_review':
      await countForReview(engine, payment);
      return endRecovered(engine, await reread(engine, payment), options);
    default:
      if (isSettled(payment)) await lookOnceMore(engine, payment, transferOf(engine, payment));
      if (options.leaveOpen !== true) await closeAccounts(engine, payment.id);
      return progress(await reread(engine, payment));
  }
}

/** What following payments takes: it may be seconds old, for it only makes their end times later or earlier by that. */
export async function glance({ ledger }: Engine): Promise<Glance> {
  const { solidHead } = await ledger.readCircuit();
  return { nowMs: await ledger.serverTimeMs(), solidHead };
}

/** What a restored system has found on the chain is counted first, and then ends as the chain shows it. */
async function endRecovered(engine: Engine, payment: Payment, options: AdvanceOptions): Promise<Progress> {
  const isCounted = payment.status === 'needs_review' && payment.reservationId !== null;
  const [attempt] = payment.attempts;
  if (!isRecovered(payment) || !isCounted || attempt === undefined) return progress(payment);
  const status = attempt.outcome === 'paid' ? 'confirmed' : 'failed';
  const nowMs = await engine.ledger.serverTimeMs();
  return end(engine, payment, options, status, payment.reason, nowMs);
}

async function lapse(engine: Engine, payment: Payment): Promise<Progress> {
  const nowMs = await engine.ledger.serverTimeMs();
  if (nowMs < payment.payByMs) return progress(payment);
  const doubted = await holdInDoubt(engine, await engine.ledger.readBreaker(), payment, {}, nowMs);
  return doubted ?? end(engine, payment, {}, 'expired', 'nobody approved it in time', nowMs);
}

async function advanceAccepted(engine: Engine, payment: Payment, options: AdvanceOptions): Promise<Progress> {
  const { ledger, rules } = engine;
  const nowMs = await ledger.serverTimeMs();
  const breaker = options.breaker ?? (await ledger.readBreaker());
  const doubted = await holdInDoubt(engine, breaker, payment, options, nowMs);
  if (doubted !== null) return doubted;
  if (nowMs >= payment.payByMs) {
    return end(engine, payment, options, 'expired', 'it could not be paid in time', nowMs);
  }
  if (await engine.stopSwitch.isSet()) return { payment, waitsFor: stopped() };
  let refusal: ServiceError | null;
  try {
    refusal = await judgeRecipient(engine, payment);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return { payment, waitsFor: error };
  }
  if (refusal !== null) return end(engine, payment, options, 'refused', refusal.message, nowMs, refusal);

  if (breaker.pause !== null) return { payment, waitsFor: paused(breaker.pause) };

  let plan: TransferPlan | null = null;
  let waitsFor: ServiceError | null = null;
  try {
    plan = await engine.network.prepareTransfer(
      transferOf(engine, payment),
      inFlightBeside(breaker, payment),
    );
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    // Ended as it was read: should another process have signed it meanwhile, this refusal is not its own.
    if (isRefusal(error)) return end(engine, payment, options, 'refused', error.message, nowMs, error);
    waitsFor = error;
  }
  const { reserveOnly = false } = options;
  // While nobody has simulated it, the most that may be signed is counted.
  let feeMicro = plan?.feeMaxMicro ?? rules.feeReserveMicro;
  if (reserveOnly) feeMicro = laterFeeMicro(feeMicro, rules.feeReserveMicro);

  // A reservation is noted by the very write that stores the signed bytes, where nothing comes between.
  let unnoted: Reservation | null = null;
  if (payment.reservationId === null) {
    const reserving = await reserve(engine, payment, feeMicro, breaker.restore, options.breaker);
    if (reserving.kind === 'moved') return progress(await reread(engine, payment));
    if (reserving.kind === 'busy') return { payment, waitsFor: tooBusy() };
    if (reserving.kind === 'paused') return { payment, waitsFor: paused(reserving.pause) };
    if (reserving.kind === 'over_limit') {
      const over = limitExceeded(reserving.verdict, nowMs);
      return end(engine, payment, options, 'refused', over.message, nowMs, over);
    }
    unnoted = reserving.reservation;
  }
  if (plan === null || reserveOnly) {
    const detail = waitsFor?.message ?? 'the amount is reserved';
    if (unnoted !== null) await noteReservation(engine, payment, unnoted, detail);
    return { payment: await reread(engine, payment), waitsFor };
  }
  const reservedMicro = unnoted?.feeMicro ?? payment.feeReservedMicro;
  if (plan.feeMaxMicro > reservedMicro) {
    const refused = new ServiceError(
      'fee_above_cap',
      `The fee could now reach ${formatAmount(plan.feeMaxMicro)} TRX, more than the ${formatAmount(reservedMicro)} reserved for it.`,
    );
    return end(engine, payment, options, 'refused', refused.message, nowMs, refused);
  }
  const signingMs = await ledger.serverTimeMs();
  if (signingMs >= Math.min(payment.payByMs, nowMs + rules.leaseMs)) {
    // This process has slept. An operator may have stopped or paused payments since it looked, or time has run out.
    if (unnoted !== null) await noteReservation(engine, payment, unnoted, 'it is to be looked at anew');
    return { payment: await reread(engine, payment), waitsFor: tooBusy() };
  }
  return signAndSend(engine, payment, plan, unnoted === null ? null : noteOf(unnoted), signingMs);
}

/** What all other unfinished payments may still take from the wallet. */
export function inFlightBeside({ books, fees }: Breaker, payment: Payment): InFlight {
  const own = holdsReservation(payment) ? payment : null;
  const beside = (asset: Asset) =>
    books[asset].outstandingMicro - (own?.asset === asset ? own.amountMicro : 0n);
  return {
    amountMicro: beside(payment.asset),
    trxMicro: beside('TRX'),
    feeMicro: fees.outstandingMicro - (own?.feeReservedMicro ?? 0n),
  };
}

/**
 * What may have been paid before the system was restored is neither paid nor said to be unpaid: it waits until that is
 * known, and then a person must look.
 * @returns null where nothing is in doubt
 */
async function holdInDoubt(
  engine: Engine,
  breaker: Breaker,
  payment: Payment,
  options: AdvanceOptions,
  nowMs: number,
): Promise<Progress | null> {
  const obstacle = obstacleToResume(breaker.restore);
  if (obstacle !== null) return { payment, waitsFor: notReconciled(obstacle) };
  const doubt = await findDoubt(engine, breaker, payment, payment);
  return doubt === null ? null : end(engine, payment, options, 'needs_review', doubt, nowMs);
}

/** Asked before anything is reserved, and again before each signature: the lists may have changed. */
export async function judgeRecipient(
  { recipients }: Pick<Engine, 'recipients'>,
  { recipient }: Pick<Payment, 'recipient'>,
): Promise<ServiceError | null> {
  const verdict = await recipients.judge(recipient);
  if (verdict === 'allowed') return null;
  const why =
    verdict === 'on_the_deny_list' ? 'is on the deny list' : 'is not on the list of allowed recipients';
  return new ServiceError('recipient_refused', `The recipient ${why}.`, { field: 'to' });
}

async function signAndSend(
  engine: Engine,
  payment: Payment,
  plan: TransferPlan,
  note: ReservationNote | null,
  nowMs: number,
): Promise<Progress> {
  const { rules, signer, vault, ids } = engine;
  const guard = guardOf(payment);
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
      answers: [],
      blockNumber: null,
      blockTimeMs: null,
      feeMicro: null,
    };
    const stored = await storeSigned(engine, guard, attempt, note, {
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
        note === null ? undefined : dropQuietly(engine, note.reservationId),
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

/** Stores the attempt; where the acknowledgement was lost, reads whether this is what is stored. */
async function storeSigned(
  engine: Engine,
  guard: ReturnType<typeof guardOf>,
  attempt: Attempt,
  note: ReservationNote | null,
  change: PaymentChange,
): Promise<'stored' | 'moved' | 'tx_id_taken'> {
  try {
    return await engine.ledger.storeSigned(guard, attempt, note, change);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== 'outcome_unknown') throw error;
    const seen = await engine.ledger.findPayment(guard.paymentId);
    // Another process may have signed the very same bytes in the same millisecond, under a reservation of its own.
    const isStored =
      seen !== null &&
      liveAttempt(seen)?.txId === attempt.txId &&
      (note === null || seen.reservationId === note.reservationId);
    // Not there yet does not mean that it never will be; the next visit sees what came of it.
    return isStored ? 'stored' : 'moved';
  }
}

/** Looks for the attempt's transaction in solid blocks, and does what that asks for. */
async function followAttempt(engine: Engine, payment: Payment, options: AdvanceOptions): Promise<Progress> {
  const attempt = liveAttempt(payment);
  const { nowMs, solidHead } = options.glance ?? (await glance(engine));
  if (attempt === undefined) {
    const reason = 'it is marked as signed, but holds no attempt that can land';
    return end(engine, payment, options, 'needs_review', reason, nowMs);
  }
  const transfer = transferOf(engine, payment);
  let gathered: Gathered;
  try {
    gathered = await gatherEvidence(engine, transfer, attempt.txId, solidHead, nowMs);
  } catch (error) {
    if (error instanceof ServiceError) return { payment, waitsFor: error };
    throw error;
  }
  const { testimonies } = gathered;
  const evidence = doubtFee(gathered.evidence, payment.feeReservedMicro);
  switch (evidence.kind) {
    case 'paid':
      return end(engine, payment, options, 'confirmed', null, nowMs, null, evidence);
    case 'reverted': {
      const reason = `the chain reverted it (${evidence.reason}); the funds did not move`;
      return end(engine, payment, options, 'failed', reason, nowMs, null, evidence);
    }
    case 'contradictory':
      return end(engine, payment, options, 'needs_review', evidence.reason, nowMs);
    case 'unknown':
      return progress(payment);
    case 'absent':
      if (await isProvenAbsent(engine, attempt, testimonies, solidHead, nowMs))
        return expireAttempt(engine, payment, options, nowMs);
      return rebroadcast(engine, payment, options, attempt, nowMs);
  }
}

/**
 * Whether nothing can come of the attempt any more. The server's own clock must be past its time too: the head that
 * a node shows is the node's to choose, and no attempt ends early by it.
 */
async function isProvenAbsent(
  engine: Engine,
  attempt: Attempt,
  testimonies: readonly NodeTestimony[],
  knownHead: SolidHead | null,
  nowMs: number,
): Promise<boolean> {
  const { network, rules } = engine;
  const { expirationMs } = attempt;
  const provenMs = expirationMs + rules.expirationMarginMs;
  if (nowMs < provenMs) return false;
  try {
    if (await isProvenTwice(engine, attempt, testimonies, nowMs)) return true;
    // Where there are two nodes, the way that needs no walk has its chance first.
    const walkFromMs = testimonies.length > 1 ? provenMs : expirationMs;
    if (!testimonies.some(({ solidHead }) => solidHead.timestampMs >= walkFromMs)) return false;
    const blocks = await network.walkSolidBlocks(attempt.referenceBlockNumber, expirationMs, knownHead);
    return provesAbsenceByWalk(blocks, attempt, nowMs + rules.headSkewMsMax);
  } catch (error) {
    if (error instanceof ServiceError) return false;
    throw error;
  }
}

/**
 * Two nodes that lack it are asked once more, now for the solid head that the lower of them showed: so both show
 * the same block past the expiration, and an absence told by a backend that lagged behind is found out.
 */
async function isProvenTwice(
  { network, rules }: Engine,
  { txId, expirationMs }: Attempt,
  testimonies: readonly NodeTestimony[],
  nowMs: number,
): Promise<boolean> {
  const isProven = (by: readonly NodeTestimony[]) =>
    provesAbsenceByTwoNodes(by, expirationMs, rules.expirationMarginMs);
  const [lowestHead] = testimonies.map(({ solidHead }) => solidHead).sort((a, b) => a.number - b.number);
  if (lowestHead === undefined || !isProven(testimonies)) return false;
  const told = await network.takeTestimony(txId, lowestHead);
  return isProven(credible(told, lowestHead, nowMs + rules.headSkewMsMax));
}

async function expireAttempt(
  engine: Engine,
  payment: Payment,
  options: AdvanceOptions,
  nowMs: number,
): Promise<Progress> {
  const isLast = nowMs >= payment.payByMs || payment.attemptNumber >= ATTEMPTS_MAX;
  // Where one that a backup has lost may have paid it, it is not over: it is held as soon as it is accepted again.
  if (isLast && !(await mayBePaid(engine, payment))) {
    const reason = 'no attempt was included in time; each is proven absent from the chain';
    return end(engine, payment, options, 'expired', reason, nowMs);
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
  options: AdvanceOptions,
  attempt: Attempt,
  nowMs: number,
): Promise<Progress> {
  const isDue =
    payment.lastBroadcastAtMs === null || nowMs >= payment.lastBroadcastAtMs + engine.rules.rebroadcastMs;
  if (!isDue || nowMs >= attempt.expirationMs) return progress(payment);
  let bytes: Uint8Array;
  try {
    bytes = engine.vault.open(attempt.sealed, payment.id, attempt.number);
  } catch (error) {
    if (!(error instanceof UnreadableBytes)) throw error;
    const problem = `the stored transaction of attempt ${attempt.number} cannot be read (${error.message})`;
    // Not known to have left, and nobody can send it: a person must look.
    if (payment.status === 'signed') return end(engine, payment, options, 'needs_review', problem, nowMs);
    // A node has it, so the chain decides: it is included, or proven expired, and then another attempt follows.
    await engine.ledger.recordBroadcast(
      guardOf(payment),
      { atMs: nowMs, isOut: false, answers: [] },
      {
        entry: { atMs: nowMs, event: 'unreadable', detail: problem },
        settleAtMs: nowMs + engine.rules.revisitMs,
        reason: `${problem}, so it is not sent again; the chain decides`,
      },
    );
    return progress(await reread(engine, payment));
  }
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
  const record = {
    atMs: nowMs,
    isOut: mayHaveLeft,
    answers: answers.map(({ node, code }) => ({ atMs: nowMs, node, code })),
  };
  await ledger.recordBroadcast(guardOf(payment), record, change);
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
  options: AdvanceOptions,
  status: EndStatus,
  reason: string | null,
  nowMs: number,
  refusal: ServiceError | null = null,
  included: Extract<Evidence, { kind: 'paid' | 'reverted' }> | null = null,
): Promise<Progress> {
  const { ledger } = engine;
  // Who closes its account later has a lease on it, which goes on: nobody else need come for that.
  const closeAtMs = options.leaveOpen === true ? (payment.settleAtMs ?? nowMs) : nowMs;
  // One that is counted waits for a person alone.
  const settleAtMs = status === 'needs_review' && payment.reservationId !== null ? null : closeAtMs;
  const ended = { status, reason, endedAtMs: Math.max(nowMs, included?.blockTimeMs ?? 0), settleAtMs };
  const how: PaymentEnd = {
    status,
    reason,
    endedAtMs: ended.endedAtMs,
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
    settleAtMs,
    reason,
  });
  // Who closes its account reads it anyway.
  if (closed && options.leaveOpen === true) return { payment: { ...payment, ...ended }, waitsFor: refusal };
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
export function transferOf(
  engine: Pick<Engine, 'signer' | 'rules'>,
  payment: Pick<Payment, 'asset' | 'amountMicro' | 'recipient'>,
): Transfer {
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

/** The refusal for what does not fit, saying which limit, what is left, and when it would fit. */
export function limitExceeded(over: OverLimit, nowMs: number): ServiceError {
  const { limit, limitMicro, remainingMicro, fitsAtMs, asset, neededMicro } = over;
  const name = { hour: 'hourly', day: 'daily', fees: 'daily fee' }[limit];
  const amount = formatAmount(limitMicro);
  const remaining = formatAmount(remainingMicro);
  const extra = { limit: name, limit_amount: amount, remaining };
  if (neededMicro > limitMicro) {
    const what = limit === 'fees' ? 'fee' : 'amount';
    const message = `The ${what} is above the ${name} limit itself, ${amount} ${asset}.`;
    // No waiting helps; a day is only so that nobody asks again at once.
    return new ServiceError('limit_exceeded', message, { retryAfterSeconds: 86_400, extra });
  }
  const message = `The ${name} limit of ${amount} ${asset} leaves ${remaining}.`;
  if (fitsAtMs === null) {
    // It waits for open payments, and those end within minutes.
    return new ServiceError('limit_exceeded', message, { retryAfterSeconds: 60, extra });
  }
  return new ServiceError('limit_exceeded', message, {
    retryAfterSeconds: Math.max(1, Math.ceil((fitsAtMs - nowMs) / 1000)),
    extra: { ...extra, fits_at: new Date(fitsAtMs).toISOString() },
  });
}

/** The refusal while an operator has paused payments. */
export function paused({ reason }: Pause): ServiceError {
  return new ServiceError('payments_paused', `An operator has paused payments: ${reason}.`, {
    retryAfterSeconds: 60,
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
