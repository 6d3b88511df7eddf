import {
  batchFrom,
  breakerFrom,
  isBatchDocument,
  paymentFrom,
} from '../../shared/adapters/mongo/documents.ts';
import type { Batch } from '../../shared/domain/batch.ts';
import type { Breaker } from '../../shared/domain/breaker.ts';
import { countedMicro } from '../../shared/domain/limits.ts';
import { feesBurnedMicro, holdsReservation, isSettled, type Payment } from '../../shared/domain/payment.ts';
import { isReservation } from '../../shared/domain/transition-rules.ts';
import type { PaymentRules } from '../../shared/usecases/payment-rules.ts';
import { type Chain, timeOf } from './chain.ts';
import { isBreaker, type Shelf, type Stored } from './shelf.ts';
import { documentsOf, type World } from './world.ts';

/** What must be true in every state, and of every step, whoever has crashed or is frozen where. */
export const TRUTHS = [
  'what left within a window is within the limit',
  'all that may still land, or has landed within a window, is counted',
  'no payment has two transactions that may land or have moved money',
  'no transaction is out without its row',
  'no sum is negative',
  'outstanding is exactly what payments hold, or are about to',
  'spent is exactly what was committed',
  'the index of held reservations is true',
  'an end says what the chain says',
  'nothing is reserved while payments are paused',
  'a lone settler ends all, and then nothing is held',
  'no program makes a mistake',
] as const;
export type Truth = (typeof TRUTHS)[number];

export interface Facts {
  readonly documents: readonly Stored[];
  readonly payments: readonly Payment[];
  readonly batches: readonly Batch[];
  readonly breaker: Breaker;
  readonly chain: Chain;
  readonly nowMs: number;
}

export function factsOf(shelf: Shelf, world: World): Facts {
  const documents = documentsOf(shelf, world);
  const payments: Payment[] = [];
  const batches: Batch[] = [];
  let breaker: Breaker | undefined;
  for (const document of documents) {
    if (isBreaker(document)) breaker = breakerFrom(document);
    else if (isBatchDocument(document)) batches.push(batchFrom(document));
    else payments.push(paymentFrom(document));
  }
  if (breaker === undefined) throw new Error('the breaker document is gone');
  return { documents, payments, batches, breaker, chain: world.chain, nowMs: timeOf(world.tick) };
}

/**
 * The first truth that does not hold, or null.
 * @param isHonest whether nodes never swear falsely; once they have, only the books can still be right
 */
export function findUntruth(facts: Facts, rules: PaymentRules, isHonest: boolean): Truth | null {
  const { payments, chain, breaker } = facts;
  const rows = new Map(payments.flatMap((payment) => payment.attempts.map(({ txId }) => [txId, payment])));
  if (chain.some(({ txId }) => !rows.has(txId))) return 'no transaction is out without its row';
  if (isNegative(breaker)) return 'no sum is negative';
  if (!isBalanced(facts)) return 'outstanding is exactly what payments hold, or are about to';
  if (!isSpentTrue(facts, isHonest)) return 'spent is exactly what was committed';
  if (!isIndexTrue(facts)) return 'the index of held reservations is true';
  if (!isHonest) return null;
  const landing = payments.map((payment) => [payment, landingOf(payment, facts)] as const);
  if (landing.some(([, { may, paid }]) => may + paid > 1)) {
    return 'no payment has two transactions that may land or have moved money';
  }
  if (!landing.every(([payment, { may, paid }]) => endIsTrue(payment, may, paid))) {
    return 'an end says what the chain says';
  }
  if (!isWithinLimits(facts, rules)) return 'what left within a window is within the limit';
  if (!isCounted(facts, rules)) return 'all that may still land, or has landed within a window, is counted';
  return null;
}

/** Whether a step reserved for a payment or a batch, although an operator had said that nothing may be. */
export function reservesInPause(before: Facts, after: Facts): boolean {
  if (before.breaker.pause === null) return false;
  const held = new Set(before.breaker.transitions.map(({ id }) => id));
  return after.breaker.transitions.some(
    (transition) =>
      isReservation(transition) &&
      !held.has(transition.id) &&
      // What the chain has taken already counts in any case.
      !after.payments.some(({ id, status }) => id === transition.paymentId && status === 'needs_review'),
  );
}

/** What a world must be once a lone settler has had time: nothing under way, and nothing held. */
export function isEnded({ payments, batches, breaker }: Facts): boolean {
  return (
    breaker.transitions.length === 0 &&
    payments.every(
      (payment) => payment.status !== 'needs_review' && isSettled(payment) && payment.settleAtMs === null,
    ) &&
    batches.every(({ settleAtMs }) => settleAtMs === null)
  );
}

/** What an ended world must show besides. */
export function isAtRest({ payments, breaker, chain }: Facts): boolean {
  const { books, fees } = breaker;
  const paidMicro = chain
    .filter(({ state }) => state === 'paid')
    .reduce((sum, { amountMicro }) => sum + amountMicro, 0n);
  const confirmedMicro = payments
    .filter(({ status }) => status === 'confirmed')
    .reduce((sum, { amountMicro }) => sum + amountMicro, 0n);
  return (
    books.TRX.outstandingMicro === 0n &&
    fees.outstandingMicro === 0n &&
    books.TRX.spentTotalMicro === paidMicro &&
    confirmedMicro === paidMicro
  );
}

