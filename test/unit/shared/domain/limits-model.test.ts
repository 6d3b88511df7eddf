import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AssetBook,
  chargeSlots,
  EMPTY_BOOK,
  freeableUntilMs,
  judgeLimits,
  LIMIT_WINDOWS,
  type LimitVerdict,
  outstandingMaxMicro,
} from '../../../../shared/domain/limits.ts';

/**
 * The limits, as they are kept: sums, and slots of ten seconds and five minutes. Beside them every single payment
 * with its block time, from which all is worked out by looking at each window of block times there is.
 */

const START_MS = 1_700_000_000_123;
const LIMITS = { hourlyMicro: 1_000n, dailyMicro: 2_500n };
const WINDOWS = [
  { window: 'hour', windowMs: LIMIT_WINDOWS.hourMs, sliceMs: 10_000, limitMicro: LIMITS.hourlyMicro },
  { window: 'day', windowMs: LIMIT_WINDOWS.dayMs, sliceMs: 300_000, limitMicro: LIMITS.dailyMicro },
] as const;

type Step =
  | { readonly kind: 'reserve'; readonly amountMicro: bigint }
  /** An open payment gets into a block. */
  | { readonly kind: 'land'; readonly pick: number }
  /** An open payment ends: spent where it has landed, released where not. */
  | { readonly kind: 'end'; readonly pick: number }
  | { readonly kind: 'pass'; readonly ms: number }
  /** The chain's solid head is seen; in between it stands still for us. */
  | { readonly kind: 'see_head'; readonly behindMs: number }
  /** The server's clock jumps, against the chain's. */
  | { readonly kind: 'step_clock'; readonly ms: number };

const pick = fc.nat();
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('reserve'),
      amountMicro: fc.oneof(fc.bigInt({ min: 1n, max: 600n }), fc.bigInt({ min: 1n, max: 2_600n })),
    }),
  },
  { weight: 7, arbitrary: fc.record({ kind: fc.constant('land'), pick }) },
  { weight: 7, arbitrary: fc.record({ kind: fc.constant('end'), pick }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('pass'),
      ms: fc.oneof(
        fc.integer({ min: 0, max: 30_000 }),
        fc.integer({ min: 0, max: LIMIT_WINDOWS.hourMs }),
        fc.integer({ min: 0, max: LIMIT_WINDOWS.dayMs / 3 }),
      ),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('see_head'),
      behindMs: fc.constantFrom(0, 3_000, 57_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('step_clock'),
      ms: fc.integer({ min: -2 * LIMIT_WINDOWS.hourMs, max: 2 * LIMIT_WINDOWS.hourMs }),
    }),
  },
);

interface Kept {
  readonly amountMicro: bigint;
  landedAtMs: number | null;
  /** By the later of the server's time and the block's; null while it is open, and where it was released. */
  spentAtMs: number | null;
  isOpen: boolean;
}

const sum = (payments: readonly Kept[]) =>
  payments.reduce((total, { amountMicro }) => total + amountMicro, 0n);

/** @returns every kind of verdict that it met */
function play(steps: readonly Step[]): ReadonlySet<string> {
  const met = new Set<string>();
  let book: AssetBook = EMPTY_BOOK;
  let chainMs = START_MS;
  let offsetMs = 0;
  let headMs: number | null = null;
  // Once slots were forgotten they stay so, should the clock be put back.
  let forgottenToMs = Number.NEGATIVE_INFINITY;
  const payments: Kept[] = [];
  const chosen = (from: readonly Kept[], index: number) => from[index % from.length];

  for (const each of steps) {
    const serverMs = chainMs + offsetMs;
    const freeMs = freeableUntilMs(serverMs, headMs);
    switch (each.kind) {
      case 'pass':
        chainMs += each.ms;
        break;
      case 'see_head':
        headMs = Math.max(headMs ?? 0, chainMs - each.behindMs);
        break;
      case 'step_clock':
        offsetMs = each.ms;
        break;
      case 'land': {
        const payment = chosen(
          payments.filter(({ isOpen, landedAtMs }) => isOpen && landedAtMs === null),
          each.pick,
        );
        if (payment === undefined) break;
        payment.landedAtMs = chainMs;
        noWindowIsOver(payments, chainMs);
        break;
      }
      case 'end': {
        const payment = chosen(
          payments.filter(({ isOpen }) => isOpen),
          each.pick,
        );
        if (payment === undefined) break;
        payment.isOpen = false;
        book = { ...book, outstandingMicro: book.outstandingMicro - payment.amountMicro };
        if (payment.landedAtMs === null) break;
        payment.spentAtMs = Math.max(serverMs, payment.landedAtMs);
        book = {
          ...book,
          ...chargeSlots(book, LIMIT_WINDOWS, payment.amountMicro, payment.spentAtMs, freeMs),
        };
        forgottenToMs = Math.max(forgottenToMs, freeMs);
        break;
      }
      case 'reserve': {
        const verdict = judge(book, payments, each.amountMicro, freeMs, forgottenToMs);
        met.add(
          verdict.fits
            ? 'fits'
            : `${verdict.limit}, ${verdict.fitsAtMs === null ? 'for open ones' : 'for a while'}`,
        );
        if (verdict.fits && book.hour.length > 0 && headMs !== null) met.add('fits beside what is spent');
        if (verdict.fits) {
          book = { ...book, outstandingMicro: book.outstandingMicro + each.amountMicro };
          payments.push({ amountMicro: each.amountMicro, landedAtMs: null, spentAtMs: null, isOpen: true });
        }
        break;
      }
    }
    assert.equal(book.outstandingMicro, sum(payments.filter(({ isOpen }) => isOpen)));
  }
  return met;
}

