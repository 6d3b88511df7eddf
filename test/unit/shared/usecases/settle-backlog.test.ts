import { describe, expect, it } from 'vitest';
import type { Engine } from '../../../../shared/usecases/engine.ts';
import { payOut } from '../../../../shared/usecases/pay-out.ts';
import { type SettleReport, settle, settler } from '../../../../shared/usecases/settle.ts';
import { BACKLOG_MICRO, backlogOf, storeBacklog } from '../../../support/backlog.ts';
import { World } from '../../../support/test-engine.ts';
import { request } from '../../../support/world-life.ts';

const UNBOUNDED = { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 100_000 };
const failing = (_: string, error: unknown) => {
  throw error;
};
/** Ten thousand lives take their time on a busy machine. */
const LONG_MS = 120_000;

/** What a run's ledger handed out: the ids of each page, and in which order payments ended. */
function watched(engine: Engine) {
  const pages: string[][] = [];
  const endings: string[] = [];
  let readAtOnceMax = 0;
  const ledger: Engine['ledger'] = {
    ...engine.ledger,
    claimDue: async (...args) => {
      const due = await engine.ledger.claimDue(...args);
      if (due.payments.length > 0) pages.push(due.payments.map(({ id }) => id));
      return due;
    },
    findPayments: async (ids) => {
      readAtOnceMax = Math.max(readAtOnceMax, ids.length);
      return engine.ledger.findPayments(ids);
    },
    closePayment: (guard, ...rest) => {
      endings.push(guard.paymentId);
      return engine.ledger.closePayment(guard, ...rest);
    },
  };
  return { engine: { ...engine, ledger }, pages, endings, readAtOnceMax: () => readAtOnceMax };
}

/** Method calls of a copy are plain functions, as the ones of `world.engine()` are not. */
function open(world: World): Engine {
  const engine = world.engine();
  return { ...engine, ledger: { ...world.ledger } };
}

describe('a backlog', () => {
  it(
    'of 10,000 payments drains oldest first, a bounded part in each run, never more than a page in hand',
    async () => {
      const world = new World();
      const backlog = backlogOf(10_000);
      storeBacklog(world, backlog);
      const { engine, pages, endings, readAtOnceMax } = watched(open(world));
      const reports: SettleReport[] = [];
      for (let run = 0; run < 20; run += 1) {
        reports.push(await settle(engine, { ...UNBOUNDED, paymentsMax: 500 }, failing));
        // Nobody who came later was taken before.
        const oldest = backlog.slice(run * 500, (run + 1) * 500).map(({ id }) => id);
        expect(endings.splice(0).sort()).toEqual(oldest);
      }
      expect(
        reports.every(({ visited, ended, more }) => visited === 500 && ended.confirmed === 500 && more),
      ).toBe(true);
      expect(pages.flat()).toEqual(backlog.map(({ id }) => id));
      expect(Math.max(...pages.map((page) => page.length))).toBeLessThanOrEqual(50);
      expect(readAtOnceMax()).toBeLessThanOrEqual(50);
      expect(await settle(engine, UNBOUNDED, failing)).toMatchObject({ visited: 0, more: false });
      expect(world.ledger.breaker).toMatchObject({
        transitions: [],
        books: { USDT: { outstandingMicro: 0n, spentTotalMicro: BACKLOG_MICRO * 10_000n } },
        fees: { outstandingMicro: 0n },
      });
      expect(world.ledger.store.audit.findings).toEqual([]);
    },
    LONG_MS,
  );

  it('is left to the next run once the deadline has come, in the middle of a page too, and due as it was', async () => {
    const world = new World();
    storeBacklog(world, backlogOf(300));
    const engine = open(world);
    let elapsedMs = 0;
    const clock = { ...engine.clock, nowMs: () => elapsedMs };
    const network = {
      ...engine.network,
      takeTestimony: (...args: Parameters<Engine['network']['takeTestimony']>) => {
        elapsedMs += 100;
        return engine.network.takeTestimony(...args);
      },
    };
    const report = await settle({ ...engine, clock, network }, { ...UNBOUNDED, deadlineMs: 9_000 }, failing);
    // Eight visits are under way at once.
    expect(report.visited).toBeGreaterThanOrEqual(90);
    expect(report.visited).toBeLessThan(98);
    expect(report).toMatchObject({ ended: { confirmed: report.visited }, more: true });
    const due = [...world.ledger.payments.values()].filter(
      ({ settleAtMs }) => settleAtMs !== null && settleAtMs <= world.nowMs,
    );
    expect(due).toHaveLength(300 - report.visited);
  });

  it('is not held up by payments that fail every time, which are tried again, each in its turn', async () => {
    const world = new World();
    const backlog = backlogOf(200);
    storeBacklog(world, backlog);
    // The oldest, whole pages of them, and some among the others.
    const poisoned = new Set(
      backlog.filter((_, index) => index < 60 || index % 10 === 0).map(({ id }) => id),
    );
    const byTxId = new Map(backlog.map(({ id, attempts }) => [attempts[0]?.txId, id]));
    const engine = open(world);
    const network: Engine['network'] = {
      ...engine.network,
      takeTestimony: (txId, ...rest) =>
        poisoned.has(byTxId.get(txId) ?? '')
          ? Promise.reject(new TypeError('poison'))
          : engine.network.takeTestimony(txId, ...rest),
    };
    for (let round = 0; round < 3; round += 1) {
      const failed: string[] = [];
      const report = await settle({ ...engine, network }, UNBOUNDED, (id) => failed.push(id));
      expect(failed.sort()).toEqual([...poisoned].sort());
      expect(report.errors).toBe(poisoned.size);
      expect(report.ended.confirmed).toBe(round === 0 ? 200 - poisoned.size : undefined);
      world.pass(4);
    }
    expect(await settle(engine, UNBOUNDED, failing)).toMatchObject({ ended: { confirmed: poisoned.size } });
  });

  it('is shared by several runs at once, each payment settled by one of them', async () => {
    const world = new World();
    storeBacklog(world, backlogOf(1_000));
    const runs = [1, 2, 3, 4].map(() => watched(open(world)));
    const reports = await Promise.all(runs.map(({ engine }) => settle(engine, UNBOUNDED, failing)));
    const endings = runs.flatMap((run) => run.endings);
    expect(endings).toHaveLength(1_000);
    expect(new Set(endings).size).toBe(1_000);
    expect(reports.reduce((sum, { visited }) => sum + visited, 0)).toBe(1_000);
    expect(world.ledger.breaker).toMatchObject({
      transitions: [],
      books: { USDT: { outstandingMicro: 0n, spentTotalMicro: BACKLOG_MICRO * 1_000n } },
    });
  });
});

