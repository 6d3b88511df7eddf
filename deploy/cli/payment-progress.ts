/** Shows a person how a payment gets on, one line each thing that happens to it. */
import type { PaymentView } from '../../functions/pay/schema.ts';

/**
 * Makes a function that takes a payment as often as it is seen and prints what is new in it.
 *
 * @param startedAtMs when the payment was asked for, on the clock of `Date.now`.
 */
export function createProgress(
  startedAtMs: number,
  print: (line: string) => void,
): (payment: PaymentView) => void {
  const shown = new Set<string>();
  return (payment) => {
    for (const { at, event, detail } of payment.history) {
      const key = `${at} ${event} ${detail}`;
      if (shown.has(key)) continue;
      shown.add(key);
      const elapsed = Math.max(0, Date.parse(at) - startedAtMs) / 1_000;
      print(`${elapsed.toFixed(1).padStart(7)} s  ${event.padEnd(15)} ${detail}`.trimEnd());
    }
  };
}

/** How the payment ended, in one line with the transaction that ended it. */
export function describeEnd(payment: PaymentView): string {
  const attempt = payment.attempts.at(-1);
  const parts = [
    `${payment.amount} ${payment.asset} to ${payment.to}: ${payment.status}`,
    attempt === undefined ? undefined : `transaction ${attempt.tx_id}`,
    attempt === undefined || attempt.block_number === null ? undefined : `block ${attempt.block_number}`,
    payment.reason ?? undefined,
  ];
  return parts.filter((part) => part !== undefined).join(', ');
}

/** Makes a function that takes the reason of each repetition and prints it when it is another one. */
export function createRetryNotice(print: (line: string) => void): (reason: string) => void {
  let last: string | undefined;
  return (reason) => {
    if (reason !== last) print(`  … ${reason}; asking again with the same key`);
    last = reason;
  };
}
