import { connect, createServer, type Server } from 'node:net';
import { describe, expect, it } from 'vitest';
import { connectMongo } from '../../../shared/adapters/mongo/connect.ts';
import { BREAKER, PAYMENTS } from '../../../shared/adapters/mongo/documents.ts';
import { mongoLedger } from '../../../shared/adapters/mongo/mongo-ledger.ts';
import { mongoPaymentReports } from '../../../shared/adapters/mongo/payment-reports.ts';
import { NEW_AUDIT } from '../../../shared/domain/audit.ts';
import { NEW_BREAKER } from '../../../shared/domain/breaker.ts';
import { useDatabase } from '../../support/database.ts';
import { freePort } from '../../support/ports.ts';
import { untilThere } from '../../support/wait-until.ts';

/** A database that MONGO_URL names may be on another machine. */
const CLOCKS_APART_MS = 5_000;

interface Row {
  readonly _id: string;
  readonly createdAtMs: number;
  readonly asset: string;
  readonly status: string;
  readonly amountMicro: bigint;
  readonly settleAtMs?: number;
  readonly isHeld?: true;
  readonly items?: readonly string[];
}

describe('reports from the database', () => {
  const database = useDatabase();
  const T0 = 1_750_000_000_000;

  const row = (id: string, rest: Partial<Row> = {}): Row => ({
    _id: id,
    createdAtMs: T0,
    asset: 'USDT',
    status: 'confirmed',
    amountMicro: 1_000_000n,
    ...rest,
  });
  const insert = (rows: Row[]) => database.db().collection<Row>(PAYMENTS).insertMany(rows);

  it('count and add up the payments of the period, by asset and status', async () => {
    await insert([
      row('before', { createdAtMs: T0 - 1 }),
      row('a'),
      row('b', { createdAtMs: T0 + 5, amountMicro: 2n }),
      row('c', { asset: 'TRX' }),
      row('d', { status: 'broadcast', amountMicro: 7n }),
      // Together more than a float can tell apart.
      row('e', { asset: 'TRX', status: 'failed', amountMicro: 2n ** 53n }),
      row('f', { asset: 'TRX', status: 'failed', amountMicro: 1n }),
      row('batch', { status: 'admitted', items: ['a', 'b'] }),
    ]);
    const sums = await mongoPaymentReports(database.db()).sumByStatus(T0);
    expect(new Set(sums)).toEqual(
      new Set([
        { asset: 'USDT', status: 'confirmed', count: 2, amountMicro: 1_000_002n },
        { asset: 'TRX', status: 'confirmed', count: 1, amountMicro: 1_000_000n },
        { asset: 'USDT', status: 'broadcast', count: 1, amountMicro: 7n },
        { asset: 'TRX', status: 'failed', count: 2, amountMicro: 2n ** 53n + 1n },
      ]),
    );
  });

  it('tell what audits have found, and nothing before the first', async () => {
    const reports = mongoPaymentReports(database.db());
    expect(await reports.readAudit()).toEqual(NEW_AUDIT);
    const ledger = mongoLedger(database.db());
    await ledger.readBreaker();
    await ledger.claimAudit('settle', T0, T0 + 60_000);
    const record = { ...NEW_AUDIT, wallet: { clearAtMs: T0, unclear: 'no node answers' } };
    await ledger.storeAudit('settle', record);
    expect(await reports.readAudit()).toEqual(record);
  });

  it('tell how many payments are unfinished and since when', async () => {
    await insert([
      row('done', { createdAtMs: T0 - 100 }),
      row('old', { createdAtMs: T0 - 50, settleAtMs: T0 + 1_000, status: 'broadcast' }),
      row('new', { createdAtMs: T0, settleAtMs: T0, isHeld: true }),
      row('last look', { createdAtMs: T0 - 80, settleAtMs: T0, status: 'expired' }),
      row('batch', { createdAtMs: T0 - 90, settleAtMs: T0, status: 'accepted', items: [] }),
    ]);
    await expect(mongoPaymentReports(database.db()).summariseUnfinished()).resolves.toEqual({
      count: 2,
      oldestCreatedAtMs: T0 - 50,
    });
  });

  it('tell of an empty database without writing to it', async () => {
    const reports = mongoPaymentReports(database.db());
    await expect(reports.sumByStatus(0)).resolves.toEqual([]);
    await expect(reports.summariseUnfinished()).resolves.toEqual({ count: 0, oldestCreatedAtMs: null });
    await expect(reports.readBreaker()).resolves.toEqual(NEW_BREAKER);
    await expect(database.db().collection(BREAKER).countDocuments()).resolves.toBe(0);
  });

  it('read the breaker that the ledger writes', async () => {
    const ledger = mongoLedger(database.db());
    await ledger.readBreaker();
    const amounts = { USDT: 5n, TRX: 0n };
    await ledger.pushReservation(
      { id: 't1', paymentId: 'p1', kind: 'reserve', generation: 0, amounts, feeMicro: 1n },
      null,
    );
    const breaker = await mongoPaymentReports(database.db()).readBreaker();
    expect(breaker).toEqual(await ledger.readBreaker());
    expect(breaker.books.USDT.outstandingMicro).toBe(5n);
  });

  it("tell the server's time", async () => {
    const reports = mongoPaymentReports(database.db());
    const beforeMs = Date.now();
    const serverTimeMs = await reports.serverTimeMs();
    expect(serverTimeMs).toBeGreaterThan(beforeMs - CLOCKS_APART_MS);
    expect(serverTimeMs).toBeLessThan(Date.now() + CLOCKS_APART_MS);
  });

  it('fail as store_unavailable where there is no database', async () => {
    const { client, db } = connectMongo({
      url: `mongodb://127.0.0.1:${await freePort()}/?directConnection=true`,
      database: 'none',
      credentials: null,
      connectTimeoutMs: 300,
      serverSelectionTimeoutMs: 300,
      maxPoolSize: 1,
    });
    const reports = mongoPaymentReports(db);
    await expect(reports.readBreaker()).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(reports.sumByStatus(0)).rejects.toMatchObject({ code: 'store_unavailable' });
    await client.close();
  });

  it('come back with the database, though it was away at the first question', async () => {
    const port = await freePort();
    const { client, db } = connectMongo({
      url: `mongodb://127.0.0.1:${port}/?directConnection=true`,
      database: database.name(),
      credentials: null,
      connectTimeoutMs: 300,
      serverSelectionTimeoutMs: 300,
      maxPoolSize: 1,
    });
    const reports = mongoPaymentReports(db);
    await expect(reports.readBreaker()).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(reports.readBreaker()).rejects.toMatchObject({ code: 'store_unavailable' });
    const relay = await relayTo(Number(new URL(database.url()).port), port);
    const seen = await untilThere(() => reports.readBreaker());
    expect(seen).toEqual(NEW_BREAKER);
    await client.close();
    relay.close();
  });
});

/** A door to the database that can be opened later than the database itself. */
async function relayTo(target: number, port: number): Promise<Server> {
  const server = createServer((socket) => {
    const upstream = connect(target, '127.0.0.1');
    socket.on('error', () => upstream.destroy());
    upstream.on('error', () => socket.destroy());
    socket.pipe(upstream).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}
