/**
 * `npm run pay`: pays from a terminal and follows the payment to its end.
 *
 * Exit codes: 0 confirmed, 1 not paid, 2 wrong usage, 3 open: money may have moved or may still move.
 */
import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { PayBody, PaymentView } from '../../functions/pay/schema.ts';
import { ASSETS, parseAmount } from '../../shared/domain/money.ts';
import { parseTronAddress } from '../../shared/domain/tron-address.ts';
import { DEFAULT_STATE_DIR } from '../local/state.ts';
import { EXIT, parseOptions, runCommand, UsageError } from './arguments.ts';
import { OutcomeUnknown } from './payment-client.ts';
import { createProgress, createRetryNotice, describeEnd } from './payment-progress.ts';
import { createClient, findRunningStack } from './running-stack.ts';

const HELP = `npm run pay -- --to ADDRESS --amount AMOUNT [options]

Pays through the running stack and follows the payment to its end.

  --to ADDRESS        the recipient, T…
  --amount AMOUNT     a decimal, at most 6 places: 1.5
  --asset ASSET       USDT or TRX                                                  (USDT)
  --reference TEXT    your own name for it
  --key KEY           idempotency key: the same key never pays twice               (a new one)
  --timeout SECONDS   how long to follow it                                        (600)
  --state DIR         the state folder of the stack                                (.local)

Exit code 0: confirmed · 1: not paid · 2: wrong usage · 3: open, money may have moved
`;

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  to: { type: 'string' },
  amount: { type: 'string' },
  asset: { type: 'string', default: 'USDT' },
  reference: { type: 'string' },
  key: { type: 'string' },
  timeout: { type: 'string', default: '600' },
  state: { type: 'string', default: DEFAULT_STATE_DIR },
} as const;

await runCommand('npm run pay', async () => {
  const values = parseOptions(process.argv.slice(2), OPTIONS);
  if (values.help === true) {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  const order = readOrder(values);
  const timeoutMs = readTimeout(values.timeout) * 1_000;
  const client = createClient(findRunningStack(resolve(values.state)));

  const idempotencyKey = values.key ?? randomUUID();
  print(`${order.amount} ${order.asset} to ${order.to}, key ${idempotencyKey}`);
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort());
  const { signal } = interrupted;
  const onAnswer = createProgress(Date.now(), print);
  const onRetry = createRetryNotice((line) => process.stderr.write(`${line}\n`));
  let seen: PaymentView | undefined;
  try {
    seen = await client.pay(order, { idempotencyKey, deadlineMs: timeoutMs, signal, onRetry });
    const id = seen.id;
    print(`payment ${id}`);
    seen = await client.follow(seen, { deadlineMs: timeoutMs, onAnswer, onRetry, signal });
  } catch (error) {
    const isOpen = signal.aborted || seen !== undefined || error instanceof OutcomeUnknown;
    if (!isOpen) throw error;
    const reason = signal.aborted ? 'interrupted' : error instanceof Error ? error.message : String(error);
    process.stderr.write(
      `npm run pay: ${reason}; it may be paid or not: ask again with --key ${idempotencyKey}\n`,
    );
    return EXIT.open;
  }
  print(describeEnd(seen));
  return exitCodeOf(seen);
});

function exitCodeOf({ status }: PaymentView): number {
  switch (status) {
    case 'confirmed':
      return EXIT.ok;
    case 'failed':
    case 'refused':
    case 'expired':
      return EXIT.failed;
    default:
      return EXIT.open;
  }
}

function readOrder(values: {
  readonly to?: string;
  readonly amount?: string;
  readonly asset: string;
  readonly reference?: string;
}): PayBody {
  const { to, amount, reference } = values;
  if (to === undefined || amount === undefined) throw new UsageError('--to and --amount are needed');
  if (parseTronAddress(to) === undefined) throw new UsageError(`--to ${to}: is not a TRON address`);
  const parsed = parseAmount(amount);
  if ('fault' in parsed) throw new UsageError(`--amount ${amount}: ${parsed.fault}`);
  const asset = ASSETS.find((known) => known === values.asset);
  if (asset === undefined) {
    throw new UsageError(`--asset ${values.asset}: must be one of ${ASSETS.join(', ')}`);
  }
  return { to, amount, asset, ...(reference === undefined ? {} : { reference }) };
}

function readTimeout(text: string): number {
  const seconds = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (seconds < 1)
    throw new UsageError(`--timeout ${text}: must be a whole number of seconds from 1 to 99999`);
  return seconds;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
