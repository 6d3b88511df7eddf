import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { countedMicro } from '../../../../shared/domain/limits.ts';
import { ATTEMPTS_MAX, isLive } from '../../../../shared/domain/payment.ts';
import type { Engine } from '../../../../shared/usecases/engine.ts';
import { payOut } from '../../../../shared/usecases/pay-out.ts';
import { settle } from '../../../../shared/usecases/settle.ts';
import { Crash } from '../../../support/simulated-chain.ts';
import { World } from '../../../support/test-engine.ts';
import { expectTruth, request, settleOnce, settleToTheEnd } from '../../../support/world-life.ts';

describe('settling', () => {
  it('confirms a payment once its block is solid and deep enough, and commits its amount', async () => {
    const world = new World();
    const { payment } = await payOut(world.engine(), request(25_000_000n));

    world.pass(1);
    await settleOnce(world);
    expect(world.ledger.payments.get(payment.id)?.status).toBe('broadcast');

    world.pass(5);
    const report = await settleOnce(world);

    expect(report).toMatchObject({ visited: 1, ended: { confirmed: 1 }, errors: 0 });
    const confirmed = world.ledger.payments.get(payment.id);
    expect(confirmed).toMatchObject({ status: 'confirmed', settleAtMs: null });
    expect(confirmed?.attempts[0]).toMatchObject({ outcome: 'paid', feeMicro: 345_000n });
    expectTruth(world);
  });

  it('does nothing when there is nothing to do', async () => {
    const world = new World();
    expect(await settleOnce(world)).toMatchObject({ visited: 0, transitions_resolved: 0, more: false });
    expect(world.ledger.writes).toEqual([]);
  });

  it('counts a payment until its block has left the window, where the chain is ahead of the server', async () => {
    const world = new World();
    await payOut(world.engine(), request(25_000_000n));
    const aheadMs = 60_000;
    for (let second = 1; second <= 5; second += 1) {
      world.chain.produceBlock(world.nowMs + aheadMs + second * 1_000);
    }
    world.nowMs += 5_000;
    await settleOnce(world);
    const blockTimeMs = [...world.chain.included.values()][0]?.block.timestampMs ?? 0;
    expect(blockTimeMs).toBeGreaterThan(world.nowMs);
    const { USDT } = world.ledger.breaker.books;
    const freeMs = blockTimeMs + world.rules.windows.hourMs;
    expect(countedMicro(USDT, 'hour', world.rules.windows, freeMs)).toBe(25_000_000n);
  });

  it('ends a reverted payment as failed and gives its amount back', async () => {
    const world = new World();
    world.chain.reverts = true;
    const { payment } = await payOut(world.engine(), request(25_000_000n));
    await settleToTheEnd(world);
    expect(world.ledger.payments.get(payment.id)).toMatchObject({ status: 'failed' });
    expectTruth(world);
  });

  it('signs anew only once a vanished attempt is proven expired, with the reservation kept meanwhile', async () => {
    const world = new World();
    world.chain.dropsBroadcasts = true;
    const { payment } = await payOut(world.engine(), request(25_000_000n));

    world.pass(55);
    await settleOnce(world);
    expect(world.ledger.payments.get(payment.id)).toMatchObject({ status: 'broadcast', attemptNumber: 1 });

    // Past the expiration, the walk of solid blocks proves that the bytes can never land.
    world.pass(10);
    await settleOnce(world);
    expect(world.ledger.payments.get(payment.id)).toMatchObject({
      attemptNumber: 2,
      attempts: [{ outcome: 'expired' }, { outcome: 'live' }],
    });
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);

    world.chain.dropsBroadcasts = false;
    await settleToTheEnd(world);
    const paid = world.ledger.payments.get(payment.id);
    expect(paid?.attempts.map(({ outcome }) => outcome)).toEqual(['expired', 'paid']);
    expectTruth(world);
  });

  it('gives up once payBy has passed and every attempt is proven absent', async () => {
    const world = new World({ payByMs: 90_000 });
    world.chain.dropsBroadcasts = true;
    const { payment } = await payOut(world.engine(), request(25_000_000n));
    await settleToTheEnd(world);
    expect(world.ledger.payments.get(payment.id)).toMatchObject({ status: 'expired' });
    expectTruth(world);
  });

  it('gives up after so many attempts that one document holds them, however long it may still be paid', async () => {
    const world = new World({ payByMs: 86_400_000, expirationMs: 5_000, expirationMarginMs: 1_000 });
    world.chain.dropsBroadcasts = true;
    const { payment } = await payOut(world.engine(), request(25_000_000n));
    for (let round = 0; round < 400; round += 1) {
      world.pass(10);
      await settleOnce(world);
    }
    const ended = world.ledger.payments.get(payment.id);
    expect(ended?.status).toBe('expired');
    expect(ended?.attempts).toHaveLength(ATTEMPTS_MAX);
    expectTruth(world);
  });

  it('trips the breaker and asks for a person where an expired payment is on the chain after all', async () => {
    const world = new World({ payByMs: 90_000 });
    world.chain.dropsBroadcasts = true;
    const { payment } = await payOut(world.engine(), request(25_000_000n));
    world.pass(100);
    await settleOnce(world);
    expect(world.ledger.payments.get(payment.id)?.status).toBe('expired');
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);

    // Every node had lied, or a fork has brought it back.
    const { txId = '', expirationMs = 0 } = payment.attempts[0] ?? {};
    const transfer = {
      ...payment,
      sender: world.engine().signer.wallet,
      contract: world.rules.contract,
    };
    const block = world.chain.blocks.at(-5);
    if (block === undefined) throw new Error('no block');
    block.txIds.push(txId);
    world.chain.included.set(txId, { pending: { transfer, expirationMs, txId }, block, reverted: false });

    world.chain.isAway = true;
    world.pass(70);
    await settleOnce(world);
    expect(world.ledger.payments.get(payment.id)?.status).toBe('expired');
    world.chain.isAway = false;
    for (let round = 0; round < 3; round += 1) {
      world.pass(5);
      await settleOnce(world);
    }

    expect(world.ledger.payments.get(payment.id)).toMatchObject({
      status: 'needs_review',
      generation: 1,
      settleAtMs: null,
      attempts: [{ outcome: 'paid', blockNumber: block.number }],
    });
    expect(world.ledger.breaker).toMatchObject({
      circuit: { kind: 'open', until: 'reset' },
      transitions: [],
      books: { USDT: { outstandingMicro: 25_000_000n } },
    });
  });

  it('keeps the claim and the reservation while the outcome is unknown', async () => {
    const world = new World();
    const { payment } = await payOut(world.engine(), request(25_000_000n));
    world.chain.isAway = true;
    world.nowMs += 86_400_000;
    await settleOnce(world);
    expect(world.ledger.payments.get(payment.id)?.status).toBe('broadcast');
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
  });

  it('leaves a payment to review when the chain shows another transfer under its transaction', async () => {
    const world = new World();
    const { payment } = await payOut(world.engine(), request(25_000_000n));
    const [pending] = world.chain.pool;
    if (pending === undefined) throw new Error('nothing was broadcast');
    world.chain.pool = [{ ...pending, transfer: { ...pending.transfer, amountMicro: 24_999_999n } }];
    world.pass(10);
    await settleOnce(world);
    expect(world.ledger.payments.get(payment.id)).toMatchObject({ status: 'needs_review', settleAtMs: null });
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
  });

  it('rebroadcasts and confirms while an operator has stopped new payments', async () => {
    const world = new World();
    world.chain.dropsBroadcasts = true;
    const { payment } = await payOut(world.engine(), request(25_000_000n));
    world.isStopped = true;
    world.chain.dropsBroadcasts = false;
    await settleToTheEnd(world);
    expect(world.ledger.payments.get(payment.id)?.status).toBe('confirmed');
  });

  it('waits while a list of recipients cannot be read, and pays once it can be', async () => {
    const world = new World();
    await payOut(world.engine(), { ...request(25_000_000n), respondAsync: true });
    world.pass(60);
    const unreadable = new ServiceError('payments_stopped', 'The list cannot be read.');
    const engine = { ...world.engine(), recipients: { judge: () => Promise.reject(unreadable) } };
    const bounds = { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 1_000 };
    const report = await settle(engine, bounds, (_, error) => {
      throw error;
    });
    expect(report).toMatchObject({ visited: 1, errors: 0, waiting: { payments_stopped: 1 } });
    world.pass(60);
    await settle(world.engine(), bounds, () => {});
    expect([...world.ledger.payments.values()]).toMatchObject([{ status: 'broadcast' }]);
  });

  it('does not let a poisoned payment hold up the others', async () => {
    const world = new World();
    const poisoned = await payOut(world.engine(), request(1n, 'order-1'));
    const healthy = await payOut(world.engine(), request(2n, 'order-2'));
    world.pass(10);
    const engine = world.engine();
    const poison = poisoned.payment.attempts[0]?.txId;
    const errors: string[] = [];
    await settle(
      {
        ...engine,
        network: {
          ...engine.network,
          takeTestimony: (txId, head) =>
            txId === poison
              ? Promise.reject(new TypeError('poison'))
              : engine.network.takeTestimony(txId, head),
        },
      },
      { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 10 },
      (paymentId) => errors.push(paymentId),
    );
    expect(errors).toEqual([poisoned.payment.id]);
    expect(world.ledger.payments.get(healthy.payment.id)?.status).toBe('confirmed');
  });

  it('does not let one whose account cannot be closed keep those of others open, nor end the run', async () => {
    const world = new World();
    const poisoned = (await payOut(world.engine(), request(1n, 'order-1'))).payment;
    await payOut(world.engine(), request(2n, 'order-2'));
    const bounds = { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 10 };
    const errors = new Set<string>();
    const settlePoisoned = async () => {
      const engine = world.engine();
      const noteClose: Engine['ledger']['noteClose'] = (guard, ...change) =>
        guard.paymentId === poisoned.id
          ? Promise.reject(new TypeError('poison'))
          : engine.ledger.noteClose(guard, ...change);
      const ledger = { ...engine.ledger, noteClose };
      return settle({ ...engine, ledger }, bounds, (what) => errors.add(what));
    };
    world.pass(10);
    await settlePoisoned();
    expect(world.ledger.breaker.books.USDT).toMatchObject({ outstandingMicro: 1n, spentTotalMicro: 2n });
    // Its entry is left in the breaker; what is new is settled all the same.
    await payOut(world.engine(), request(3n, 'order-3'));
    world.pass(60);
    expect((await settlePoisoned()).errors).toBeGreaterThan(0);
    expect(world.ledger.breaker.books.USDT).toMatchObject({ outstandingMicro: 1n, spentTotalMicro: 5n });
    expect([...errors]).toEqual([poisoned.id]);

    await settleToTheEnd(world);
    expectTruth(world);
  });
});

