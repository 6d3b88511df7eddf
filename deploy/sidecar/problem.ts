import { STATUS_CODES } from 'node:http';

/** Every answer that the sidecar gives by itself, with its status. Callers may branch on the code. */
const STATUS_BY_CODE = {
  request_invalid: 400,
  path_invalid: 400,
  acl_denied: 403,
  route_not_found: 404,
  request_timeout: 408,
  body_too_large: 413,
  expectation_failed: 417,
  throttled: 429,
  headers_too_large: 431,
  internal: 500,
  function_error: 502,
  function_response_invalid: 502,
  instance_lost: 502,
  no_instance: 503,
  draining: 503,
  function_timeout: 504,
} as const;

export type ProblemCode = keyof typeof STATUS_BY_CODE;

/** A refusal or failure, as it goes to the caller. `detail` is safe to show. */
export interface Problem {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly retryAfterSeconds?: number;
}

export function statusOf(code: ProblemCode): number {
  return STATUS_BY_CODE[code];
}

/** The RFC 9457 document. */
export function problemDocument({ code, detail }: Problem, requestId?: string): string {
  const status = STATUS_BY_CODE[code];
  return JSON.stringify({
    type: 'about:blank',
    title: STATUS_CODES[status],
    status,
    detail,
    code,
    ...(requestId === undefined ? {} : { requestId }),
  });
}
