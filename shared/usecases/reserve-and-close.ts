import type { Batch } from '../domain/batch.ts';
import {
  type Amounts,
  amountsOf,
  type Breaker,
  type Closing,
  mayPush,
  type Pause,
  type Reservation,
  TRANSITIONS_MAX,
  type Transition,
  transitionsOf,
} from '../domain/breaker.ts';
import { closeBooks } from '../domain/closings.ts';
import { ServiceError } from '../domain/errors.ts';
import {
  feesOutstandingMaxMicro,
  freeableUntilMs,
  judgeFees,
  judgeLimits,
  type LimitVerdict,
  lastToFit,
  outstandingMaxMicro,
} from '../domain/limits.ts';
import { ASSETS, type Asset } from '../domain/money.ts';
import {
  closingKind,
  deadAttempts,
  type EndStatus,
  feesBurnedMicro,
  isSettled,
  type Payment,
} from '../domain/payment.ts';
import { isRecovered, type Restore } from '../domain/restore.ts';
import {
  closingOf,
  isReservation,
  judgeBatchTransition,
  judgeTransition,
  type TransitionVerdict,
} from '../domain/transition-rules.ts';
import type { PaymentChange, PaymentGuard, ReservationRoom } from '../ports/ledger.ts';
import type { Engine } from './engine.ts';

/**
 * The steps that touch both the breaker document and a payment, in the order that keeps them true under any
 * crash. Two documents never change together, and the breaker is always read before the payment.
 *
 * - reserve: push with its effect, guarded by the sums themselves → note in the payment → drop
 * - close: the payment is ended first → push without effect → note, which picks one of several rivals → drop with
 *   the effect
 *
 * No push needs the version of the whole document: each carries a fresh id, so one that a frozen process makes
 * too late is never noted, and is taken out again.
 */

export type Reserving =
  /** The amount is counted under this reservation, which the payment has yet to note. */
  | { readonly kind: 'pushed'; readonly reservation: Reservation }
  | { readonly kind: 'over_limit'; readonly verdict: OverLimit }
  | { readonly kind: 'paused'; readonly pause: Pause }
  /** Too many transitions, or too many rivals, at this moment. */
  | { readonly kind: 'busy' }
  /** Somebody else has taken the payment further. */
  | { readonly kind: 'moved' };

/** The limit that refuses, and of what. */
export type OverLimit = Extract<LimitVerdict, { fits: false }> & {
  readonly asset: Asset;
  readonly neededMicro: bigint;
};

/** What is to be counted against the limits. */
export interface Demand {
  readonly amounts: Amounts;
  /** The most TRX that may be burned for it. */
  readonly feeMicro: bigint;
}

/** Lost races for the breaker document before a request gives up; each waits a little longer. */
const RACES_MAX = 24;
/** Closings announced together: enough to share the writes, and room is left for reservations. */
const CLOSINGS_MAX = 32;

/** Who reserves: a payment for itself, or a batch for all of its items. */
interface Claimant extends Demand {
  readonly id: string;
  readonly generation: number;
  /** As it was when the claimant was last compared with what was recovered; undefined where that comes later. */
  readonly restore?: Restore | null;
  /** Judges leftovers as it was last seen, after `known`. */
  readonly judge: Judge;
  /** Reads it again, after the breaker; null where it no longer waits for a reservation. */
  reread(): Promise<Judge | null>;
}
type Judge = (transition: Transition) => TransitionVerdict | 'admit';

/**
 * Counts the payment's amount, and the most that its fee may be, against the limits.
 * @param restore as it was when the payment was compared with what was recovered
 * @param known a breaker document that was read before the payment was last seen as it is here
 */
