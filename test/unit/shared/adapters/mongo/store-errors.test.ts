import { type MongoClient, MongoNetworkError, MongoServerError } from 'mongodb';
import { describe, expect, it } from 'vitest';
import { storeAccess } from '../../../../../shared/adapters/mongo/store-errors.ts';

const { reading, writing } = storeAccess({ connect: async () => {} } as unknown as MongoClient);

/** As Node throws it where a socket is written to whose other end is gone; the driver lets it pass. */
function systemError(code: string): Error {
  return Object.assign(new Error('This socket has been ended by the other party'), { code });
}

describe('an error of the store', () => {
  it.each([
    ['of the driver', new MongoNetworkError('connection 1 to 127.0.0.1:27017 closed')],
    ['EPIPE', systemError('EPIPE')],
    ['ECONNRESET', systemError('ECONNRESET')],
    ['ERR_STREAM_DESTROYED', systemError('ERR_STREAM_DESTROYED')],
  ])('leaves nothing done in a read, and everything open in a write: %s', async (_, error) => {
    await expect(reading(() => Promise.reject(error))).rejects.toMatchObject({
      code: 'store_unavailable',
      cause: error,
    });
    await expect(writing(() => Promise.reject(error))).rejects.toMatchObject({
      code: 'outcome_unknown',
      cause: error,
    });
  });

  it.each([
    ['a duplicate key', new MongoServerError({ message: 'E11000', code: 11000 })],
    ['a mistake in the code', new TypeError('undefined is not a function')],
    [
      'a mistake that Node names',
      Object.assign(new TypeError('no string'), { code: 'ERR_INVALID_ARG_TYPE' }),
    ],
  ])('passes a write through where it is %s', async (_, error) => {
    await expect(writing(() => Promise.reject(error))).rejects.toBe(error);
  });

  it('is the same while the connection is made', async () => {
    const error = systemError('EPIPE');
    const { writing } = storeAccess({ connect: () => Promise.reject(error) } as unknown as MongoClient);
    await expect(writing(async () => true)).rejects.toMatchObject({
      code: 'store_unavailable',
      cause: error,
    });
  });
});
