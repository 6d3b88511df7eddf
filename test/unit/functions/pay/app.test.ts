import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { buildApp } from '../../../../functions/pay/app.ts';
import { paymentDocument } from '../../../../shared/adapters/mongo/documents.ts';
import { BATCH_ITEMS_MAX } from '../../../../shared/domain/batch.ts';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { ANSWERS_MAX, ATTEMPTS_MAX, HISTORY_MAX, type Payment } from '../../../../shared/domain/payment.ts';
import { NOTHING_IN_FLIGHT } from '../../../../shared/ports/payment-network.ts';
import type { App } from '../../../../shared/runtime/app.ts';
import { Authenticator } from '../../../../shared/runtime/auth.ts';
import { Secret } from '../../../../shared/runtime/secret.ts';
import { mintToken } from '../../../../shared/runtime/token.ts';
import type { Engine } from '../../../../shared/usecases/engine.ts';
import { settle } from '../../../../shared/usecases/settle.ts';
import { memorySearch } from '../../../support/memory-search.ts';
import { attempt, payment } from '../../../support/stored-payment.ts';
import { CONTRACT, RECIPIENT, START_MS, WALLET, World, withUuids } from '../../../support/test-engine.ts';

const SECRETS = {
  gateway: new Secret('gateway-secret-of-thirty-two-bytes-or-more'),
  shop: new Secret('shops-secret-of-thirty-two-bytes-or-more!!'),
  boss: new Secret('boss-secret-of-thirty-two-bytes-or-more-!!'),
  operator: new Secret('operators-secret-of-32-bytes-or-more-!!'),
};
/** Somebody else. */
const OTHER = 'TLsV52sRDL79HXGGm9yzwKibb6BeruhUzy';
const GOOD = { to: RECIPIENT, amount: '25', asset: 'USDT' };

let world: World;
let app: App;

beforeEach(() => begin());

function begin(
  rules: ConstructorParameters<typeof World>[0] = {},
  network: Partial<Engine['network']> = {},
): void {
  world = new World(rules);
  const engine = withUuids(world.engine());
  app = buildApp({
    engine: { ...engine, network: { ...engine.network, ...network } },
    search: memorySearch(world.ledger.store),
    authenticator: new Authenticator({
      callers: {
        gateway: { secrets: [SECRETS.gateway], scopes: ['pay', 'read'] },
        shop: { secrets: [SECRETS.shop], scopes: ['pay', 'read'] },
        boss: { secrets: [SECRETS.boss], scopes: ['pay', 'read', 'approve'] },
        operator: { secrets: [SECRETS.operator], scopes: ['read', 'operate'] },
      },
      audience: 'tron-payment-service',
      tokenLifetimeMaxSeconds: 86_400,
      monitoringKey: null,
      nowMs: () => world.nowMs,
    }),
  });
}

interface Call {
  readonly method?: 'POST' | 'GET' | 'PUT' | 'DELETE' | 'PATCH';
  readonly path?: string;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly key?: string | null;
  readonly caller?: keyof typeof SECRETS;
}

async function call({
  method = 'POST',
  path = '/pay',
  body = '',
  headers = {},
  key = 'k-1',
  caller = 'gateway',
}: Call) {
  const token = await mintToken({
    caller,
    secret: SECRETS[caller],
    audience: 'tron-payment-service',
    nowMs: world.nowMs,
    lifetimeSeconds: 60,
    tokenId: 'jti',
    request: {
      method,
      path,
      idempotencyKey: key ?? '',
      body: Buffer.from(body),
    },
  });
  return app.inject({
    method,
    url: path,
    headers: {
      authorization: `Bearer ${token}`,
      ...(method === 'GET' || body === '' ? {} : { 'content-type': 'application/json' }),
      ...(key === null ? {} : { 'idempotency-key': key }),
      ...headers,
    },
    ...(method === 'GET' ? {} : { payload: body }),
  });
}

const pay = (fields: Readonly<Record<string, unknown>>, more: Call = {}) =>
  call({ body: JSON.stringify({ ...GOOD, ...fields }), ...more });

/** What Lambda takes as an answer, its envelope included, in which the body is a JSON string. */
const ANSWER_BYTES_MAX = 6 * 1024 * 1024;
const answerBytes = ({ headers, body }: { readonly headers: object; readonly body: string }) =>
  Buffer.byteLength(JSON.stringify({ statusCode: 200, headers, body, isBase64Encoded: false }));

/** Stores a payment with as many attempts, answers and history as are kept, of nodes with the longest names. */
function storeLongest(attempts = ATTEMPTS_MAX, createdAtMs = START_MS): Payment {
  const host = `${'a.'.repeat(126)}a:65535`;
  const node = { atMs: START_MS, node: host, code: `TRON node ${host}: ${'why '.repeat(20)}` };
  const detail = `${host}: ${node.code}, `.repeat(3);
  const longest = payment({
    id: `pay_${randomUUID()}`,
    createdAtMs,
    attempts: Array.from({ length: attempts }, (_, index) =>
      attempt({ number: index + 1, outcome: 'expired', answers: Array(ANSWERS_MAX).fill(node) }),
    ),
    history: Array(HISTORY_MAX).fill({ atMs: START_MS, event: 'broadcast', detail }),
  });
  world.ledger.store.insert('payments', paymentDocument(longest, false));
  return longest;
}

