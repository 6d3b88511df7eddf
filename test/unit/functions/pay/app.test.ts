import { beforeEach, describe, expect, it } from 'vitest';
import { buildApp } from '../../../../functions/pay/app.ts';
import type { App } from '../../../../shared/runtime/app.ts';
import { Authenticator } from '../../../../shared/runtime/auth.ts';
import { Secret } from '../../../../shared/runtime/secret.ts';
import { mintToken } from '../../../../shared/runtime/token.ts';
import { CONTRACT, RECIPIENT, START_MS, WALLET, World } from '../../../support/test-engine.ts';

const SECRETS = {
  gateway: new Secret('gateway-secret-of-thirty-two-bytes-or-more'),
  shop: new Secret('shops-secret-of-thirty-two-bytes-or-more!!'),
};
const GOOD = { to: RECIPIENT, amount: '25', asset: 'USDT' };

let world: World;
let app: App;

beforeEach(() => {
  world = new World();
  // Ids as production makes them: routes look at their form.
  let last = 0;
  const engine = world.engine();
  const ids = { ...engine.ids, next: () => `00000000-0000-7000-8000-${String(++last).padStart(12, '0')}` };
  app = buildApp({
    engine: { ...engine, ids },
    authenticator: new Authenticator({
      callers: {
        gateway: { secrets: [SECRETS.gateway], scopes: ['pay', 'read'] },
        shop: { secrets: [SECRETS.shop], scopes: ['pay', 'read'] },
      },
      audience: 'tron-payment-service',
      tokenLifetimeMaxSeconds: 86_400,
      monitoringKey: null,
      nowMs: () => START_MS,
    }),
  });
});

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
    nowMs: START_MS,
    lifetimeSeconds: 60,
    tokenId: 'jti',
    request: { method, path, idempotencyKey: key ?? '', body: Buffer.from(body) },
  });
  return app.inject({
    method,
    url: path,
    headers: {
      authorization: `Bearer ${token}`,
      ...(method === 'GET' ? {} : { 'content-type': 'application/json' }),
      ...(key === null ? {} : { 'idempotency-key': key }),
      ...headers,
    },
    ...(method === 'GET' ? {} : { payload: body }),
  });
}

const pay = (fields: Readonly<Record<string, unknown>>, more: Call = {}) =>
  call({ body: JSON.stringify({ ...GOOD, ...fields }), ...more });

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

  it('answers 202 when the caller does not wait', async () => {
    const answer = await pay({}, { headers: { prefer: 'wait=10, respond-async' } });
    expect(answer.statusCode).toBe(202);
    expect(answer.json()).toMatchObject({ status: 'accepted', attempts: [] });
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
    ['PUT', { method: 'PUT', body: json({}) }, 405, 'method_not_allowed', undefined],
    ['DELETE', { method: 'DELETE', body: json({}) }, 405, 'method_not_allowed', undefined],
    ['PATCH', { method: 'PATCH', body: json({}) }, 405, 'method_not_allowed', undefined],
    ['GET of the collection', { method: 'GET' }, 405, 'method_not_allowed', undefined],
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
});
