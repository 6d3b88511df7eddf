import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAccount } from '../../deploy/local/accounts.ts';
import { startStack, type TestStack } from '../support/stack.ts';
import { CONTRACT } from '../support/test-engine.ts';

/** Each function's bundle under the real RIE, asked through the sidecar as a gateway asks. */

let stack: TestStack;

beforeAll(async () => {
  // Short lives, so that an attempt can expire while somebody watches.
  stack = await startStack({
    settings: {
      TRON_TIMEOUT_SECONDS: '9',
      TRON_EXPIRATION_SECONDS: '10',
      TRON_EXPIRATION_MARGIN_SECONDS: '2',
      PAYMENT_APPROVAL_ABOVE_TRX: '100',
      // The breaker has tests of its own; here a chain that is away for a while must not open it for minutes.
      CIRCUIT_BREAKER_FAILURE_THRESHOLD: '1000',
    },
  });
});
afterAll(() => stack?.stop());

const bodyOf = (fields: Readonly<Record<string, unknown>> = {}) =>
  JSON.stringify({ to: createAccount().address, amount: '1.5', asset: 'USDT', ...fields });

const post: TestStack['post'] = (...request) => stack.post(...request);
const get: TestStack['get'] = (...request) => stack.get(...request);
const json = async (answer: Response) => (await answer.json()) as Record<string, unknown>;
const ledger = async () =>
  (await json(await fetch(`${stack.faultsUrl}/ledger`))) as unknown as { to: string; amountMicro: string }[];

const setFault = (fault: Readonly<Record<string, unknown>>) =>
  fetch(`${stack.faultsUrl}/faults`, { method: 'POST', body: JSON.stringify(fault) });
const clearFaults = () => fetch(`${stack.faultsUrl}/faults`, { method: 'DELETE' });

const ENDS = ['confirmed', 'failed', 'refused', 'expired', 'needs_review'];

async function follow(id: unknown, until: readonly string[]) {
  for (;;) {
    const payment = await json(await get(`/pay/${String(id)}`));
    if (until.includes(String(payment.status))) return payment;
  }
}

describe('pay', () => {
  it.each(['USDT', 'TRX'])('pays %s and the chain holds it once', async (asset) => {
    const to = createAccount().address;
    const answer = await post('/pay', bodyOf({ to, asset, amount: '2.000001' }));
    expect(answer.status).toBe(201);
    const payment = await json(answer);
    expect(answer.headers.get('location')).toBe(`/pay/${String(payment.id)}`);

    const confirmed = await follow(payment.id, ENDS);

    expect(confirmed).toMatchObject({
      status: 'confirmed',
      amount: '2.000001',
      attempts: [{ outcome: 'paid' }],
    });
    expect((await ledger()).filter((entry) => entry.to === to)).toMatchObject([{ amountMicro: '2000001' }]);
  });

  it('makes one payment of many posts of one key at once, over both instances', async () => {
    const to = createAccount().address;
    const body = bodyOf({ to });
    const key = randomUUID();
    const answers = await Promise.all(Array.from({ length: 24 }, () => post('/pay', body, { key })));
    // Paid, in flight, or, on a machine that takes longer than a caller waits, to come again.
    for (const { status } of answers) expect([201, 202, 409, 429, 503]).toContain(status);
    const payments = await Promise.all(answers.filter(({ ok }) => ok).map(json));
    const ids = new Set(payments.map(({ id }) => id));
    expect(ids.size).toBe(1);
    await follow([...ids][0], ['confirmed']);
    expect((await ledger()).filter((entry) => entry.to === to)).toHaveLength(1);
  });

  it('answers a replay, and refuses the key for another body', async () => {
    const key = randomUUID();
    const body = bodyOf();
    const first = await post('/pay', body, { key });
    const again = await post('/pay', body, { key });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect((await json(again)).id).toBe((await json(first)).id);
    const other = await post('/pay', bodyOf(), { key });
    expect(other.status).toBe(422);
    expect(await json(other)).toMatchObject({ code: 'idempotency_key_reused' });
  });

  it('lets no caller without the scope pay', async () => {
    const answer = await post('/pay', bodyOf(), { caller: 'operator' });
    expect(answer.status).toBe(403);
    expect(await json(answer)).toMatchObject({ code: 'forbidden' });
  });

  it('takes no token that was made for another body', async () => {
    const key = randomUUID();
    const token = await stack.token({ method: 'POST', path: '/pay', idempotencyKey: key, body: bodyOf() });
    const answer = await post('/pay', bodyOf({ amount: '999' }), { key, token });
    expect(answer.status).toBe(401);
  });

  it('refuses more than the hourly limit holds, and stores nothing', async () => {
    const answer = await post('/pay', bodyOf({ amount: '1000.000001' }));
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await json(answer)).toMatchObject({ code: 'limit_exceeded', limit: 'hourly' });
  });

  it.each([
    ['an amount in scientific notation', bodyOf({ amount: '1e3' }), 'amount_invalid', 'amount'],
    ['an amount as a number', bodyOf({ amount: 1.5 }), 'amount_invalid', 'amount'],
    ['a wrong checksum', bodyOf({ to: `${CONTRACT.slice(0, -1)}x` }), 'recipient_invalid', 'to'],
    ['a field too many', bodyOf({ memo: 'x' }), 'field_unknown', 'memo'],
    ['no JSON', '{', 'body_invalid', undefined],
  ])('answers %s with a problem that names the field', async (_, body, code, field) => {
    const answer = await post('/pay', body);
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    const problem = await json(answer);
    expect(problem).toMatchObject({ status: 400, code });
    expect(problem.field).toBe(field);
  });

  it('writes one line an invocation, with the payment and no secret', async () => {
    const key = randomUUID();
    const body = bodyOf();
    const token = await stack.token({ method: 'POST', path: '/pay', idempotencyKey: key, body });
    const answer = await post('/pay', body, { key, token });
    const { id } = await json(answer);
    const lines = ['pay-1', 'pay-2']
      .flatMap((part) => stack.logs(part))
      .filter((line) => line.includes(String(id)));
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      paymentId: id,
      method: 'POST',
      route: '/pay',
      status: 201,
      requestId: answer.headers.get('x-request-id'),
    });
    const all = ['pay-1', 'pay-2', 'settle', 'sidecar'].flatMap((part) => stack.logs(part)).join('\n');
    expect(all).not.toContain(token);
    expect(all).not.toContain(token.split('.')[2] ?? 'no signature');
  });
});

