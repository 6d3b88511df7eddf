/** The two payments that show that the stack works: to new accounts, each followed to its end. */
import { randomUUID } from 'node:crypto';
import type { PayBody, PaymentView } from '../../functions/pay/schema.ts';
import type { PaymentClient } from '../cli/payment-client.ts';
import { createProgress, createRetryNotice, describeEnd } from '../cli/payment-progress.ts';
import { createRecipient } from './accounts.ts';
import type { Console } from './console.ts';
import type { StatePaths } from './state.ts';

const PAYMENTS = [
  { amount: '25', asset: 'USDT' },
  { amount: '3', asset: 'TRX' },
] as const;

/** The first invocation is cold, and a part may be restarting. */
const ACCEPT_DEADLINE_MS = 60_000;
/** On a public network it takes a minute until a block is final. */
const CONFIRM_DEADLINE_MS = 300_000;

/**
 * Pays, one after the other, and shows each step.
 *
 * @returns whether both were confirmed. What went wrong has been said by then.
 */
export async function payDemonstration(
  client: PaymentClient,
  options: { readonly paths: StatePaths; readonly console: Console; readonly signal: AbortSignal },
): Promise<boolean> {
  const { console, signal } = options;
  let confirmed = 0;
  for (const { amount, asset } of PAYMENTS) {
    const to = createRecipient(options.paths.secrets);
    console.line();
    console.heading(`${amount} ${asset} to ${to}`);
    try {
      const payment = await payAndFollow(
        client,
        { amount, asset, to, reference: `demonstration ${randomUUID()}` },
        console,
        signal,
      );
      const isConfirmed = payment.status === 'confirmed';
      if (isConfirmed) confirmed += 1;
      (isConfirmed ? console.success : console.error).call(console, `  ${describeEnd(payment)}`);
    } catch (error) {
      signal.throwIfAborted();
      console.error(`  ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return confirmed === PAYMENTS.length;
}

async function payAndFollow(
  client: PaymentClient,
  order: PayBody,
  console: Console,
  signal: AbortSignal,
): Promise<PaymentView> {
  const onAnswer = createProgress(Date.now(), (line) => console.line(`  ${line}`));
  const onRetry = createRetryNotice((line) => console.dim(line));
  const options = { onRetry, signal };
  const payment = await client.pay(order, {
    ...options,
    idempotencyKey: randomUUID(),
    deadlineMs: ACCEPT_DEADLINE_MS,
  });
  return client.follow(payment, { ...options, deadlineMs: CONFIRM_DEADLINE_MS, onAnswer });
}
