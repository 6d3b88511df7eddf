import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { OutcomeUnknown, PaymentClient, ServiceRefusal } from '../../../deploy/cli/payment-client.ts';
import type { PayBody, PaymentView } from '../../../functions/pay/schema.ts';

const ORDER: PayBody = { to: 'T1', amount: '1.5', asset: 'USDT' };
const PAYMENT: PaymentView = {
  id: 'pay_1',
  status: 'accepted',
  to: 'T1',
  amount: '1.5',
  asset: 'USDT',
  reference: null,
  batch_id: null,
  approved_by: null,
  reason: null,
  created_at: '2026-01-01T00:00:00.000Z',
  pay_by: '2026-01-01T01:00:00.000Z',
  ended_at: null,
  attempts: [],
  history: [],
};
const OPTIONS = { idempotencyKey: 'k-1', deadlineMs: 60_000 };

type Answer = (response: ServerResponse) => void;

let server: Server | undefined;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** A service that gives these answers in turn, the last one from then on. */
async function serve(...answers: readonly Answer[]) {
  const seen: { line: string; key: string | undefined; token: string | undefined }[] = [];
  server = createServer((request: IncomingMessage, response) => {
    const { method, url, headers } = request;
    seen.push({
      line: `${method} ${url}`,
      key: headers['idempotency-key']?.toString(),
      token: headers.authorization,
    });
    answers[Math.min(seen.length, answers.length) - 1]?.(response);
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  let tokens = 0;
  const client = new PaymentClient({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    authorize: async () => {
      tokens += 1;
      return `token-${tokens}`;
    },
  });
  return { client, seen };
}

const answer =
  (status: number, body: object, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
const problem = (status: number, code: string) =>
  answer(status, { code, detail: 'in plain words' }, { 'retry-after': '0' });
const hangUp: Answer = (response) => response.destroy();

describe('asking for a payment', () => {
  it('asks again under the same key, with a token of its own, until the answer is sure', async () => {
    const { client, seen } = await serve(
      hangUp,
      problem(503, 'outcome_unknown'),
      problem(409, 'payment_in_flight'),
      problem(429, 'too_busy'),
      answer(502, {}),
      answer(201, PAYMENT),
    );

    expect(await client.pay(ORDER, OPTIONS)).toEqual(PAYMENT);
    expect(seen.map(({ line, key }) => `${line} ${key}`)).toEqual(Array(6).fill('POST /pay k-1'));
    expect(new Set(seen.map(({ token }) => token)).size).toBe(6);
  });

  it.each([
    [400, 'amount_invalid'],
    [422, 'idempotency_key_reused'],
    [429, 'limit_exceeded'],
    [500, 'internal'],
  ])('takes %d %s for an answer', async (status, code) => {
    const { client, seen } = await serve(problem(status, code));

    const refusal = await client.pay(ORDER, OPTIONS).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ServiceRefusal);
    expect(refusal).toMatchObject({ status, code, message: `${status} ${code}: in plain words` });
    expect(seen).toHaveLength(1);
  });

  it('calls the outcome unknown when the time is over and a try may have been taken', async () => {
    const { client } = await serve(hangUp, problem(503, 'circuit_open'));

    await expect(client.pay(ORDER, { ...OPTIONS, deadlineMs: 600 })).rejects.toThrow(OutcomeUnknown);
  });

  it('says that nothing was taken when the service has said so each time', async () => {
    const { client } = await serve(problem(503, 'circuit_open'));

    await expect(client.pay(ORDER, { ...OPTIONS, deadlineMs: 300 })).rejects.toThrow(
      '503 circuit_open: in plain words',
    );
  });
});

describe('following a payment', () => {
  it('shows each answer until the payment is finished, and waits for a service that is away', async () => {
    const confirmed = { ...PAYMENT, status: 'confirmed' };
    const { client, seen } = await serve(
      answer(200, PAYMENT),
      hangUp,
      problem(503, 'store_unavailable'),
      answer(200, { ...PAYMENT, status: 'broadcast' }),
      answer(200, confirmed),
    );
    const shown: string[] = [];

    const last = await client.follow(PAYMENT, {
      deadlineMs: 60_000,
      onAnswer: ({ status }) => shown.push(status),
    });
    expect(last).toEqual(confirmed);
    expect(shown).toEqual(['accepted', 'accepted', 'broadcast', 'confirmed']);
    expect(seen[0]?.line).toBe('GET /pay/pay_1');
  });

  it('answers what it saw last when the time is over', async () => {
    const { client } = await serve(answer(200, PAYMENT));

    const last = await client.follow(PAYMENT, { deadlineMs: 300, onAnswer: () => {} });
    expect(last.status).toBe('accepted');
  });

  it('ends at once when it is interrupted', async () => {
    const { client } = await serve(answer(200, PAYMENT));
    const interrupted = new AbortController();
    const following = client.follow(PAYMENT, {
      deadlineMs: 60_000,
      signal: interrupted.signal,
      onAnswer: () => interrupted.abort(),
    });

    await expect(following).rejects.toMatchObject({ name: 'AbortError' });
  });
});
