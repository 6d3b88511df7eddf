import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { Authenticator, requireBound, requireScope } from '../../../../shared/runtime/auth.ts';
import { Secret } from '../../../../shared/runtime/secret.ts';
import { type BoundRequest, hashRequest, mintToken } from '../../../../shared/runtime/token.ts';

const NOW_MS = Date.parse('2026-03-04T05:06:07Z');
const NOW = NOW_MS / 1000;
const AUDIENCE = 'tron-payment-service';
const GATEWAY = new Secret('gateway-secret-of-thirty-two-bytes-or-more');
const GATEWAY_NEXT = new Secret('gateway-secret-that-comes-after-the-other');
const OPERATOR = new Secret('operator-secret-of-thirty-two-bytes-or-more');
const MONITORING = new Secret('monitoring-key-of-thirty-two-bytes-or-more');

const authenticator = new Authenticator({
  callers: {
    gateway: { secrets: [GATEWAY, GATEWAY_NEXT], scopes: ['pay', 'read'] },
    operator: { secrets: [OPERATOR], scopes: ['operate', 'read'] },
  },
  audience: AUDIENCE,
  tokenLifetimeMaxSeconds: 86_400,
  monitoringKey: MONITORING,
  nowMs: () => NOW_MS,
});

const bearer = (token: string) => ({ authorization: `Bearer ${token}`, internalAuth: undefined });
const encode = (secret: Secret) => new TextEncoder().encode(secret.reveal());
const mint = (secret = GATEWAY, nowMs = NOW_MS, lifetimeSeconds = 300) =>
  mintToken({ caller: 'gateway', secret, audience: AUDIENCE, nowMs, lifetimeSeconds, tokenId: 'token-1' });

const GOOD_CLAIMS = { iss: 'gateway', aud: AUDIENCE, iat: NOW, exp: NOW + 300, jti: 'token-1' };
type Claims = Record<string, unknown>;

/** A token of the gateway's with claims of the test's choosing; undefined leaves a claim out. */
function forge(claims: Claims, header: Record<string, unknown> = {}, secret = GATEWAY): Promise<string> {
  const kept = Object.fromEntries(
    Object.entries({ ...GOOD_CLAIMS, ...claims }).filter(([, v]) => v !== undefined),
  );
  return new SignJWT(kept)
    .setProtectedHeader({ alg: 'HS256', kid: 'gateway', ...header })
    .sign(encode(secret));
}

