import type { Batch } from './batch.ts';
import type { Closing, Reservation, Transition } from './breaker.ts';
import { closingKind, holdsReservation, type Payment } from './payment.ts';
import { takes } from './payment-life.ts';

/**
 * What to do with a transition that is found in the breaker document. The payment MUST have been read after the
 * breaker document: then a note that is missing here is missing for good, or its writer will see our change.
 *
 * - note: the payment can still take it
 * - drop: the payment holds the note; what is left is to remove the entry (a closing with its effect)
 * - take_out: the payment can never note it; remove the entry (a reservation with its effect undone)
 * - anomaly: nothing in the rules leads here; touch nothing and say so
 */
export type TransitionVerdict = 'note' | 'drop' | 'take_out' | 'anomaly';

export function judgeTransition(transition: Transition, payment: Payment | null): TransitionVerdict {
  // The payment is inserted at majority before anything is pushed for it.
  if (payment === null) return 'anomaly';
  if (payment.notedIds.includes(transition.id)) return 'drop';
  const takes = transition.kind === 'reserve' ? takesReservation : takesClosing;
  return payment.generation === transition.generation && takes(payment, transition) ? 'note' : 'take_out';
}

/** A payment to be made, or one that the chain has made against our books: its amount must count again. */
function takesReservation(payment: Payment): boolean {
  return payment.reservationId === null && takes(payment.status, 'reserve');
}

function takesClosing(payment: Payment, { kind }: Transition): boolean {
  return holdsReservation(payment) && closingKind(payment.status) === kind;
}

/**
 * The same for a batch, which only ever reserves. `admit`: the reservation is noted, but its payments may not all
 * be there yet; the entry is dropped only once they are, because they hold what it reserved.
 */
export function judgeBatchTransition(
  transition: Transition,
  batch: Batch | null,
): TransitionVerdict | 'admit' {
  if (batch === null || transition.kind !== 'reserve') return 'anomaly';
  if (batch.notedIds.includes(transition.id)) return batch.status === 'admitted' ? 'drop' : 'admit';
  const takes =
    batch.status === 'accepted' && batch.reservationId === null && batch.generation === transition.generation;
  return takes ? 'note' : 'take_out';
}

/** The closing that an ended payment owes, or null. */
export function closingOf(payment: Payment, id: string, feeBurnedMicro: bigint): Closing | null {
  const kind = closingKind(payment.status);
  if (kind === 'none' || !holdsReservation(payment) || payment.endedAtMs === null) return null;
  const blockNumbers = payment.attempts.flatMap(({ blockNumber }) => blockNumber ?? []);
  return {
    id,
    paymentId: payment.id,
    generation: payment.generation,
    kind,
    amounts: { USDT: 0n, TRX: 0n, [payment.asset]: payment.amountMicro },
    feeMicro: payment.feeReservedMicro,
    feeBurnedMicro,
    endedAtMs: payment.endedAtMs,
    ...(blockNumbers.length === 0 ? {} : { blockNumber: Math.max(...blockNumbers) }),
  };
}

export function isReservation(transition: Transition): transition is Reservation {
  return transition.kind === 'reserve';
}
