import { ServiceError } from '../domain/errors.ts';

/** The clocks of two machines may differ by this much. */
const CLOCK_LEEWAY_MS = 5_000;

/**
 * Refuses an order that is older than what it would lift, or rule on: whoever gave it cannot have meant that, so it
 * is a second use of an order that was carried out before.
 * @param orderedAtMs by the clock of who gave it; undefined where no order can come twice
 * @throws ServiceError `order_outdated`
 */
export function refuseOutdated(orderedAtMs: number | undefined, sinceMs: number): void {
  if (orderedAtMs === undefined || orderedAtMs + CLOCK_LEEWAY_MS >= sinceMs) return;
  throw outdated();
}

export function outdated(): ServiceError {
  return new ServiceError(
    'order_outdated',
    'The order is older than what it is about. Order it again, with a new token.',
  );
}
