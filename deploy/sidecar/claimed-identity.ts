import type { IncomingHttpHeaders } from 'node:http';
import { connectionOptions } from './event.ts';

/** A token's header has some sixty characters; what is much longer is none of ours. */
const HEADER_LENGTH_MAX = 512;

/**
 * Who a request's token says that it is of: `kid` in the header of the JWT (RFC 7515 section 4.1.4), in
 * `X-Internal-Auth` or as a bearer. Nothing is proven by it; the function does that. Only a token that comes to the function
 * counts, or the name would be another one than that which is proven.
 */
export function claimedIdentity(headers: IncomingHttpHeaders): string | undefined {
  const dropped = connectionOptions(headers.connection);
  const internal = dropped?.has('x-internal-auth') ? undefined : headers['x-internal-auth'];
  const authorization = dropped?.has('authorization') ? undefined : headers.authorization;
  const bearer = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  const token = typeof internal === 'string' ? internal.trim() : bearer;
  const [header = '', , signature] = token?.split('.') ?? [];
  if (signature === undefined || header.length > HEADER_LENGTH_MAX) return undefined;
  try {
    const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as {
      readonly kid?: unknown;
    };
    return typeof kid === 'string' ? kid : undefined;
  } catch {
    return undefined;
  }
}
