import { createHash } from 'node:crypto';
import { SignJWT } from 'jose';
import type { Secret } from './secret.ts';

/** The one algorithm, for making and for checking. A token that names another is not looked at. */
export const TOKEN_ALGORITHM = 'HS256';

/** The claim that binds a token to one request. */
export const REQUEST_HASH_CLAIM = 'request_sha256';

/** What a token for a changing request is bound to. */
export interface BoundRequest {
  readonly method: string;
  /** As it stands in the request line. No request that changes anything has a query. */
  readonly path: string;
  /** Empty where the request has none. */
  readonly idempotencyKey: string;
  /** The bytes as they are sent, before anybody parses them. */
  readonly body: Uint8Array;
}

/**
 * The SHA-256 over `METHOD`, `PATH` and `IDEMPOTENCY-KEY`, each followed by a line feed, and then the body, as
 * base64url. None of the three can hold a line feed, so no two requests share a text.
 */
export function hashRequest(request: BoundRequest): string {
  return createHash('sha256')
    .update(`${request.method}\n${request.path}\n${request.idempotencyKey}\n`)
    .update(request.body)
    .digest('base64url');
}

export interface TokenOptions {
  /** Becomes `kid` and `iss`. */
  readonly caller: string;
  readonly secret: Secret;
  readonly audience: string;
  readonly nowMs: number;
  readonly lifetimeSeconds: number;
  /** Unique per token. */
  readonly tokenId: string;
  /** Needed for every request that is not a GET. */
  readonly request?: BoundRequest;
}

/** Makes a token as `Authenticator` accepts it. */
export async function mintToken(options: TokenOptions): Promise<string> {
  const issuedAt = Math.floor(options.nowMs / 1000);
  const claims = options.request === undefined ? {} : { [REQUEST_HASH_CLAIM]: hashRequest(options.request) };
  return await new SignJWT(claims)
    .setProtectedHeader({ alg: TOKEN_ALGORITHM, typ: 'JWT', kid: options.caller })
    .setIssuer(options.caller)
    .setAudience(options.audience)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + options.lifetimeSeconds)
    .setJti(options.tokenId)
    .sign(new TextEncoder().encode(options.secret.reveal()));
}