describe('POST /pay', () => {
  it('answers 201 with the payment and where to find it', async () => {
    const answer = await pay({ reference: 'invoice 7' });

    expect(answer.statusCode).toBe(201);
    expect(answer.headers.location).toBe('/pay/pay_00000000-0000-7000-8000-000000000001');
    expect(answer.headers['idempotent-replayed']).toBeUndefined();
    expect(answer.json()).toMatchObject({
      id: 'pay_00000000-0000-7000-8000-000000000001',
      status: 'broadcast',
      asset: 'USDT',
      amount: '25',
      to: RECIPIENT,
      reference: 'invoice 7',
      reason: null,
      created_at: '2026-01-01T00:00:00.000Z',
      pay_by: '2026-01-01T00:10:00.000Z',
      ended_at: null,
      attempts: [{ number: 1, outcome: 'live', fee_limit: '10', block_number: null, fee: null }],
      history: [{ event: 'accepted' }, { event: 'signed' }, { event: 'broadcast' }],
    });
    expect(answer.body).not.toMatch(/fingerprint|sealed|idempotency/i);
  });

  it('answers a replay with the same payment, and says so', async () => {
    const first = await pay({});
    const again = await pay({ amount: '25.000000' });
    expect(again.statusCode).toBe(201);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.json()).toMatchObject({ id: first.json().id });
  });

  it('takes every spelling of one order for the same, and shows the payment as it is by now', async () => {
    const { id } = (await pay({ amount: '1', reference: 'r' })).json();
    world.pass(10);
    await settleAll();
    const { to } = GOOD;
    for (const body of [
      `{"reference":"r","asset":"USDT","amount":"1.0","to":"${to}"}`,
      ` {\n  "to" : "${to}", "amount": "1.000000", "asset": "\\u0055SDT", "reference": "\\u0072"}\n`,
    ]) {
      const again = await call({ body });
      expect(again.statusCode).toBe(201);
      expect(again.headers['idempotent-replayed']).toBe('true');
      expect(again.json()).toMatchObject({ id, status: 'confirmed' });
    }
    for (const changed of [{ amount: '1.000001' }, { reference: 'R' }, { asset: 'TRX' }, { to: OTHER }]) {
      const other = await pay({ amount: '1', reference: 'r', ...changed });
      expect(other.json()).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
    }
    expect((await pay({ amount: '1' })).json()).toMatchObject({ code: 'idempotency_key_reused' });
  });

  it('keeps a refused key small and retryable, however often it is refused', async () => {
    begin(
      {},
      { prepareTransfer: () => Promise.reject(new ServiceError('simulation_failed', 'It would fail.')) },
    );
    for (let round = 0; round < 200; round += 1) {
      expect((await pay({})).statusCode).toBe(422);
      world.pass(1);
    }
    const [payment] = [...world.ledger.payments.values()];
    expect(payment).toMatchObject({ status: 'refused', generation: 199, attempts: [] });
    expect(payment?.history.length).toBeLessThanOrEqual(100);
    expect(payment?.notedIds.length).toBeLessThanOrEqual(40);
  });

  it('answers 202 when the caller does not wait', async () => {
    for (const [index, prefer] of ['wait=10, respond-async', 'Respond-Async; wait=10'].entries()) {
      const answer = await pay({}, { key: `k-${index}`, headers: { prefer } });
      expect(answer.statusCode).toBe(202);
      expect(answer.json()).toMatchObject({ status: 'accepted', attempts: [] });
    }
  });

  it('answers 202 when the chain is away', async () => {
    world.chain.isAway = true;
    const answer = await pay({});
    expect(answer.statusCode).toBe(202);
    expect(answer.json()).toMatchObject({ status: 'accepted', reason: 'the simulated chain is away' });
  });

  it('answers 202 when no node takes the transaction', async () => {
    world.chain.refusesBroadcasts = true;
    const answer = await pay({});
    expect(answer.statusCode).toBe(202);
    expect(answer.json()).toMatchObject({
      status: 'signed',
      reason: 'no node takes the transaction (simulated: SIGERROR)',
    });
  });

  it('answers 422 for the same key with another body', async () => {
    await pay({});
    const answer = await pay({ amount: '26' });
    expect(answer.statusCode).toBe(422);
    expect(answer.json()).toMatchObject({ code: 'idempotency_key_reused', field: 'Idempotency-Key' });
  });

  it('answers 429 with the time to come back when a limit is reached', async () => {
    const answer = await pay({ amount: '1000.000001' });
    expect(answer.statusCode).toBe(429);
    expect(answer.headers['retry-after']).toBeDefined();
    expect(answer.json()).toMatchObject({
      code: 'limit_exceeded',
      detail: 'The amount is above the hourly limit itself, 1000 USDT.',
      limit: 'hourly',
      remaining: '1000',
    });
  });
});

describe('a refusal by a limit', () => {
  it('tells of the fee where it is the fees of a day that are used up, and the key may try again', async () => {
    begin({ feeLimitDailyMicro: 20_000_000n });
    const first = (await pay({})).json();
    expect((await pay({}, { key: 'k-2' })).json()).toMatchObject({
      status: 429,
      limit: 'daily fee',
      limit_amount: '20',
      remaining: '9',
    });
    world.pass(10);
    await settleAll();
    expect(world.ledger.payments.get(first.id)?.status).toBe('confirmed');
    expect((await pay({}, { key: 'k-2' })).statusCode).toBe(201);
    begin({ feeLimitDailyMicro: 10_000_000n });
    expect((await pay({})).json().detail).toBe('The fee is above the daily fee limit itself, 10 TRX.');
  });

  it('says when the amount fits, and asked then it is paid', async () => {
    expect((await pay({ amount: '1000' })).statusCode).toBe(201);
    world.pass(10);
    await settleAll();
    const refused = await pay({}, { key: 'k-2' });
    expect(refused.json()).toMatchObject({
      status: 429,
      limit: 'hourly',
      limit_amount: '1000',
      remaining: '0',
    });
    const waitMs = Date.parse(refused.json().fits_at) - world.nowMs;
    expect(Number(refused.headers['retry-after'])).toBe(Math.ceil(waitMs / 1000));
    world.pass(waitMs / 1000 - 1);
    expect((await pay({}, { key: 'k-2' })).statusCode).toBe(429);
    world.pass(1);
    expect((await pay({}, { key: 'k-2' })).statusCode).toBe(201);
  });
});

