import { hash } from 'node:crypto';
import { ServiceError } from '../domain/errors.ts';
import type { PaymentOrder } from '../domain/payment.ts';

/** What is said about a caller's key, by single payments and batches alike. */

/** The same for every body that orders the same, whatever its spelling (`25` and `25.0`). */
export function fingerprintOf(...parts: readonly ('batch' | PaymentOrder)[]): string {
  const canonical = parts.map((part) =>
    part === 'batch' ? part : [part.asset, part.amountMicro.toString(), part.recipient, part.reference],
  );
  return hash('sha256', JSON.stringify(canonical.length === 1 ? canonical[0] : canonical));
}

export function inFlight(): ServiceError {
  return new ServiceError(
    'payment_in_flight',
    'This payment is being worked on; ask again with the same key.',
    {
      retryAfterSeconds: 1,
    },
  );
}

export function keyReused(): ServiceError {
  return new ServiceError('idempotency_key_reused', 'This key was used before, for another payment.', {
    field: 'Idempotency-Key',
  });
}

export function referenceTaken(): ServiceError {
  return new ServiceError('reference_taken', 'Another payment of yours has this reference.', {
    field: 'reference',
  });
}

/**
 * The claim stands and `settle` goes on with it, so whatever stopped this invocation ("the store is away", "too
 * busy"), that nothing is under way is no longer ours to say.
 */
export function afterClaim(error: unknown): unknown {
  return error instanceof ServiceError && error.code !== 'internal' ? unclear(error) : error;
}

export function unclear(cause?: ServiceError): ServiceError {
  return new ServiceError('outcome_unknown', 'The payment may be under way; ask again with the same key.', {
    retryAfterSeconds: cause?.retryAfterSeconds ?? 2,
    cause,
  });
}
