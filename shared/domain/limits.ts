/**
 * Spending limits: per asset, over a rolling hour and a rolling day, true of the chain. In any window of block
 * times, what left the wallet never exceeds the limit, so an amount counts from its reservation until the
 * payment's end *plus* the window: while a payment is unfinished it stands in `outstandingMicro`, afterwards in
 * a slot by its end time.
 */

/** What ended in one slice of time. It is freed once `untilMs` plus the window has passed. */
export interface SpentSlot {
  /** The end of the slice, milliseconds since 1970: an end time rounded up, so a slot frees late, never early. */
  readonly untilMs: number;
  readonly amountMicro: bigint;
}

/** Everything that counts against one asset's limits. */
export interface AssetBook {
  /** The sum of all reservations that are neither committed nor released. */
  readonly outstandingMicro: bigint;
  readonly hour: readonly SpentSlot[];
  readonly day: readonly SpentSlot[];
}

/** The configured limits of one asset. */
export interface AssetLimits {
  readonly hourlyMicro: bigint;
  readonly dailyMicro: bigint;
}

/** How long the rolling windows are. An hour and a day, but for tests. */
export interface LimitWindows {
  readonly hourMs: number;
  readonly dayMs: number;
}

export const LIMIT_WINDOWS: LimitWindows = { hourMs: 3_600_000, dayMs: 86_400_000 };

export type LimitWindow = 'hour' | 'day';

export const EMPTY_BOOK: AssetBook = { outstandingMicro: 0n, hour: [], day: [] };

// 360 slices an hour (10 s) and 288 a day (5 min) keep the breaker document small whatever the traffic.
const HOUR_SLICES = 360;
const DAY_SLICES = 288;

/** The answer to "may this amount be reserved now?". */
export type LimitVerdict =
  | { readonly fits: true }
  | {
      readonly fits: false;
      readonly window: LimitWindow;
      readonly limitMicro: bigint;
      readonly remainingMicro: bigint;
      /** When it would fit if nothing else changes; null where it cannot be told (it waits for open payments). */
      readonly fitsAtMs: number | null;
    };

/**
 * The instant up to which slots may be freed. While the chain is away its last solid head stands still and
 * nothing frees: a payment that we believe to be long past could otherwise still land in the same window.
 */
export function freeableUntilMs(serverTimeMs: number, solidHeadMs: number | null): number {
  return solidHeadMs === null ? Number.NEGATIVE_INFINITY : Math.min(serverTimeMs, solidHeadMs);
}

/** The amount that counts against one window at an instant of `freeableUntilMs`. */
export function countedMicro(
  book: AssetBook,
  window: LimitWindow,
  windows: LimitWindows,
  freeMs: number,
): bigint {
  const windowMs = window === 'hour' ? windows.hourMs : windows.dayMs;
  return unfreed(book[window], windowMs, freeMs).reduce(
    (sum, slot) => sum + slot.amountMicro,
    book.outstandingMicro,
  );
}

/** Says whether an amount fits both windows, and if not, which one refuses and until when. */
export function judgeLimits(
  book: AssetBook,
  limits: AssetLimits,
  windows: LimitWindows,
  amountMicro: bigint,
  freeMs: number,
): LimitVerdict {
  // The day is asked first: it is the longer wait, so its answer is the one worth giving.
  for (const window of ['day', 'hour'] as const) {
    const limitMicro = window === 'hour' ? limits.hourlyMicro : limits.dailyMicro;
    const counted = countedMicro(book, window, windows, freeMs);
    if (counted + amountMicro <= limitMicro) continue;
    const remainingMicro = counted < limitMicro ? limitMicro - counted : 0n;
    return {
      fits: false,
      window,
      limitMicro,
      remainingMicro,
      fitsAtMs: whenItFits(book, window, windows, amountMicro, limitMicro, freeMs),
    };
  }
  return { fits: true };
}

/** Adds an ended payment's amount to the slots of both windows and forgets the slots that are free by now. */
export function chargeSlots(
  book: AssetBook,
  windows: LimitWindows,
  amountMicro: bigint,
  endedAtMs: number,
  freeMs: number,
): Pick<AssetBook, 'hour' | 'day'> {
  return {
    hour: charge(
      unfreed(book.hour, windows.hourMs, freeMs),
      windows.hourMs / HOUR_SLICES,
      amountMicro,
      endedAtMs,
    ),
    day: charge(unfreed(book.day, windows.dayMs, freeMs), windows.dayMs / DAY_SLICES, amountMicro, endedAtMs),
  };
}

function unfreed(slots: readonly SpentSlot[], windowMs: number, freeMs: number): SpentSlot[] {
  return slots.filter((slot) => slot.untilMs + windowMs > freeMs);
}

function charge(
  slots: readonly SpentSlot[],
  sliceMs: number,
  amountMicro: bigint,
  endedAtMs: number,
): SpentSlot[] {
  const slice = Math.max(1, Math.ceil(sliceMs));
  // The slice holds [start, until): an end on the border belongs to the slice that begins there.
  const untilMs = (Math.floor(endedAtMs / slice) + 1) * slice;
  const at = slots.findIndex((slot) => slot.untilMs >= untilMs);
  if (at === -1) return [...slots, { untilMs, amountMicro }];
  const found = slots[at];
  if (found?.untilMs === untilMs) {
    return slots.with(at, { untilMs, amountMicro: found.amountMicro + amountMicro });
  }
  return slots.toSpliced(at, 0, { untilMs, amountMicro });
}

function whenItFits(
  book: AssetBook,
  window: LimitWindow,
  windows: LimitWindows,
  amountMicro: bigint,
  limitMicro: bigint,
  freeMs: number,
): number | null {
  const windowMs = window === 'hour' ? windows.hourMs : windows.dayMs;
  let counted = countedMicro(book, window, windows, freeMs);
  for (const slot of unfreed(book[window], windowMs, freeMs)) {
    counted -= slot.amountMicro;
    if (counted + amountMicro <= limitMicro) return slot.untilMs + windowMs;
  }
  return null;
}
