import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import type { Asset } from '../../../../shared/domain/money.ts';
import { audit } from '../../../../shared/usecases/audit.ts';
import type { Engine } from '../../../../shared/usecases/engine.ts';
import { operateBreaker } from '../../../../shared/usecases/operate-breaker.ts';
import { payBatch } from '../../../../shared/usecases/pay-batch.ts';
import { payOut } from '../../../../shared/usecases/pay-out.ts';
import { withBreaker } from '../../../../shared/usecases/payment-network-with-breaker.ts';
import { settle } from '../../../../shared/usecases/settle.ts';
import { atEachCall } from '../../../support/each-call.ts';
import { Crash } from '../../../support/simulated-chain.ts';
import { RECIPIENT, World } from '../../../support/test-engine.ts';

const order = (amountMicro: bigint, asset: Asset = 'USDT') => ({
  asset,
  amountMicro,
  recipient: RECIPIENT,
  reference: null,
});

function pay(engine: Engine, amountMicro: bigint, idempotencyKey = 'order-1', asset: Asset = 'USDT') {
  return payOut(engine, {
    order: order(amountMicro, asset),
    caller: 'gateway',
    idempotencyKey,
    respondAsync: false,
  });
}

function payMany(engine: Engine, ...amountsMicro: bigint[]) {
  return payBatch(engine, {
    orders: amountsMicro.map((amountMicro) => order(amountMicro)),
    caller: 'gateway',
    idempotencyKey: 'batch-1',
  });
}

function settleOnce(engine: Engine) {
  return settle(engine, { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 1_000 }, (_, error) => {
    throw error;
  });
}

/** Makes an audit that is due by now. */
async function auditNow(world: World, engine: Engine = world.engine()) {
  world.pass(5);
  const report = await audit(engine);
  if (report === null) throw new Error('no audit was due');
  return report;
}

async function auditTwice(world: World) {
  await auditNow(world);
  return auditNow(world);
}

const NOTHING = { findings: [], booksUnclear: null, walletUnclear: null };

/** Dies at the given port call. @returns whether it got so far */
async function dies(life: Promise<unknown>): Promise<boolean> {
  try {
    await life;
    return false;
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    return true;
  }
}

const LIVES: readonly [string, (world: World) => Promise<unknown>, (engine: Engine) => Promise<unknown>][] = [
  ['a payment', async () => {}, (engine) => pay(engine, 25_000_000n)],
  ['a payment of TRX', async () => {}, (engine) => pay(engine, 25_000_000n, 'order-1', 'TRX')],
  ['a batch', async () => {}, (engine) => payMany(engine, 1n, 20n, 300n)],
  [
    'a settler that commits a payment and signs a batch',
    async (world) => {
      await pay(world.engine(), 25_000_000n);
      await payMany(world.engine(), 1n, 20n);
      world.pass(4);
    },
    settleOnce,
  ],
  [
    'a settler that releases a reverted payment',
    async (world) => {
      world.chain.reverts = true;
      await pay(world.engine(), 25_000_000n);
      world.pass(10);
      world.chain.reverts = false;
    },
    settleOnce,
  ],
];

describe('an audit finds nothing amiss', () => {
  it.each(LIVES)('wherever a process died during %s', async (_, prepare, live) => {
    for (let crashAt = 1; ; crashAt += 1) {
      const world = new World();
      await prepare(world);
      const died = await dies(live(world.engine(crashAt)));
      for (let round = 0; round < 4; round += 1) {
        expect(await auditNow(world), `died at ${crashAt}, audit ${round}`).toMatchObject(NOTHING);
        await settleOnce(world.engine());
      }
      expect(world.ledger.breaker.circuit.kind).toBe('closed');
      if (!died) {
        expect(crashAt).toBeGreaterThan(10);
        return;
      }
    }
  });

  it.each(LIVES)('while %s goes on between any two of its reads', async (_, prepare, live) => {
    // An audit begins at every step of the other life, and lets it make some steps between its own.
    for (const stepsBetween of [1, 3]) {
      for (let beginAt = 0; ; beginAt += 1) {
        const world = new World();
        await prepare(world);
        // A mark to compare with.
        await auditTwice(world);
        const other = new Gated(world);
        const ended = live(other.engine);
        await other.take(beginAt);
        const auditor = new Gated(world);
        world.nowMs += 5_000;
        const audited = audit(auditor.engine);
        for (let step = 0; step < 100; step += 1) {
          await auditor.take(1);
          await other.take(stepsBetween);
        }
        await audited;
        await other.take(1_000);
        await ended;
        // Whichever of the two made the audit: a settler makes one too.
        const { findings } = world.ledger.store.audit;
        expect(findings, `begun at ${beginAt}, ${stepsBetween} between`).toEqual([]);
        if (other.stepsMade < beginAt) break;
      }
    }
  });
});

/** A process whose port calls wait until they are let through. */
class Gated {
  readonly engine: Engine;
  stepsMade = 0;
  #allowed = 0;
  #wake: () => void = () => {};

