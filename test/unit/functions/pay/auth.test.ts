import { createHmac, generateKeyPairSync, sign as signByKeyPair } from 'node:crypto';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { buildApp } from '../../../../functions/pay/app.ts';
import type { App } from '../../../../shared/runtime/app.ts';
import { Authenticator } from '../../../../shared/runtime/auth.ts';
import type { Callers } from '../../../../shared/runtime/config-secrets.ts';
import { Secret } from '../../../../shared/runtime/secret.ts';
import { hashRequest } from '../../../../shared/runtime/token.ts';
import type { Engine } from '../../../../shared/usecases/engine.ts';
import { memorySearch } from '../../../support/memory-search.ts';
import { RECIPIENT, START_MS, World, withUuids } from '../../../support/test-engine.ts';

/** Requests to the real routes of `pay`, each of which differs from a good one in one thing. */

const AUDIENCE = 'tron-payment-service';
const NOW = START_MS / 1000;
const GATEWAY = 'gateway-secret-of-sixty-four-bytes-or-more-so-that-hs512-takes-it-too';
const SHOP = 'shops-secret-of-thirty-two-bytes-or-more!!';
const OPERATOR = 'operators-secret-of-32-bytes-or-more-!!';
const READER = 'readers-secret-of-thirty-two-bytes-or-more';
const MONITORING = 'monitoring-key-of-thirty-two-bytes-or-more';
const CALLERS: Callers = {
  gateway: { secrets: [new Secret(GATEWAY)], scopes: ['pay', 'read'] },
  shop: { secrets: [new Secret(SHOP)], scopes: ['pay', 'read'] },
  operator: { secrets: [new Secret(OPERATOR)], scopes: ['read', 'operate'] },
  reader: { secrets: [new Secret(READER)], scopes: ['read'] },
};

interface Sent {
  readonly method: 'POST' | 'GET';
  readonly url: string;
  readonly key: string;
  readonly body: string;
}
const GOOD: Sent = {
  method: 'POST',
  url: '/pay',
  key: 'order-1',
  body: JSON.stringify({ to: RECIPIENT, amount: '25', asset: 'USDT' }),
};

type Fields = Readonly<Record<string, unknown>>;

/** How a token is put together, by hand: no library agrees to make most of these. */
interface Forgery {
  readonly header?: Fields;
  readonly claims?: Fields;
  /** What the token is bound to, if not to the request it comes with. */
  readonly boundTo?: Sent;
  readonly sign?: (signed: string) => string;
}

const hmac =
  (secret: string, hash = 'sha256') =>
  (signed: string) =>
    createHmac(hash, secret).update(signed).digest('base64url');
const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');

function forge(sent: Sent, { header = {}, claims = {}, boundTo = sent, sign = hmac(GATEWAY) }: Forgery = {}) {
  const request_sha256 = hashRequest({
    method: boundTo.method,
    path: boundTo.url,
    idempotencyKey: boundTo.key,
    body: Buffer.from(boundTo.body),
  });
  const good = { iss: 'gateway', aud: AUDIENCE, iat: NOW, exp: NOW + 300, jti: 'token-1', request_sha256 };
  // What is undefined is left out by JSON.
  const signed = `${encode({ alg: 'HS256', typ: 'JWT', kid: 'gateway', ...header })}.${encode({ ...good, ...claims })}`;
  return `${signed}.${sign(signed)}`;
}

let world: World;
let engine: Engine;
let app: App;

function appOf(callers: Callers): App {
  return buildApp({
    engine,
    search: memorySearch(world.ledger.store),
    authenticator: new Authenticator({
      callers,
      audience: AUDIENCE,
      tokenLifetimeMaxSeconds: 86_400,
      monitoringKey: new Secret(MONITORING),
      nowMs: () => world.nowMs,
    }),
  });
}

beforeEach(() => {
  world = new World();
  engine = withUuids(world.engine());
  app = appOf(CALLERS);
});

