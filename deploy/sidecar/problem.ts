/** Every answer that the sidecar gives by itself: its status, and the problem in a few words. */
export const PROBLEMS = {
  request_invalid: { status: 400, title: 'The request is malformed' },
  path_invalid: { status: 400, title: 'The path cannot be read' },
  acl_denied: { status: 403, title: 'The access policy does not allow this' },
  route_not_found: { status: 404, title: 'There is no such route' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  body_too_large: { status: 413, title: 'The body is too large' },
  expectation_failed: { status: 417, title: 'The expectation is not understood' },
  throttled: { status: 429, title: 'All instances are busy' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'The service made a mistake' },
  function_error: { status: 502, title: 'The function failed' },
  function_response_invalid: { status: 502, title: 'The function gave no proper response' },
  instance_lost: { status: 502, title: 'The instance was lost' },
  no_instance: { status: 503, title: 'No instance answers' },
  draining: { status: 503, title: 'The service is shutting down' },
  function_timeout: { status: 504, title: 'The function took too long' },
} as const;

/** Stable; callers may branch on it. */
export type ProblemCode = keyof typeof PROBLEMS;

/** A refusal or failure, as it goes to the caller. `detail` is safe to show. */
export interface Problem {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly retryAfterSeconds?: number;
}

export function statusOf(code: ProblemCode): number {
  return PROBLEMS[code].status;
}

/**
 * The RFC 9457 document, in the form of the functions' own (`shared/runtime/problem-details.ts`): a caller need not
 * know which of the two refused.
 * @param requestId by which the log line is found
 */
export function problemDocument({ code, detail }: Problem, requestId: string): string {
  const { status, title } = PROBLEMS[code];
  const type = `urn:tron-payment-service:problem:${code}`;
  return JSON.stringify({ type, title, status, detail, instance: requestId, code });
}