  constructor(world: World) {
    const engine = world.engine();
    const gated = atEachCall(() => this.#pass());
    const ledger = gated(world.ledger);
    const network = withBreaker(gated(world.chain.network), ledger, engine.ids, engine.clock, engine.rules);
    this.engine = { ...engine, ledger, network };
  }

  /** Lets so many calls through, as far as they are asked for. */
  async take(steps: number): Promise<void> {
    for (let step = 0; step < steps; step += 1) {
      const before = this.stepsMade;
      this.#allowed = 1;
      this.#wake();
      await turn();
      this.#allowed = 0;
      if (this.stepsMade === before) return;
    }
  }

  async #pass(): Promise<void> {
    while (this.#allowed === 0) {
      await new Promise<void>((resolve) => {
        const wakeOthers = this.#wake;
        this.#wake = () => {
          wakeOthers();
          resolve();
        };
      });
    }
    this.#allowed -= 1;
    this.stepsMade += 1;
  }
}

describe('an audit of the books', () => {
  it('trips the breaker once it has found twice that a payment is not counted', async () => {
    const world = new World();
    await pay(world.engine(), 25_000_000n);
    const { books } = world.ledger.breaker;
    world.ledger.breaker = {
      ...world.ledger.breaker,
      books: { ...books, USDT: { ...books.USDT, outstandingMicro: 24_000_000n } },
    };
    const finding = { kind: 'undercounted', of: 'USDT', amountMicro: 1_000_000n };
    expect((await auditNow(world)).findings).toEqual([{ ...finding, isConfirmed: false }]);
    expect(world.ledger.breaker.circuit.kind).toBe('closed');
    expect((await auditNow(world)).findings).toEqual([{ ...finding, isConfirmed: true }]);
    expect(world.ledger.breaker.circuit).toMatchObject({
      kind: 'open',
      until: 'reset',
      reason:
        'the audit found that 1 USDT that payments hold is not counted as outstanding; a reset accepts it as it is then',
    });
  });

  it('shows what is counted twice, and pays on', async () => {
    const world = new World();
    const { payment } = await pay(world.engine(), 25_000_000n);
    world.pass(10);
    await settleOnce(world.engine());
    const { books, fees } = world.ledger.breaker;
    world.ledger.breaker = {
      ...world.ledger.breaker,
      books: { ...books, USDT: { ...books.USDT, outstandingMicro: 5n } },
      fees: { ...fees, outstandingMicro: 7n },
    };
    expect((await auditTwice(world)).findings).toEqual([
      { kind: 'overcounted', of: 'USDT', amountMicro: 5n, isConfirmed: true },
      { kind: 'overcounted', of: 'fees', amountMicro: 7n, isConfirmed: true },
    ]);
    expect(world.ledger.breaker.circuit.kind).toBe('closed');
    expect(world.ledger.payments.get(payment.id)?.status).toBe('confirmed');
  });

  it('says that it could not compare them while payments never stand still, and looks a few times only', async () => {
    const world = new World();
    const engine = world.engine();
    let pushes = 0n;
    const busy: Engine = {
      ...engine,
      ledger: {
        ...engine.ledger,
        claimAudit: world.ledger.claimAudit,
        serverTimeMs: world.ledger.serverTimeMs,
        storeAudit: world.ledger.storeAudit,
        sumHeld: world.ledger.sumHeld,
        readBreaker: async () => ({ ...world.ledger.breaker, pushes: ++pushes }),
      },
    };
    const report = await auditNow(world, busy);
    expect(report).toMatchObject({
      findings: [],
      booksUnclear: 'payments moved while they were being added up',
      storeReads: 10,
    });
    expect(world.ledger.store.audit.books).toEqual({ clearAtMs: null, unclear: report.booksUnclear });
  });

  it('reads the same few times however many payments there are', async () => {
    const world = new World();
    const none = await auditNow(world);
    for (let index = 0; index < 20; index += 1) await pay(world.engine(), 1n, `order-${index}`);
    expect((await auditNow(world)).storeReads).toBe(none.storeReads);
  });

  it('counts a step that stays half done', async () => {
    const world = new World();
    const reservation = {
      id: 'odd',
      paymentId: 'pay_nobody',
      generation: 0,
      kind: 'reserve',
      amounts: { USDT: 5n, TRX: 0n },
      feeMicro: 1n,
    } as const;
    await world.ledger.pushReservation(reservation, null);
    expect(await auditNow(world)).toMatchObject({ ...NOTHING, oldTransitions: 0 });
    world.pass(300);
    expect(await auditNow(world)).toMatchObject({ ...NOTHING, oldTransitions: 1 });
  });
});

