import type { Db } from 'mongodb';
import { BREAKER, breakerDocument } from '../../shared/adapters/mongo/documents.ts';
import { mongoLedger } from '../../shared/adapters/mongo/mongo-ledger.ts';
import { NEW_BREAKER } from '../../shared/domain/breaker.ts';
import type { AssetBook, SpentSlot } from '../../shared/domain/limits.ts';

const SLOT_MICRO = 25_123_456n;
const BLOCK_MS = 3_000;

/**
 * Makes a database ready as it is after a day of payments in every slice of time: the breaker document is about as
 * large as it gets.
 */
export async function seedBusyBreaker(db: Db): Promise<void> {
  await mongoLedger(db).readBreaker();
  const { _id, ...busy } = breakerDocument(busyBreaker());
  await db.collection<{ _id: string }>(BREAKER).replaceOne({ _id }, busy);
}

export function busyBreaker() {
  const nowMs = Date.now();
  // As the stand-in node numbers its blocks.
  const number = Math.floor(nowMs / BLOCK_MS) - 20;
  const hour = slots(nowMs, 360, 10_000);
  const day = slots(nowMs, 288, 300_000);
  const book: AssetBook = { outstandingMicro: 0n, spentTotalMicro: SLOT_MICRO * 288n, hour, day };
  return {
    ...NEW_BREAKER,
    books: { USDT: book, TRX: book },
    fees: { outstandingMicro: 0n, spentTotalMicro: SLOT_MICRO * 288n, day },
    solidHead: {
      number,
      blockId: number.toString(16).padStart(16, '0').padEnd(64, '0'),
      timestampMs: number * BLOCK_MS,
    },
  };
}

function slots(nowMs: number, count: number, sliceMs: number): SpentSlot[] {
  const untilMs = (Math.floor(nowMs / sliceMs) + 1) * sliceMs;
  return Array.from({ length: count }, (_, index) => ({
    untilMs: untilMs - (count - 1 - index) * sliceMs,
    amountMicro: SLOT_MICRO,
  }));
}
