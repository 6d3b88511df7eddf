import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until the condition holds, asking every few milliseconds. @throws Error after the bound. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 5_000,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error(`still not so after ${timeoutMs} ms: ${condition}`);
    await sleep(5);
  }
}
