import { type Db, MongoClient, type MongoClientOptions } from 'mongodb';

/** How to reach the database. */
export interface MongoSettings {
  /** Without credentials; those come apart, so that a URL may be logged. */
  readonly url: string;
  readonly database: string;
  readonly credentials: { readonly username: string; readonly password: { reveal(): string } } | null;
  readonly connectTimeoutMs: number;
  readonly serverSelectionTimeoutMs: number;
  readonly maxPoolSize: number;
}

/**
 * Opens a lazily connecting client whose every read and write is safe to rest a decision on: majority reads from
 * the primary, majority and journaled writes. Writes are not retried by the driver: a lost acknowledgement is
 * resolved by reading again, the same way on every server. `timeoutMS` is left alone, as it has desynchronised
 * pools of this driver; the per-stage timeouts bound the waits.
 */
export function connectMongo(settings: MongoSettings): { readonly client: MongoClient; readonly db: Db } {
  const options: MongoClientOptions = {
    appName: 'tron-payment-functions',
    readPreference: 'primary',
    readConcern: { level: 'majority' },
    writeConcern: { w: 'majority', journal: true },
    retryWrites: false,
    retryReads: true,
    // Amounts are 64-bit integers from end to end.
    useBigInt64: true,
    promoteBuffers: true,
    ignoreUndefined: true,
    connectTimeoutMS: settings.connectTimeoutMs,
    serverSelectionTimeoutMS: settings.serverSelectionTimeoutMs,
    socketTimeoutMS: settings.connectTimeoutMs + settings.serverSelectionTimeoutMs,
    waitQueueTimeoutMS: settings.serverSelectionTimeoutMs,
    maxPoolSize: settings.maxPoolSize,
    minPoolSize: 0,
    ...(settings.credentials === null
      ? {}
      : {
          auth: {
            username: settings.credentials.username,
            password: settings.credentials.password.reveal(),
          },
        }),
  };
  const client = new MongoClient(settings.url, options);
  return { client, db: client.db(settings.database) };
}
