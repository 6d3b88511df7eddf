import { validateHeaderName, validateHeaderValue } from 'node:http';

/** What RIE said to an invoke: its status and body, as they came. */
export interface RieAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** The function's HTTP response, inferred by Lambda's rules. `headers` alternates names and values. */
export interface FunctionResponse {
  readonly kind: 'response';
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string | Buffer;
}

/** Why there is none. `reason` is for the log, never for the caller. */
export interface FunctionFailure {
  readonly kind: 'failure';
  readonly code: 'function_error' | 'function_timeout' | 'function_response_invalid';
  readonly reason: string;
}

/** What the function returned, before it is read as a response. */
export type FunctionResult = { readonly kind: 'result'; readonly value: unknown } | FunctionFailure;

/** Of a connection (RFC 9110, 7.6.1), or set here from the body that is really sent. */
const NOT_FORWARDED = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const MISDIRECTED_MARK = '"statusCode":421';

const ERROR_KEYS = new Set(['errorType', 'errorMessage', 'trace', 'stackTrace']);

/**
 * Tells a function's result from RIE's error shapes. RIE sets no header that would tell them apart: a timeout
 * is text where every result is JSON; an error object has only the keys of one.
 */
export function readResult({ status, body }: RieAnswer): FunctionResult {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    const text = body.toString('utf8', 0, 200);
    return /Task timed out after \d+\.\d+ seconds\s*$/.test(text)
      ? failure('function_timeout', text)
      : failure('function_error', `status ${status}: ${text}`);
  }
  if (isErrorObject(value))
    return failure('function_error', `${value.errorType}: ${value.errorMessage}`.slice(0, 500));
  if (status !== 200) return failure('function_error', `status ${status}`);
  return { kind: 'result', value };
}

/**
 * Whether an instance of another function answered, which did nothing: status 421 (RFC 9110, 15.5.20). Most answers are
 * told by their bytes; a text inside of one has its quotes escaped, and cannot look like this.
 */
export function isMisdirected(answer: RieAnswer): boolean {
  if (!answer.body.includes(MISDIRECTED_MARK)) return false;
  const result = readResult(answer);
  return result.kind === 'result' && isRecord(result.value) && result.value.statusCode === 421;
}

/** Response inference of payload format 2.0. */
export function inferResponse(answer: RieAnswer): FunctionResponse | FunctionFailure {
  const result = readResult(answer);
  if (result.kind === 'failure') return result;
  const { value } = result;
  if (!isRecord(value) || value.statusCode === undefined) {
    const body = typeof value === 'string' ? value : JSON.stringify(value);
    return { kind: 'response', status: 200, headers: ['content-type', 'application/json'], body };
  }
  const { statusCode, headers, cookies, body, isBase64Encoded } = value;
  const status =
    typeof statusCode === 'string' && /^\d{3}$/.test(statusCode) ? Number(statusCode) : statusCode;
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599) {
    return invalid(`statusCode ${JSON.stringify(statusCode)}`);
  }
  if (body !== undefined && body !== null && typeof body !== 'string') return invalid('body is not a string');
  const lines: string[] = [];
  const wrong = addHeaders(lines, headers) ?? addCookies(lines, cookies);
  if (wrong !== undefined) return invalid(wrong);
  const text = body ?? '';
  return {
    kind: 'response',
    status,
    headers: lines,
    body: isBase64Encoded === true ? Buffer.from(text, 'base64') : text,
  };
}

/** Adds the function's headers, and the default type when it names none; answers what is wrong with them. */
function addHeaders(lines: string[], headers: unknown): string | undefined {
  let typed = false;
  if (headers !== undefined && headers !== null) {
    if (!isRecord(headers)) return 'headers is not an object';
    for (const name in headers) {
      const value = headers[name];
      const text = typeof value === 'string' ? value : String(value);
      if (typeof value === 'object') return `header ${name} is not a string`;
      if (!isHeader(name, text)) return `header ${name} is malformed`;
      const lower = name.toLowerCase();
      if (lower === 'content-type') typed = true;
      if (!NOT_FORWARDED.has(lower)) lines.push(name, text);
    }
  }
  if (!typed) lines.push('content-type', 'application/json');
  return undefined;
}

function addCookies(lines: string[], cookies: unknown): string | undefined {
  if (cookies === undefined || cookies === null) return undefined;
  if (!Array.isArray(cookies)) return 'cookies is not an array';
  for (const cookie of cookies) {
    if (typeof cookie !== 'string' || !isHeader('set-cookie', cookie)) return 'a cookie is malformed';
    lines.push('set-cookie', cookie);
  }
  return undefined;
}

function isHeader(name: string, value: string): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}

function isErrorObject(value: unknown): value is { errorType: string; errorMessage: string } {
  return (
    isRecord(value) &&
    typeof value.errorType === 'string' &&
    typeof value.errorMessage === 'string' &&
    Object.keys(value).every((key) => ERROR_KEYS.has(key))
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function failure(code: FunctionFailure['code'], reason: string): FunctionFailure {
  return { kind: 'failure', code, reason };
}

function invalid(reason: string): FunctionFailure {
  return failure('function_response_invalid', reason);
}