describe('an audit of the wallet', () => {
  it.each<Asset>(['USDT', 'TRX'])(
    'trips the breaker once it has seen twice that %s left by no payment',
    async (asset) => {
      const world = new World();
      await auditTwice(world);
      await pay(world.engine(), 25_000_000n);
      world.chain.move(asset, -1_000_000n);
      world.pass(10);
      // The theft hides among what is under way, and shows once that has ended.
      const report = await settleOnce(world.engine());
      expect(report.audit?.findings).toMatchObject([{ isConfirmed: false }]);
      expect(world.ledger.breaker.circuit.kind).toBe('closed');
      const { findings } = await auditNow(world);
      expect(findings).toEqual([{ kind: 'outflow', of: asset, amountMicro: 1_000_000n, isConfirmed: true }]);
      expect(world.ledger.breaker.circuit).toMatchObject({
        kind: 'open',
        until: 'reset',
        reason: expect.stringContaining(`1 ${asset} has left the wallet by no payment of this service`),
      });

      // New payments stop; an operator who knows of it resets, and what the wallet holds is right from then on.
      await expect(pay(world.engine(), 1n, 'order-2')).rejects.toMatchObject({ code: 'circuit_open' });
      await operateBreaker(world.engine(), 'reset', { by: 'alice', reason: 'it was staked' });
      await pay(world.engine(), 1n, 'order-3');
      world.pass(10);
      await settleOnce(world.engine());
      expect(await auditTwice(world)).toMatchObject(NOTHING);
      world.chain.move(asset, -1n);
      expect((await auditTwice(world)).findings).toMatchObject([{ kind: 'outflow', amountMicro: 1n }]);
    },
  );

  it('takes deposits as they come, and misses them when they go', async () => {
    const world = new World();
    await auditTwice(world);
    world.chain.move('USDT', 7_000_000n);
    expect(await auditTwice(world)).toMatchObject(NOTHING);
    await auditNow(world);
    world.chain.move('USDT', -7_000_000n);
    expect((await auditTwice(world)).findings).toMatchObject([{ kind: 'outflow', amountMicro: 7_000_000n }]);
  });

  it('trips again where it died before it had, and where it was reset without a word', async () => {
    const world = new World();
    await auditTwice(world);
    world.chain.move('USDT', -1n);
    await auditNow(world);
    world.pass(5);
    await expect(
      audit({
        ...world.engine(),
        ledger: { ...world.ledger, replaceCircuit: () => Promise.reject(new Crash()) },
      }),
    ).rejects.toThrow(Crash);
    expect(world.ledger.breaker.circuit.kind).toBe('closed');
    await auditNow(world);
    expect(world.ledger.breaker.circuit).toMatchObject({ kind: 'open', until: 'reset' });
  });

  it('goes on while the breaker is tripped, and waits while the network is away', async () => {
    const world = new World();
    await operateBreaker(world.engine(), 'trip', { by: 'alice', reason: 'a drill' });
    expect(await auditNow(world)).toMatchObject({ ...NOTHING, nodesHeard: 1 });
    world.chain.isAway = true;
    expect(await auditNow(world)).toMatchObject({
      booksUnclear: null,
      walletUnclear: 'the simulated chain is away',
      nodesHeard: 0,
    });
    world.chain.isAway = false;
    // A node that lies about its time.
    world.nowMs -= 304_000;
    world.ledger.store.collections.breaker.delete('audit');
    expect(await audit(world.engine())).toMatchObject({
      walletUnclear: 'no node has come as far as the last solid block that was seen',
      nodesHeard: 0,
    });
  });

  it('fails for what it does not foresee', async () => {
    const world = new World();
    const engine = world.engine();
    const network = { ...engine.network, readHoldings: () => Promise.reject(new TypeError('odd')) };
    await expect(auditNow(world, { ...engine, network })).rejects.toThrow('odd');
  });
});

describe('of several settlers', () => {
  it('one makes the audit, once an interval', async () => {
    const world = new World();
    const reports = await Promise.all([1, 2, 3].map(() => audit(world.engine())));
    expect(reports.filter((report) => report !== null)).toHaveLength(1);
    world.nowMs += 4_999;
    expect(await audit(world.engine())).toBeNull();
    world.nowMs += 1;
    expect(await audit(world.engine())).not.toBeNull();
  });

  it('one that froze over its audit stores nothing that is older than the next one, or than a reset', async () => {
    for (const meanwhile of [
      (world: World) => auditNow(world),
      async (world: World) => {
        for (const action of ['trip', 'reset'] as const) {
          await operateBreaker(world.engine(), action, { by: 'alice', reason: 'a drill' });
        }
      },
    ]) {
      const world = new World();
      await auditTwice(world);
      world.chain.move('USDT', -1n);
      await auditNow(world);
      world.pass(5);
      const frozen = new Gated(world);
      const late = audit(frozen.engine);
      // As far as its last read.
      await frozen.take(7);
      await meanwhile(world);
      const standing = world.ledger.store.audit;
      await frozen.take(100);
      await late;
      expect(world.ledger.store.audit).toEqual(standing);
    }
  });

  it('none goes on without the store', async () => {
    const world = new World();
    const gone = () => Promise.reject(new ServiceError('store_unavailable', 'gone'));
    const engine = { ...world.engine(), ledger: { ...world.ledger, claimAudit: gone } };
    await expect(settleOnce(engine)).rejects.toMatchObject({ code: 'store_unavailable' });
  });
});
