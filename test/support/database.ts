import { randomUUID } from 'node:crypto';
import { type Db, MongoClient, type MongoClientOptions } from 'mongodb';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { type Database, startDatabase } from '../../deploy/local/database/start-database.ts';
import { connectMongo } from '../../shared/adapters/mongo/connect.ts';

export type TestDatabase = {
  /** Connection string of the server, for a part that connects by itself. */
  url(): string;
  /** Name of this test's own, fresh database. */
  name(): string;
  /** This test's own database, over a connection that closes after the test file. */
  db(): Db;
  client(): MongoClient;
  /** This test's own database over a further connection, made as production makes it; it closes after the test. */
  connect(): Db;
  kind(): Database['kind'];
};

/**
 * Gives the tests of one file (or one `describe`) a database process of their own, in memory where the machine has
 * no other, and each test a database name that nobody used before.
 *
 *   const database = useDatabase();
 *   it('…', async () => { await database.db().collection('payments').insertOne(…) });
 *
 * Longs are read as bigint and binary data as buffers, as in production; options given here win.
 */
export function useDatabase(options: MongoClientOptions = {}): TestDatabase {
  let server: Database | undefined;
  let client: MongoClient | undefined;
  let db: Db | undefined;
  const further: MongoClient[] = [];

  beforeAll(async () => {
    server = await startDatabase({ memory: true });
    client = await new MongoClient(server.url, {
      useBigInt64: true,
      promoteBuffers: true,
      ...options,
    }).connect();
  });
  beforeEach(() => {
    db = client?.db(`test-${randomUUID()}`);
  });
  afterEach(async () => {
    await Promise.all(further.splice(0).map((each) => each.close()));
    await db?.dropDatabase();
  });
  afterAll(async () => {
    await client?.close();
    await server?.stop();
  });

  return {
    url: () => started(server).url,
    name: () => started(db).databaseName,
    db: () => started(db),
    client: () => started(client),
    connect() {
      const connection = connectMongo({
        url: started(server).url,
        database: started(db).databaseName,
        credentials: null,
        connectTimeoutMs: 10_000,
        serverSelectionTimeoutMs: 10_000,
        maxPoolSize: 5,
      });
      further.push(connection.client);
      return connection.db;
    },
    kind: () => started(server).kind,
  };
}

function started<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('the test database is there in tests and hooks only');
  return part;
}
