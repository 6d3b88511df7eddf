import * as Type from 'typebox';
import { beforeAll, describe, expect, it } from 'vitest';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { type App, createApp } from '../../../../shared/runtime/app.ts';
import { Authenticator } from '../../../../shared/runtime/auth.ts';
import { Secret } from '../../../../shared/runtime/secret.ts';
import { mintToken } from '../../../../shared/runtime/token.ts';
import { ERROR_CODE_KEYWORD } from '../../../../shared/runtime/validation.ts';

const SECRET = new Secret('gateway-secret-of-thirty-two-bytes-or-more');
const READER = new Secret('readers-secret-of-thirty-two-bytes-or-more');
const MONITORING = new Secret('monitoring-key-of-thirty-two-bytes-or-more');
const NOW_MS = Date.parse('2026-03-04T05:06:07Z');

const Body = Type.Object(
  {
    to: Type.String(),
    amount: Type.String({ pattern: '^\\d+$', [ERROR_CODE_KEYWORD]: 'amount_invalid' }),
    asset: Type.Union([Type.Literal('USDT'), Type.Literal('TRX')]),
    tags: Type.Optional(Type.Array(Type.String({ maxLength: 3 }), { maxItems: 2 })),
  },
  { additionalProperties: false },
);

let app: App;

beforeAll(async () => {
  app = createApp({
    authenticator: new Authenticator({
      callers: {
        gateway: { secrets: [SECRET], scopes: ['pay', 'read'] },
        reader: { secrets: [READER], scopes: ['read'] },
      },
      audience: 'tron-payment-service',
      tokenLifetimeMaxSeconds: 86_400,
      monitoringKey: MONITORING,
      nowMs: () => NOW_MS,
    }),
    bodyLimitBytes: 1_000,
  });
  app.post('/pay', { config: { access: { scope: 'pay' } }, schema: { body: Body } }, async (request) => ({
    body: request.body,
    caller: request.identity?.caller,
    bytes: request.rawBody.toString(),
  }));
  app.get('/pay/:id', { config: { access: { scope: 'read' } } }, async ({ params }) => params);
  app.get('/open', { config: { access: { public: true } } }, async ({ identity }) => ({ identity }));
  app.get('/figures', { config: { access: { scope: 'read', monitoring: true } } }, async () => ({
    ok: true,
  }));
  app.get('/limit', { config: { access: { public: true } } }, async () => {
    throw new ServiceError('limit_exceeded', 'The hour is used up.', {
      retryAfterSeconds: 12.3,
      extra: { remaining: '4.5', code: 'overwritten' },
    });
  });
  app.get('/mistake', { config: { access: { public: true } } }, async () => {
    throw new TypeError('the private key is abc');
  });
  await app.ready();
});

interface Sent {
  readonly body?: string | Buffer;
  readonly headers?: Record<string, string>;
  readonly secret?: Secret;
  readonly caller?: string;
}

async function post({ body = '', headers = {}, secret = SECRET, caller = 'gateway' }: Sent) {
  const token = await mintToken({
    caller,
    secret,
    audience: 'tron-payment-service',
    nowMs: NOW_MS,
    lifetimeSeconds: 60,
    tokenId: 'token-1',
    request: { method: 'POST', path: '/pay', idempotencyKey: 'order-1', body: Buffer.from(body) },
  });
  return await app.inject({
    method: 'POST',
    url: '/pay',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'idempotency-key': 'order-1',
      ...headers,
    },
    payload: body,
  });
}

const GOOD = { to: 'T1', amount: '25', asset: 'USDT' };