function send(sent: Sent, credentials: Readonly<Record<string, string>>) {
  return app.inject({
    method: sent.method,
    url: sent.url,
    headers: {
      'idempotency-key': sent.key,
      ...(sent.method === 'GET' ? {} : { 'content-type': 'application/json' }),
      ...credentials,
    },
    ...(sent.method === 'GET' ? {} : { payload: sent.body }),
  });
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

function expectNoTrace(): void {
  expect(world.ledger.store.writes).toBe(0);
  expect(world.ledger.payments.size).toBe(0);
  expect([...world.chain.pool, ...world.chain.paid]).toEqual([]);
}

/** Whatever is wrong, the caller reads the very same words. */
function expectRefused(answer: Awaited<ReturnType<typeof send>>): void {
  expect(answer.statusCode).toBe(401);
  expect(answer.headers['www-authenticate']).toBe('Bearer realm="tron-payment-service"');
  expect(answer.json()).toEqual({
    type: 'urn:tron-payment-service:problem:unauthenticated',
    title: expect.any(String),
    status: 401,
    detail: 'This needs a valid token for exactly this request.',
    instance: answer.headers['x-request-id'],
    code: 'unauthenticated',
  });
  expectNoTrace();
}

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const OWN = 'an-own-secret-of-thirty-two-bytes-or-more!';
const OWN_JWK = { kty: 'oct', k: Buffer.from(OWN).toString('base64url') };

describe('a good request', () => {
  it('pays', async () => {
    expect((await send(GOOD, bearer(forge(GOOD)))).statusCode).toBe(201);
    expect(world.ledger.payments.size).toBe(1);
  });

  it('may say more in its token, which changes nothing', async () => {
    const forgery = {
      header: { jku: 'https://a.example', extra: 1 },
      claims: { scope: 'operate', nbf: NOW },
    };
    expect((await send(GOOD, bearer(forge(GOOD, forgery)))).statusCode).toBe(201);
  });
});

describe('a token that is refused', () => {
  it.each<[string, Forgery]>([
    // Algorithms
    ['is signed by HS384', { header: { alg: 'HS384' }, sign: hmac(GATEWAY, 'sha384') }],
    ['is signed by HS512', { header: { alg: 'HS512' }, sign: hmac(GATEWAY, 'sha512') }],
    ['says HS512 over HS256', { header: { alg: 'HS512' } }],
    ['says RS256 over HS256 with the secret', { header: { alg: 'RS256' } }],
    [
      'is signed by RS256',
      {
        header: { alg: 'RS256' },
        sign: (t) => signByKeyPair('sha256', Buffer.from(t), privateKey).toString('base64url'),
      },
    ],
    [
      'says HS256 with a public key as the secret',
      { sign: hmac(publicKey.export({ type: 'spki', format: 'pem' }).toString()) },
    ],
    ...['none', 'None', 'NONE', 'nOnE', '', 'hs256', 'HS256 ', null, 1].flatMap(
      (alg): [string, Forgery][] => [
        [`says alg ${JSON.stringify(alg)} and is signed`, { header: { alg } }],
        [`says alg ${JSON.stringify(alg)} and is not signed`, { header: { alg }, sign: () => '' }],
      ],
    ),
    ['says no alg', { header: { alg: undefined } }],
    ['is not signed', { sign: () => '' }],
    ['is signed by half', { sign: (signed) => hmac(GATEWAY)(signed).slice(0, 20) }],
    ['is signed and more', { sign: (signed) => `${hmac(GATEWAY)(signed)}AAAA` }],
    ['has four parts', { sign: (signed) => `${hmac(GATEWAY)(signed)}.${hmac(GATEWAY)(signed)}` }],
    ['has five parts', { sign: (signed) => `${hmac(GATEWAY)(signed)}.a.b` }],
    ['has its signature in padded base64', { sign: (signed) => `${hmac(GATEWAY)(signed)}=` }],
    // Keys
    ["names another caller's kid", { header: { kid: 'shop' } }],
    ["is another caller's, under our kid", { claims: { iss: 'shop' }, sign: hmac(SHOP) }],
    ["is signed with another caller's secret", { sign: hmac(SHOP) }],
    ['is signed with the monitoring key', { sign: hmac(MONITORING) }],
    ['is signed with a secret that nobody has', { sign: hmac(OWN) }],
    ['is signed with nothing', { sign: hmac('') }],
    ['names an unknown kid', { header: { kid: 'nobody' } }],
    ['names no kid', { header: { kid: undefined } }],
    ['names an empty kid', { header: { kid: '' } }],
    ['names a kid in other letters', { header: { kid: 'Gateway' } }],
    ['names a list of kids', { header: { kid: ['gateway'] } }],
    ['names null for a kid', { header: { kid: null } }],
    ['names a file for a kid', { header: { kid: '../../dev/null' }, sign: hmac('') }],
    ['names toString for a kid', { header: { kid: 'toString' }, claims: { iss: 'toString' } }],
    [
      'names the monitoring caller',
      { header: { kid: 'monitoring' }, claims: { iss: 'monitoring' }, sign: hmac(MONITORING) },
    ],
    ['brings its own key (jwk)', { header: { jwk: OWN_JWK }, sign: hmac(OWN) }],
    ['tells where its key is (jku)', { header: { jku: 'http://127.0.0.1:1/jwks' }, sign: hmac(OWN) }],
    ['tells where its certificate is (x5u)', { header: { x5u: 'http://127.0.0.1:1/x5u' }, sign: hmac(OWN) }],
    ['brings its own certificate (x5c)', { header: { x5c: ['AAAA'] }, sign: hmac(OWN) }],
    // Header
    ['asks for an extension that nobody knows', { header: { crit: ['own'], own: 1 } }],
    ['asks for no extensions, in a list', { header: { crit: [] } }],
    ['asks for an extension that it does not bring', { header: { crit: ['exp'] } }],
    ['asks for a payload that is not encoded', { header: { crit: ['b64'], b64: false } }],
    // Times
    ['has expired', { claims: { iat: NOW - 400, exp: NOW - 5 } }],
    ['is not valid yet', { claims: { nbf: NOW + 6 } }],
    ['is valid from a text on', { claims: { nbf: 'now' } }],
    ['was made more than the leeway ahead', { claims: { iat: NOW + 6 } }],
    ['lives longer than a day', { claims: { exp: NOW + 86_401 } }],
    ['lives for ever', { claims: { exp: 1e300 } }],
    ['hides a long life behind an old iat', { claims: { iat: 0 } }],
    ['ends before it begins', { claims: { iat: NOW + 4, exp: NOW + 3 } }],
    ['has an exp that is a text', { claims: { exp: String(NOW + 300) } }],
    ['has an exp that is null', { claims: { exp: null } }],
    ['has an exp that is a list', { claims: { exp: [NOW + 300] } }],
    ['has an iat that is a text', { claims: { iat: 'today' } }],
    // Other claims
    ['is for another audience', { claims: { aud: 'another-service' } }],
    ['is for our audience in other letters', { claims: { aud: AUDIENCE.toUpperCase() } }],
    ['is for several audiences', { claims: { aud: [AUDIENCE, 'another'] } }],
    ['is for our audience, in a list', { claims: { aud: [AUDIENCE] } }],
    ['has an issuer that is not its kid', { claims: { iss: 'shop' } }],
    ['has a list of issuers', { claims: { iss: ['gateway'] } }],
    ['has an empty jti', { claims: { jti: '' } }],
    ['has a jti that is a number', { claims: { jti: 7 } }],
    ...['iss', 'aud', 'exp', 'iat', 'jti', 'request_sha256'].map((claim): [string, Forgery] => [
      `has no ${claim}`,
      { claims: { [claim]: undefined } },
    ]),
    ['has a hash that is a list', { claims: { request_sha256: [forgedHash()] } }],
    ['has an empty hash', { claims: { request_sha256: '' } }],
    // What it is bound to
    ['was made for another method', { boundTo: { ...GOOD, method: 'GET' } }],
    ['was made for another path', { boundTo: { ...GOOD, url: '/pay/batch' } }],
    ['was made for this path with a slash', { boundTo: { ...GOOD, url: '/pay/' } }],
    ['was made for another key', { boundTo: { ...GOOD, key: 'order-2' } }],
    ['was made for no key', { boundTo: { ...GOOD, key: '' } }],
    ['was made for another amount', { boundTo: { ...GOOD, body: GOOD.body.replace('25', '24') } }],
    ['was made for the same body, spaced otherwise', { boundTo: { ...GOOD, body: ` ${GOOD.body}` } }],
    ['was made for no body', { boundTo: { ...GOOD, body: '' } }],
    [
      'was made for a body that goes on as this one',
      { boundTo: { ...GOOD, key: '', body: `order-1\n${GOOD.body}` } },
    ],
  ])('%s', async (_case, forgery) => {
    expectRefused(await send(GOOD, bearer(forge(GOOD, forgery))));
  });

  it('names __proto__ for a kid', async () => {
    const claims = { iss: '__proto__', aud: AUDIENCE, iat: NOW, exp: NOW + 300, jti: 'token-1' };
    const signed = `${Buffer.from('{"alg":"HS256","kid":"__proto__"}').toString('base64url')}.${encode(claims)}`;
    expectRefused(await send(GOOD, bearer(`${signed}.${hmac('')(signed)}`)));
  });

  it('is good, and comes with a query that it was not made for', async () => {
    const sent = { ...GOOD, url: '/pay?amount=1000' };
    expectRefused(await send(sent, bearer(forge(sent, { boundTo: GOOD }))));
  });

  it('was made for a POST, and comes with a GET', async () => {
    const get: Sent = { method: 'GET', url: '/pay', key: '', body: '' };
    expectRefused(await send(get, bearer(forge(get, { boundTo: GOOD }))));
    expect((await send(get, bearer(forge(get)))).statusCode).toBe(200);
  });

  it('is the monitoring key, on routes that do not take it', async () => {
    expectRefused(await send(GOOD, bearer(MONITORING)));
    expectRefused(await send({ ...GOOD, method: 'GET' }, bearer(MONITORING)));
  });
});

function forgedHash(): string {
  return hashRequest({
    method: 'POST',
    path: '/pay',
    idempotencyKey: 'order-1',
    body: Buffer.from(GOOD.body),
  });
}

describe('headers that are refused', () => {
  it.each<[string, (token: string, other: string) => Record<string, string>]>([
    ['none', () => ({})],
    ['an empty one', () => ({ authorization: '' })],
    ['the scheme alone', () => ({ authorization: 'Bearer' })],
    ['the scheme and spaces', () => ({ authorization: 'Bearer   ' })],
    ['no scheme', (token) => ({ authorization: token })],
    ['another scheme', (token) => ({ authorization: `Basic ${token}` })],
    ['the scheme twice', (token) => ({ authorization: `Bearer Bearer ${token}` })],
    ['a tab before the token', (token) => ({ authorization: `Bearer\t${token}` })],
    ['white space within the token', (token) => ({ authorization: `Bearer ${token.replace('.', ' .')}` })],
    ['a comma after the token', (token) => ({ authorization: `Bearer ${token},` })],
    ['quotes around the token', (token) => ({ authorization: `Bearer "${token}"` })],
    ['two lines, joined', (token, other) => ({ authorization: `Bearer ${token}, Bearer ${other}` })],
    ['one line twice, joined', (token) => ({ authorization: `Bearer ${token}, Bearer ${token}` })],
    ['an over-long token', (token) => ({ authorization: `Bearer ${token}${'A'.repeat(5_000)}` })],
    ['the scheme in X-Internal-Auth', (token) => ({ 'x-internal-auth': `Bearer ${token}` })],
    ['X-Internal-Auth empty', () => ({ 'x-internal-auth': '' })],
    ['X-Internal-Auth twice, joined', (token) => ({ 'x-internal-auth': `${token}, ${token}` })],
    ['both headers alike', (token) => ({ authorization: `Bearer ${token}`, 'x-internal-auth': token })],
    [
      'both headers differing',
      (token, other) => ({ authorization: `Bearer ${other}`, 'x-internal-auth': token }),
    ],
    [
      'a wrong X-Internal-Auth beside a good token',
      (token) => ({ authorization: `Bearer ${token}`, 'x-internal-auth': 'x' }),
    ],
    [
      'the signature of AWS IAM alone',
      () => ({ authorization: 'AWS4-HMAC-SHA256 Credential=A/20260101/r/lambda/aws4_request' }),
    ],
  ])('%s', async (_case, headers) => {
    expectRefused(await send(GOOD, headers(forge(GOOD), forge(GOOD, { claims: { jti: 'token-2' } }))));
  });

  it('where the key comes twice', async () => {
    expectRefused(await send({ ...GOOD, key: 'order-1, order-1' }, bearer(forge(GOOD))));
  });
});

describe('a caller without the scope', () => {
  it.each<[string, string, string, string]>([
    ['reader', READER, '/pay', 'pay'],
    ['reader', READER, '/pay/batch', 'pay'],
    ['gateway', GATEWAY, '/pay/breaker', 'operate'],
    ['gateway', GATEWAY, '/pay/pay_00000000-0000-7000-8000-000000000001/approve', 'approve'],
    ['gateway', GATEWAY, '/pay/pay_00000000-0000-7000-8000-000000000001/resolve', 'operate'],
  ])('%s is told so, whatever scopes the token claims', async (caller, secret, url, scope) => {
    const sent = { ...GOOD, url };
    const claims = { iss: caller, scope, scopes: ['pay', 'read', 'approve', 'operate'] };
    const answer = await send(
      sent,
      bearer(forge(sent, { header: { kid: caller }, claims, sign: hmac(secret) })),
    );
    expect(answer.statusCode).toBe(403);
    expect(answer.json()).toMatchObject({
      code: 'forbidden',
      detail: `This needs the scope "${scope}", which the caller does not have.`,
    });
    expectNoTrace();
  });
});

/** Another byte at one place. */
const changedAt = (text: string, place: number, byte: number) => {
  const bytes = Buffer.from(text, 'latin1');
  bytes[place % bytes.length] = byte;
  return bytes.toString('latin1');
};

describe('any change of one byte', () => {
  const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const token = forge(GOOD);

  it('of the token is refused', async () => {
    const bytes = fc.oneof(
      fc.constantFrom(...Buffer.from(`${BASE64URL}+/=.~`)),
      fc.integer({ min: 0x21, max: 0x7e }),
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), bytes, async (place, byte) => {
        const changed = changedAt(token, place, byte);
        fc.pre(changed !== token);
        expectRefused(await send(GOOD, bearer(changed)));
      }),
      { numRuns: 500 },
    );
  });

  it('of the end of the signature is refused, though base64 has several ends for the same bytes', async () => {
    for (const end of BASE64URL) {
      const changed = token.slice(0, -1) + end;
      if (changed !== token) expectRefused(await send(GOOD, bearer(changed)));
    }
  });

  it('of the path, the key or the body is refused', async () => {
    const part = fc.constantFrom('url' as const, 'key' as const, 'body' as const);
    await fc.assert(
      fc.asyncProperty(part, fc.nat(), fc.integer({ min: 0x21, max: 0x7e }), async (which, place, byte) => {
        const changed = changedAt(GOOD[which], which === 'url' ? 1 + (place % 3) : place, byte);
        fc.pre(changed !== GOOD[which]);
        const answer = await send({ ...GOOD, [which]: changed }, bearer(token));
        // Another path may lead nowhere, and another body may be none, which is told to whoever has a name.
        if (answer.statusCode !== 404 && answer.statusCode !== 400) expectRefused(answer);
        expectNoTrace();
      }),
      { numRuns: 500 },
    );
  });

  it('of the method is refused', async () => {
    for (const method of ['PUT', 'GET', 'HEAD', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
      const answer = await app.inject({
        method: method as 'PUT',
        url: '/pay',
        headers: { 'idempotency-key': GOOD.key, 'content-type': 'application/json', ...bearer(token) },
        ...(method === 'GET' || method === 'HEAD' ? {} : { payload: GOOD.body }),
      });
      expect([401, 404, 405]).toContain(answer.statusCode);
      expectNoTrace();
    }
  });
});

