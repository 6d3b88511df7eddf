import { type MongoClient, MongoError, MongoServerError, MongoServerSelectionError } from 'mongodb';
import { ServiceError } from '../../domain/errors.ts';

/** The only thing that every server says alike about a broken unique index. */
const DUPLICATE_KEY = 11000;

export function isDuplicateKey(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === DUPLICATE_KEY;
}

/** Runs reads and writes, and tells the errors of the driver apart. */
export interface StoreAccess {
  /** Whatever goes wrong, nothing was changed. */
  reading<T>(read: () => Promise<T>): Promise<T>;
  /**
   * An error that leaves open whether the write was made is told apart from one that does not: a write that
   * timed out, or whose connection broke, may stand, and may even be made later. Duplicate keys pass through.
   */
  writing<T>(write: () => Promise<T>): Promise<T>;
}

export function storeAccess(client: MongoClient): StoreAccess {
  /**
   * The driver connects by itself once. Where that fails its topology stays closed, and this process would never
   * reach the database again; `connect` makes a new one, and does nothing while there is one.
   */
  async function connect(): Promise<void> {
    try {
      await client.connect();
    } catch (error) {
      throw isOutOfReach(error) ? unavailable(error) : error;
    }
  }

  return {
    async reading(read) {
      await connect();
      try {
        return await read();
      } catch (error) {
        throw isOutOfReach(error) ? unavailable(error) : error;
      }
    },

    async writing(write) {
      await connect();
      try {
        return await write();
      } catch (error) {
        if (!isOutOfReach(error) || isDuplicateKey(error)) throw error;
        if (error instanceof MongoServerSelectionError) throw unavailable(error);
        throw new ServiceError('outcome_unknown', 'The database did not acknowledge a change.', {
          retryAfterSeconds: 2,
          cause: error,
        });
      }
    },
  };
}

/**
 * What the driver says, and what Node says of a socket whose other end is gone: the driver lets that pass as it is
 * where it writes to a connection that has just been closed.
 */
function isOutOfReach(error: unknown): error is Error {
  if (error instanceof MongoError) return true;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^(?:E[A-Z]+|ERR_STREAM_\w+|ERR_SOCKET_\w+)$/.test(code);
}

function unavailable(cause: Error): ServiceError {
  return new ServiceError('store_unavailable', 'The database is out of reach.', {
    retryAfterSeconds: 5,
    cause,
  });
}
