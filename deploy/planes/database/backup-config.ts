import type { Db } from 'mongodb';
import { connectMongo } from '../../../shared/adapters/mongo/connect.ts';
import { Environment } from './environment.ts';

/** What the programs that make a backup and put one back are told by their environment. */
export interface BackupConfig {
  /** `host:port` of the primary. */
  readonly host: string;
  /** Whether that asks for TLS. */
  readonly tls: boolean;
  readonly database: string;
  /** Null for a server without users, which is a stand-in for tests. */
  readonly credentials: { readonly username: string; readonly password: { reveal(): string } } | null;
  /** Where backups are. */
  readonly folder: string;
}

/** For the server to be found, and for each of its answers twice as long. */
const PATIENCE_MS = 60_000;

/** @throws Error that names every key that is missing or wrong, and repeats no secret. */
export function readBackupConfig(env: Readonly<Record<string, string | undefined>>): BackupConfig {
  const from = new Environment(env);
  const username = from.text('MONGO_USERNAME');
  const password = username === null ? '' : from.password('MONGO_PASSWORD_FILE');
  const config: BackupConfig = {
    host: from.hostAndPort('MONGO_HOST'),
    tls: from.isTrue('MONGO_TLS'),
    database: from.required('MONGO_DATABASE'),
    credentials: username === null ? null : { username, password: { reveal: () => password } },
    folder: from.required('BACKUP_FOLDER'),
  };
  from.check();
  return config;
}

/** Does the work on the database of the configuration, and leaves it. */
export async function withDatabase<T>(
  { host, tls, database, credentials }: BackupConfig,
  work: (db: Db) => Promise<T>,
): Promise<T> {
  const { client, db } = connectMongo({
    // The very server that is asked whether it is the primary.
    url: `mongodb://${host}/?directConnection=true&authSource=admin&tls=${tls}`,
    database,
    credentials,
    connectTimeoutMs: PATIENCE_MS,
    serverSelectionTimeoutMs: PATIENCE_MS,
    maxPoolSize: 2,
  });
  try {
    return await work(db);
  } finally {
    await client.close();
  }
}
