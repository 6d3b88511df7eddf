/**
 * Makes the database ready, and ends: the replica set, the users with the least rights, collections and indexes.
 * Runs before the functions at each start; what is there already stays as it is, but for passwords and roles, which
 * are set to what the files say now.
 */
import { MongoClient } from 'mongodb';
import { migrateDatabase } from '../../../shared/adapters/mongo/migrations.ts';
import { prepareDatabase } from '../../../shared/adapters/mongo/mongo-store.ts';
import { ensureReplicaSet, ensureUsers } from './administration.ts';
import { type InitConfig, readInitConfig } from './init-config.ts';

const PRIMARY_PATIENCE_MS = 60_000;

function log(message: string, fields: object = {}): void {
  const entry = {
    level: 'INFO',
    time: new Date().toISOString(),
    service: 'database-init',
    message,
    ...fields,
  };
  process.stdout.write(`${JSON.stringify(entry)}\n`);
}

async function run(config: InitConfig): Promise<void> {
  // One of its own: making an index over many payments may take longer than any answer that the other programs wait for.
  const client = new MongoClient(`mongodb://${config.host}/`, {
    directConnection: true,
    tls: config.tls,
    serverSelectionTimeoutMS: PRIMARY_PATIENCE_MS,
    appName: 'database-init',
    ...(config.root === null
      ? {}
      : { auth: { username: config.root.username, password: config.root.password }, authSource: 'admin' }),
  });
  try {
    const admin = client.db('admin');
    const command = (document: Record<string, unknown>) => admin.command(document);
    if (config.replicaSet === null) {
      log('no replica set is configured: one server, no fail-over; not for production');
    } else {
      const { name } = config.replicaSet;
      const made = await ensureReplicaSet(command, {
        name,
        host: config.host,
        patienceMs: PRIMARY_PATIENCE_MS,
      });
      log(made ? 'replica set initiated' : 'replica set is there', { replicaSet: name });
    }
    if (config.root === null) {
      log('no root user is configured: anyone who reaches this database may write to it; not for production');
    } else {
      for (const { name, outcome } of await ensureUsers(command, config.database, config.users)) {
        log(`user ${outcome}`, { user: name });
      }
    }
    const db = client.db(config.database, { writeConcern: { w: 'majority', journal: true } });
    await prepareDatabase(db);
    for (const { schema, what } of await migrateDatabase(db)) log('migrated', { schema, what });
    log('collections and indexes are ready', { database: config.database });
  } finally {
    await client.close();
  }
}

try {
  await run(readInitConfig(process.env));
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(
    `${JSON.stringify({ level: 'CRITICAL', time: new Date().toISOString(), service: 'database-init', message })}\n`,
  );
  process.exitCode = 1;
}
