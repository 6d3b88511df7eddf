import { expect, it } from 'vitest';
import { ServiceError } from '../../../../shared/domain/errors.ts';

it('an error has its code and message, and nothing else unless it is told', () => {
  const error = new ServiceError('too_busy', 'Try again.');
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: 'ServiceError', code: 'too_busy', message: 'Try again.', extra: {} });
  expect([error.field, error.retryAfterSeconds, error.cause]).toEqual([undefined, undefined, undefined]);
  expect('cause' in error).toBe(false);
});

it('an error tells what it was given', () => {
  const cause = new Error('inside');
  const error = new ServiceError('field_invalid', 'No.', {
    field: 'amount',
    retryAfterSeconds: 3,
    extra: { limit: 'daily' },
    cause,
  });
  expect(error).toMatchObject({ field: 'amount', retryAfterSeconds: 3, extra: { limit: 'daily' } });
  expect(error.cause).toBe(cause);
});
