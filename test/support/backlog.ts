import { amountsOf } from '../../shared/domain/breaker.ts';
import type { Asset } from '../../shared/domain/money.ts';
import type { Payment } from '../../shared/domain/payment.ts';
import { attempt, payment } from './stored-payment.ts';
import { CONTRACT, RECIPIENT, START_MS, WALLET, type World } from './test-engine.ts';

export const BACKLOG_MICRO = 1_000n;
export const BACKLOG_FEE_MICRO = 11_000_000n;
/** Payments of one simulated block. */
const BLOCK_SIZE = 100;

/** Payments that have been broadcast and wait for their end, the first one the longest; each holds its reservation. */
export function backlogOf(count: number, asset: Asset = 'USDT'): Payment[] {
  return Array.from({ length: count }, (_, index) => {
    const number = String(index).padStart(6, '0');
    const reservationId = `reservation-${number}`;
    return payment({
      id: `pay_${number}`,
      idempotencyKey: `order-${number}`,
      asset,
      amountMicro: BACKLOG_MICRO,
      status: 'broadcast',
      reservationId,
      notedIds: [reservationId],
      feeReservedMicro: BACKLOG_FEE_MICRO,
      attempts: [attempt({ expirationMs: START_MS + 600_000 })],
      settleAtMs: START_MS - count + index,
      lastBroadcastAtMs: START_MS,
    });
  });
}

/** Puts them into a world whose chain has them all in solid blocks. */
export function storeBacklog(world: World, payments: readonly Payment[]): void {
  const { store } = world.ledger;
  for (const [index, stored] of payments.entries()) {
    store.put(stored);
    const { asset, amountMicro } = stored;
    const transfer = { asset, amountMicro, recipient: RECIPIENT, sender: WALLET, contract: CONTRACT };
    const [{ txId, expirationMs } = attempt()] = stored.attempts;
    world.chain.pool.push({ transfer, expirationMs, txId });
    if (index % BLOCK_SIZE === BLOCK_SIZE - 1) world.chain.produceBlock(world.nowMs);
  }
  world.pass(10);
  const count = BigInt(payments.length);
  const held = amountsOf(payments[0]?.asset ?? 'USDT', BACKLOG_MICRO * count);
  const { books, fees } = world.ledger.breaker;
  world.ledger.breaker = {
    ...world.ledger.breaker,
    books: {
      USDT: { ...books.USDT, outstandingMicro: held.USDT },
      TRX: { ...books.TRX, outstandingMicro: held.TRX },
    },
    fees: { ...fees, outstandingMicro: BACKLOG_FEE_MICRO * count },
  };
}
