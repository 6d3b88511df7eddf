import {
  type Breaker,
  mayPush,
  type Transition,
  type TransitionKind,
  transitionOf,
} from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import { chargeSlots, freeableUntilMs, judgeLimits, type LimitVerdict } from '../domain/limits.ts';
import { closingKind, isLive, isSettled, type Payment, type PaymentOrder } from '../domain/payment.ts';
import { judgeTransition } from '../domain/transition-rules.ts';
import type { PaymentGuard } from '../ports/ledger.ts';
import type { Engine } from './engine.ts';

/**
 * The steps that touch both the breaker document and a payment, in the order that keeps them true under any
 * crash: push into the breaker together with the effect, note in the payment, drop. Two documents never change
 * together, and the breaker is always read before the payment.
 */

export type Reservation =
  /** The amount is counted under this transition, which the payment has yet to note. */
  | { readonly kind: 'pushed'; readonly transition: Transition }
  | { readonly kind: 'over_limit'; readonly verdict: Extract<LimitVerdict, { fits: false }> }
  /** Too many transitions, or too many rivals, at this moment. */
  | { readonly kind: 'busy' }
  /** Somebody else has taken the payment further. */
  | { readonly kind: 'moved' };

/** Lost races for the breaker document before a request gives up; each waits a little longer. */
const RACES_MAX = 24;

/**
 * Counts the payment's amount against the limits.
 * @param known a breaker document that was read before the payment was last seen as it is here
 */
export async function reserve(engine: Engine, payment: Payment, known?: Breaker): Promise<Reservation> {
  const { ledger } = engine;
  let breaker = known;
  let headAsked = false;
  for (let race = 0; race < RACES_MAX; race += 1) {
    if (breaker === undefined) {
      await pauseAfterRace(engine, race);
      breaker = await ledger.readBreaker();
      const seen = await ledger.findPayment(payment.id);
      if (!awaitsReservation(seen, payment)) return { kind: 'moved' };
    }
    const leftover = transitionOf(breaker, payment.id);
    if (leftover !== undefined) {
      const verdict = judgeTransition(leftover, payment);
      // A crash, or a lost acknowledgement, came between pushing and noting: it counts already.
      if (verdict === 'note') return { kind: 'pushed', transition: leftover };
      if (verdict === 'take_out') await ledger.takeOutReservation(leftover);
      else if (verdict === 'drop') await ledger.dropTransition(leftover.id);
      else return { kind: 'busy' };
      breaker = undefined;
      continue;
    }
    if (!mayPush(breaker, payment.id)) return { kind: 'busy' };

    const { verdict, newerHeadHelps } = judgeOrder(engine, breaker, payment, await ledger.serverTimeMs());
    if (!verdict.fits) {
      if (!newerHeadHelps || headAsked || !(await refreshSolidHead(engine))) {
        return { kind: 'over_limit', verdict };
      }
      headAsked = true;
      breaker = undefined;
      continue;
    }
    const transition = newTransition(engine, payment, 'reserve');
    if (await pushed(engine, breaker, transition, null)) return { kind: 'pushed', transition };
    breaker = undefined;
  }
  return { kind: 'busy' };
}

/**
 * Judges an order against the limits as a breaker document shows them. `newerHeadHelps`: slots are freed by the
 * solid head that was last remembered, and by the clock alone the amount would fit.
 */
export function judgeOrder(
  { rules }: Engine,
  { books, solidHead }: Breaker,
  order: PaymentOrder,
  nowMs: number,
): { readonly verdict: LimitVerdict; readonly newerHeadHelps: boolean } {
  const judge = (freeMs: number) =>
    judgeLimits(books[order.asset], rules.limits[order.asset], rules.windows, order.amountMicro, freeMs);
  const verdict = judge(freeableUntilMs(nowMs, solidHead?.timestampMs ?? null));
  return { verdict, newerHeadHelps: !verdict.fits && judge(nowMs).fits };
}

/** Notes a pushed reservation in a payment that will be signed later, then drops the transition. */
export async function noteReservation(
  engine: Engine,
  payment: Payment,
  transition: Transition,
  detail: string,
) {
  const { ledger, rules } = engine;
  const nowMs = await ledger.serverTimeMs();
  const noted = await ledger.noteReservation(guardOf(payment), transition.id, {
    entry: { atMs: nowMs, event: 'reserved', detail },
    settleAtMs: nowMs + rules.revisitMs,
    reason: detail,
  });
  if (noted) await ledger.dropTransition(transition.id);
}