function isNegative({ books: { TRX }, fees }: Breaker): boolean {
  return (
    TRX.outstandingMicro < 0n ||
    TRX.spentTotalMicro < 0n ||
    fees.outstandingMicro < 0n ||
    fees.spentTotalMicro < 0n
  );
}

function isBalanced({ payments, batches, breaker }: Facts): boolean {
  let amountMicro = 0n;
  let feeMicro = 0n;
  for (const payment of payments.filter(holdsReservation)) {
    amountMicro += payment.amountMicro;
    feeMicro += payment.feeReservedMicro;
  }
  for (const transition of breaker.transitions) {
    const payment = payments.find(({ id }) => id === transition.paymentId);
    const batch = batches.find(({ id }) => id === transition.paymentId);
    const isNoted = (payment ?? batch)?.notedIds.includes(transition.id) ?? false;
    if (batch !== undefined && isNoted) {
      // Noted for all its items: those that stand hold their own part.
      for (const item of batch.items.filter(
        ({ paymentId }) => !payments.some(({ id }) => id === paymentId),
      )) {
        amountMicro += item.amountMicro;
        feeMicro += batch.feeReservedMicro;
      }
    } else if (isReservation(transition) !== isNoted) {
      // A reservation counts from its push, a closing until it is applied.
      amountMicro += transition.amounts.TRX;
      feeMicro += transition.feeMicro;
    }
  }
  return breaker.books.TRX.outstandingMicro === amountMicro && breaker.fees.outstandingMicro === feeMicro;
}

/**
 * A payment that was reopened after a wrong ruling has its fee counted at its most for that ruling, and again for the
 * next one: too much, never too little.
 */
function isSpentTrue({ payments, breaker }: Facts, isHonest: boolean): boolean {
  let amountMicro = 0n;
  let feeMicro = 0n;
  for (const payment of payments) {
    const { closeId } = payment;
    if (closeId === null || breaker.transitions.some(({ id }) => id === closeId)) continue;
    if (payment.status === 'confirmed') amountMicro += payment.amountMicro;
    feeMicro += feesBurnedMicro(payment);
  }
  const { books, fees } = breaker;
  const areFeesTrue = isHonest ? fees.spentTotalMicro === feeMicro : fees.spentTotalMicro >= feeMicro;
  return books.TRX.spentTotalMicro === amountMicro && areFeesTrue;
}

function isIndexTrue({ documents }: Facts): boolean {
  return documents.every(
    (document) =>
      isBreaker(document) ||
      isBatchDocument(document) ||
      (document.isHeld === true) === holdsReservation(paymentFrom(document)),
  );
}

/** How many of a payment's transactions may still move money, and how many have. */
function landingOf(
  payment: Payment,
  { chain, nowMs }: Facts,
): { readonly may: number; readonly paid: number } {
  let may = 0;
  let paid = 0;
  for (const { txId, expirationMs } of payment.attempts) {
    const found = chain.find((held) => held.txId === txId);
    if (found?.state === 'paid') paid += 1;
    // Whoever was told that its bytes are stored may send them until they expire.
    else if (found?.state !== 'reverted' && expirationMs > nowMs) may += 1;
  }
  return { may, paid };
}

function endIsTrue({ status }: Payment, may: number, paid: number): boolean {
  switch (status) {
    case 'confirmed':
      return paid === 1;
    case 'failed':
    case 'refused':
    case 'expired':
    case 'cancelled':
    case 'rejected':
      return may + paid === 0;
    default:
      return true;
  }
}

function isWithinLimits({ chain }: Facts, { limits, windows }: PaymentRules): boolean {
  const paid = chain.filter(({ state }) => state === 'paid');
  return paid.every(({ atMs: lastMs }) =>
    (
      [
        [windows.hourMs, limits.TRX.hourlyMicro],
        [windows.dayMs, limits.TRX.dailyMicro],
      ] as const
    ).every(([windowMs, limitMicro]) => {
      const isWithin = (atMs: number) => atMs <= (lastMs ?? 0) && atMs > (lastMs ?? 0) - windowMs;
      return sumMicro(paid.filter(({ atMs }) => isWithin(atMs ?? 0))) <= limitMicro;
    }),
  );
}

function isCounted(facts: Facts, { windows }: PaymentRules): boolean {
  const { payments, breaker, chain, nowMs } = facts;
  const mayMicro = sumMicro(payments.filter((payment) => landingOf(payment, facts).may > 0));
  return (['hour', 'day'] as const).every((window) => {
    const sinceMs = nowMs - (window === 'hour' ? windows.hourMs : windows.dayMs);
    const landed = chain.filter(({ state, atMs }) => state === 'paid' && (atMs ?? 0) > sinceMs);
    return countedMicro(breaker.books.TRX, window, windows, nowMs) >= mayMicro + sumMicro(landed);
  });
}

function sumMicro(amounts: readonly { readonly amountMicro: bigint }[]): bigint {
  return amounts.reduce((sum, { amountMicro }) => sum + amountMicro, 0n);
}
