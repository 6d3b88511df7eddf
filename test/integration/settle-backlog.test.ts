import { describe, expect, it } from 'vitest';
import {
  BREAKER,
  breakerDocument,
  PAYMENTS,
  paymentDocument,
} from '../../shared/adapters/mongo/documents.ts';
import { mongoLedger } from '../../shared/adapters/mongo/mongo-ledger.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { settle } from '../../shared/usecases/settle.ts';
import { BACKLOG_MICRO, backlogOf, storeBacklog } from '../support/backlog.ts';
import { useDatabase } from '../support/database.ts';
import { World } from '../support/test-engine.ts';

const COUNT = 400;

describe('a backlog on a real database', () => {
  const database = useDatabase();

  it('drains by several settlers at once, oldest first, each payment once, and the books add up', async () => {
    const world = new World();
    const backlog = backlogOf(COUNT);
    storeBacklog(world, backlog);
    const db = database.db();
    await mongoLedger(db).readBreaker();
    const { _id, ...seeded } = breakerDocument(world.ledger.breaker);
    await db.collection<{ _id: string }>(BREAKER).replaceOne({ _id }, seeded);
    await db
      .collection<{ _id: string }>(PAYMENTS)
      .insertMany(backlog.map((payment) => paymentDocument(payment, true)));

    const runs = [1, 2, 3].map(() => {
      const pages: string[][] = [];
      const ended: string[] = [];
      const ledger = mongoLedger(database.connect());
      const watched: Engine['ledger'] = {
        ...ledger,
        // The simulated chain's time, which the database does not share.
        serverTimeMs: async () => world.nowMs,
        claimDue: async (...args) => {
          const due = await ledger.claimDue(...args);
          pages.push(due.payments.map(({ id }) => id));
          return due;
        },
        closePayment: async (...args) => {
          const closed = await ledger.closePayment(...args);
          if (closed) ended.push(args[0].paymentId);
          return closed;
        },
      };
      const engine: Engine = { ...world.engine(), ledger: watched, network: world.chain.network };
      const errors: unknown[] = [];
      const run = () =>
        settle(engine, { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: COUNT }, (_, error) =>
          errors.push(error),
        );
      return { pages, ended, errors, run };
    });
    const reports = await Promise.all(runs.map(({ run }) => run()));
    // Where the others were faster five times in a row a run has left; one more ends what is left then.
    reports.push(...(await Promise.all(runs.map(({ run }) => run()))));
    expect(runs.flatMap(({ errors }) => errors)).toEqual([]);
    expect(runs.flatMap(({ ended }) => ended).sort()).toEqual(backlog.map(({ id }) => id));
    for (const { pages } of runs) {
      for (const page of pages) {
        expect(page.length).toBeLessThanOrEqual(50);
        expect(page).toEqual([...page].sort());
      }
    }
    expect(reports.reduce((sum, { visited }) => sum + visited, 0)).toBe(COUNT);
    const ledger = mongoLedger(db);
    expect(await ledger.firstDueMs()).toBeNull();
    expect(await ledger.sumHeld({ paymentIds: [], batchIds: [] })).toEqual({ USDT: 0n, TRX: 0n, fees: 0n });
    expect(await ledger.readBreaker()).toMatchObject({
      transitions: [],
      circuit: { kind: 'closed' },
      books: { USDT: { outstandingMicro: 0n, spentTotalMicro: BACKLOG_MICRO * BigInt(COUNT) } },
      fees: { outstandingMicro: 0n },
    });
  });
});