/**
 * Commits or releases what an ended payment had reserved, and notes that it did. Only ever called for a payment
 * that is closed: before that, money could still move.
 * @returns false where it has to be tried again later
 */
export async function closeAccounts(engine: Engine, paymentId: string): Promise<boolean> {
  const { ledger, rules } = engine;
  for (let race = 0; race < RACES_MAX; race += 1) {
    await pauseAfterRace(engine, race);
    const breaker = await ledger.readBreaker();
    const payment = await ledger.findPayment(paymentId);
    if (payment === null || isLive(payment.status)) return false;
    const leftover = transitionOf(breaker, paymentId);
    if (leftover !== undefined) {
      if (!(await resolveTransition(engine, leftover, payment))) return false;
      continue;
    }
    const kind = closingKind(payment.status);
    if (kind === 'none' || isSettled(payment)) {
      if (payment.settleAtMs !== null) await ledger.rescheduleVisit(paymentId, payment.settleAtMs, null);
      return true;
    }
    if (!mayPush(breaker, paymentId)) return false;
    const transition = newTransition(engine, payment, kind);
    const nowMs = await ledger.serverTimeMs();
    const freeMs = freeableUntilMs(nowMs, breaker.solidHead?.timestampMs ?? null);
    const slots =
      kind === 'commit'
        ? chargeSlots(
            breaker.books[payment.asset],
            rules.windows,
            payment.amountMicro,
            payment.endedAtMs ?? nowMs,
            freeMs,
          )
        : null;
    if (await pushed(engine, breaker, transition, slots)) {
      await resolveTransition(engine, transition, payment);
    }
  }
  return false;
}

/**
 * Finishes or takes out a transition found in the breaker document.
 * @param payment read after the breaker document that showed the transition
 * @returns false for what the rules know no answer to; it is left as it is
 */
export async function resolveTransition(
  engine: Engine,
  transition: Transition,
  payment: Payment | null,
): Promise<boolean> {
  const { ledger, rules } = engine;
  const verdict = judgeTransition(transition, payment);
  if (verdict === 'anomaly' || payment === null) return false;
  if (verdict === 'take_out') {
    await ledger.takeOutReservation(transition);
    return true;
  }
  if (verdict === 'note') {
    const nowMs = await ledger.serverTimeMs();
    if (isLive(payment.status)) {
      const noted = await ledger.noteReservation(guardOf(payment), transition.id, {
        entry: { atMs: nowMs, event: 'reserved', detail: 'a reservation left over by a crash was taken up' },
        settleAtMs: Math.min(payment.settleAtMs ?? nowMs, nowMs + rules.revisitMs),
      });
      // Not noted: the payment has moved since it was read, and must be read again before anything is undone.
      if (!noted) return true;
    } else {
      const detail = transition.kind === 'commit' ? 'the amount is spent' : 'the reservation is released';
      const noted = await ledger.noteClose(guardOf(payment), payment.status, transition.id, {
        entry: { atMs: nowMs, event: transition.kind === 'commit' ? 'committed' : 'released', detail },
        settleAtMs: null,
      });
      if (!noted) return true;
    }
  }
  await ledger.dropTransition(transition.id);
  return true;
}

/** Which payment, generation and attempt a change is for. */
export function guardOf(payment: Payment): PaymentGuard {
  return { paymentId: payment.id, generation: payment.generation, attemptNumber: payment.attemptNumber };
}

function awaitsReservation(seen: Payment | null, expected: Payment): boolean {
  return (
    seen?.status === 'accepted' && seen.reservationId === null && seen.generation === expected.generation
  );
}

function newTransition(engine: Engine, payment: Payment, kind: TransitionKind): Transition {
  const { id: paymentId, generation, asset, amountMicro } = payment;
  return { id: engine.ids.next(), paymentId, kind, generation, asset, amountMicro };
}

/** A lost acknowledgement counts as a lost race: reading again tells which it was. */
async function pushed(
  engine: Engine,
  breaker: Breaker,
  transition: Transition,
  slots: ReturnType<typeof chargeSlots> | null,
): Promise<boolean> {
  try {
    return await engine.ledger.pushTransition(breaker.version, transition, slots);
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'outcome_unknown') return false;
    throw error;
  }
}

/** Reads the chain's solid head and remembers it; false where the chain is away. */
export async function refreshSolidHead(engine: Engine): Promise<boolean> {
  try {
    await engine.ledger.advanceSolidHead(await engine.network.readSolidHead());
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