describe('a token that is used again', () => {
  it('for the same request pays nothing more: it names one key, and the key one payment', async () => {
    const token = forge(GOOD);
    const first = await send(GOOD, bearer(token));
    expect(first.statusCode).toBe(201);
    const writes = world.ledger.store.writes;
    for (let time = 0; time < 5; time += 1) {
      const again = await send(GOOD, bearer(token));
      expect(again.headers['idempotent-replayed']).toBe('true');
      expect(again.json().id).toBe(first.json().id);
    }
    world.pass(5);
    expect(world.ledger.payments.size).toBe(1);
    expect(world.chain.paid).toHaveLength(1);
    expect(world.ledger.store.writes).toBe(writes);
  });

  /** An operator's order with its token, which can be sent again. */
  function orderOf(url: string, fields: Fields) {
    const sent: Sent = {
      method: 'POST',
      url,
      key: '',
      body: JSON.stringify({ reason: 'a drill', ...fields }),
    };
    const now = world.nowMs / 1000;
    const claims = { iss: 'operator', iat: now, exp: now + 86_400 };
    const token = forge(sent, { header: { kid: 'operator' }, claims, sign: hmac(OPERATOR) });
    return () => send(sent, bearer(token));
  }
  const OUTDATED = { status: 409, code: 'order_outdated' };

  it('lifts no pause that is younger than it', async () => {
    await orderOf('/pay/breaker', { action: 'pause' })();
    const resume = orderOf('/pay/breaker', { action: 'resume' });
    expect((await resume()).json()).toMatchObject({ paused: null });
    expect((await resume()).json()).toMatchObject({ paused: null });
    world.pass(60);
    await orderOf('/pay/breaker', { action: 'pause' })();
    expect((await resume()).json()).toMatchObject(OUTDATED);
    expect(world.ledger.breaker.pause).not.toBeNull();
    const anew = orderOf('/pay/breaker', { action: 'resume' });
    expect((await anew()).json()).toMatchObject({ paused: null });
  });

  it('resets no trip that is younger than it', async () => {
    await orderOf('/pay/breaker', { action: 'trip' })();
    const reset = orderOf('/pay/breaker', { action: 'reset' });
    expect((await reset()).json()).toMatchObject({ circuit_breaker_status: 'closed' });
    world.pass(60);
    await orderOf('/pay/breaker', { action: 'trip' })();
    expect((await reset()).json()).toMatchObject(OUTDATED);
    expect(world.ledger.breaker.circuit.kind).toBe('open');
  });

  it('rules on no review that began after it', async () => {
    const { id } = (await send(GOOD, bearer(forge(GOOD)))).json();
    const underReview = () =>
      world.ledger.store.alter(id, {
        status: 'needs_review',
        history: [{ atMs: world.nowMs, event: 'needs_review', detail: 'the nodes disagree' }],
      });
    const ruling = orderOf(`/pay/${id}/resolve`, { outcome: 'not_paid' });
    world.pass(600);
    underReview();
    expect((await ruling()).json()).toMatchObject(OUTDATED);
    expect(world.ledger.payments.get(id)).toMatchObject({ status: 'needs_review' });
    const anew = orderOf(`/pay/${id}/resolve`, { outcome: 'not_paid' });
    expect((await anew()).json()).toMatchObject({ status: 'failed' });
  });

  it('takes an order from a clock that is five seconds behind', async () => {
    const resume = orderOf('/pay/breaker', { action: 'resume' });
    world.nowMs += 5_000;
    await orderOf('/pay/breaker', { action: 'pause' })();
    expect((await resume()).json()).toMatchObject({ paused: null });
  });
});

describe('the change of a secret', () => {
  const NEW = 'gateway-secret-that-comes-after-the-other-one';
  const caller = (...secrets: string[]): Callers => ({
    gateway: { secrets: secrets.map((secret) => new Secret(secret)), scopes: ['pay', 'read'] },
  });
  const statusOf = async (secret: string, key: string) => {
    const sent = { ...GOOD, key };
    return (await send(sent, bearer(forge(sent, { sign: hmac(secret) })))).statusCode;
  };

  it('lets in both while both are named, and the old one no more once it is not', async () => {
    app = appOf(caller(GATEWAY));
    expect([await statusOf(GATEWAY, 'a'), await statusOf(NEW, 'b')]).toEqual([201, 401]);
    app = appOf(caller(GATEWAY, NEW));
    expect([await statusOf(GATEWAY, 'c'), await statusOf(NEW, 'd')]).toEqual([201, 201]);
    app = appOf(caller(NEW));
    expect([await statusOf(GATEWAY, 'e'), await statusOf(NEW, 'f')]).toEqual([401, 201]);
  });
});