describe('bad input', () => {
  const deep = '{"to":'.repeat(20_000);
  const json = (fields: Readonly<Record<string, unknown>>) => JSON.stringify({ ...GOOD, ...fields });
  const without = (field: string) => {
    const { [field]: _left, ...rest } = GOOD as Record<string, unknown>;
    return JSON.stringify(rest);
  };

  it.each<[string, Call, number, string, string | undefined]>([
    ['no body', { body: '' }, 400, 'body_invalid', undefined],
    ['a body that is no JSON', { body: '{to:' }, 400, 'body_invalid', undefined],
    ['a list', { body: '[]' }, 400, 'body_invalid', undefined],
    ['null', { body: 'null' }, 400, 'body_invalid', undefined],
    ['a bare text', { body: '"pay"' }, 400, 'body_invalid', undefined],
    ['JSON with a comment', { body: `${json({})}//` }, 400, 'body_invalid', undefined],
    ['two documents', { body: json({}) + json({}) }, 400, 'body_invalid', undefined],
    ['bytes that are no UTF-8', { body: Buffer.from([0x7b, 0xff, 0x7d]) }, 400, 'body_invalid', undefined],
    ['an endless nest', { body: deep.slice(0, 60_000) }, 400, 'body_invalid', undefined],
    ['a key twice', { body: `{"amount":"1",${json({}).slice(1)}` }, 400, 'body_invalid', undefined],
    ['a prototype', { body: `{"__proto__":{},${json({}).slice(1)}` }, 400, 'body_invalid', undefined],
    ['no recipient', { body: without('to') }, 400, 'field_missing', 'to'],
    ['no amount', { body: without('amount') }, 400, 'field_missing', 'amount'],
    ['no asset', { body: without('asset') }, 400, 'field_missing', 'asset'],
    ['a field too many', { body: json({ memo: 'x' }) }, 400, 'field_unknown', 'memo'],
    ['an unknown asset', { body: json({ asset: 'USDC' }) }, 400, 'field_invalid', 'asset'],
    ['an asset in lower case', { body: json({ asset: 'usdt' }) }, 400, 'field_invalid', 'asset'],
    ['an empty reference', { body: json({ reference: '' }) }, 400, 'field_invalid', 'reference'],
    ['a long reference', { body: json({ reference: 'x'.repeat(65) }) }, 400, 'field_invalid', 'reference'],
    [
      'a reference with a line feed',
      { body: json({ reference: 'a\nb' }) },
      400,
      'field_invalid',
      'reference',
    ],
    [
      'a reference that is no text',
      { body: json({ reference: { $ne: null } }) },
      400,
      'field_invalid',
      'reference',
    ],
    ...[
      ['1e3'],
      ['-0'],
      ['-1'],
      ['+1'],
      ['0'],
      ['0.0000001'],
      ['9223372036854775808'],
      ['NaN'],
      ['Infinity'],
      ['1,5'],
      ['1.'],
      ['.5'],
      ['0x10'],
      ['007'],
      [' 1'],
      [''],
      ['1'.repeat(10_000)],
      [25],
      [25.5],
      [null],
      [true],
      [['25']],
      [{ $gt: 0 }],
    ].map(
      ([amount]) =>
        [
          `the amount ${JSON.stringify(amount).slice(0, 30)}`,
          { body: json({ amount }) },
          400,
          'amount_invalid',
          'amount',
        ] as [string, Call, number, string, string],
    ),
    ...[
      ['a wrong checksum', `${RECIPIENT.slice(0, -1)}x`],
      ['the hex form', '41a614f803b6fd780986a42c78ec9c7f77e6ded13c'],
      ["Bitcoin's form", '1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa'],
      ["Ethereum's form", '0xdAC17F958D2ee523a2206206994597C13D831ec7'],
      ['blanks', ` ${RECIPIENT}`],
      ['nothing', ''],
      ['our own wallet', WALLET],
      ['the token contract', CONTRACT],
      ['the address that burns', 'T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb'],
      ['a number', 7],
      ['null', null],
    ].map(
      ([name, to]) =>
        [`a recipient that is ${name}`, { body: json({ to }) }, 400, 'recipient_invalid', 'to'] as [
          string,
          Call,
          number,
          string,
          string,
        ],
    ),
    ['no key', { body: json({}), key: null }, 400, 'idempotency_key_missing', 'Idempotency-Key'],
    ['a key with a blank', { body: json({}), key: 'a b' }, 400, 'idempotency_key_invalid', 'Idempotency-Key'],
    [
      'a key too long',
      { body: json({}), key: 'k'.repeat(256) },
      400,
      'idempotency_key_invalid',
      'Idempotency-Key',
    ],
    [
      'another content type',
      { body: json({}), headers: { 'content-type': 'text/plain' } },
      415,
      'media_type_unsupported',
      undefined,
    ],
    [
      'a form',
      { body: 'to=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      415,
      'media_type_unsupported',
      undefined,
    ],
    ['a body beyond the limit', { body: json({ to: 'x'.repeat(70_000) }) }, 413, 'body_too_large', undefined],
    [
      'an amount of TRX that no float holds',
      { body: json({ asset: 'TRX', amount: '9007199254.740992' }) },
      400,
      'amount_invalid',
      'amount',
    ],
    ['PUT', { method: 'PUT', body: json({}) }, 405, 'method_not_allowed', undefined],
    ['DELETE', { method: 'DELETE', body: json({}) }, 405, 'method_not_allowed', undefined],
    ['PATCH', { method: 'PATCH', body: json({}) }, 405, 'method_not_allowed', undefined],
    ['an unknown path', { path: '/payments', body: json({}) }, 404, 'route_not_found', undefined],
    ['a trailing slash', { path: '/pay/', body: json({}) }, 404, 'route_not_found', undefined],
  ])(
    '%s is refused with its code, and nothing is stored or sent',
    async (_, request, status, code, field) => {
      const answer = await call(request);

      expect(answer.statusCode).toBe(status);
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
      const problem = answer.json();
      expect(problem).toMatchObject({ status, code, title: expect.any(String), detail: expect.any(String) });
      expect(problem.field).toBe(field);
      expect(answer.body.length).toBeLessThan(1_000);
      expect(world.ledger.writes).toEqual([]);
      expect(world.chain.pool).toEqual([]);
    },
  );
});

describe('GET /pay/{id}', () => {
  it('shows a payment to the caller that made it', async () => {
    const { id } = (await pay({})).json();
    const answer = await call({ method: 'GET', path: `/pay/${id}`, key: null });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ id, status: 'broadcast' });
  });

  it('shows it to nobody else', async () => {
    const { id } = (await pay({})).json();
    const answer = await call({ method: 'GET', path: `/pay/${id}`, key: null, caller: 'shop' });
    expect(answer.statusCode).toBe(404);
    expect(answer.json()).toMatchObject({ code: 'payment_not_found' });
  });

  it.each(['pay_00000000-0000-7000-8000-000000000099', 'pay_', 'x', '%24ne', '..'])(
    'knows no payment %s',
    async (id) => {
      const answer = await call({ method: 'GET', path: `/pay/${id}`, key: null });
      expect(answer.statusCode).toBe(404);
    },
  );

  it('shows the longest payment that there can be, with much to spare', async () => {
    const { id } = storeLongest();
    const answer = await call({ method: 'GET', path: `/pay/${id}`, key: null });
    expect(answer.json().attempts).toHaveLength(ATTEMPTS_MAX);
    expect(answerBytes(answer)).toBeLessThan(ANSWER_BYTES_MAX * 0.7);
  });

  it('shows the largest batch that there can be, with much to spare', async () => {
    const items = Array.from({ length: BATCH_ITEMS_MAX }, (_, index) => ({
      ...GOOD,
      amount: '1.000001',
      reference: `"${index}`.padEnd(64, '"'),
    }));
    const { id } = (await call({ path: '/pay/batch', body: JSON.stringify({ items }) })).json();
    const answer = await call({ method: 'GET', path: `/pay/${id}`, key: null });
    expect(answer.json().items).toHaveLength(BATCH_ITEMS_MAX);
    expect(answerBytes(answer)).toBeLessThan(100_000);
  });
});

