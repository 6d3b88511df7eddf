import { readFileSync } from 'node:fs';
import type { DatabaseUser } from './administration.ts';

/** What `database-init` is told by its environment; passwords stand in files. */
export interface InitConfig {
  /** `host:port`, as the members of the replica set and the functions know it. */
  readonly host: string;
  readonly database: string;
  /** Null for a single server that is none. */
  readonly replicaSet: { readonly name: string } | null;
  /** Null for a server without users, which is a stand-in for tests. */
  readonly root: { readonly username: string; readonly password: string } | null;
  readonly users: readonly DatabaseUser[];
}

const PASSWORD_BYTES_MIN = 12;

/** @throws Error that names every key that is missing or wrong, and repeats no secret. */
export function readInitConfig(env: Readonly<Record<string, string | undefined>>): InitConfig {
  const problems: string[] = [];
  const text = (key: string): string | null => env[key]?.trim() || null;
  const required = (key: string): string => {
    const value = text(key);
    if (value === null) problems.push(`${key} is missing`);
    return value ?? '';
  };
  const password = (key: string): string => {
    const path = required(key);
    if (path === '') return '';
    try {
      const secret = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
      if (Buffer.byteLength(secret) >= PASSWORD_BYTES_MIN) return secret;
      problems.push(`${key}: the file holds fewer than ${PASSWORD_BYTES_MIN} bytes`);
    } catch (error) {
      problems.push(`${key}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
    }
    return '';
  };

  const host = required('MONGO_HOST');
  if (host !== '' && !/^[A-Za-z0-9.-]+:\d{1,5}$/.test(host)) problems.push('MONGO_HOST must be host:port');
  const database = required('MONGO_DATABASE');
  const replicaSet = text('MONGO_REPLICA_SET');
  const rootName = text('MONGO_ROOT_USERNAME');
  const config: InitConfig = {
    host,
    database,
    replicaSet: replicaSet === null ? null : { name: replicaSet },
    root: rootName === null ? null : { username: rootName, password: password('MONGO_ROOT_PASSWORD_FILE') },
    users:
      rootName === null
        ? []
        : [
            { name: required('MONGO_USERNAME'), password: password('MONGO_PASSWORD_FILE'), may: 'pay' },
            {
              name: required('MONGO_STATS_USERNAME'),
              password: password('MONGO_STATS_PASSWORD_FILE'),
              may: 'read',
            },
          ],
  };
  if (problems.length > 0) throw new Error(`configuration is not usable: ${problems.join('; ')}`);
  return config;
}