export function reserve(
  engine: Engine,
  payment: Payment,
  feeMicro: bigint,
  restore: Restore | null,
  known?: Breaker,
): Promise<Reserving> {
  return reserveFor(
    engine,
    {
      id: payment.id,
      generation: payment.generation,
      restore,
      amounts: amountsOf(payment.asset, payment.amountMicro),
      feeMicro,
      judge: (transition) => judgeTransition(transition, payment),
      async reread() {
        const seen = await engine.ledger.findPayment(payment.id);
        const waits = seen?.status === 'accepted' && seen.reservationId === null;
        return waits && seen.generation === payment.generation
          ? (transition) => judgeTransition(transition, seen)
          : null;
      },
    },
    known,
  );
}

/** Counts all items of a batch at once. */
export function reserveBatch(engine: Engine, batch: Batch, known?: Breaker): Promise<Reserving> {
  return reserveFor(
    engine,
    {
      ...demandOf(batch),
      id: batch.id,
      generation: batch.generation,
      judge: (transition) => judgeBatchTransition(transition, batch),
      async reread() {
        const seen = await engine.ledger.findBatch(batch.id);
        const waits = seen?.status === 'accepted' && seen.reservationId === null;
        return waits && seen.generation === batch.generation
          ? (transition) => judgeBatchTransition(transition, seen)
          : null;
      },
    },
    known,
  );
}

export function demandOf(batch: Pick<Batch, 'items' | 'feeReservedMicro'>): Demand {
  const amounts = { USDT: 0n, TRX: 0n };
  for (const { asset, amountMicro } of batch.items) amounts[asset] += amountMicro;
  return { amounts, feeMicro: batch.feeReservedMicro * BigInt(batch.items.length) };
}

async function reserveFor(engine: Engine, claimant: Claimant, known?: Breaker): Promise<Reserving> {
  const { ledger } = engine;
  let breaker = known;
  let { judge } = claimant;
  let headAsked = false;
  for (let race = 0; race < RACES_MAX; race += 1) {
    if (breaker === undefined) {
      await pauseAfterRace(engine, race);
      breaker = await ledger.readBreaker();
      const seen = await claimant.reread();
      if (seen === null) return { kind: 'moved' };
      judge = seen;
    }
    const [leftover] = transitionsOf(breaker, claimant.id);
    if (leftover !== undefined) {
      const verdict = judge(leftover);
      // A crash, or a lost acknowledgement, came between pushing and noting: it counts already.
      if (verdict === 'note' && isReservation(leftover)) return { kind: 'pushed', reservation: leftover };
      if (verdict === 'note' || verdict === 'anomaly' || verdict === 'admit') return { kind: 'busy' };
      await removeEntry(engine, breaker, leftover, verdict);
      breaker = undefined;
      continue;
    }
    if (breaker.pause !== null) return { kind: 'paused', pause: breaker.pause };
    // The system was restored while this process slept: what it has compared means nothing any more.
    if (claimant.restore !== undefined && claimant.restore?.id !== breaker.restore?.id)
      return { kind: 'busy' };
    if (!mayPush(breaker, claimant.id)) return { kind: 'busy' };

    const nowMs = await ledger.serverTimeMs();
    const { refusal, newerHeadHelps } = judgeDemand(engine, breaker, claimant, nowMs);
    if (refusal !== null) {
      if (!newerHeadHelps || headAsked || !(await refreshSolidHead(engine))) {
        return { kind: 'over_limit', verdict: refusal };
      }
      headAsked = true;
      breaker = undefined;
      continue;
    }
    const { id: paymentId, generation, amounts, feeMicro } = claimant;
    const reservation: Reservation = {
      id: engine.ids.next(),
      paymentId,
      generation,
      kind: 'reserve',
      amounts,
      feeMicro,
    };
    const room = roomFor(engine, breaker, claimant, nowMs);
    if (await acknowledged(() => ledger.pushReservation(reservation, room))) {
      return { kind: 'pushed', reservation };
    }
    breaker = undefined;
  }
  return { kind: 'busy' };
}

/**
 * Judges a demand against the limits as a breaker document shows them. `newerHeadHelps`: slots are freed by the
 * solid head that was last remembered, and by the clock alone it would fit.
 */