const act = (path: string, body: object | null, caller: NonNullable<Call['caller']>) =>
  call({ path, body: body === null ? '' : JSON.stringify(body), key: null, caller });

const settleAll = () =>
  settle(world.engine(), { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 1_000 }, (_, error) => {
    throw error;
  });

describe('what an operator changes between the claim and the signature', () => {
  const later = { headers: { prefer: 'respond-async' } };

  it.each(['on_the_deny_list', 'not_on_the_allow_list'] as const)(
    'counts: a recipient that is now %s is not paid',
    async (verdict) => {
      const { id } = (await pay({}, later)).json();
      world.verdict = verdict;
      world.pass(5);
      await settleAll();
      expect(world.ledger.payments.get(id)).toMatchObject({ status: 'refused', attempts: [] });
      expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);
      expect(world.chain.pool).toEqual([]);
    },
  );

  it('counts: while the stop file is there nothing is taken or signed, by whichever way', async () => {
    const approvalAboveMicro = { USDT: 30_000_000n, TRX: null };
    begin({ amounts: { maxMicro: { USDT: null, TRX: null }, approvalAboveMicro } });
    const reserved = (await pay({}, later)).json();
    const waiting = (await pay({ amount: '31' }, { key: 'k-2' })).json();
    const items = JSON.stringify({ items: [GOOD] });
    const batch = (await call({ path: '/pay/batch', body: items, key: 'k-3' })).json();
    world.isStopped = true;

    const stopped = { status: 503, code: 'payments_stopped' };
    expect((await pay({}, { key: 'k-4' })).json()).toMatchObject(stopped);
    expect((await call({ path: '/pay/batch', body: items, key: 'k-5' })).json()).toMatchObject(stopped);
    expect((await act(`/pay/${waiting.id}/approve`, null, 'boss')).json()).toMatchObject({
      status: 'accepted',
    });
    world.pass(60);
    await settleAll();
    expect([...world.ledger.payments.values()].flatMap(({ attempts }) => attempts)).toEqual([]);

    world.isStopped = false;
    for (let round = 0; round < 3; round += 1) {
      world.pass(5);
      await settleAll();
    }
    for (const id of [reserved.id, waiting.id, batch.items[0].payment_id]) {
      expect(world.ledger.payments.get(id)?.status).toBe('confirmed');
    }
  });
});

