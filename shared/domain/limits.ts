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
  /** All that was ever committed: the wallet's audit rests on it. */
  readonly spentTotalMicro: bigint;
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
/** What can refuse an amount: the asset's rolling hour and day, or the rolling day of all fees. */
export type LimitName = LimitWindow | 'fees';

export const EMPTY_BOOK: AssetBook = { outstandingMicro: 0n, spentTotalMicro: 0n, hour: [], day: [] };

/** What fees count against their daily cap, in sun. */
export interface FeeBook {
  /** The most that all unfinished payments may burn. */
  readonly outstandingMicro: bigint;
  /** All that was ever burned: the wallet's audit rests on it. */
  readonly spentTotalMicro: bigint;
  readonly day: readonly SpentSlot[];
}

export const EMPTY_FEE_BOOK: FeeBook = { outstandingMicro: 0n, spentTotalMicro: 0n, day: [] };

/** How a window is cut, so that the breaker document stays small whatever the traffic. */
interface Slicing {
  readonly slices: number;
  /** A window of slots, the one that has begun, and those of a solid head that is five minutes behind. */
  readonly slotsMax: number;
}

/** Slices of ten seconds. */
const HOUR_SLICING: Slicing = { slices: 360, slotsMax: 391 };
/** Slices of five minutes. */
const DAY_SLICING: Slicing = { slices: 288, slotsMax: 290 };

/** The answer to "may this amount be reserved now?". */
export type LimitVerdict =
  | { readonly fits: true }
  | {
      readonly fits: false;
      readonly limit: LimitName;
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
  return book.outstandingMicro + spentMicro(book[window], lengthMs(window, windows), freeMs);
}

/** The fees that count against their daily cap at an instant of `freeableUntilMs`. */
export function countedFeesMicro(fees: FeeBook, windows: LimitWindows, freeMs: number): bigint {
  return fees.outstandingMicro + spentMicro(fees.day, windows.dayMs, freeMs);
}

/** Says whether an amount fits both windows, and if not, which one refuses for longest and until when. */
export function judgeLimits(
  book: AssetBook,
  limits: AssetLimits,
  windows: LimitWindows,
  amountMicro: bigint,
  freeMs: number,
): LimitVerdict {
  const verdicts = (['day', 'hour'] as const).map((window) =>
    judge(
      window,
      book.outstandingMicro,
      book[window],
      lengthMs(window, windows),
      limitOf(limits, window),
      amountMicro,
      freeMs,
    ),
  );
  return lastToFit(verdicts.filter((verdict) => !verdict.fits)) ?? { fits: true };
}

/** Of several refusals the one that lasts longest: only when it has passed does anything fit. Null where there is none. */
export function lastToFit<T extends Extract<LimitVerdict, { fits: false }>>(
  refusals: readonly T[],
): T | null {
  const endMs = ({ fitsAtMs }: T) => fitsAtMs ?? Number.POSITIVE_INFINITY;
  return refusals.reduce<T | null>(
    (last, refusal) => (last === null || endMs(refusal) > endMs(last) ? refusal : last),
    null,
  );
}

/** Prices, and what the token takes for being busy, may rise between an estimate and the signature. */
const HEADROOM_PERCENT = 125n;

/** What the fee of a payment that is signed later is counted at: its most by today's estimate, and some more. */
export function laterFeeMicro(feeMaxMicro: bigint, reserveMaxMicro: bigint): bigint {
  const laterMicro = (feeMaxMicro * HEADROOM_PERCENT) / 100n;
  return laterMicro < reserveMaxMicro ? laterMicro : reserveMaxMicro;
}

/** Says whether a payment's fee fits under the daily cap of all fees. */
export function judgeFees(
  fees: FeeBook,
  limitMicro: bigint,
  windows: LimitWindows,
  feeMicro: bigint,
  freeMs: number,
): LimitVerdict {
  return judge('fees', fees.outstandingMicro, fees.day, windows.dayMs, limitMicro, feeMicro, freeMs);
}

/**
 * The largest `outstandingMicro` beside which an amount fits both windows while these slots stand: the store
 * compares it in the same step that adds the amount, so no two instances can both take the last of a limit.
 */
export function outstandingMaxMicro(
  book: AssetBook,
  limits: AssetLimits,
  windows: LimitWindows,
  amountMicro: bigint,
  freeMs: number,
): bigint {
  const leaves = (window: LimitWindow) =>
    limitOf(limits, window) - spentMicro(book[window], lengthMs(window, windows), freeMs) - amountMicro;
  const [hour, day] = [leaves('hour'), leaves('day')];
  return hour < day ? hour : day;
}