export function judgeDemand(
  { rules }: Pick<Engine, 'rules'>,
  { books, fees, solidHead }: Breaker,
  { amounts, feeMicro }: Demand,
  nowMs: number,
): { readonly refusal: OverLimit | null; readonly newerHeadHelps: boolean } {
  const judge = (freeMs: number): OverLimit | null => {
    const asked = ASSETS.filter((asset) => amounts[asset] > 0n);
    const verdicts = [
      ...asked.map((asset) => ({
        ...judgeLimits(books[asset], rules.limits[asset], rules.windows, amounts[asset], freeMs),
        asset,
        neededMicro: amounts[asset],
      })),
      {
        ...judgeFees(fees, rules.feeLimitDailyMicro, rules.windows, feeMicro, freeMs),
        asset: 'TRX' as const,
        neededMicro: feeMicro,
      },
    ];
    const refusal = lastToFit(verdicts.filter((verdict) => !verdict.fits));
    if (refusal === null || refusal.fitsAtMs === null) return refusal;
    // Slots free by the solid head, which follows the clock by about a minute.
    const lagMs = nowMs - freeMs;
    return lagMs > rules.headSkewMsMax ? refusal : { ...refusal, fitsAtMs: refusal.fitsAtMs + lagMs };
  };
  const refusal = judge(freeableUntilMs(nowMs, solidHead?.timestampMs ?? null));
  return { refusal, newerHeadHelps: refusal !== null && judge(nowMs) === null };
}

function roomFor(
  { rules }: Engine,
  { books, fees, solidHead, slotsVersion, restore }: Breaker,
  { amounts, feeMicro }: Demand,
  nowMs: number,
): ReservationRoom {
  const freeMs = freeableUntilMs(nowMs, solidHead?.timestampMs ?? null);
  const roomOf = (asset: Asset) =>
    outstandingMaxMicro(books[asset], rules.limits[asset], rules.windows, amounts[asset], freeMs);
  return {
    slotsVersion,
    restoreId: restore?.id ?? null,
    outstandingMaxMicro: { USDT: roomOf('USDT'), TRX: roomOf('TRX') },
    feesOutstandingMaxMicro: feesOutstandingMaxMicro(
      fees,
      rules.feeLimitDailyMicro,
      rules.windows,
      feeMicro,
      freeMs,
    ),
  };
}

/** Notes a pushed reservation in a payment that will be signed later, then drops the transition. */
export async function noteReservation(
  engine: Engine,
  payment: Payment,
  reservation: Reservation,
  detail: string,
): Promise<void> {
  const { ledger, rules } = engine;
  const nowMs = await ledger.serverTimeMs();
  const noted = await ledger.noteReservation(guardOf(payment), noteOf(reservation), {
    entry: { atMs: nowMs, event: 'reserved', detail },
    settleAtMs: nowMs + rules.revisitMs,
    reason: detail,
  });
  if (noted) await ledger.dropTransition(reservation.id);
}

/**
 * Counts what the chain has taken against our books, whatever the limits say: the payment is to be reviewed, and
 * until an operator rules its amount stands as outstanding.
 */
export async function countForReview(engine: Engine, payment: Payment): Promise<void> {
  const { ledger } = engine;
  for (let race = 0; race < RACES_MAX; race += 1) {
    await pauseAfterRace(engine, race);
    const breaker = await ledger.readBreaker();
    const seen = await ledger.findPayment(payment.id);
    if (seen?.status !== 'needs_review' || seen.reservationId !== null) return;
    const leftovers = transitionsOf(breaker, seen.id);
    if (leftovers.length > 0) {
      for (const leftover of leftovers) await resolveTransition(engine, breaker, leftover, seen);
      continue;
    }
    const reservation: Reservation = {
      id: engine.ids.next(),
      paymentId: seen.id,
      generation: seen.generation,
      kind: 'reserve',
      amounts: amountsOf(seen.asset, seen.amountMicro),
      feeMicro: feesBurnedMicro(seen),
    };
    // Noted by the next round, which finds it as a leftover: one way to note, whoever pushed.
    await acknowledged(() => ledger.pushReservation(reservation, null));
  }
}