describe('a payment that has to be approved', () => {
  const APPROVAL = {
    amounts: {
      maxMicro: { USDT: 100_000_000n, TRX: null },
      approvalAboveMicro: { USDT: 20_000_000n, TRX: null },
    },
  };
  beforeEach(() => begin(APPROVAL));

  it('waits without a reservation until another caller approves it, and is then paid', async () => {
    const asked = await pay({});
    expect(asked.statusCode).toBe(202);
    const { id } = asked.json();
    expect(asked.json()).toMatchObject({ status: 'awaiting_approval', approved_by: null });
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);
    world.pass(60);
    await settleAll();

    const approved = await act(`/pay/${id}/approve`, null, 'boss');

    expect(approved.statusCode).toBe(200);
    expect(approved.json()).toMatchObject({ id, status: 'broadcast', approved_by: 'boss' });
    expect((await act(`/pay/${id}/approve`, null, 'boss')).statusCode).toBe(200);
    expect((await pay({})).json()).toMatchObject({ id, status: 'broadcast' });
    expect(world.chain.pool).toHaveLength(1);
  });

  it('keeps why it was approved, where that is told, and takes nothing else with an approval', async () => {
    const { id } = (await pay({})).json();
    const path = `/pay/${id}/approve`;
    for (const [body, field] of [
      ['{"amount":"5"}', 'amount'],
      ['{"reason":""}', 'reason'],
      ['{"reason":1}', 'reason'],
      ['null', undefined],
      ['[]', undefined],
    ]) {
      const refused = await call({ path, body: body ?? '', key: null, caller: 'boss' });
      expect([body, refused.statusCode, refused.json().field]).toEqual([body, 400, field]);
    }
    expect(world.ledger.payments.get(id)?.status).toBe('awaiting_approval');

    const approved = await call({ path, body: '{"reason":"as agreed"}', key: null, caller: 'boss' });

    expect(approved.json()).toMatchObject({ id, status: 'broadcast', approved_by: 'boss' });
    expect(approved.json().history).toContainEqual({
      at: expect.any(String),
      event: 'approved',
      detail: 'by boss: as agreed',
    });
  });

  it('is not approved by its maker, nor by whom the scope is not given', async () => {
    const made = await pay({}, { caller: 'boss' });
    const { id } = made.json();
    expect((await act(`/pay/${id}/approve`, null, 'boss')).json()).toMatchObject({
      code: 'approval_by_maker',
    });
    expect((await act(`/pay/${id}/approve`, null, 'gateway')).json()).toMatchObject({ code: 'forbidden' });
    expect(world.chain.pool).toEqual([]);
  });

  it('ends when it is rejected, cancelled, or approved by nobody in time', async () => {
    const rejected = (await pay({})).json().id;
    const cancelled = (await pay({}, { key: 'k-2' })).json().id;
    const lapsed = (await pay({}, { key: 'k-3' })).json().id;
    const reason = 'not this month';
    expect((await act(`/pay/${rejected}/reject`, { reason }, 'boss')).json().status).toBe('rejected');
    expect((await act(`/pay/${cancelled}/cancel`, { reason }, 'gateway')).json().status).toBe('cancelled');
    world.pass(86_401);
    await settleAll();
    expect(world.ledger.payments.get(lapsed)).toMatchObject({ status: 'expired', settleAtMs: null });
    for (const id of [rejected, cancelled, lapsed]) {
      expect((await act(`/pay/${id}/approve`, null, 'boss')).json()).toMatchObject({
        code: 'payment_not_awaiting_approval',
      });
    }
    expect(world.chain.pool).toEqual([]);
  });

  it('is refused above the largest payment, and never part of a batch', async () => {
    expect((await pay({ amount: '100.000001' })).json()).toMatchObject({
      status: 422,
      code: 'above_maximum',
      field: 'amount',
    });
    const batch = await call({
      path: '/pay/batch',
      body: JSON.stringify({ items: [{ ...GOOD, amount: '1' }, GOOD] }),
    });
    expect(batch.json()).toMatchObject({ code: 'approval_required', field: 'items[1].amount' });
    expect(world.ledger.writes).toEqual([]);
  });
});

describe('POST /pay/{id}/cancel', () => {
  it('takes back what is not signed yet, gives the amount back, and says so again', async () => {
    const { id } = (await pay({}, { headers: { prefer: 'respond-async' } })).json();
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
    const path = `/pay/${id}/cancel`;
    expect((await act(path, { reason: 'double order' }, 'shop')).statusCode).toBe(404);
    const cancelled = await act(path, { reason: 'double order' }, 'gateway');
    expect(cancelled.json()).toMatchObject({
      status: 'cancelled',
      reason: 'cancelled by gateway: double order',
    });
    expect((await act(path, { reason: 'again' }, 'gateway')).statusCode).toBe(200);
    expect(world.ledger.breaker).toMatchObject({
      transitions: [],
      books: { USDT: { outstandingMicro: 0n } },
      fees: { outstandingMicro: 0n },
    });
    world.pass(100);
    await settleAll();
    expect(world.chain.paid).toEqual([]);
  });

  it('comes too late for what is signed', async () => {
    const { id } = (await pay({})).json();
    const answer = await act(`/pay/${id}/cancel`, { reason: 'oh' }, 'gateway');
    expect(answer.statusCode).toBe(409);
    expect(answer.json()).toMatchObject({ code: 'payment_not_cancellable' });
  });

  it('needs a reason', async () => {
    const { id } = (await pay({})).json();
    expect((await act(`/pay/${id}/cancel`, {}, 'gateway')).json()).toMatchObject({
      status: 400,
      field: 'reason',
    });
  });
});

