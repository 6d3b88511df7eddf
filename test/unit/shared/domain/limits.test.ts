import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AssetBook,
  chargeFees,
  chargeSlots,
  countedFeesMicro,
  countedMicro,
  EMPTY_BOOK,
  EMPTY_FEE_BOOK,
  type FeeBook,
  feesOutstandingMaxMicro,
  freeableUntilMs,
  judgeFees,
  judgeLimits,
  LIMIT_WINDOWS,
  lastToFit,
} from '../../../../shared/domain/limits.ts';

const HOUR_MS = LIMIT_WINDOWS.hourMs;
const DAY_MS = LIMIT_WINDOWS.dayMs;
const LIMITS = { hourlyMicro: 1_000n, dailyMicro: 10_000n };
const NEVER = Number.NEGATIVE_INFINITY;

const spend = (book: AssetBook, amountMicro: bigint, endedAtMs: number, freeMs = NEVER): AssetBook => ({
  ...book,
  ...chargeSlots(book, LIMIT_WINDOWS, amountMicro, endedAtMs, freeMs),
});

describe('limits', () => {
  it('let the last micro-unit through and not one more', () => {
    const book = { ...EMPTY_BOOK, outstandingMicro: 400n };
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 600n, 0)).toEqual({ fits: true });
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 601n, 0)).toMatchObject({
      fits: false,
      limit: 'hour',
      limitMicro: 1_000n,
      remainingMicro: 600n,
      fitsAtMs: null,
    });
  });

  it('leave nothing, and no less, where more is spent than they allow by now', () => {
    const book = { ...EMPTY_BOOK, outstandingMicro: 1_500n };
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 1n, 0)).toMatchObject({ remainingMicro: 0n });
  });

  it('let an amount in the moment that just enough has freed', () => {
    const book = spend(spend(EMPTY_BOOK, 400n, 5_000), 600n, 100_000);
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 400n, 200_000)).toMatchObject({
      fitsAtMs: HOUR_MS + 10_000,
    });
  });

  it('count what is outstanding whatever the time', () => {
    const book = { ...EMPTY_BOOK, outstandingMicro: 1_000n };
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 1n, Number.MAX_SAFE_INTEGER).fits).toBe(false);
  });

  it('name the day where the day is full', () => {
    let book: AssetBook = EMPTY_BOOK;
    for (let hour = 0; hour < 10; hour += 1) book = spend(book, 1_000n, hour * (HOUR_MS + 20_000));
    const nowMs = 11 * (HOUR_MS + 20_000);
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 1n, nowMs)).toMatchObject({
      fits: false,
      limit: 'day',
      remainingMicro: 0n,
      fitsAtMs: DAY_MS + 300_000,
    });
  });

  it('name the window that refuses for longest, where both do', () => {
    // The day misses 1 and gets it back in a minute; the hour is full for most of an hour.
    let book: AssetBook = { ...EMPTY_BOOK, day: [{ untilMs: 60_000, amountMicro: 9_001n }] };
    book = spend(book, 999n, DAY_MS);
    const nowMs = DAY_MS + 10_000;
    const verdict = judgeLimits(book, LIMITS, LIMIT_WINDOWS, 2n, nowMs);
    expect(verdict).toMatchObject({ fits: false, limit: 'hour', fitsAtMs: DAY_MS + 10_000 + HOUR_MS });
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 2n, DAY_MS + 10_000 + HOUR_MS).fits).toBe(true);
  });

  it('say when an amount fits, and it fits then and not a moment before', () => {
    const book = spend(spend(EMPTY_BOOK, 500n, 5_000), 500n, 100_000);
    const verdict = judgeLimits(book, LIMITS, LIMIT_WINDOWS, 300n, 200_000);
    if (verdict.fits || verdict.fitsAtMs === null) throw new Error('it should wait');
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 300n, verdict.fitsAtMs - 1).fits).toBe(false);
    expect(judgeLimits(book, LIMITS, LIMIT_WINDOWS, 300n, verdict.fitsAtMs).fits).toBe(true);
  });

  it('free no slot before a solid head was seen', () => {
    expect(freeableUntilMs(1_000, null)).toBe(NEVER);
    expect(freeableUntilMs(1_000, 900)).toBe(900);
    expect(freeableUntilMs(1_000, 1_100)).toBe(1_000);
  });

  it('free late, never early: by at most ten seconds in the hour and five minutes in the day', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2_000_000_000_000 }), (endedAtMs) => {
        const book = spend(EMPTY_BOOK, 7n, endedAtMs);
        const counted = (window: 'hour' | 'day', freeMs: number) =>
          countedMicro(book, window, LIMIT_WINDOWS, freeMs);
        expect(counted('hour', endedAtMs + HOUR_MS)).toBe(7n);
        expect(counted('hour', endedAtMs + HOUR_MS + 10_000)).toBe(0n);
        expect(counted('day', endedAtMs + DAY_MS)).toBe(7n);
        expect(counted('day', endedAtMs + DAY_MS + 300_000)).toBe(0n);
      }),
    );
  });

  it('keep in any window of end times no more than the limit, whatever is asked and when', () => {
    const request = fc.record({
      amountMicro: fc.bigInt({ min: 1n, max: 1_200n }),
      waitMs: fc.integer({ min: 0, max: HOUR_MS }),
      lifeMs: fc.integer({ min: 0, max: 600_000 }),
    });
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 60, size: 'max' }), (requests) => {
        let nowMs = 1_700_000_000_000;
        let book: AssetBook = EMPTY_BOOK;
        const paid: { amountMicro: bigint; atMs: number }[] = [];
        const open: { amountMicro: bigint; endsAtMs: number }[] = [];
        const endDue = () => {
          for (const { amountMicro, endsAtMs } of open.splice(0)) {
            if (endsAtMs > nowMs) {
              open.push({ amountMicro, endsAtMs });
              continue;
            }
            book = {
              ...spend(book, amountMicro, endsAtMs, nowMs),
              outstandingMicro: book.outstandingMicro - amountMicro,
            };
            paid.push({ amountMicro, atMs: endsAtMs });
          }
        };
        for (const { amountMicro, waitMs, lifeMs } of requests) {
          nowMs += waitMs;
          endDue();
          if (!judgeLimits(book, LIMITS, LIMIT_WINDOWS, amountMicro, nowMs).fits) continue;
          book = { ...book, outstandingMicro: book.outstandingMicro + amountMicro };
          open.push({ amountMicro, endsAtMs: nowMs + lifeMs });
        }
        nowMs += 2 * HOUR_MS;
        endDue();
        for (const { atMs } of paid) {
          const within = (windowMs: number) =>
            paid
              .filter((other) => other.atMs > atMs - windowMs && other.atMs <= atMs)
              .reduce((sum, other) => sum + other.amountMicro, 0n);
          expect(within(HOUR_MS)).toBeLessThanOrEqual(LIMITS.hourlyMicro);
          expect(within(DAY_MS)).toBeLessThanOrEqual(LIMITS.dailyMicro);
        }
      }),
      { numRuns: 300 },
    );
  });

  /** A payment ends every so often, and the head follows the clock by a lag. */
  const busy = (lengthMs: number, everyMs: number, lagMs: number): AssetBook => {
    let book: AssetBook = EMPTY_BOOK;
    for (let endedAtMs = 0; endedAtMs < lengthMs; endedAtMs += everyMs) {
      book = spend(book, 1n, endedAtMs, endedAtMs - lagMs);
    }
    return book;
  };

  it('keep the slots few, however many payments end', () => {
    expect(busy(2 * HOUR_MS, 9_000, 0).hour).toHaveLength(361);
    expect(busy(2 * DAY_MS, 250_000, 0).day).toHaveLength(289);
  });

  it('have room for the slots that a head which lags by five minutes cannot free', () => {
    const { hour } = busy(2 * HOUR_MS, 9_000, 300_000);
    expect(hour).toHaveLength(391);
    expect(busy(2 * DAY_MS, 250_000, 300_000).day).toHaveLength(290);
    // None was merged: each frees by itself.
    expect(new Set(hour.map(({ amountMicro }) => amountMicro))).toEqual(new Set([1n, 2n]));
  });

  it.each([
    ['hour', 2 * HOUR_MS, 9_000, 391],
    ['day', 2 * DAY_MS, 250_000, 290],
  ] as const)(
    'keep the slots of the %s few where nothing frees for long, and free none early',
    (window, lengthMs, everyMs, slots) => {
      const windowMs = { hour: HOUR_MS, day: DAY_MS }[window];
      const book = busy(lengthMs, everyMs, Number.POSITIVE_INFINITY);
      expect(book[window]).toHaveLength(slots);
      for (let freeMs = 0; freeMs < lengthMs + windowMs; freeMs += 100_000) {
        let counting = 0n;
        for (let endedAtMs = 0; endedAtMs < lengthMs; endedAtMs += everyMs) {
          if (endedAtMs + windowMs >= freeMs) counting += 1n;
        }
        expect(countedMicro(book, window, LIMIT_WINDOWS, freeMs)).toBeGreaterThanOrEqual(counting);
      }
      expect(countedMicro(book, window, LIMIT_WINDOWS, lengthMs + windowMs + 300_000)).toBe(0n);
    },
  );
});