describe('a crash at any port call', () => {
  it('of a payment is settled to one end, with nothing paid twice, lost or left counted', async () => {
    const untouched = new World();
    const whole = untouched.engine();
    await payOut(whole, request(25_000_000n));
    const steps = whole.calls();
    expect(steps).toBeGreaterThan(20);

    for (let crashAt = 1; crashAt <= steps; crashAt += 1) {
      const world = new World();
      await expect(payOut(world.engine(crashAt), request(25_000_000n)), `step ${crashAt}`).rejects.toThrow(
        Crash,
      );
      await settleToTheEnd(world);
      expectTruth(world);
      // The caller, who got no answer, asks again with the same key.
      await payOut(world.engine(), request(25_000_000n));
      await settleToTheEnd(world);
      expectTruth(world);
      expect(world.chain.paid, `step ${crashAt}`).toHaveLength(1);
    }
  });

  it.each([
    ['a confirmation', (world: World) => world.pass(10)],
    [
      'an expiry',
      (world: World) => {
        world.chain.pool = [];
        world.pass(70);
      },
    ],
    [
      'a failure',
      (world: World) => {
        world.chain.reverts = true;
        world.pass(10);
        world.chain.reverts = false;
      },
    ],
  ])('of a settler during %s is picked up by the next one', async (_, prepare) => {
    for (let crashAt = 1; ; crashAt += 1) {
      const world = new World();
      await payOut(world.engine(), request(25_000_000n));
      prepare(world);
      const hasCrashed = await settleOnce(world, crashAt).then(
        () => false,
        (error: unknown) => {
          if (!(error instanceof Crash)) throw error;
          return true;
        },
      );
      await settleToTheEnd(world);
      expectTruth(world);
      if (!hasCrashed) {
        expect(crashAt).toBeGreaterThan(15);
        return;
      }
    }
  });

  it('leaves the truth intact for any mix of crashes, drops, reverts and outages', async () => {
    const event = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('pay' as const),
          key: fc.integer({ min: 1, max: 4 }),
          crashAt: fc.option(fc.integer({ min: 1, max: 45 }), { nil: undefined }),
        }),
      },
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('settle' as const),
          crashAt: fc.option(fc.integer({ min: 1, max: 60 }), { nil: undefined }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('pass' as const),
          seconds: fc.integer({ min: 1, max: 80 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('drops' as const), on: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('reverts' as const), on: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('away' as const), on: fc.boolean() }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 5, maxLength: 40 }), async (events) => {
        const world = new World();
        for (const happening of events) {
          if (happening.kind === 'pass') world.pass(happening.seconds);
          else if (happening.kind === 'drops') world.chain.dropsBroadcasts = happening.on;
          else if (happening.kind === 'reverts') world.chain.reverts = happening.on;
          else if (happening.kind === 'away') world.chain.isAway = happening.on;
          else if (happening.kind === 'settle')
            await settleOnce(world, happening.crashAt).catch(() => undefined);
          else {
            const { key, crashAt } = happening;
            await payOut(world.engine(crashAt), request(BigInt(key) * 100_000_000n, `order-${key}`)).catch(
              () => undefined,
            );
          }
          expect(
            [...world.ledger.payments.values()].filter(({ status }) => status === 'needs_review'),
          ).toEqual([]);
        }
        world.chain.dropsBroadcasts = false;
        world.chain.isAway = false;
        world.chain.reverts = false;
        await settleToTheEnd(world);
        expectTruth(world);
        expect([...world.ledger.payments.values()].filter(({ status }) => isLive(status))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});
