import { createHash, timingSafeEqual } from 'node:crypto';
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';
import { ServiceError } from '../domain/errors.ts';
import type { Callers, Scope } from './config-secrets.ts';
import type { Secret } from './secret.ts';
import { type BoundRequest, hashRequest, REQUEST_HASH_CLAIM, TOKEN_ALGORITHM } from './token.ts';

/** Who calls, once that is proven. */
export interface Identity {
  readonly caller: string;
  readonly scopes: readonly Scope[];
  /** The token's `jti`; null for the monitoring key. */
  readonly tokenId: string | null;
  /** When the token was made, by its caller's clock; null for the monitoring key. */
  readonly issuedAtMs: number | null;
  /** The request that the token is bound to, if it is. */
  readonly requestHash: string | null;
}

/** What the header lines of a request say about the caller. */
export interface Credentials {
  readonly authorization: string | undefined;
  /** The way in where AWS IAM takes `Authorization` for itself. Holds the bare token. */
  readonly internalAuth: string | undefined;
}

export interface AuthOptions {
  readonly callers: Callers;
  readonly audience: string;
  readonly tokenLifetimeMaxSeconds: number;
  readonly monitoringKey: Secret | null;
  readonly nowMs: () => number;
}

/** Two machines' clocks may differ by this much and no more. */
const CLOCK_LEEWAY_SECONDS = 5;

/** A token of ours has a few hundred characters. */
const TOKEN_LENGTH_MAX = 4_096;

export const MONITORING_CALLER = 'monitoring';

export class Authenticator {
  readonly #options: AuthOptions;
  readonly #keys: ReadonlyMap<string, readonly Uint8Array[]>;
  readonly #monitoringDigest: Buffer | null;

  constructor(options: AuthOptions) {
    this.#options = options;
    const encoder = new TextEncoder();
    this.#keys = new Map(
      Object.entries(options.callers).map(([caller, { secrets }]) => [
        caller,
        secrets.map((secret) => encoder.encode(secret.reveal())),
      ]),
    );
    this.#monitoringDigest = options.monitoringKey === null ? null : digest(options.monitoringKey.reveal());
  }

  /**
   * Proves who calls.
   * @param monitoring whether this route also takes the monitoring key
   * @throws ServiceError `unauthenticated`, always with the same words; its cause tells the log why
   */
  async identify(credentials: Credentials, monitoring: boolean): Promise<Identity> {
    const token = takeToken(credentials);
    if (
      monitoring &&
      this.#monitoringDigest !== null &&
      timingSafeEqual(digest(token), this.#monitoringDigest)
    ) {
      return {
        caller: MONITORING_CALLER,
        scopes: ['read'],
        tokenId: null,
        issuedAtMs: null,
        requestHash: null,
      };
    }
    const caller = readKeyId(token);
    const keys = this.#keys.get(caller);
    if (keys === undefined) throw refuse('the kid names no caller');
    const claims = await this.#verify(token, caller, keys);
    if (typeof claims.jti !== 'string' || claims.jti === '') throw refuse('jti is not a text');
    // One audience, so that a token that is good for another service too is not good here.
    if (typeof claims.aud !== 'string') throw refuse('aud is not a single text');
    this.#judgeLifetime(claims);
    const requestHash = claims[REQUEST_HASH_CLAIM];
    return {
      caller,
      scopes: this.#options.callers[caller]?.scopes ?? [],
      tokenId: claims.jti,
      issuedAtMs: (claims.iat ?? 0) * 1000,
      requestHash: typeof requestHash === 'string' ? requestHash : null,
    };
  }

  /** Tries each secret of the caller: there are two while they are being changed. */
  async #verify(token: string, caller: string, keys: readonly Uint8Array[]): Promise<JWTPayload> {
    for (const key of keys) {
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: [TOKEN_ALGORITHM],
          issuer: caller,
          audience: this.#options.audience,
          requiredClaims: ['iss', 'aud', 'exp', 'iat', 'jti'],
          clockTolerance: CLOCK_LEEWAY_SECONDS,
          currentDate: new Date(this.#options.nowMs()),
        });
        return payload;
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw refuse('the token', error);
      }
    }
    throw refuse('no secret of the caller made the signature');
  }

  #judgeLifetime({ iat = 0, exp = 0 }: JWTPayload): void {
    const nowSeconds = Math.floor(this.#options.nowMs() / 1000);
    if (iat > nowSeconds + CLOCK_LEEWAY_SECONDS) throw refuse('iat lies ahead');
    if (exp - iat > this.#options.tokenLifetimeMaxSeconds) throw refuse('the token lives too long');
    if (exp <= iat) throw refuse('the token ends before it begins');
  }
}

/** @throws ServiceError `forbidden` where the caller lacks the scope */
export function requireScope(identity: Identity, scope: Scope): void {
  if (!identity.scopes.includes(scope)) {
    throw new ServiceError('forbidden', `This needs the scope "${scope}", which the caller does not have.`);
  }
}

/**
 * Whoever holds a token for one payment must not be able to make another with it.
 * @throws ServiceError `unauthenticated` where the token was not made for exactly this request
 */
export function requireBound(identity: Identity, request: BoundRequest): void {
  const expected = hashRequest(request);
  if (identity.requestHash === null) throw refuse(`${REQUEST_HASH_CLAIM} is missing`);
  if (identity.requestHash !== expected) throw refuse(`${REQUEST_HASH_CLAIM} is another request's`);
}

function takeToken({ authorization, internalAuth }: Credentials): string {
  // With two tokens, which one counts would depend on who reads them. AWS IAM's own signature is no token.
  const isIamSignature = authorization?.startsWith('AWS4-HMAC-SHA256 ') === true;
  if (authorization !== undefined && internalAuth !== undefined && !isIamSignature) {
    throw refuse('there are two tokens');
  }
  const token = internalAuth ?? /^Bearer +([^\s,]+)$/i.exec(authorization ?? '')?.[1];
  if (token === undefined || !/^[\w.~+/=-]+$/.test(token)) throw refuse('there is no bearer token');
  if (token.length > TOKEN_LENGTH_MAX) throw refuse('the token is too long');
  return token;
}

function readKeyId(token: string): string {
  // Base64 has several spellings of the same bytes, and libraries read them all: one token would have many texts.
  const isCanonical = token.split('.').every((part) => recode(part) === part);
  if (!isCanonical) throw refuse('the token is not in base64url as it is made');
  let kid: unknown;
  try {
    kid = decodeProtectedHeader(token).kid;
  } catch (error) {
    throw refuse('the token', error);
  }
  if (typeof kid !== 'string') throw refuse('kid is missing');
  return kid;
}

function refuse(reason: string, cause?: unknown): ServiceError {
  const told = cause instanceof Error ? `${reason}: ${cause.message}` : reason;
  return new ServiceError('unauthenticated', 'This needs a valid token for exactly this request.', {
    cause: new Error(told),
  });
}

function recode(part: string): string {
  return Buffer.from(part, 'base64url').toString('base64url');
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