/**
 * Commits or releases what ended payments had reserved, many at once: announced in one write, noted one by one, and
 * applied in one write. Only ever for payments that are closed: before that, money could still move.
 * @returns the payments for which it has to be tried again later
 */
export async function closeAccounts(engine: Engine, ...paymentIds: readonly string[]): Promise<string[]> {
  const { ledger } = engine;
  let open = [...paymentIds];
  for (let race = 0; open.length > 0 && race < RACES_MAX; race += 1) {
    await pauseAfterRace(engine, race);
    const breaker = await ledger.readBreaker();
    const payments = await ledger.findPayments(open);
    const closings: Closing[] = [];
    const applying: Closing[] = [];
    const closed: string[] = [];
    for (const payment of payments) {
      const leftovers = transitionsOf(breaker, payment.id);
      if (leftovers.length > 0) {
        for (const leftover of leftovers) {
          const verdict = judgeTransition(leftover, payment);
          if (verdict === 'drop' && !isReservation(leftover)) applying.push(leftover);
          else await resolveTransition(engine, breaker, leftover, payment);
        }
        continue;
      }
      if (isSettled(payment) || closingKind(payment.status) === 'none') {
        await finishVisits(engine, payment);
        closed.push(payment.id);
        continue;
      }
      const closing = closingOf(payment, engine.ids.next(), feesBurnedMicro(payment));
      if (closing !== null) closings.push(closing);
    }
    if (applying.length > 0) await applyNoted(engine, breaker, applying);
    const room = Math.min(CLOSINGS_MAX, TRANSITIONS_MAX - breaker.transitions.length);
    const announced = closings.slice(0, Math.max(0, room));
    if (announced.length > 0 && (await acknowledged(() => ledger.pushClosings(announced)))) {
      const noted = await noteClosings(engine, announced, payments);
      // Their notes have ended their visits, or put off the last one: nothing is left to read them for.
      if (await applyNoted(engine, breaker, noted)) closed.push(...noted.map(({ paymentId }) => paymentId));
    }
    open = open.filter((id) => !closed.includes(id) && payments.some((payment) => payment.id === id));
  }
  return open;
}

async function noteClosings(
  engine: Engine,
  closings: readonly Closing[],
  payments: readonly Payment[],
): Promise<Closing[]> {
  const nowMs = await engine.ledger.serverTimeMs();
  const noted = await Promise.all(
    closings.map(async (closing) => {
      const payment = payments.find(({ id }) => id === closing.paymentId);
      return payment !== undefined && (await noteClosing(engine, closing, payment, nowMs)) ? [closing] : [];
    }),
  );
  return noted.flat();
}

async function noteClosing(
  engine: Engine,
  closing: Closing,
  payment: Payment,
  nowMs: number,
): Promise<boolean> {
  const isCommit = closing.kind === 'commit';
  return acknowledged(() =>
    engine.ledger.noteClose(guardOf(payment), payment.status as EndStatus, closing.id, {
      entry: {
        atMs: nowMs,
        event: isCommit ? 'committed' : 'released',
        detail: isCommit ? 'the amount is spent' : 'the reservation is released',
      },
      settleAtMs: lastLookAtMs(engine, payment),
    }),
  );
}

/** Removes noted closings with their effect; false where the books have moved, and they must be read again. */
async function applyNoted(engine: Engine, breaker: Breaker, closings: readonly Closing[]): Promise<boolean> {
  if (closings.length === 0) return true;
  const { ledger, rules } = engine;
  const freeMs = freeableUntilMs(await ledger.serverTimeMs(), breaker.solidHead?.timestampMs ?? null);
  const after = closeBooks(breaker, closings, rules.windows, freeMs);
  return acknowledged(() => ledger.applyClosings(breaker.slotsVersion, closings, after));
}