describe('a request that fits', () => {
  it('reaches its handler as it was sent, with the bytes that were sent', async () => {
    const body = '{ "to":"T1", "amount":"25",  "asset":"USDT" }';
    const response = await post({ body });
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({ body: GOOD, caller: 'gateway', bytes: body });
    expect(response.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });

  it.each(['application/json; charset=utf-8', 'application/json;charset="UTF-8"', 'APPLICATION/JSON'])(
    'may call its JSON %s',
    async (type) => {
      const response = await post({ body: JSON.stringify(GOOD), headers: { 'content-type': type } });
      expect(response.statusCode).toBe(200);
    },
  );
});

describe('a body that does not fit', () => {
  const json = (changes: object) => JSON.stringify({ ...GOOD, ...changes });

  it.each<[string, string | Buffer, number, string, string | undefined]>([
    ['nothing', '', 400, 'body_invalid', undefined],
    ['half an object', '{"to":', 400, 'body_invalid', undefined],
    ['a list', '[]', 400, 'body_invalid', undefined],
    ['null', 'null', 400, 'body_invalid', undefined],
    ['a text', '"T1"', 400, 'body_invalid', undefined],
    ['a number', '7', 400, 'body_invalid', undefined],
    ['a field twice', '{"to":"T1","amount":"1","amount":"2","asset":"TRX"}', 400, 'body_invalid', undefined],
    ['a poisoned prototype', '{"__proto__":{"to":"T1"}}', 400, 'body_invalid', undefined],
    ['bytes that are not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 400, 'body_invalid', undefined],
    ['no field', '{}', 400, 'field_missing', 'to'],
    ['a field missing', json({ asset: undefined }), 400, 'field_missing', 'asset'],
    ['a field too much', json({ memo: 'x' }), 400, 'field_unknown', 'memo'],
    ['a field misspelt', json({ amount: undefined, ammount: '1' }), 400, 'field_unknown', 'ammount'],
    ['a constructor', json({ constructor: { prototype: 1 } }), 400, 'field_unknown', 'constructor'],
    ['a number for a text', json({ to: 5 }), 400, 'field_invalid', 'to'],
    ['null for a text', json({ to: null }), 400, 'field_invalid', 'to'],
    ['a word that is not offered', json({ asset: 'usdt' }), 400, 'field_invalid', 'asset'],
    ['a wrong entry of a list', json({ tags: ['a', 'long'] }), 400, 'field_invalid', 'tags[1]'],
    ['a list that is too long', json({ tags: ['a', 'b', 'c'] }), 400, 'field_invalid', 'tags'],
    ['an amount as a number', json({ amount: 25 }), 400, 'amount_invalid', 'amount'],
    ['an amount of another form', json({ amount: '1e3' }), 400, 'amount_invalid', 'amount'],
    ['too many bytes', json({ to: 'T'.repeat(1_000) }), 413, 'body_too_large', undefined],
  ])('is refused when it is %s', async (_case, body, status, code, field) => {
    const response = await post({ body });
    expect(response.statusCode).toBe(status);
    expect(response.headers['content-type']).toBe('application/problem+json');
    const problem = response.json();
    expect(problem).toMatchObject({ status, code, instance: response.headers['x-request-id'] });
    expect(problem.field).toBe(field);
    expect(Object.hasOwn({}, 'to')).toBe(false);
  });

  it('names the words that would fit', async () => {
    const response = await post({ body: json({ asset: 'BTC' }) });
    expect(response.json().detail).toBe('The field "asset" must be one of USDT, TRX.');
  });

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=latin1',
    'json',
    '',
  ])('is refused as %s', async (type) => {
    const response = await post({ body: json({}), headers: { 'content-type': type } });
    expect(response.statusCode).toBe(415);
    expect(response.json()).toMatchObject({ code: 'media_type_unsupported' });
  });
});