/** Every window that ends with this block: all earlier ones were looked at when their last payment landed. */
function noWindowIsOver(payments: readonly Kept[], blockTimeMs: number): void {
  for (const { windowMs, limitMicro } of WINDOWS) {
    const within = payments.filter(
      ({ landedAtMs }) => landedAtMs !== null && landedAtMs >= blockTimeMs - windowMs,
    );
    assert.ok(sum(within) <= limitMicro, `${sum(within)} within ${windowMs} ms up to ${blockTimeMs}`);
  }
}

/** The verdict, held against what the rule promises: freed late, never early, and by no more than a slice. */
function judge(
  book: AssetBook,
  payments: readonly Kept[],
  amountMicro: bigint,
  freeMs: number,
  forgottenToMs: number,
): LimitVerdict {
  const open = sum(payments.filter(({ isOpen }) => isOpen));
  const verdict = judgeLimits(book, LIMITS, LIMIT_WINDOWS, amountMicro, freeMs);
  const fitsAt = (ms: number) => judgeLimits(book, LIMITS, LIMIT_WINDOWS, amountMicro, ms).fits;
  /** What would count if each payment were freed to the millisecond. */
  const exactly = (windowMs: number, atMs: number) =>
    open + sum(payments.filter(({ spentAtMs }) => spentAtMs !== null && spentAtMs + windowMs >= atMs));
  const atLatest = (windowMs: number, sliceMs: number) =>
    open +
    sum(payments.filter(({ spentAtMs }) => spentAtMs !== null && spentAtMs + windowMs + sliceMs > freeMs));

  const mustRefuse = WINDOWS.some(
    ({ windowMs, limitMicro }) =>
      exactly(windowMs, Math.max(freeMs, forgottenToMs)) + amountMicro > limitMicro,
  );
  const mustAdmit = WINDOWS.every(
    ({ windowMs, sliceMs, limitMicro }) => atLatest(windowMs, sliceMs) + amountMicro <= limitMicro,
  );
  if (mustRefuse) assert.equal(verdict.fits, false);
  if (mustAdmit) assert.equal(verdict.fits, true);
  const roomMicro = outstandingMaxMicro(book, LIMITS, LIMIT_WINDOWS, amountMicro, freeMs);
  assert.equal(verdict.fits, book.outstandingMicro <= roomMicro);
  if (verdict.fits) return verdict;

  const named = WINDOWS.find(({ window }) => window === verdict.limit);
  assert.ok(named);
  assert.equal(verdict.limitMicro, named.limitMicro);
  assert.ok(verdict.remainingMicro >= 0n && verdict.remainingMicro < amountMicro);
  // Only open payments, and the limit itself, can keep it out for ever.
  assert.equal(
    verdict.fitsAtMs === null,
    WINDOWS.some(({ limitMicro }) => open + amountMicro > limitMicro),
  );
  if (verdict.fitsAtMs === null) return verdict;
  assert.ok(fitsAt(verdict.fitsAtMs), 'it fits when it was said to fit');
  assert.ok(!fitsAt(verdict.fitsAtMs - 1), 'and not a moment before');
  const instants = payments.flatMap(({ spentAtMs }) =>
    spentAtMs === null ? [] : WINDOWS.map(({ windowMs }) => spentAtMs + windowMs + 1),
  );
  const exactMs = Math.min(
    ...instants.filter((atMs) =>
      WINDOWS.every(({ windowMs, limitMicro }) => exactly(windowMs, atMs) + amountMicro <= limitMicro),
    ),
  );
  assert.ok(verdict.fitsAtMs >= exactMs || freeMs < forgottenToMs, 'nor too early for the chain');
  assert.ok(verdict.fitsAtMs <= Math.max(exactMs, freeMs) + named.sliceMs, 'nor much later than need be');
  return verdict;
}

describe('the limits, beside an oracle that keeps every payment', () => {
  const steps = fc.array(step, { maxLength: 150, size: 'max' });

  it('hold in every window of block times, and refuse no more than they must', () => {
    fc.assert(
      fc.property(steps, (all) => {
        play(all);
      }),
      { numRuns: 1_000 },
    );
  });

  it('meet every kind of verdict in these runs', () => {
    // Else their agreement would be about little.
    const met = new Set(fc.sample(steps, { numRuns: 100, seed: 1 }).flatMap((all) => [...play(all)]));
    expect([...met].sort()).toEqual([
      'day, for a while',
      'day, for open ones',
      'fits',
      'fits beside what is spent',
      'hour, for a while',
      'hour, for open ones',
    ]);
  });
});
