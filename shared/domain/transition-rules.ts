import type { Transition } from './breaker.ts';
import type { Payment } from './payment.ts';

/**
 * What to do with a transition that is found in the breaker document. The payment MUST have been read after the
 * breaker document: then a note that is missing here is missing for good, or its writer will see our change.
 *
 * - drop: the payment holds the note, so only the entry itself is left over
 * - note: the payment can still take it
 * - take_out: the payment can never note it; remove the entry and its effect in one write
 * - anomaly: nothing in the rules leads here; touch nothing and say so
 */
export type TransitionVerdict = 'drop' | 'note' | 'take_out' | 'anomaly';

export function judgeTransition(transition: Transition, payment: Payment | null): TransitionVerdict {
  // The payment is inserted at majority before anything is pushed for it.
  if (payment === null) return 'anomaly';
  if (payment.notedIds.includes(transition.id)) return 'drop';
  if (transition.kind === 'reserve') {
    const takesIt =
      payment.status === 'accepted' &&
      payment.reservationId === null &&
      payment.generation === transition.generation;
    return takesIt ? 'note' : 'take_out';
  }
  const owed =
    payment.generation === transition.generation &&
    payment.reservationId !== null &&
    payment.closeId === null;
  return owed ? 'note' : 'anomaly';
}