describe('batches, approvals and orders', () => {
  it('admits a batch, pays each of its items once, and lists them', async () => {
    const items = [1, 2, 3].map((index) => ({
      to: createAccount().address,
      amount: `1.00000${index}`,
      asset: index === 3 ? 'TRX' : 'USDT',
      reference: `batch ${randomUUID()}`,
    }));
    const key = randomUUID();
    const answer = await post('/pay/batch', JSON.stringify({ items }), { key });
    expect(answer.status).toBe(202);
    const batch = (await answer.json()) as { id: string; items: { payment_id: string }[] };
    expect((await post('/pay/batch', JSON.stringify({ items }), { key })).headers.get('location')).toBe(
      `/pay/${batch.id}`,
    );
    for (const { payment_id } of batch.items) {
      expect(await follow(payment_id, ENDS)).toMatchObject({ status: 'confirmed', batch_id: batch.id });
    }
    const moved = await ledger();
    for (const { to } of items) expect(moved.filter((transfer) => transfer.to === to)).toHaveLength(1);
    const found = await json(await get(`/pay?reference=${encodeURIComponent(items[1]?.reference ?? '')}`));
    expect(found).toMatchObject({ payments: [{ id: batch.items[1]?.payment_id }], next_cursor: null });
  });

  it('lets a payment above the limit of approval wait for another caller', async () => {
    const asked = await post('/pay', bodyOf({ asset: 'TRX', amount: '100.5' }));
    expect(asked.status).toBe(202);
    const { id, status } = await json(asked);
    expect(status).toBe('awaiting_approval');
    expect((await post(`/pay/${String(id)}/approve`, '')).status).toBe(403);
    const approved = await post(`/pay/${String(id)}/approve`, '', { caller: 'operator' });
    expect(await json(approved)).toMatchObject({ approved_by: 'operator' });
    expect(await follow(id, ENDS)).toMatchObject({ status: 'confirmed' });
  });

  it('quotes without storing, pauses and resumes', async () => {
    const quoted = await json(await post('/pay/quote', bodyOf()));
    expect(quoted).toMatchObject({ accepted: true, needs_approval: false, activates: false });
    const order = (action: string) =>
      post('/pay/breaker', JSON.stringify({ action, reason: 'a drill' }), { caller: 'operator' });
    expect((await order('pause')).status).toBe(200);
    const refused = await post('/pay', bodyOf());
    expect(refused.status).toBe(503);
    expect(await json(refused)).toMatchObject({ code: 'payments_paused' });
    expect(await json(await order('resume'))).toMatchObject({ paused: null });
  });
});

