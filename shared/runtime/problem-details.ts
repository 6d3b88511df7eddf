import { type ErrorCode, ServiceError } from '../domain/errors.ts';
import { HTTP_ERRORS, type HttpError } from './http-errors.ts';

/** An error as RFC 9457 tells it, with our members beside it. */
export interface ProblemDetails {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** The request's id, by which the log line is found. */
  readonly instance: string;
  /** Stable; callers may branch on it. */
  readonly code: ErrorCode;
  /** The request field at fault, as the caller spelt it. */
  readonly field?: string;
  readonly [extra: string]: string | number | boolean | undefined;
}

export interface ProblemResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ProblemDetails;
}

export const PROBLEM_MEDIA_TYPE = 'application/problem+json';

/**
 * Tells an error to the caller. A `ServiceError` was written for the caller; of anything else the caller learns
 * only that it was our mistake.
 */
export function toProblem(error: unknown, requestId: string): ProblemResponse {
  const told =
    error instanceof ServiceError
      ? error
      : new ServiceError('internal', 'The request could not be handled. The log tells more.');
  const rule: HttpError = HTTP_ERRORS[told.code];
  const retryAfterSeconds = told.retryAfterSeconds ?? rule.retryAfterSeconds;
  return {
    status: rule.status,
    headers: {
      'content-type': PROBLEM_MEDIA_TYPE,
      // A refusal holds for this moment only.
      'cache-control': 'no-store',
      ...(retryAfterSeconds === undefined
        ? {}
        : { 'retry-after': String(Math.max(1, Math.ceil(retryAfterSeconds))) }),
      ...(told.code === 'unauthenticated'
        ? { 'www-authenticate': 'Bearer realm="tron-payment-service"' }
        : {}),
    },
    body: {
      ...told.extra,
      type: `urn:tron-payment-service:problem:${told.code}`,
      title: rule.title,
      status: rule.status,
      detail: told.message,
      instance: requestId,
      code: told.code,
      ...(told.field === undefined ? {} : { field: told.field }),
    },
  };
}
