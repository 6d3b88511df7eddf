import type { DatabaseUser } from './administration.ts';
import { Environment } from './environment.ts';

/** What `database-init` is told by its environment. */
export interface InitConfig {
  /** `host:port`, as the members of the replica set and the functions know it. */
  readonly host: string;
  /** Whether that asks for TLS. A certificate of one's own is named by NODE_EXTRA_CA_CERTS. */
  readonly tls: boolean;
  readonly database: string;
  /** Null for a single server that is none. */
  readonly replicaSet: { readonly name: string } | null;
  /** Null for a server without users, which is a stand-in for tests. */
  readonly root: { readonly username: string; readonly password: string } | null;
  readonly users: readonly DatabaseUser[];
}

/** @throws Error that names every key that is missing or wrong, and repeats no secret. */
export function readInitConfig(env: Readonly<Record<string, string | undefined>>): InitConfig {
  const from = new Environment(env);
  const replicaSet = from.text('MONGO_REPLICA_SET');
  const rootName = from.text('MONGO_ROOT_USERNAME');
  const config: InitConfig = {
    host: from.hostAndPort('MONGO_HOST'),
    tls: from.isTrue('MONGO_TLS'),
    database: from.required('MONGO_DATABASE'),
    replicaSet: replicaSet === null ? null : { name: replicaSet },
    root:
      rootName === null ? null : { username: rootName, password: from.password('MONGO_ROOT_PASSWORD_FILE') },
    users:
      rootName === null
        ? []
        : [
            {
              name: from.required('MONGO_USERNAME'),
              password: from.password('MONGO_PASSWORD_FILE'),
              may: 'pay',
            },
            {
              name: from.required('MONGO_STATS_USERNAME'),
              password: from.password('MONGO_STATS_PASSWORD_FILE'),
              may: 'read',
            },
          ],
  };
  from.check();
  return config;
}
