import type { Breaker, Closing } from './breaker.ts';
import { type AssetBook, chargeFees, chargeSlots, type FeeBook, type LimitWindows } from './limits.ts';
import { ASSETS, type Asset } from './money.ts';

/** The books after some closings have had their effect. */
export interface ClosedBooks {
  readonly books: Readonly<Record<Asset, AssetBook>>;
  readonly fees: FeeBook;
  readonly spentBlockNumber: number;
  /** Whether any slot was charged: only then must no other change of slots come between. */
  readonly chargesSlots: boolean;
}

/**
 * Computes what closings do to the books: all leave `outstanding`; what was spent, and what was burned for fees in
 * any case, is charged to slots by its end time.
 */
export function closeBooks(
  { books, fees, spentBlockNumber }: Pick<Breaker, 'books' | 'fees' | 'spentBlockNumber'>,
  closings: readonly Closing[],
  windows: LimitWindows,
  freeMs: number,
): ClosedBooks {
  const after = { books: { ...books }, fees, spentBlockNumber, chargesSlots: false };
  for (const { kind, amounts, feeMicro, feeBurnedMicro, endedAtMs, blockNumber = 0 } of closings) {
    after.spentBlockNumber = Math.max(after.spentBlockNumber, blockNumber);
    for (const asset of ASSETS) {
      const amountMicro = amounts[asset];
      if (amountMicro === 0n) continue;
      const book = after.books[asset];
      const outstandingMicro = book.outstandingMicro - amountMicro;
      if (kind === 'release') {
        after.books[asset] = { ...book, outstandingMicro };
        continue;
      }
      const slots = chargeSlots(book, windows, amountMicro, endedAtMs, freeMs);
      after.books[asset] = {
        outstandingMicro,
        spentTotalMicro: book.spentTotalMicro + amountMicro,
        ...slots,
      };
      after.chargesSlots = true;
    }
    after.fees = { ...after.fees, outstandingMicro: after.fees.outstandingMicro - feeMicro };
    if (feeBurnedMicro === 0n) continue;
    after.fees = {
      ...after.fees,
      spentTotalMicro: after.fees.spentTotalMicro + feeBurnedMicro,
      day: chargeFees(after.fees, windows, feeBurnedMicro, endedAtMs, freeMs),
    };
    after.chargesSlots = true;
  }
  return after;
}
