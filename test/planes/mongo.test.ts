/**
 * What only a real replica set can show: rights, and a fail-over. Skipped on the stand-in, with the reason; see `main.ts`
 * for how it is run.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Db, MongoClient } from 'mongodb';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createRecipient } from '../../deploy/local/accounts.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { chainLedger, clientOf, containerOf, openPlanes } from './support/running-planes.ts';

const UNAUTHORIZED = expect.objectContaining({ code: 13 });

let planes: Planes;
const clients: MongoClient[] = [];

beforeAll(async () => {
  planes = await openPlanes();
});

beforeEach(({ skip }) => {
  skip(planes.hasStandIn, 'it needs mongo:7.0: PLANES_MONGO_ARCHIVE names a `docker save` of it');
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

/** @param secret the file of the password; without one nobody in particular */
async function connectAs(username: string, secret: string | null): Promise<MongoClient> {
  const { addresses } = await containerOf(planes, 'mongo');
  const url = `mongodb://${addresses.lucid_wallet_plane}:27017/?directConnection=true&authSource=admin`;
  const client = new MongoClient(url, {
    serverSelectionTimeoutMS: 30_000,
    ...(secret === null ? {} : { auth: { username, password: passwordIn(secret) } }),
  });
  clients.push(client);
  return client;
}

function passwordIn(secret: string): string {
  return readFileSync(join(planes.folders.secrets, secret), 'utf8').trimEnd();
}

async function databaseOf(username: string, secret: string | null): Promise<Db> {
  return (await connectAs(username, secret)).db('lucid_payments');
}

describe('the users of the database', () => {
  it('are none without a password', async () => {
    const db = await databaseOf('nobody', null);
    await expect(db.collection('payments').findOne()).rejects.toEqual(UNAUTHORIZED);
  });

  it('that pay find, insert and update, and neither remove, drop, nor make indexes', async () => {
    const db = await databaseOf('lucid', 'mongo_password');
    const payments = db.collection('payments');
    await payments.findOne();
    await payments.updateOne({ _id: 'nothing' as never }, { $set: { reason: null } });
    await expect(payments.deleteMany({})).rejects.toEqual(UNAUTHORIZED);
    await expect(payments.drop()).rejects.toEqual(UNAUTHORIZED);
    await expect(db.dropDatabase()).rejects.toEqual(UNAUTHORIZED);
    await expect(payments.createIndex({ other: 1 })).rejects.toEqual(UNAUTHORIZED);
    await expect(db.collection('others').insertOne({})).rejects.toEqual(UNAUTHORIZED);
  });

  it('that report read alone', async () => {
    const payments = (await databaseOf('lucid_stats', 'mongo_stats_password')).collection('payments');
    await payments.findOne();
    await expect(payments.insertOne({})).rejects.toEqual(UNAUTHORIZED);
    await expect(payments.updateMany({}, { $set: { reason: null } })).rejects.toEqual(UNAUTHORIZED);
  });
});

describe('a fail-over', () => {
  it('while payments are made costs none, and pays none twice', async () => {
    const client = await clientOf(planes);
    const recipients = Array.from({ length: 20 }, () => createRecipient(planes.folders.secrets));
    const paid = recipients.map(async (to, index) => {
      const options = { idempotencyKey: `failover-${to}`, deadlineMs: 120_000 };
      const payment = await client.pay({ to, amount: `0.${index + 1}`, asset: 'USDT' }, options);
      return client.follow(payment, { deadlineMs: 180_000, onAnswer() {} });
    });
    // The only member steps down, takes no writes, and is elected again.
    const admin = (await connectAs('lucid_root', 'mongo_root_password')).db('admin');
    await admin.command({ replSetStepDown: 5, force: true });
    for (const payment of await Promise.all(paid)) expect(payment.status).toBe('confirmed');
    const transfers = await chainLedger(planes);
    for (const to of recipients) expect(transfers.filter((entry) => entry.to === to)).toHaveLength(1);
  });
});
