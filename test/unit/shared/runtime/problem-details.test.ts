import { describe, expect, it } from 'vitest';
import { type ErrorCode, ServiceError } from '../../../../shared/domain/errors.ts';
import { HTTP_ERRORS } from '../../../../shared/runtime/http-errors.ts';
import { toProblem } from '../../../../shared/runtime/problem-details.ts';

describe('the status of a code', () => {
  // Written out a second time on purpose: callers build on these, so a change must be made twice.
  const STATUSES: Record<number, ErrorCode[]> = {
    400: [
      'body_invalid',
      'field_missing',
      'field_unknown',
      'field_invalid',
      'amount_invalid',
      'recipient_invalid',
      'idempotency_key_missing',
      'idempotency_key_invalid',
    ],
    401: ['unauthenticated'],
    403: ['forbidden', 'approval_by_maker'],
    404: ['route_not_found', 'payment_not_found'],
    421: ['misdirected'],
    405: ['method_not_allowed'],
    409: [
      'payment_in_flight',
      'reference_taken',
      'payment_not_cancellable',
      'payment_not_awaiting_approval',
      'payment_not_in_review',
      'attempt_may_land',
      'order_outdated',
      'not_reconciled',
    ],
    413: ['body_too_large'],
    415: ['media_type_unsupported'],
    422: [
      'idempotency_key_reused',
      'recipient_refused',
      'above_maximum',
      'approval_required',
      'insufficient_funds',
      'fee_above_cap',
      'simulation_failed',
    ],
    429: ['limit_exceeded'],
    500: ['internal'],
    503: [
      'circuit_open',
      'payments_stopped',
      'payments_paused',
      'too_busy',
      'store_unavailable',
      'chain_unavailable',
      'outcome_unknown',
    ],
  };

  it.each(
    Object.entries(STATUSES).flatMap(([status, codes]) =>
      codes.map((code) => [code, Number(status)] as const),
    ),
  )('of %s is %i', (code, status) => {
    expect(toProblem(new ServiceError(code, 'Told.'), 'r')).toMatchObject({ status, body: { status, code } });
  });

  it('is listed above for every code', () => {
    expect(Object.values(STATUSES).flat().sort()).toEqual(Object.keys(HTTP_ERRORS).sort());
  });

  it('that asks to come back says when', () => {
    for (const code of Object.keys(HTTP_ERRORS) as ErrorCode[]) {
      const { status, headers } = toProblem(new ServiceError(code, 'Told.'), 'r');
      // A conflict with what stands for good is not worth asking about again.
      const passes =
        [429, 503].includes(status) ||
        ['payment_in_flight', 'attempt_may_land', 'not_reconciled'].includes(code);
      expect([code, headers['retry-after'] !== undefined]).toEqual([code, passes]);
    }
  });
});

describe('a problem document', () => {
  it('takes the time to come back from the error, in whole seconds and at least one', () => {
    const retryAfter = (retryAfterSeconds: number) =>
      toProblem(new ServiceError('limit_exceeded', 'Told.', { retryAfterSeconds }), 'r').headers[
        'retry-after'
      ];
    expect([retryAfter(0), retryAfter(0.2), retryAfter(7), retryAfter(7.01)]).toEqual(['1', '1', '7', '8']);
  });

  it('names the field, where there is one', () => {
    const { body } = toProblem(new ServiceError('field_missing', 'Told.', { field: 'to' }), 'request-1');
    expect(body).toMatchObject({ field: 'to', detail: 'Told.', instance: 'request-1' });
    expect(toProblem(new ServiceError('internal', 'Told.'), 'r').body).not.toHaveProperty('field');
  });

  it.each([
    new TypeError('secret'),
    'secret',
    { code: 'limit_exceeded', message: 'secret' },
    null,
    undefined,
  ])('tells nothing of what was not written for callers: %s', (thrown) => {
    const problem = toProblem(thrown, 'r');
    expect(problem).toMatchObject({ status: 500, body: { code: 'internal' } });
    expect(JSON.stringify(problem)).not.toContain('secret');
  });

  it('never shows the cause', () => {
    const error = new ServiceError('store_unavailable', 'Told.', { cause: new Error('at mongo-7.internal') });
    expect(JSON.stringify(toProblem(error, 'r'))).not.toContain('mongo-7');
  });
});