/** A token put together by hand, for what no library agrees to make. */
function assemble(header: object, claims: object, sign: (signed: string) => string): string {
  const signed = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${signed}.${sign(signed)}`;
}

async function expectRefused(attempt: Promise<unknown>, reason: RegExp): Promise<void> {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ServiceError);
  if (!(error instanceof ServiceError)) return;
  expect(error.code).toBe('unauthenticated');
  // The caller learns nothing about why.
  expect(error.message).toBe('This needs a valid token for exactly this request.');
  expect(error.cause).toMatchObject({ message: expect.stringMatching(reason) });
}

describe('a token that is accepted', () => {
  it('says who calls and what that caller may do', async () => {
    await expect(authenticator.identify(bearer(await mint()), false)).resolves.toEqual({
      caller: 'gateway',
      scopes: ['pay', 'read'],
      tokenId: 'token-1',
      issuedAtMs: NOW_MS,
      requestHash: null,
    });
  });

  it('may come in X-Internal-Auth', async () => {
    const token = await mint();
    const identity = authenticator.identify({ authorization: undefined, internalAuth: token }, false);
    await expect(identity).resolves.toMatchObject({ caller: 'gateway' });
  });

  it("may come in X-Internal-Auth beside AWS IAM's signature, which takes Authorization", async () => {
    const authorization =
      'AWS4-HMAC-SHA256 Credential=AKID/20260304/eu-west-1/lambda/aws4_request, Signature=ab';
    const identity = authenticator.identify({ authorization, internalAuth: await mint() }, false);
    await expect(identity).resolves.toMatchObject({ caller: 'gateway' });
    await expectRefused(
      authenticator.identify({ authorization, internalAuth: undefined }, false),
      /no bearer token/,
    );
  });

  it('may be signed with either secret while they are being changed', async () => {
    await expect(authenticator.identify(bearer(await mint(GATEWAY_NEXT)), false)).resolves.toMatchObject({
      caller: 'gateway',
    });
  });

  it('may come from a clock that is five seconds off, either way', async () => {
    for (const token of [await mint(GATEWAY, NOW_MS + 5_000), await mint(GATEWAY, NOW_MS - 304_000)]) {
      await expect(authenticator.identify(bearer(token), false)).resolves.toMatchObject({
        caller: 'gateway',
      });
    }
  });

  it('may live exactly as long as configured', async () => {
    const token = await mint(GATEWAY, NOW_MS, 86_400);
    await expect(authenticator.identify(bearer(token), false)).resolves.toMatchObject({ caller: 'gateway' });
  });

  it('takes its scopes from the policy, not from itself', async () => {
    const token = await forge({ scope: 'operate', scopes: ['operate', 'approve'] });
    const identity = await authenticator.identify(bearer(token), false);
    expect(identity.scopes).toEqual(['pay', 'read']);
    expect(() => requireScope(identity, 'operate')).toThrow(expect.objectContaining({ code: 'forbidden' }));
    expect(() => requireScope(identity, 'pay')).not.toThrow();
  });
});

describe('a token that is refused', () => {
  it.each<[string, Claims, RegExp]>([
    ['has expired', { iat: NOW - 400, exp: NOW - 6 }, /"exp" claim timestamp check failed/],
    ['was made by a clock that runs ahead', { iat: NOW + 6 }, /iat lies ahead/],
    ['is not valid yet', { nbf: NOW + 60 }, /"nbf" claim timestamp check failed/],
    ['lives too long', { exp: NOW + 86_401 }, /lives too long/],
    ['hides a long life behind an old iat', { iat: NOW - 86_400, exp: NOW + 1 }, /lives too long/],
    ['ends before it begins', { iat: NOW + 4, exp: NOW + 3 }, /ends before it begins/],
    ['is for another audience', { aud: 'another-service' }, /unexpected "aud"/],
    ['is for several audiences, ours among them', { aud: [AUDIENCE, 'another'] }, /aud is not a single/],
    ['is for our audience, as a list', { aud: [AUDIENCE] }, /aud is not a single/],
    ['names another issuer', { iss: 'operator' }, /unexpected "iss"/],
    ['has no iss', { iss: undefined }, /missing required "iss"/],
    ['has no aud', { aud: undefined }, /missing required "aud"/],
    ['has no exp', { exp: undefined }, /missing required "exp"/],
    ['has no iat', { iat: undefined }, /missing required "iat"/],
    ['has no jti', { jti: undefined }, /missing required "jti"/],
    ['has an empty jti', { jti: '' }, /jti is not a text/],
    ['has a jti that is no text', { jti: 7 }, /jti is not a text/],
    ['has an exp that is no number', { exp: String(NOW + 300) }, /"exp" claim must be a number/],
    ['has an iat that is no number', { iat: 'today' }, /"iat" claim must be a number/],
  ])('%s', async (_case, claims, reason) => {
    await expectRefused(authenticator.identify(bearer(await forge(claims)), false), reason);
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ["names another caller's kid", { kid: 'operator' }, /no secret of the caller/],
    ['names an unknown kid', { kid: 'nobody' }, /names no caller/],
    ['names a kid that objects have anyway', { kid: 'constructor' }, /names no caller/],
    ['has no kid', { kid: undefined }, /kid is missing/],
    ['has a kid that is no text', { kid: ['gateway'] }, /kid is missing/],
  ])('%s', async (_case, header, reason) => {
    await expectRefused(authenticator.identify(bearer(await forge({}, header)), false), reason);
  });

  it('is signed with a secret that nobody has', async () => {
    const stranger = new Secret('a-secret-of-thirty-two-bytes-that-is-not-ours');
    await expectRefused(authenticator.identify(bearer(await mint(stranger)), false), /no secret/);
  });

  it("is signed with another caller's secret", async () => {
    await expectRefused(authenticator.identify(bearer(await mint(OPERATOR)), false), /no secret/);
  });

  it.each(['HS384', 'HS512'])('is signed by %s with the right secret', async (alg) => {
    const secret = new Secret('gateway-secret-of-thirty-two-bytes-or-more'.padEnd(64, '.'));
    const long = new Authenticator({
      callers: { gateway: { secrets: [secret], scopes: ['pay'] } },
      audience: AUDIENCE,
      tokenLifetimeMaxSeconds: 86_400,
      monitoringKey: null,
      nowMs: () => NOW_MS,
    });
    await expect(long.identify(bearer(await forge({}, {}, secret)), false)).resolves.toBeDefined();
    await expectRefused(long.identify(bearer(await forge({}, { alg }, secret)), false), /"alg"/);
  });

  it('is not signed at all (alg none)', async () => {
    const library = new UnsecuredJWT({ ...GOOD_CLAIMS }).encode();
    await expectRefused(authenticator.identify(bearer(library), false), /kid is missing/);
    for (const alg of ['none', 'None', 'NONE', '']) {
      const token = assemble({ alg, kid: 'gateway' }, GOOD_CLAIMS, () => '');
      await expectRefused(authenticator.identify(bearer(token), false), /./);
    }
  });

  it('is signed with a key pair', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const token = await new SignJWT(GOOD_CLAIMS)
      .setProtectedHeader({ alg: 'RS256', kid: 'gateway' })
      .sign(privateKey);
    await expectRefused(authenticator.identify(bearer(token), false), /"alg"/);
  });

  it('says RS256 while it is signed by HMAC with our secret', async () => {
    const token = assemble({ alg: 'RS256', kid: 'gateway' }, GOOD_CLAIMS, (signed) =>
      createHmac('sha256', GATEWAY.reveal()).update(signed).digest('base64url'),
    );
    await expectRefused(authenticator.identify(bearer(token), false), /"alg"/);
  });

  it('brings its own key', async () => {
    const own = new Secret('an-own-secret-of-thirty-two-bytes-or-more!');
    const jwk = { kty: 'oct', k: Buffer.from(own.reveal()).toString('base64url') };
    await expectRefused(authenticator.identify(bearer(await forge({}, { jwk }, own)), false), /no secret/);
  });

  it('was changed after it was signed', async () => {
    const [header, , signature] = (await mint()).split('.');
    const claims = Buffer.from(JSON.stringify({ ...GOOD_CLAIMS, jti: randomUUID() })).toString('base64url');
    await expectRefused(
      authenticator.identify(bearer(`${header}.${claims}.${signature}`), false),
      /no secret/,
    );
  });

  it('asks for extensions that nobody knows', async () => {
    const token = assemble({ alg: 'HS256', kid: 'gateway', crit: ['own'], own: 1 }, GOOD_CLAIMS, (signed) =>
      createHmac('sha256', GATEWAY.reveal()).update(signed).digest('base64url'),
    );
    await expectRefused(authenticator.identify(bearer(token), false), /"own"|crit/i);
  });
});

describe('the headers', () => {
  it.each<[string, (token: string) => { authorization?: string; internalAuth?: string }]>([
    ['nothing', () => ({})],
    ['an empty header', () => ({ authorization: '' })],
    ['the bare token in Authorization', (token) => ({ authorization: token })],
    ['another scheme', (token) => ({ authorization: `Basic ${token}` })],
    ['two header lines, joined', (token) => ({ authorization: `Bearer ${token},Bearer ${token}` })],
    [
      'two header lines, joined with a space',
      (token) => ({ authorization: `Bearer ${token}, Bearer ${token}` }),
    ],
    ['two X-Internal-Auth lines, joined', (token) => ({ internalAuth: `${token},${token}` })],
    ['a scheme in X-Internal-Auth', (token) => ({ internalAuth: `Bearer ${token}` })],
    ['both headers', (token) => ({ authorization: `Bearer ${token}`, internalAuth: token })],
    ['both headers, one empty', (token) => ({ authorization: `Bearer ${token}`, internalAuth: '' })],
    ['no token at all', () => ({ authorization: 'Bearer not-a-token' })],
    ['an endless token', () => ({ authorization: `Bearer ${'a'.repeat(10_000)}` })],
  ])('are refused with %s', async (_case, headers) => {
    const credentials = { authorization: undefined, internalAuth: undefined, ...headers(await mint()) };
    await expectRefused(authenticator.identify(credentials, false), /./);
  });
});

describe('the monitoring key', () => {
  it('opens the routes that take it, for reading alone', async () => {
    const identity = await authenticator.identify(bearer(MONITORING.reveal()), true);
    expect(identity).toEqual({
      caller: 'monitoring',
      scopes: ['read'],
      tokenId: null,
      issuedAtMs: null,
      requestHash: null,
    });
  });

  it('opens no other route', async () => {
    await expectRefused(authenticator.identify(bearer(MONITORING.reveal()), false), /./);
  });

  it('is not guessed by a part of it', async () => {
    await expectRefused(authenticator.identify(bearer(MONITORING.reveal().slice(0, -1)), true), /./);
  });

  it('does not keep tokens from those routes', async () => {
    await expect(authenticator.identify(bearer(await mint()), true)).resolves.toMatchObject({
      caller: 'gateway',
    });
  });
});

describe('the request hash', () => {
  const request: BoundRequest = {
    method: 'POST',
    path: '/pay',
    idempotencyKey: 'order-1',
    body: Buffer.from('{"amount":"1"}'),
  };

  async function identityFor(bound: BoundRequest) {
    const token = await mintToken({
      caller: 'gateway',
      secret: GATEWAY,
      audience: AUDIENCE,
      nowMs: NOW_MS,
      lifetimeSeconds: 300,
      tokenId: 'token-1',
      request: bound,
    });
    return await authenticator.identify(bearer(token), false);
  }

  it('binds a token to exactly one request', async () => {
    const identity = await identityFor(request);
    expect(() => requireBound(identity, request)).not.toThrow();
    const others: BoundRequest[] = [
      { ...request, method: 'PUT' },
      { ...request, path: '/pay/batch' },
      { ...request, idempotencyKey: 'order-2' },
      { ...request, body: Buffer.from('{"amount":"2"}') },
      { ...request, body: Buffer.from('{"amount": "1"}') },
      { ...request, body: Buffer.alloc(0) },
    ];
    for (const other of others) {
      expect(() => requireBound(identity, other)).toThrow(
        expect.objectContaining({ code: 'unauthenticated' }),
      );
    }
  });

  it('is needed', async () => {
    const identity = await authenticator.identify(bearer(await mint()), false);
    expect(() => requireBound(identity, request)).toThrow(
      expect.objectContaining({ code: 'unauthenticated' }),
    );
  });

  it('counts only where it is a text', async () => {
    const identity = await authenticator.identify(
      bearer(await forge({ request_sha256: [hashRequest(request)] })),
      false,
    );
    expect(() => requireBound(identity, request)).toThrow(
      expect.objectContaining({ code: 'unauthenticated' }),
    );
  });

  it('is the documented one', () => {
    // printf 'POST\n/pay\norder-1\n{"amount":"1"}' | openssl dgst -sha256 -binary | basenc --base64url
    expect(hashRequest(request)).toBe('eyeWMnOguOQEmgqn6zQeMwxiA7P5YvwSPFmqsrGYSu8');
  });
});