/** The same for fees. */
export function feesOutstandingMaxMicro(
  fees: FeeBook,
  limitMicro: bigint,
  windows: LimitWindows,
  feeMicro: bigint,
  freeMs: number,
): bigint {
  return limitMicro - spentMicro(fees.day, windows.dayMs, freeMs) - feeMicro;
}

/** Adds an ended payment's amount to the slots of both windows and forgets the slots that are free by now. */
export function chargeSlots(
  book: AssetBook,
  windows: LimitWindows,
  amountMicro: bigint,
  endedAtMs: number,
  freeMs: number,
): Pick<AssetBook, 'hour' | 'day'> {
  const { hourMs, dayMs } = windows;
  return {
    hour: charge(book.hour, hourMs, HOUR_SLICING, amountMicro, endedAtMs, freeMs),
    day: charge(book.day, dayMs, DAY_SLICING, amountMicro, endedAtMs, freeMs),
  };
}

/** Adds burned fees to the slots of their day, and forgets what is free by now. */
export function chargeFees(
  fees: FeeBook,
  windows: LimitWindows,
  feeMicro: bigint,
  endedAtMs: number,
  freeMs: number,
): readonly SpentSlot[] {
  return charge(fees.day, windows.dayMs, DAY_SLICING, feeMicro, endedAtMs, freeMs);
}

function unfreed(slots: readonly SpentSlot[], windowMs: number, freeMs: number): SpentSlot[] {
  return slots.filter((slot) => slot.untilMs + windowMs > freeMs);
}

function charge(
  slots: readonly SpentSlot[],
  windowMs: number,
  { slices, slotsMax }: Slicing,
  amountMicro: bigint,
  endedAtMs: number,
  freeMs: number,
): SpentSlot[] {
  const sliceMs = Math.max(1, Math.ceil(windowMs / slices));
  // The slice holds [start, until): an end on the border belongs to the slice that begins there.
  const untilMs = (Math.floor(endedAtMs / sliceMs) + 1) * sliceMs;
  const standing = unfreed(slots, windowMs, freeMs);
  const at = standing.findIndex((slot) => slot.untilMs >= untilMs);
  if (at === -1) return atMost(slotsMax, [...standing, { untilMs, amountMicro }]);
  const found = standing[at];
  if (found?.untilMs === untilMs) {
    return standing.with(at, { untilMs, amountMicro: found.amountMicro + amountMicro });
  }
  return atMost(slotsMax, standing.toSpliced(at, 0, { untilMs, amountMicro }));
}

/** Where nothing frees for long, as the chain stands still, the oldest slot frees with the next one: still not early. */
function atMost(slotsMax: number, slots: SpentSlot[]): SpentSlot[] {
  const [oldest, next, ...others] = slots;
  if (slots.length <= slotsMax || oldest === undefined || next === undefined) return slots;
  return [{ ...next, amountMicro: oldest.amountMicro + next.amountMicro }, ...others];
}

function judge(
  limit: LimitName,
  outstandingMicro: bigint,
  slots: readonly SpentSlot[],
  windowMs: number,
  limitMicro: bigint,
  amountMicro: bigint,
  freeMs: number,
): LimitVerdict {
  const counted = outstandingMicro + spentMicro(slots, windowMs, freeMs);
  if (counted + amountMicro <= limitMicro) return { fits: true };
  return {
    fits: false,
    limit,
    limitMicro,
    remainingMicro: counted < limitMicro ? limitMicro - counted : 0n,
    fitsAtMs: whenItFits(counted, slots, windowMs, limitMicro, amountMicro, freeMs),
  };
}

function whenItFits(
  countedMicro: bigint,
  slots: readonly SpentSlot[],
  windowMs: number,
  limitMicro: bigint,
  amountMicro: bigint,
  freeMs: number,
): number | null {
  let counted = countedMicro;
  for (const slot of unfreed(slots, windowMs, freeMs)) {
    counted -= slot.amountMicro;
    if (counted + amountMicro <= limitMicro) return slot.untilMs + windowMs;
  }
  return null;
}

function spentMicro(slots: readonly SpentSlot[], windowMs: number, freeMs: number): bigint {
  return unfreed(slots, windowMs, freeMs).reduce((sum, slot) => sum + slot.amountMicro, 0n);
}

function limitOf(limits: AssetLimits, window: LimitWindow): bigint {
  return window === 'hour' ? limits.hourlyMicro : limits.dailyMicro;
}

function lengthMs(window: LimitWindow, windows: LimitWindows): number {
  return window === 'hour' ? windows.hourMs : windows.dayMs;
}
