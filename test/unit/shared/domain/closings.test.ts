import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Breaker, type Closing, NEW_BREAKER } from '../../../../shared/domain/breaker.ts';
import { type ClosedBooks, closeBooks } from '../../../../shared/domain/closings.ts';
import { LIMIT_WINDOWS } from '../../../../shared/domain/limits.ts';
import { ASSETS } from '../../../../shared/domain/money.ts';
import { START_MS } from '../../../support/test-engine.ts';

type Books = Pick<Breaker, 'books' | 'fees' | 'spentBlockNumber'>;

const amount = fc.bigInt({ min: 0n, max: 10n ** 12n });
const closing: fc.Arbitrary<Closing> = fc
  .record({
    kind: fc.constantFrom('commit' as const, 'release' as const),
    amounts: fc.record({ USDT: amount, TRX: amount }),
    feeMicro: amount,
    feeBurnedMicro: fc.oneof(fc.constant(0n), amount),
    endedAtMs: fc.integer({ min: START_MS, max: START_MS + 2 * LIMIT_WINDOWS.dayMs }),
    blockNumber: fc.nat(),
  })
  .map((fields) => ({ id: 'c', paymentId: 'p', generation: 0, ...fields }));

/** The books while all of these are still outstanding. */
function booksBefore(closings: readonly Closing[]): Books {
  const outstanding = (micro: (each: Closing) => bigint) =>
    closings.reduce((sum, each) => sum + micro(each), 0n);
  const { books, fees } = NEW_BREAKER;
  return {
    books: {
      USDT: { ...books.USDT, outstandingMicro: outstanding(({ amounts }) => amounts.USDT) },
      TRX: { ...books.TRX, outstandingMicro: outstanding(({ amounts }) => amounts.TRX) },
    },
    fees: { ...fees, outstandingMicro: outstanding(({ feeMicro }) => feeMicro) },
    spentBlockNumber: 0,
  };
}

/** Applies them in the groups of those who happen to find them. */
function close(books: Books, groups: readonly (readonly Closing[])[], freeMs: number): Books {
  return groups.reduce<Books>((after, group) => {
    const { chargesSlots: _, ...closed } = closeBooks(after, group, LIMIT_WINDOWS, freeMs);
    return closed;
  }, books);
}

const spent = ({ kind }: Closing) => kind === 'commit';

describe('closings', () => {
  it('leave the same books one by one or in groups, in any order', () => {
    const played = fc.array(closing, { maxLength: 25, size: 'max' }).chain((closings) =>
      fc.record({
        closings: fc.constant(closings),
        shuffled: fc.shuffledSubarray(closings, { minLength: closings.length }),
        cuts: fc.array(fc.nat({ max: closings.length }), { maxLength: 6 }),
      }),
    );
    fc.assert(
      fc.property(played, fc.integer({ min: 0, max: START_MS }), ({ closings, shuffled, cuts }, freeMs) => {
        const borders = [0, ...cuts, closings.length].sort((a, b) => a - b);
        const groups = borders.map((from, index) => shuffled.slice(from, borders[index + 1]));
        const books = booksBefore(closings);
        const oneByOne = close(
          books,
          closings.map((each) => [each]),
          freeMs,
        );
        expect(close(books, groups, freeMs)).toEqual(oneByOne);
        expect(close(books, [closings], freeMs)).toEqual(oneByOne);
      }),
    );
  });

  it('take all that was reserved out, and spend what left the wallet and what was burned', () => {
    fc.assert(
      fc.property(fc.array(closing, { maxLength: 25, size: 'max' }), (closings) => {
        const after = close(booksBefore(closings), [closings], 0);
        const sum = (list: readonly Closing[], micro: (each: Closing) => bigint) =>
          list.reduce((total, each) => total + micro(each), 0n);
        const slots = (list: readonly { amountMicro: bigint }[]) =>
          list.reduce((total, { amountMicro }) => total + amountMicro, 0n);
        for (const asset of ASSETS) {
          const { outstandingMicro, spentTotalMicro, hour, day } = after.books[asset];
          const spentMicro = sum(closings.filter(spent), ({ amounts }) => amounts[asset]);
          expect(outstandingMicro).toBe(0n);
          expect([spentTotalMicro, slots(hour), slots(day)]).toEqual([spentMicro, spentMicro, spentMicro]);
        }
        const burnedMicro = sum(closings, ({ feeBurnedMicro }) => feeBurnedMicro);
        expect(after.fees.outstandingMicro).toBe(0n);
        expect([after.fees.spentTotalMicro, slots(after.fees.day)]).toEqual([burnedMicro, burnedMicro]);
        expect(after.spentBlockNumber).toBe(
          Math.max(0, ...closings.map(({ blockNumber = 0 }) => blockNumber)),
        );
      }),
    );
  });

  const one: Closing = {
    id: 'c',
    paymentId: 'p',
    generation: 0,
    kind: 'release',
    amounts: { USDT: 5n, TRX: 0n },
    feeMicro: 3n,
    feeBurnedMicro: 0n,
    endedAtMs: START_MS,
  };
  const closeOne = (over: Partial<Closing>): ClosedBooks =>
    closeBooks(booksBefore([{ ...one, ...over }]), [{ ...one, ...over }], LIMIT_WINDOWS, 0);

  it('touch the slots only where something is spent or burned', () => {
    expect(closeOne({}).chargesSlots).toBe(false);
    expect(closeOne({ kind: 'commit' }).chargesSlots).toBe(true);
    expect(closeOne({ feeBurnedMicro: 1n }).chargesSlots).toBe(true);
    expect(closeOne({ kind: 'commit', amounts: { USDT: 0n, TRX: 0n } }).chargesSlots).toBe(false);
  });

  it('leave the books that they were given as they were', () => {
    const books = booksBefore([one]);
    const kept = structuredClone(books);
    closeBooks(books, [{ ...one, kind: 'commit', feeBurnedMicro: 1n, blockNumber: 9 }], LIMIT_WINDOWS, 0);
    expect(books).toEqual(kept);
  });

  it('forget the slots that are free by then', () => {
    const early = close(booksBefore([one, one]), [[{ ...one, kind: 'commit', feeBurnedMicro: 1n }]], 0);
    const laterMs = START_MS + 2 * LIMIT_WINDOWS.dayMs;
    const late = close(
      early,
      [[{ ...one, kind: 'commit', feeBurnedMicro: 1n, endedAtMs: laterMs }]],
      laterMs,
    );
    expect([late.books.USDT.hour, late.books.USDT.day, late.fees.day].map(({ length }) => length)).toEqual([
      1, 1, 1,
    ]);
    expect(late.books.USDT.spentTotalMicro).toBe(10n);
  });
});