describe('POST /pay/{id}/resolve', () => {
  async function underReview(): Promise<string> {
    const { id } = (await pay({})).json();
    const [pending] = world.chain.pool;
    if (pending === undefined) throw new Error('nothing was broadcast');
    world.chain.pool = [{ ...pending, transfer: { ...pending.transfer, amountMicro: 1n } }];
    world.pass(10);
    await settleAll();
    expect(world.ledger.payments.get(id)?.status).toBe('needs_review');
    return id;
  }

  it('ends a payment under review as paid, and its amount is spent', async () => {
    const id = await underReview();
    const body = { outcome: 'paid', reason: 'seen in the explorer' };
    expect((await act(`/pay/${id}/resolve`, body, 'boss')).statusCode).toBe(403);
    expect((await act(`/pay/${id}/resolve`, body, 'operator')).json()).toMatchObject({ status: 'confirmed' });
    expect((await act(`/pay/${id}/resolve`, body, 'operator')).statusCode).toBe(200);
    expect(world.ledger.breaker.books.USDT).toMatchObject({
      outstandingMicro: 0n,
      spentTotalMicro: 25_000_000n,
    });
    // That the ruling was right is no reason to trip the breaker later.
    world.pass(200);
    await settleAll();
    expect(world.ledger.payments.get(id)).toMatchObject({ status: 'confirmed', settleAtMs: null });
    expect(world.ledger.breaker.circuit.kind).toBe('closed');
  });

  it('trips the breaker where one that was ruled unpaid is on the chain after all', async () => {
    const id = await underReview();
    const [landed] = world.chain.included.values();
    if (landed === undefined) throw new Error('nothing landed');
    world.pass(120);
    const body = { outcome: 'not_paid', reason: 'never arrived' };
    expect((await act(`/pay/${id}/resolve`, body, 'operator')).json()).toMatchObject({ status: 'failed' });
    // The nodes agree now that it was this very transfer.
    Object.assign(landed.pending.transfer, { amountMicro: 25_000_000n });
    for (let round = 0; round < 3; round += 1) {
      world.pass(61);
      await settleAll();
    }
    expect(world.ledger.payments.get(id)).toMatchObject({ status: 'needs_review' });
    expect(world.ledger.breaker.circuit).toMatchObject({ kind: 'open', until: 'reset' });
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
  });

  it('ends it as unpaid only once its bytes can no longer land', async () => {
    const id = await underReview();
    const body = { outcome: 'not_paid', reason: 'never arrived' };
    expect((await act(`/pay/${id}/resolve`, body, 'operator')).json()).toMatchObject({
      code: 'attempt_may_land',
    });
    world.pass(120);
    expect((await act(`/pay/${id}/resolve`, body, 'operator')).json()).toMatchObject({ status: 'failed' });
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);
  });

  it('goes by the time of the chain, which may stand still while its bytes wait for the next block', async () => {
    const id = await underReview();
    const body = { outcome: 'not_paid', reason: 'never arrived' };
    world.nowMs += 120_000;
    const early = await act(`/pay/${id}/resolve`, body, 'operator');
    expect(early.json()).toMatchObject({ status: 409, code: 'attempt_may_land' });
    expect(Number(early.headers['retry-after'])).toBeGreaterThan(0);
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
    world.pass(3);
    expect((await act(`/pay/${id}/resolve`, body, 'operator')).json()).toMatchObject({ status: 'failed' });
  });

  it('counts a ruling of paid until its bytes could have been included at the latest', async () => {
    const id = await underReview();
    const body = { outcome: 'paid', reason: 'seen in the explorer' };
    const ruled = (await act(`/pay/${id}/resolve`, body, 'operator')).json();
    expect(ruled.status).toBe('confirmed');
    expect(ruled.ended_at).toBe(ruled.attempts[0].expires_at);
  });

  it('has one winner where two operators rule at once', async () => {
    const id = await underReview();
    world.pass(120);
    const [paid, unpaid] = await Promise.all(
      ['paid', 'not_paid'].map((outcome) =>
        act(`/pay/${id}/resolve`, { outcome, reason: 'seen' }, 'operator'),
      ),
    );
    const codes = [paid?.statusCode, unpaid?.statusCode];
    expect(codes.toSorted()).toEqual([200, 409]);
    const winner = codes[0] === 200 ? { status: 'confirmed' } : { status: 'failed' };
    expect(world.ledger.payments.get(id)).toMatchObject(winner);
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);
    expect(world.ledger.breaker.transitions).toEqual([]);
  });

  it('rules on nothing else', async () => {
    const { id } = (await pay({})).json();
    const body = { outcome: 'paid', reason: 'why not' };
    expect((await act(`/pay/${id}/resolve`, body, 'operator')).json()).toMatchObject({
      code: 'payment_not_in_review',
    });
  });
});

describe('POST /pay/breaker', () => {
  const order = (action: string, caller: NonNullable<Call['caller']> = 'operator') =>
    act('/pay/breaker', { action, reason: 'a drill' }, caller);

  it('pauses what is new and follows what is out, until it is resumed', async () => {
    const { id } = (await pay({})).json();
    expect((await order('pause', 'boss')).statusCode).toBe(403);
    expect((await order('pause')).json()).toMatchObject({ paused: { reason: 'a drill', by: 'operator' } });
    expect((await order('pause')).statusCode).toBe(200);
    expect((await pay({}, { key: 'k-2' })).json()).toMatchObject({ status: 503, code: 'payments_paused' });
    world.pass(10);
    await settleAll();
    expect(world.ledger.payments.get(id)?.status).toBe('confirmed');
    expect((await order('resume')).json()).toMatchObject({
      paused: null,
      last_order: { action: 'resume', reason: 'a drill', by: 'operator', at: '2026-01-01T00:00:10.000Z' },
    });
    expect((await pay({}, { key: 'k-2' })).statusCode).toBe(201);
  });

  it('trips the circuit until a reset, and follows what is out meanwhile', async () => {
    const { id } = (await pay({})).json();
    expect((await order('trip')).json()).toMatchObject({
      circuit_breaker_status: 'open',
      needs_reset: true,
      reason: 'tripped by operator: a drill',
    });
    world.pass(600);
    expect((await pay({}, { key: 'k-2' })).json()).toMatchObject({ code: 'circuit_open' });
    await settleAll();
    expect(world.ledger.payments.get(id)?.status).toBe('confirmed');
    expect(world.ledger.breaker.circuit.kind).toBe('open');
    expect((await order('reset')).json()).toMatchObject({ circuit_breaker_status: 'closed' });
    expect((await pay({}, { key: 'k-2' })).statusCode).toBe(201);
  });
});