describe('a settler with nothing to do', () => {
  /** The questions to the store since it was last asked. */
  function counted(world: World) {
    const asked: string[] = [];
    const { store } = world.ledger;
    for (const name of [
      'findOne',
      'find',
      'sum',
      'updateOne',
      'updateMany',
      'insertOne',
      'serverTimeMs',
    ] as const) {
      const call = store[name].bind(store) as (...args: unknown[]) => Promise<unknown>;
      Object.assign(store, {
        [name]: (...args: unknown[]) => {
          asked.push(name);
          return call(...args);
        },
      });
    }
    return () => asked.splice(0);
  }

  it('asks one question, once it has looked around', async () => {
    const world = new World();
    const asked = counted(world);
    const run = settler(world.engine(), failing);
    expect(await run(UNBOUNDED)).toMatchObject({ visited: 0, audit: { findings: [] } });
    asked();
    for (let again = 0; again < 4; again += 1) {
      world.pass(1);
      expect(await run(UNBOUNDED)).toMatchObject({ visited: 0, more: false, audit: null });
      expect(asked()).toEqual(['find']);
    }
    // By now the next audit is due.
    world.pass(1);
    expect(await run(UNBOUNDED)).toMatchObject({ audit: { findings: [] } });
    // A clock that was set back is no reason to never look again.
    world.nowMs -= 3_600_000;
    asked();
    await run(UNBOUNDED);
    expect(asked().length).toBeGreaterThan(1);
  });

  it('also asks what time it is where payments wait for theirs, and takes them up when it comes', async () => {
    const world = new World();
    const run = settler(world.engine(), failing);
    await run(UNBOUNDED);
    await payOut(world.engine(), request(1n));
    const asked = counted(world);
    await run(UNBOUNDED);
    expect(asked()).toEqual(['find', 'serverTimeMs']);
    world.pass(4);
    expect(await run(UNBOUNDED)).toMatchObject({ visited: 1 });
  });

  it('looks around each time while steps are left half done, or the circuit is open', async () => {
    const world = new World();
    const asked = counted(world);
    const run = settler(world.engine(), failing);
    const odd = { id: 'odd', paymentId: 'pay_nobody', generation: 0, kind: 'reserve' } as const;
    await world.ledger.pushReservation({ ...odd, amounts: { USDT: 1n, TRX: 0n }, feeMicro: 0n }, null);
    await run(UNBOUNDED);
    asked();
    expect(await run(UNBOUNDED)).toMatchObject({ transitions_anomalous: 1 });
    await world.ledger.dropTransition('odd');
    world.ledger.breaker = {
      ...world.ledger.breaker,
      circuit: { kind: 'half_open', generation: 1, successes: 0, permits: [] },
    };
    // Three calls that succeed close it, though nothing is paid.
    for (let probe = 0; probe < 4; probe += 1) await run(UNBOUNDED);
    expect(world.ledger.breaker.circuit.kind).toBe('closed');
    await run(UNBOUNDED);
    asked();
    await run(UNBOUNDED);
    expect(asked()).toEqual(['find']);
  });
});
