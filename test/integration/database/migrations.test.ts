import { beforeEach, describe, expect, it } from 'vitest';
import type { BreakerDocument, PaymentDocument } from '../../../shared/adapters/mongo/documents.ts';
import { BREAKER_ID, SCHEMA } from '../../../shared/adapters/mongo/documents.ts';
import { migrateDatabase } from '../../../shared/adapters/mongo/migrations.ts';
import { mongoLedger } from '../../../shared/adapters/mongo/mongo-ledger.ts';
import { prepareDatabase } from '../../../shared/adapters/mongo/mongo-store.ts';
import type { Ledger } from '../../../shared/ports/ledger.ts';
import { useDatabase } from '../../support/database.ts';
import { payment } from '../../support/stored-payment.ts';

const database = useDatabase();
let ledger: Ledger;

const breakers = () => database.db().collection<BreakerDocument>('breaker');
const payments = () => database.db().collection<PaymentDocument>('payments');
const schema = async () => (await breakers().findOne({ _id: BREAKER_ID }))?.schema;

beforeEach(async () => {
  await prepareDatabase(database.connect());
  ledger = mongoLedger(database.connect());
});

describe('a database', () => {
  it('that is new has the present form', async () => {
    expect(await schema()).toBe(SCHEMA);
    expect(await migrateDatabase(database.connect())).toEqual([]);
  });

  it('of the first form is brought to the present one, and again where that broke off', async () => {
    const held = payment({ reservationId: 'r1', notedIds: ['r1'], amountMicro: 5n, feeReservedMicro: 3n });
    const closed = payment({ reservationId: 'r2', closeId: 'c2', amountMicro: 50n });
    const fresh = payment({ amountMicro: 500n });
    for (const each of [held, closed, fresh]) await ledger.insertPayment(each);
    await payments().updateMany({}, { $unset: { isHeld: '' } });
    await breakers().updateOne({ _id: BREAKER_ID }, { $unset: { schema: '' } });
    const nothing = { paymentIds: [], batchIds: [] };
    expect(await ledger.sumHeld(nothing)).toMatchObject({ USDT: 0n });

    expect(await migrateDatabase(database.connect())).toMatchObject([{ schema: 2 }]);
    expect(await ledger.sumHeld(nothing)).toEqual({ USDT: 5n, TRX: 0n, fees: 3n });
    expect(await schema()).toBe(SCHEMA);
    expect(await migrateDatabase(database.connect())).toEqual([]);
  });

  it('of a newer program is left alone, and nothing is paid from it', async () => {
    await breakers().updateOne({ _id: BREAKER_ID }, { $set: { schema: SCHEMA + 1 } });
    await expect(migrateDatabase(database.connect())).rejects.toThrow(/older than the database/);
    await expect(ledger.readBreaker()).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(await schema()).toBe(SCHEMA + 1);
  });

  it('that is empty has nothing to be changed', async () => {
    await breakers().deleteMany({});
    expect(await migrateDatabase(database.connect())).toEqual([]);
  });
});
