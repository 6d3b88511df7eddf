import { expect } from 'vitest';
import { isTripped } from '../../shared/domain/circuit.ts';
import { countedMicro } from '../../shared/domain/limits.ts';
import { isSettled } from '../../shared/domain/payment.ts';
import type { PayOutRequest } from '../../shared/usecases/pay-out.ts';
import { settle } from '../../shared/usecases/settle.ts';
import { RECIPIENT, type World } from './test-engine.ts';

/** What a caller asks for. */
export const request = (amountMicro: bigint, idempotencyKey = 'order-1'): PayOutRequest => ({
  order: { asset: 'USDT', amountMicro, recipient: RECIPIENT, reference: null },
  caller: 'gateway',
  idempotencyKey,
  respondAsync: false,
});

/** One run of `settle`; an unexpected failure fails the test. */
export async function settleOnce(world: World, crashAt?: number) {
  return settle(
    world.engine(crashAt),
    { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 1_000 },
    (_, error) => {
      throw error;
    },
  );
}

/** Lets time pass and settles until nothing is left to do; a life that never ends fails the test. */
export async function settleToTheEnd(world: World): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    world.pass(10);
    await settleOnce(world);
    const payments = [...world.ledger.payments.values()];
    if (payments.every((payment) => isSettled(payment) && payment.settleAtMs === null)) return;
  }
  throw new Error('the payments never came to an end');
}

/** What must hold once all is over, however it came to pass. */
export function expectTruth(world: World): void {
  const payments = [...world.ledger.payments.values()];
  expect(world.ledger.breaker.transitions).toEqual([]);
  expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);
  // Nothing was ever amiss, so no audit can have found anything, whenever it looked.
  expect(world.ledger.store.audit.findings).toEqual([]);
  expect(isTripped(world.ledger.breaker.circuit)).toBe(false);
  for (const payment of payments) {
    const landed = world.chain.paid.filter(({ pending }) =>
      payment.attempts.some(({ txId }) => txId === pending.txId),
    );
    expect(landed.length, `${payment.id} is paid at most once`).toBeLessThanOrEqual(1);
    expect(payment.status === 'confirmed', `${payment.id} is ${payment.status}`).toBe(landed.length === 1);
  }
  const known = new Set(payments.flatMap(({ attempts }) => attempts.map(({ txId }) => txId)));
  expect(world.chain.paid.every(({ pending }) => known.has(pending.txId))).toBe(true);
  const spent = world.chain.paid.reduce((sum, { pending }) => sum + pending.transfer.amountMicro, 0n);
  const counted = countedMicro(
    world.ledger.breaker.books.USDT,
    'day',
    world.rules.windows,
    Number.NEGATIVE_INFINITY,
  );
  expect(counted).toBe(spent);
}