describe('POST /pay/batch', () => {
  const batchOf = (items: readonly unknown[], more: Call = {}) =>
    call({ path: '/pay/batch', body: JSON.stringify({ items }), ...more });

  it('admits all items together, and each is paid', async () => {
    const items = Array.from({ length: 100 }, (_, index) => ({
      ...GOOD,
      amount: '1',
      reference: `r-${index}`,
    }));
    const answer = await batchOf(items);
    expect(answer.statusCode).toBe(202);
    const { id, items: shown } = answer.json();
    expect(answer.headers.location).toBe(`/pay/${id}`);
    expect(shown).toHaveLength(100);
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(100_000_000n);
    expect(world.ledger.breaker.transitions).toEqual([]);
    const again = await batchOf(items);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.json()).toEqual((await call({ method: 'GET', path: `/pay/${id}`, key: null })).json());

    for (let round = 0; round < 5; round += 1) {
      world.pass(10);
      await settleAll();
    }
    expect(world.chain.paid).toHaveLength(100);
    const payment = await call({ method: 'GET', path: `/pay/${shown[7].payment_id}`, key: null });
    expect(payment.json()).toMatchObject({ status: 'confirmed', batch_id: id, reference: 'r-7' });
    expect(world.ledger.breaker.fees.outstandingMicro).toBe(0n);
  });

  it('admits none where all together pass a limit, and the key may try again', async () => {
    const items = [
      { ...GOOD, amount: '999' },
      { ...GOOD, amount: '1.000001' },
    ];
    expect((await batchOf(items)).json()).toMatchObject({ status: 429, code: 'limit_exceeded' });
    expect(world.ledger.payments.size).toBe(0);
    expect((await batchOf([{ ...GOOD, amount: '999' }])).statusCode).toBe(202);
  });

  it('counts for each fee what the chain says that it can be, and asks whether the wallet covers all', async () => {
    const { network } = world.chain;
    const asked: { asset: string; amountMicro: bigint; trxMicro: bigint; feeMicro: bigint }[] = [];
    let poor = false;
    const plan = await network.prepareTransfer({} as never, NOTHING_IN_FLIGHT);
    begin(
      { feeReserveMicro: 53_000_000n },
      {
        prepareTransfer: async ({ asset, amountMicro }, { trxMicro, feeMicro }) => {
          asked.push({ asset, amountMicro, trxMicro, feeMicro });
          if (poor && feeMicro > 0n) throw new ServiceError('insufficient_funds', 'Too little.');
          return { ...plan, feeMaxMicro: asset === 'TRX' ? 1_000_000n : 16_000_000n };
        },
      },
    );
    const items = [GOOD, GOOD, { ...GOOD, asset: 'TRX', amount: '2' }];
    poor = true;
    expect((await batchOf(items)).json()).toMatchObject({ status: 422, code: 'insufficient_funds' });
    expect(world.ledger.writes).toEqual([]);
    expect(asked).toEqual([
      { asset: 'USDT', amountMicro: 50_000_000n, trxMicro: 2_000_000n, feeMicro: 0n },
      { asset: 'TRX', amountMicro: 2_000_000n, trxMicro: 0n, feeMicro: 0n },
      { asset: 'USDT', amountMicro: 50_000_000n, trxMicro: 2_000_000n, feeMicro: 40_000_000n },
    ]);
    poor = false;
    expect((await batchOf(items)).statusCode).toBe(202);
    expect(world.ledger.breaker.fees.outstandingMicro).toBe(60_000_000n);
  });

  it('counts each fee at its most while the chain is away', async () => {
    world.chain.isAway = true;
    expect((await batchOf([GOOD, GOOD])).statusCode).toBe(202);
    expect(world.ledger.breaker.fees.outstandingMicro).toBe(24_000_000n);
  });

  it.each([
    ['no items', [], 'items'],
    ['too many', Array.from({ length: 101 }, () => GOOD), 'items'],
    ['a bad amount', [GOOD, { ...GOOD, amount: '0' }], 'items[1].amount'],
    ['an amount that is no text', [GOOD, { ...GOOD, amount: 1 }], 'items[1].amount'],
    ['an unknown field', [{ ...GOOD, memo: 'x' }], 'items[0].memo'],
    ['no recipient', [GOOD, { amount: '1', asset: 'USDT' }], 'items[1].to'],
    ['an item that is none', [GOOD, 'x'], 'items[1]'],
    ['a bad recipient', [{ ...GOOD, to: 'T' }], 'items[0].to'],
    [
      'one reference twice',
      [
        { ...GOOD, reference: 'r' },
        { ...GOOD, reference: 'r' },
      ],
      'items[1].reference',
    ],
  ])('refuses %s, naming the field', async (_, items, field) => {
    const answer = await batchOf(items);
    expect(answer.statusCode).toBe(400);
    expect(answer.json().field).toContain(field);
    expect(world.ledger.writes).toEqual([]);
  });

  it('does not share its key with a single payment, nor a reference with another one', async () => {
    await pay({ reference: 'mine' });
    expect((await batchOf([GOOD])).json()).toMatchObject({ code: 'idempotency_key_reused' });
    const other = { key: 'k-2' };
    expect((await batchOf([{ ...GOOD, reference: 'mine' }], other)).json()).toMatchObject({
      status: 409,
      code: 'reference_taken',
    });
  });
});

