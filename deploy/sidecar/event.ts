import type { IncomingMessage } from 'node:http';
import type { FunctionName } from './config.ts';

/** Lambda's limit for a request, envelope included. RIE cuts what is longer without a word. */
export const EVENT_BYTES_MAX = 6 * 1024 * 1024;

/** What goes into the event beside the message itself. */
export interface EventFacts {
  readonly functionName: FunctionName;
  readonly requestId: string;
  /** `Root=1-…`, see `traceIdOf`. */
  readonly traceId: string;
  readonly rawPath: string;
  readonly rawQuery: string;
  /** The `Host` header without its port. */
  readonly hostname: string;
  readonly sourceIp: string;
  readonly nowMs: number;
  readonly port: number;
}

/** Of a connection, not of a message (RFC 9110, 7.6.1), or answered here. */
const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * What only the platform says: who called, over what, with which trace. `x-apigateway-*` and
 * `x-aws-lambda-fastify-request` would replace the event inside `@fastify/aws-lambda`.
 */
const PLATFORM =
  /^(?:forwarded$|x-real-ip$|x-forwarded-|x-amzn-|x-apigateway-|x-aws-lambda-fastify-request$)/;

/** Media types whose bodies travel as text; every other body, and one without a type, travels as base64. */
const TEXT_TYPE = /^(?:text\/[^;]+|application\/(?:json|javascript|xml|[^;]+\+(?:json|xml)))\s*(?:;|$)/i;

/**
 * The event in payload format 2.0, as JSON, in the order and with the absences of a Lambda function URL:
 * `cookies`, `queryStringParameters` and `body` are missing when there is none.
 */
export function buildEvent(message: IncomingMessage, body: Buffer | undefined, facts: EventFacts): string {
  const headers = readHeaders(message.rawHeaders, message.headers.connection);
  if (body !== undefined) headers['content-length'] = String(body.length);
  headers['x-forwarded-for'] = facts.sourceIp;
  headers['x-forwarded-proto'] = 'http';
  headers['x-forwarded-port'] = String(facts.port);
  headers['x-amzn-trace-id'] = facts.traceId;
  const cookie = headers.cookie;
  const method = message.method ?? 'GET';
  return JSON.stringify({
    version: '2.0',
    routeKey: '$default',
    rawPath: facts.rawPath,
    rawQueryString: facts.rawQuery,
    // Lambda gives cookies twice: split here, and as they came among the headers.
    cookies: cookie === undefined ? undefined : splitCookies(cookie),
    headers,
    queryStringParameters: facts.rawQuery === '' ? undefined : parseQuery(facts.rawQuery),
    requestContext: {
      accountId: 'anonymous',
      apiId: facts.functionName,
      domainName: facts.hostname,
      domainPrefix: facts.functionName,
      http: {
        method,
        path: facts.rawPath,
        protocol: `HTTP/${message.httpVersion}`,
        sourceIp: facts.sourceIp,
        userAgent: message.headers['user-agent'] ?? '',
      },
      requestId: facts.requestId,
      routeKey: '$default',
      stage: '$default',
      time: formatTime(facts.nowMs),
      timeEpoch: facts.nowMs,
    },
    ...encodeBody(body, message.headers['content-type']),
  });
}

/** What EventBridge sends for a rule on a schedule. */
export function buildScheduledEvent(id: string, nowMs: number): string {
  return JSON.stringify({
    version: '0',
    id,
    'detail-type': 'Scheduled Event',
    source: 'aws.events',
    account: '000000000000',
    time: `${new Date(nowMs).toISOString().slice(0, 19)}Z`,
    region: 'local',
    resources: ['arn:aws:events:local:000000000000:rule/settle'],
    detail: {},
  });
}

/** An X-Ray root id: the seconds and 96 bits, taken from the request's random id. */
export function traceIdOf(requestId: string, nowMs: number): string {
  const seconds = Math.floor(nowMs / 1_000).toString(16);
  return `Root=1-${seconds.padStart(8, '0')}-${requestId.replaceAll('-', '').slice(0, 24).padStart(24, '0')}`;
}

/** Lower-case names, repeats joined with a comma (cookies with a semicolon, as they travel in one header). */
export function readHeaders(
  rawHeaders: readonly string[],
  connection: string | undefined,
): Record<string, string> {
  const dropped = connectionOptions(connection);
  const headers = emptyRecord();
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    const value = rawHeaders[index + 1] ?? '';
    if (HOP_BY_HOP.has(name) || isPlatformHeader(name) || dropped?.has(name)) continue;
    const before = headers[name];
    headers[name] = before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ','}${value}`;
  }
  return headers;
}

/**
 * What a `Connection` header names (RFC 9110, 7.6.1): headers of these names are of the connection, and come to no
 * function. Undefined where it names none.
 */
export function connectionOptions(connection: string | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(connection.toLowerCase().split(',').map(trim));
}

/** Decoded names and values, repeats joined with a comma. What is not valid percent-encoding stays as it is. */
export function parseQuery(rawQuery: string): Record<string, string> {
  const parameters = emptyRecord();
  for (const pair of rawQuery.split('&')) {
    if (pair === '') continue;
    const mark = pair.indexOf('=');
    const name = decodeQueryPart(mark === -1 ? pair : pair.slice(0, mark));
    const value = mark === -1 ? '' : decodeQueryPart(pair.slice(mark + 1));
    const before = parameters[name];
    parameters[name] = before === undefined ? value : `${before},${value}`;
  }
  return parameters;
}

function isPlatformHeader(name: string): boolean {
  // Most headers begin with another letter.
  return (name.startsWith('x-') || name.startsWith('f')) && PLATFORM.test(name);
}

function encodeBody(
  body: Buffer | undefined,
  contentType: string | undefined,
): { body?: string; isBase64Encoded: boolean } {
  if (body === undefined) return { isBase64Encoded: false };
  if (contentType !== undefined && TEXT_TYPE.test(contentType)) {
    const text = body.toString('utf8');
    // Bytes that are no UTF-8 would be replaced on the way, and a signature over the body would not hold.
    if (!text.includes('\ufffd') || body.equals(Buffer.from(text, 'utf8')))
      return { body: text, isBase64Encoded: false };
  }
  return { body: body.toString('base64'), isBase64Encoded: true };
}

function splitCookies(header: string): string[] {
  return header
    .split(';')
    .map(trim)
    .filter((cookie) => cookie !== '');
}

function decodeQueryPart(part: string): string {
  const spaced = part.includes('+') ? part.replaceAll('+', ' ') : part;
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
let formattedSecond = -1;
let formattedTime = '';

/** `24/Nov/2026:00:51:40 +0000`; requests come many a second, so the last one is kept. */
function formatTime(nowMs: number): string {
  const second = Math.floor(nowMs / 1_000);
  if (second !== formattedSecond) {
    const date = new Date(nowMs);
    const day = String(date.getUTCDate()).padStart(2, '0');
    formattedTime = `${day}/${MONTHS[date.getUTCMonth()]}/${date.getUTCFullYear()}:${date.toISOString().slice(11, 19)} +0000`;
    formattedSecond = second;
  }
  return formattedTime;
}

/** Without a prototype: `__proto__` is a name like any other in a query. */
function emptyRecord(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}

function trim(text: string): string {
  return text.trim();
}
