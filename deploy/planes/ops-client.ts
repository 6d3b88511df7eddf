/**
 * A client on the ops plane: an operator's, and where a gateway would be in development and tests. It runs in a container
 * of its own.
 *
 *   pay --to T… --amount 1.5 --asset USDT    pays, and follows the payment to its end
 *   get PATH                                 prints what a GET answers
 *   post PATH BODY [--caller NAME]           the same for a POST
 */
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { PayBody } from '../../functions/pay/schema.ts';
import { createProgress, createRetryNotice, describeEnd } from '../cli/payment-progress.ts';
import { authorize, createClient, DEFAULT_CALLER, type StackAccess } from '../cli/running-stack.ts';

const ACCESS: StackAccess = {
  url: process.env.FUNCTION_URL ?? 'http://tron-payment-service:8090',
  audience: 'tron-payment-service',
  callerSecretFiles: {
    gateway: '/run/secrets/internal_auth_secret',
    operator: '/run/secrets/operator_secret',
    approver: '/run/secrets/approver_secret',
  },
};
const ACCEPT_DEADLINE_MS = 60_000;
const CONFIRM_DEADLINE_MS = 300_000;

const print = (line: string) => process.stdout.write(`${line}\n`);

async function pay(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      to: { type: 'string' },
      amount: { type: 'string' },
      asset: { type: 'string', default: 'USDT' },
      reference: { type: 'string' },
      key: { type: 'string' },
    },
  });
  const { to = '', amount = '', asset, reference, key = randomUUID() } = values;
  const order = { to, amount, asset, ...(reference === undefined ? {} : { reference }) } as PayBody;
  print(`${amount} ${asset} to ${to}`);
  const client = createClient(ACCESS);
  const onRetry = createRetryNotice(print);
  const options = { onRetry, idempotencyKey: key, deadlineMs: ACCEPT_DEADLINE_MS };
  const payment = await client.pay(order, options);
  const onAnswer = createProgress(Date.now(), print);
  const end = await client.follow(payment, { onRetry, deadlineMs: CONFIRM_DEADLINE_MS, onAnswer });
  print(`  ${describeEnd(end)}`);
  return end.status === 'confirmed' ? 0 : 1;
}

async function ask(method: 'GET' | 'POST', args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { caller: { type: 'string', default: DEFAULT_CALLER }, key: { type: 'string' } },
  });
  const [path = '/', body] = positionals;
  const { caller, key } = values;
  const request = {
    method,
    path,
    ...(key === undefined ? {} : { idempotencyKey: key }),
    ...(body === undefined ? {} : { body }),
  };
  const token = await authorize(ACCESS, request, { caller });
  const response = await fetch(`${ACCESS.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(key === undefined ? {} : { 'idempotency-key': key }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body }),
  });
  print(readable(await response.text()));
  return response.ok ? 0 : 1;
}

/** Over several lines, for people, where it is JSON. */
function readable(answer: string): string {
  try {
    return JSON.stringify(JSON.parse(answer), undefined, 2);
  } catch {
    return answer;
  }
}

const [command, ...args] = process.argv.slice(2);
try {
  if (command === 'pay') process.exitCode = await pay(args);
  else if (command === 'get') process.exitCode = await ask('GET', args);
  else if (command === 'post') process.exitCode = await ask('POST', args);
  else throw new Error('say pay, get or post');
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