describe('who may use a route', () => {
  it('asks for a token before it reads the body', async () => {
    const response = await app.inject({
      method: 'POST',
      url: '/pay',
      payload: '{"to":',
      headers: { 'content-type': 'application/json' },
    });
    expect(response.statusCode).toBe(401);
    expect(response.headers['www-authenticate']).toBe('Bearer realm="tron-payment-service"');
    expect(response.json()).toMatchObject({ code: 'unauthenticated', status: 401 });
  });

  it('refuses a caller without the scope', async () => {
    const response = await post({ body: JSON.stringify(GOOD), secret: READER, caller: 'reader' });
    expect(response.statusCode).toBe(403);
    expect(response.json()).toMatchObject({ code: 'forbidden' });
  });

  it('refuses a token that was made for another idempotency key', async () => {
    const response = await post({ body: JSON.stringify(GOOD), headers: { 'idempotency-key': 'order-2' } });
    expect(response.statusCode).toBe(401);
  });

  it('lets anybody in where the route says so', async () => {
    const response = await app.inject({
      method: 'GET',
      url: '/open',
      headers: { authorization: 'nonsense' },
    });
    expect(response.json()).toEqual({ identity: null });
  });

  it('takes the monitoring key only where the route says so', async () => {
    const headers = { authorization: `Bearer ${MONITORING.reveal()}` };
    expect((await app.inject({ method: 'GET', url: '/figures', headers })).statusCode).toBe(200);
    expect((await app.inject({ method: 'GET', url: '/pay/1', headers })).statusCode).toBe(401);
  });

  it('does not register a route that says nothing about it', () => {
    const bare = createApp();
    expect(() => bare.get('/forgotten', async () => ({}))).toThrow(
      'GET /forgotten does not say who may use it',
    );
  });

  it('does not register a guarded route where nobody stands guard', () => {
    const bare = createApp();
    expect(() => bare.get('/pay', { config: { access: { scope: 'read' } } }, async () => ({}))).toThrow(
      'GET /pay needs an authenticator',
    );
  });
});

describe('a path or method that is not there', () => {
  it.each(['/', '/nothing', '/pay/1/2', '/PAY', '/pay/%zz', '//pay', `/pay/${'x'.repeat(500)}`])(
    'answers 404 to %s',
    async (url) => {
      const response = await app.inject({ method: 'GET', url });
      expect(response.statusCode).toBe(404);
      expect(response.json()).toMatchObject({ code: 'route_not_found', status: 404 });
    },
  );

  it.each<['GET' | 'HEAD' | 'PUT' | 'DELETE' | 'OPTIONS' | 'POST' | 'PATCH', string, string]>([
    ['GET', '/pay', 'POST'],
    ['HEAD', '/pay', 'POST'],
    ['DELETE', '/pay/7', 'GET'],
    ['POST', '/open', 'GET'],
    ['OPTIONS', '/open?x=1', 'GET'],
    ['PATCH', '/figures', 'GET'],
  ])('answers 405 to %s %s and allows %s', async (method, url, allowed) => {
    const response = await app.inject({
      method,
      url,
      payload: method === 'GET' || method === 'HEAD' ? '' : '{}',
    });
    expect(response.statusCode).toBe(405);
    expect(response.headers.allow).toBe(allowed);
    if (method !== 'HEAD') expect(response.json()).toMatchObject({ code: 'method_not_allowed' });
  });
});

describe('a failure', () => {
  it('tells when to come back and what the code adds, which cannot change the standard members', async () => {
    const response = await app.inject({ method: 'GET', url: '/limit' });
    expect(response.statusCode).toBe(429);
    expect(response.headers['retry-after']).toBe('13');
    expect(response.headers['cache-control']).toBe('no-store');
    expect(response.json()).toEqual({
      type: 'urn:tron-payment-service:problem:limit_exceeded',
      title: 'The payment exceeds a limit',
      status: 429,
      detail: 'The hour is used up.',
      instance: response.headers['x-request-id'],
      code: 'limit_exceeded',
      remaining: '4.5',
    });
  });

  it('of ours shows nothing of itself', async () => {
    const response = await app.inject({ method: 'GET', url: '/mistake' });
    expect(response.statusCode).toBe(500);
    expect(response.json()).toMatchObject({ code: 'internal', status: 500 });
    expect(response.body).not.toMatch(/private|TypeError|abc|node:|\.ts/);
  });
});
