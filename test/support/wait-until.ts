import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits until the condition holds, asking every few milliseconds. The bound ends what would never hold; it costs nothing
 * where all is well, so it is wide enough for a machine that is slow, busy, or stands still for seconds.
 * @throws Error after the bound
 */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error(`still not so after ${timeoutMs} ms: ${condition}`);
    await sleep(5);
  }
}

/** Asks again until there is an answer instead of an error. @throws Error after the bound */
export async function untilThere<T>(ask: () => Promise<T>): Promise<T> {
  const found: T[] = [];
  await waitUntil(async () => {
    await ask().then(
      (answer) => found.push(answer),
      () => {},
    );
    return found.length > 0;
  });
  return found[0] as T;
}