describe('settle', () => {
  it('settles when an operator asks, and tells what it did', async () => {
    const answer = await post('/settle', '', { caller: 'operator' });
    expect(answer.status).toBe(200);
    expect(await json(answer)).toMatchObject({ errors: 0, transitions_anomalous: 0 });
  });

  it('is not for the gateway', async () => {
    expect((await post('/settle', '')).status).toBe(403);
  });

  it('sends the same bytes again when the node has forgotten them', async () => {
    await setFault({ kind: 'drop', count: 1 });
    const { id } = await json(await post('/pay', bodyOf()));
    expect(await follow(id, ENDS)).toMatchObject({ status: 'confirmed', attempts: [{ outcome: 'paid' }] });
  });

  it('signs anew once a walk of the solid blocks has proven that the first attempt never landed', async () => {
    const to = createAccount().address;
    await setFault({ kind: 'drop' });
    const { id } = await json(await post('/pay', bodyOf({ to })));
    let attempts: unknown = [];
    while (!Array.isArray(attempts) || attempts.length < 2)
      ({ attempts } = await json(await get(`/pay/${String(id)}`)));
    await clearFaults();

    const payment = await follow(id, ENDS);

    expect(payment).toMatchObject({ status: 'confirmed' });
    const outcomes = (payment.attempts as { outcome: string }[]).map(({ outcome }) => outcome);
    expect(outcomes.at(-1)).toBe('paid');
    expect(outcomes.slice(0, -1).every((outcome) => outcome === 'expired')).toBe(true);
    expect((await ledger()).filter((entry) => entry.to === to)).toHaveLength(1);
  });

  it('pays what was reserved while the chain was away, soon after it is back', async () => {
    await setFault({ kind: 'status', status: 503 });
    const answer = await post('/pay', bodyOf());
    expect(answer.status).toBe(202);
    const payment = await json(answer);
    expect(payment).toMatchObject({ status: 'accepted', attempts: [] });
    await clearFaults();
    expect(await follow(payment.id, ENDS)).toMatchObject({
      status: 'confirmed',
    });
  });
});

describe('health', () => {
  it('is healthy with every check, each with its reason', async () => {
    const answer = await fetch(`${stack.url}/health`);
    expect(await json(answer)).toMatchObject({
      status: 'healthy',
      checks: {
        mongo: { status: 'healthy' },
        tron: { status: 'healthy' },
        tor: { status: 'healthy' },
        circuit_breaker: { status: 'healthy' },
        wallet: { status: 'healthy' },
      },
    });
    expect(answer.status).toBe(200);
  });

  it.each(['/health/live', '/health/ready'])('answers %s', async (path) => {
    expect((await fetch(stack.url + path)).status).toBe(200);
  });

  it('says so with 503 when the node is away', async () => {
    await setFault({ kind: 'status', status: 503 });
    const answer = await fetch(`${stack.url}/health`);
    await clearFaults();
    expect(answer.status).toBe(503);
    expect(await json(answer)).toMatchObject({
      status: 'unhealthy',
      checks: { tron: { status: 'unhealthy' } },
    });
  });
});

describe('stats', () => {
  it.each(['hour', 'day', 'week', 'month'])('shows the %s', async (period) => {
    const answer = await get(`/stats?period=${period}`);
    expect(answer.status).toBe(200);
    expect(await json(answer)).toMatchObject({
      circuit_breaker_status: 'closed',
      period,
      limits: { USDT: { hour: { limit: '1000' }, day: { limit: '10000' } } },
    });
  });

  it('knows no other period', async () => {
    const answer = await get('/stats?period=year');
    expect(answer.status).toBe(400);
    expect(await json(answer)).toMatchObject({ code: 'field_invalid', field: 'period' });
  });

  it('needs a token', async () => {
    expect((await fetch(`${stack.url}/stats`)).status).toBe(401);
    expect((await fetch(`${stack.url}/metrics`)).status).toBe(401);
  });

  it('writes metrics for Prometheus', async () => {
    const answer = await get('/metrics');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/);
    expect(await answer.text()).toMatch(/^# TYPE /m);
  });
});

describe('the function URLs', () => {
  it('answer by host name as well', async () => {
    // fetch sets no Host header, so a raw request it is.
    const { request } = await import('node:http');
    const status = await new Promise<number | undefined>((resolve, reject) => {
      request(
        `${stack.url}/health/live`,
        { headers: { host: 'health.lambda-url.localhost' } },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      )
        .on('error', reject)
        .end();
    });
    expect(status).toBe(200);
  });

  it.each(['//pay', '/pay/../settle', '/%70ay/%2e%2e/settle', '/admin', '/pay/x/y/z'])(
    'give nothing away at %s',
    async (path) => {
      const { request } = await import('node:http');
      const { port } = new URL(stack.url);
      const status = await new Promise<number | undefined>((resolve, reject) => {
        request({ host: '127.0.0.1', port, path, method: 'POST' }, (response) => {
          response.resume();
          resolve(response.statusCode);
        })
          .on('error', reject)
          .end();
      });
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    },
  );

  it('are refused a body beyond 6 MiB', async () => {
    const answer = await fetch(`${stack.url}/pay`, { method: 'POST', body: 'x'.repeat(7 * 1024 * 1024) });
    expect(answer.status).toBe(413);
  });
});
