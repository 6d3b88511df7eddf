import type { Breaker } from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import type { Payment, PaymentOrder } from '../domain/payment.ts';
import {
  describeDoubt,
  isClearedSince,
  isUnreconciled,
  obstacleToResume,
  orderKey,
} from '../domain/restore.ts';
import type { Engine } from './engine.ts';

/** What a restored system does not know of an order: whether it was paid after the backup. */

/**
 * Whether an order may have been paid already, before the system was restored: an equal transfer was found on the
 * chain, and nobody has said that it was another one.
 * @param standing what is stored of it, if anything is
 * @returns why it must not be paid before a person has looked; null where it may be
 */
export async function findDoubt(
  { ledger }: Pick<Engine, 'ledger'>,
  { restore }: Pick<Breaker, 'restore'>,
  order: PaymentOrder,
  standing: Payment | null,
): Promise<string | null> {
  if (restore === null) return null;
  const isCleared = standing !== null && isClearedSince(standing, restore);
  const recovered = await ledger.findRecovered(
    // Whoever ruled that it was paid by this one may have died before that was all stored.
    ...(standing === null ? [] : [standing.id]),
    ...(isCleared ? [] : [orderKey(order)]),
  );
  return recovered === null ? null : describeDoubt(recovered);
}

/** Whether one that looks unpaid may have been paid, for all that a restored system knows. */
export async function mayBePaid(engine: Pick<Engine, 'ledger'>, payment: Payment): Promise<boolean> {
  const breaker = await engine.ledger.readBreaker();
  return isUnreconciled(breaker.restore) || (await findDoubt(engine, breaker, payment, payment)) !== null;
}

/** @throws ServiceError `not_reconciled`: what is not known to be paid must not be said to be unpaid */
export async function readReconciled({ ledger }: Pick<Engine, 'ledger'>): Promise<Breaker> {
  const breaker = await ledger.readBreaker();
  const obstacle = obstacleToResume(breaker.restore);
  if (obstacle !== null) throw notReconciled(obstacle);
  return breaker;
}

/** The refusal while a restored system does not know yet what was paid since the backup. */
export function notReconciled(obstacle: string): ServiceError {
  return new ServiceError('not_reconciled', `Payments stay paused: ${obstacle}.`);
}
