/**
 * Every way in which the service refuses or fails, by a stable code that callers may branch on.
 * `shared/runtime/http-errors.ts` maps each code to its HTTP status; the compiler checks that none is missing.
 */
export type ErrorCode =
  // The request itself is wrong: nothing was stored, nothing was signed.
  | 'body_invalid'
  | 'body_too_large'
  | 'media_type_unsupported'
  | 'field_missing'
  | 'field_unknown'
  | 'field_invalid'
  | 'amount_invalid'
  | 'recipient_invalid'
  | 'idempotency_key_missing'
  | 'idempotency_key_invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'route_not_found'
  | 'method_not_allowed'
  | 'payment_not_found'
  | 'misdirected'
  // The request is well formed, but contradicts what is stored.
  | 'idempotency_key_reused'
  | 'payment_in_flight'
  | 'reference_taken'
  | 'payment_not_cancellable'
  | 'payment_not_awaiting_approval'
  | 'payment_not_in_review'
  | 'approval_by_maker'
  | 'attempt_may_land'
  | 'order_outdated'
  | 'not_reconciled'
  // The payment is refused; the same key and body may be tried again.
  | 'recipient_refused'
  | 'above_maximum'
  | 'approval_required'
  | 'insufficient_funds'
  | 'fee_above_cap'
  | 'simulation_failed'
  | 'limit_exceeded'
  | 'circuit_open'
  | 'payments_stopped'
  | 'payments_paused'
  | 'too_busy'
  // A part that we depend on did not answer.
  | 'store_unavailable'
  | 'chain_unavailable'
  | 'outcome_unknown'
  // A mistake of ours; the caller learns no more than that.
  | 'internal';

/** What a `ServiceError` may say beside its code and message. */
export interface ErrorDetails {
  /** The request field at fault, as the caller spelt it: `amount`, `Idempotency-Key`. */
  readonly field?: string;
  /** When trying again makes sense, in whole seconds from now. */
  readonly retryAfterSeconds?: number;
  /** Further members of the problem document; safe to show. */
  readonly extra?: Readonly<Record<string, string | number | boolean>>;
  readonly cause?: unknown;
}

/**
 * The one error that crosses layers. `message` is written for the caller and safe to show; whatever is not
 * goes into `cause`, which is logged and never sent.
 */
export class ServiceError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly extra: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ServiceError';
    this.code = code;
    this.field = details.field;
    this.retryAfterSeconds = details.retryAfterSeconds;
    this.extra = details.extra ?? {};
  }
}
