import type { ErrorCode } from '../domain/errors.ts';

/** How a code is told over HTTP. */
export interface HttpError {
  readonly status: number;
  /** The problem in a few words, the same for every occurrence. */
  readonly title: string;
  /** When trying again makes sense where the error itself does not say; whole seconds. */
  readonly retryAfterSeconds?: number;
}

/** The one table from code to status. The compiler refuses a code that is missing here. */
export const HTTP_ERRORS = {
  body_invalid: { status: 400, title: 'The body cannot be read' },
  body_too_large: { status: 413, title: 'The body is too large' },
  media_type_unsupported: { status: 415, title: 'The body is not JSON' },
  field_missing: { status: 400, title: 'A field is missing' },
  field_unknown: { status: 400, title: 'A field is not known' },
  field_invalid: { status: 400, title: 'A field is invalid' },
  amount_invalid: { status: 400, title: 'The amount is invalid' },
  recipient_invalid: { status: 400, title: 'The recipient is not a TRON address' },
  idempotency_key_missing: { status: 400, title: 'The Idempotency-Key header is missing' },
  idempotency_key_invalid: { status: 400, title: 'The Idempotency-Key header is invalid' },
  unauthenticated: { status: 401, title: 'A valid token is needed' },
  forbidden: { status: 403, title: 'The caller may not do this' },
  route_not_found: { status: 404, title: 'There is no such route' },
  method_not_allowed: { status: 405, title: 'The route does not know this method' },
  payment_not_found: { status: 404, title: 'There is no such payment' },
  misdirected: { status: 421, title: 'The event is for another function' },

  idempotency_key_reused: { status: 422, title: 'The idempotency key was used with another request' },
  payment_in_flight: { status: 409, title: 'The payment is being worked on', retryAfterSeconds: 1 },
  reference_taken: { status: 409, title: 'The reference is taken' },
  payment_not_cancellable: { status: 409, title: 'The payment can no longer be cancelled' },
  payment_not_awaiting_approval: { status: 409, title: 'The payment does not wait for approval' },
  payment_not_in_review: { status: 409, title: 'The payment is not under review' },
  approval_by_maker: { status: 403, title: 'Who made a payment cannot approve it' },
  order_outdated: { status: 409, title: 'The order is older than what it is about' },
  not_reconciled: {
    status: 409,
    title: 'What was paid since the backup is not known yet',
    retryAfterSeconds: 60,
  },
  attempt_may_land: { status: 409, title: 'The transaction may still be included', retryAfterSeconds: 60 },

  recipient_refused: { status: 422, title: 'The recipient cannot be paid' },
  above_maximum: { status: 422, title: 'The amount is above the largest payment' },
  approval_required: { status: 422, title: 'The amount needs approval' },
  insufficient_funds: { status: 422, title: 'The wallet cannot cover the payment' },
  fee_above_cap: { status: 422, title: 'The fee would be too high' },
  simulation_failed: { status: 422, title: 'The transfer would fail' },
  limit_exceeded: { status: 429, title: 'The payment exceeds a limit', retryAfterSeconds: 60 },
  circuit_open: { status: 503, title: 'The circuit breaker is open', retryAfterSeconds: 30 },
  payments_stopped: { status: 503, title: 'Payments are stopped', retryAfterSeconds: 60 },
  payments_paused: { status: 503, title: 'Payments are paused', retryAfterSeconds: 60 },
  too_busy: { status: 503, title: 'Too much is under way', retryAfterSeconds: 1 },

  store_unavailable: { status: 503, title: 'The database is away', retryAfterSeconds: 5 },
  chain_unavailable: { status: 503, title: 'The TRON network is away', retryAfterSeconds: 5 },
  outcome_unknown: { status: 503, title: 'The outcome is not known yet', retryAfterSeconds: 2 },

  internal: { status: 500, title: 'The service made a mistake' },
} as const satisfies Record<ErrorCode, HttpError>;