describe('POST /pay/quote', () => {
  const quoteOf = (fields: object) =>
    call({ path: '/pay/quote', body: JSON.stringify({ ...GOOD, ...fields }), key: null });

  it('tells the fee and what the limits leave, and changes nothing', async () => {
    expect((await quoteOf({})).json()).toMatchObject({
      accepted: true,
      obstacle: null,
      needs_approval: false,
      fee: '6.4285',
      fee_limit: '10',
      fee_max: '11',
      energy: 64_285,
      limits_leave: { hour: '1000', day: '10000' },
    });
    expect(world.ledger.writes).toEqual([]);
  });

  it('tells why it would not be paid', async () => {
    expect((await quoteOf({ amount: '1000.5' })).json()).toMatchObject({
      accepted: false,
      obstacle: { code: 'limit_exceeded' },
    });
    world.verdict = 'on_the_deny_list';
    expect((await quoteOf({})).json()).toMatchObject({
      accepted: false,
      obstacle: { code: 'recipient_refused' },
    });
  });

  it('tells that the fees of the day are used up, as paying would', async () => {
    begin({ feeLimitDailyMicro: 20_000_000n });
    await pay({});
    expect((await pay({}, { key: 'k-2' })).statusCode).toBe(429);
    expect((await quoteOf({})).json()).toMatchObject({
      accepted: false,
      obstacle: { code: 'limit_exceeded', detail: 'The daily fee limit of 20 TRX leaves 9.' },
      fee_max: '11',
    });
  });
});

describe('GET /pay', () => {
  const list = (query: string, caller: NonNullable<Call['caller']> = 'gateway') =>
    call({ method: 'GET', path: `/pay${query}`, key: null, caller });

  it('pages through the own payments, newest first, though more are made meanwhile', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 5; index += 1) {
      ids.unshift((await pay({ amount: '1' }, { key: `k-${index}` })).json().id);
      if (index % 2 === 0) world.pass(1);
    }
    await pay({ amount: '1' }, { caller: 'shop' });
    const first = (await list('?limit=2')).json();
    expect(first.payments.map(({ id }: { id: string }) => id)).toEqual(ids.slice(0, 2));
    world.pass(1);
    await pay({ amount: '1' }, { key: 'late' });
    const second = (await list(`?limit=2&cursor=${first.next_cursor}`)).json();
    const third = (await list(`?limit=2&cursor=${second.next_cursor}`)).json();
    const rest = [...second.payments, ...third.payments].map(({ id }: { id: string }) => id);
    expect(rest).toEqual(ids.slice(2));
    expect(third.next_cursor).toBeNull();
    expect((await list('', 'operator')).json().payments).toHaveLength(7);
  });

  it('finds by status, asset, reference and time', async () => {
    await pay({ reference: 'invoice 7' });
    world.pass(10);
    await pay({ asset: 'TRX' }, { key: 'k-2' });
    const count = async (query: string) => (await list(query)).json().payments.length;
    expect(await count('?reference=invoice%207')).toBe(1);
    expect(await count('?asset=TRX&status=broadcast')).toBe(1);
    expect(await count('?asset=TRX&status=confirmed')).toBe(0);
    expect(await count('?from=2026-01-01T00:00:05Z')).toBe(1);
    expect(await count('?to=2026-01-01T00:00:05Z')).toBe(1);
  });

  it('ends a page before it is more than Lambda can answer, and goes on behind it', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 12; index += 1) {
      const { id } = storeLongest(index % 3 === 0 ? ATTEMPTS_MAX : ATTEMPTS_MAX / 5, START_MS + index);
      ids.unshift(id);
    }
    const pages: string[][] = [];
    let cursor = '';
    do {
      const answer = await list(`?limit=200${cursor}`);
      expect(answerBytes(answer)).toBeLessThan(ANSWER_BYTES_MAX * 0.7);
      const { payments, next_cursor: next } = answer.json();
      pages.push(payments.map(({ id }: { id: string }) => id));
      cursor = next === null ? '' : `&cursor=${next}`;
    } while (cursor !== '');
    expect(pages.flat()).toEqual(ids);
    // A payment that alone is more than a page may have is a page by itself, and several that fit stand together.
    expect(pages.map((page) => page.length)).toEqual([2, 1, 2, 1, 2, 1, 2, 1]);
  });

  it.each([
    'cursor=x',
    'limit=0',
    'limit=201',
    'limit=x',
    'from=yesterday',
    'from=2026-01-01T00:00:00',
    'to=2026-13-01T00:00:00Z',
    'from=2026-02-31T00:00:00Z',
    'to=2026-04-31T12:00:00%2B02:00',
    'from=2026-01-01T00:00:00%2B99:00',
    'status=lost',
    'other=1',
  ])('refuses ?%s, naming the field', async (query) => {
    const answer = await list(`?${query}`);
    expect(answer.statusCode).toBe(400);
    expect(answer.json().field).toContain(query.split('=')[0]);
  });

  it('refuses the cursor of another search', async () => {
    for (const key of ['k-1', 'k-2']) await pay({ amount: '1' }, { key });
    const { next_cursor: cursor } = (await list('?limit=1')).json();
    expect((await list(`?limit=1&asset=USDT&cursor=${cursor}`)).json()).toMatchObject({ field: 'cursor' });
  });
});