/** A settled payment is looked at no more; where attempts were taken for dead, the last look ends its visits. */
async function finishVisits(engine: Engine, payment: Payment): Promise<void> {
  if (payment.settleAtMs === null || closingKind(payment.status) === 'none') return;
  if (lastLookAtMs(engine, payment) === null) {
    await engine.ledger.endVisits(guardOf(payment), payment.status as EndStatus);
  }
}

/** When an ended payment is looked at for the last time; null where it has no attempt that could still show up. */
export function lastLookAtMs({ rules }: Engine, payment: Payment): number | null {
  return deadAttempts(payment).length > 0 && payment.endedAtMs !== null
    ? payment.endedAtMs + rules.recheckMs
    : null;
}

/**
 * Finishes or takes out a transition found in the breaker document.
 * @param breaker the document that shows it
 * @param payment read after that document
 * @returns false for what the rules know no answer to; it is left as it is
 */
export async function resolveTransition(
  engine: Engine,
  breaker: Breaker,
  transition: Transition,
  payment: Payment | null,
): Promise<boolean> {
  const { ledger, rules } = engine;
  const verdict = judgeTransition(transition, payment);
  if (verdict === 'anomaly' || payment === null) return false;
  if (verdict !== 'note') {
    await removeEntry(engine, breaker, transition, verdict);
    return true;
  }
  const nowMs = await ledger.serverTimeMs();
  if (!isReservation(transition)) {
    if (await noteClosing(engine, transition, payment, nowMs)) {
      await applyNoted(engine, breaker, [transition]);
    }
    return true;
  }
  // What was recovered is visited once more, to end as the chain shows it.
  const isReview = payment.status === 'needs_review' && !isRecovered(payment);
  const change: PaymentChange = {
    entry: { atMs: nowMs, event: 'reserved', detail: 'a reservation left over by a crash was taken up' },
    settleAtMs: isReview ? null : Math.min(payment.settleAtMs ?? nowMs, nowMs + rules.revisitMs),
  };
  // Not noted: the payment has moved since it was read, and must be read again before anything is undone.
  if (await ledger.noteReservation(guardOf(payment), noteOf(transition), change)) {
    await ledger.dropTransition(transition.id);
  }
  return true;
}

/** Removes an entry that its payment holds the note of, or can never note. */
export async function removeEntry(
  engine: Engine,
  breaker: Breaker,
  transition: Transition,
  verdict: 'drop' | 'take_out',
): Promise<void> {
  const { ledger } = engine;
  if (isReservation(transition)) {
    if (verdict === 'drop') await ledger.dropTransition(transition.id);
    else await ledger.takeOutReservation(transition);
    return;
  }
  if (verdict === 'drop') await applyNoted(engine, breaker, [transition]);
  else await ledger.dropTransition(transition.id);
}

export function noteOf(reservation: Reservation) {
  return { reservationId: reservation.id, feeReservedMicro: reservation.feeMicro };
}

/** Which payment, generation and attempt a change is for. */
export function guardOf(payment: Payment): PaymentGuard {
  return { paymentId: payment.id, generation: payment.generation, attemptNumber: payment.attemptNumber };
}

/** A lost acknowledgement counts as a lost race: reading again tells which it was. */
async function acknowledged(change: () => Promise<boolean>): Promise<boolean> {
  try {
    return await change();
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'outcome_unknown') return false;
    throw error;
  }
}

/** Reads the chain's solid head and remembers it; false where the chain is away. */
export async function refreshSolidHead(engine: Engine): Promise<boolean> {
  try {
    const head = await engine.network.readSolidHead();
    await acknowledged(() => engine.ledger.advanceSolidHead(head));
    return true;
  } catch (error) {
    if (
      error instanceof ServiceError &&
      (error.code === 'chain_unavailable' || error.code === 'circuit_open')
    ) {
      return false;
    }
    throw error;
  }
}

async function pauseAfterRace(engine: Engine, race: number): Promise<void> {
  // Full jitter: rivals for one hot document spread out instead of meeting again.
  if (race > 0) await engine.clock.sleep(engine.ids.random() * Math.min(100, 2 ** Math.min(race, 7)));
}