describe('the daily cap of fees', () => {
  const CAP = 1_000n;
  const burn = (fees: FeeBook, feeMicro: bigint, endedAtMs: number, freeMs = NEVER): FeeBook => ({
    ...fees,
    day: chargeFees(fees, LIMIT_WINDOWS, feeMicro, endedAtMs, freeMs),
  });

  it('lets the last sun through and not one more, with what open payments may burn', () => {
    const fees = burn({ ...EMPTY_FEE_BOOK, outstandingMicro: 400n }, 100n, 0);
    expect(countedFeesMicro(fees, LIMIT_WINDOWS, 0)).toBe(500n);
    expect(judgeFees(fees, CAP, LIMIT_WINDOWS, 500n, 0)).toEqual({ fits: true });
    expect(judgeFees(fees, CAP, LIMIT_WINDOWS, 501n, 0)).toEqual({
      fits: false,
      limit: 'fees',
      limitMicro: CAP,
      remainingMicro: 500n,
      fitsAtMs: DAY_MS + 300_000,
    });
  });

  it('frees a fee a day after it was burned, and no more than five minutes late', () => {
    const fees = burn(EMPTY_FEE_BOOK, 7n, 299_999);
    expect(countedFeesMicro(fees, LIMIT_WINDOWS, DAY_MS + 299_999)).toBe(7n);
    expect(countedFeesMicro(fees, LIMIT_WINDOWS, DAY_MS + 300_000)).toBe(0n);
    const later = burn(fees, 9n, DAY_MS + 400_000, DAY_MS + 300_000);
    expect(later.day).toEqual([{ untilMs: DAY_MS + 600_000, amountMicro: 9n }]);
  });

  it('leaves the same room to the store as it judges by', () => {
    const burned = fc.record({ feeMicro: fc.bigInt({ min: 1n, max: 300n }), atMs: fc.nat({ max: DAY_MS }) });
    fc.assert(
      fc.property(
        fc.array(burned, { maxLength: 6 }),
        fc.bigInt({ min: 0n, max: 1_200n }),
        fc.bigInt({ min: 0n, max: 1_200n }),
        fc.nat({ max: 2 * DAY_MS }),
        (all, outstandingMicro, feeMicro, freeMs) => {
          const begin: FeeBook = { ...EMPTY_FEE_BOOK, outstandingMicro };
          const fees = all.reduce((book, each) => burn(book, each.feeMicro, each.atMs), begin);
          const room = feesOutstandingMaxMicro(fees, CAP, LIMIT_WINDOWS, feeMicro, freeMs);
          expect(outstandingMicro <= room).toBe(judgeFees(fees, CAP, LIMIT_WINDOWS, feeMicro, freeMs).fits);
        },
      ),
    );
  });
});

describe('several refusals', () => {
  const refusal = (limit: 'hour' | 'day' | 'fees', fitsAtMs: number | null) =>
    ({ fits: false, limit, limitMicro: 1n, remainingMicro: 0n, fitsAtMs }) as const;

  it.each([
    ['the later one', [refusal('hour', 5), refusal('day', 9)], 'day'],
    ['the later one, whichever comes first', [refusal('day', 9), refusal('hour', 5)], 'day'],
    [
      'one that nobody knows the end of',
      [refusal('day', 9), refusal('hour', null), refusal('fees', 7)],
      'hour',
    ],
    ['the first of equals', [refusal('day', 9), refusal('hour', 9)], 'day'],
  ] as const)('are told as %s', (_, refusals, limit) => {
    expect(lastToFit<(typeof refusals)[number]>(refusals)?.limit).toBe(limit);
  });

  it('are none where nothing refuses', () => {
    expect(lastToFit([])).toBeNull();
  });
});
