import { describe, expect, it } from 'vitest';
import { isTripped } from '../../../../shared/domain/circuit.ts';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { isSettled, type Payment } from '../../../../shared/domain/payment.ts';
import { UnreadableBytes } from '../../../../shared/ports/vault.ts';
import { cancelPayment } from '../../../../shared/usecases/decide-payment.ts';
import type { Engine } from '../../../../shared/usecases/engine.ts';
import { operateBreaker } from '../../../../shared/usecases/operate-breaker.ts';
import { type PayOutRequest, payOut } from '../../../../shared/usecases/pay-out.ts';
import { withBreaker } from '../../../../shared/usecases/payment-network-with-breaker.ts';
import type { PaymentRules } from '../../../../shared/usecases/payment-rules.ts';
import { settle } from '../../../../shared/usecases/settle.ts';
import { Actor, idle } from '../../../support/actor.ts';
import { atEachCall } from '../../../support/each-call.ts';
import { Crash } from '../../../support/simulated-chain.ts';
import { RECIPIENT, World } from '../../../support/test-engine.ts';

/**
 * Two or three processes on one store and one chain, each stopped before a port call of the test's choice, and let go
 * on or not. What thousands of schedules make of many processes, `npm run simulate` plays.
 */

/** What a process does. */
type Act =
  | { readonly kind: 'pay'; readonly key: number; readonly respondAsync: boolean }
  | { readonly kind: 'settle' };

/** Short windows, so that amounts are freed and reserved again within one run. */
const RULES: Partial<PaymentRules> = {
  limits: {
    USDT: { hourlyMicro: 100n, dailyMicro: 230n },
    TRX: { hourlyMicro: 100n, dailyMicro: 230n },
  },
  windows: { hourMs: 120_000, dayMs: 600_000 },
  circuit: { failureThreshold: 5, recoveryTimeoutMs: 20_000, halfOpenMaxCalls: 3, permitMs: 30_000 },
  // Two attempts at most, and a frozen process easily sleeps past it all.
  expirationMs: 40_000,
  payByMs: 90_000,
  leaseMs: 20_000,
};
const CALLS_MAX = 20_000;

const amountOf = (key: number) => 20n + 15n * BigInt(key);
const requestOf = (key: number, respondAsync = false): PayOutRequest => ({
  order: { asset: 'USDT', amountMicro: amountOf(key), recipient: RECIPIENT, reference: null },
  caller: 'gateway',
  idempotencyKey: `order-${key}`,
  respondAsync,
});

class Race {
  readonly world = new World(RULES);
  readonly wrongs: string[] = [];
  funds = 1_000_000n;
  #calls = 0;

  /** An engine that stops before each call of the ledger and the network until the actor is given a turn. */
  engine(actor: Actor | null): Engine {
    const { world } = this;
    const engine = world.engine();
    const gated = atEachCall((name) => {
      this.#calls += 1;
      if (this.#calls > CALLS_MAX) throw new RangeError('this never ends');
      return actor?.turn(name);
    });
    const { network: chain } = world.chain;
    const network: typeof chain = {
      ...chain,
      prepareTransfer: async (transfer, inFlight) => {
        const left = [...world.chain.paid.map(({ pending }) => pending), ...world.chain.pool];
        const gone = left.reduce((sum, pending) => sum + pending.transfer.amountMicro, 0n);
        if (gone + transfer.amountMicro > this.funds) throw new ServiceError('insufficient_funds', 'poor');
        return chain.prepareTransfer(transfer, inFlight);
      },
      broadcast: async (bytes, txId) => {
        const holders = [...world.ledger.payments.values()].filter(({ attempts }) =>
          attempts.some((attempt) => attempt.txId === txId),
        );
        if (holders.length !== 1) this.wrongs.push(`${txId} left without its row`);
        return chain.broadcast(bytes, txId);
      },
    };
    const ledger = gated(world.ledger);
    return {
      ...engine,
      ledger,
      network: withBreaker(gated(network), ledger, engine.ids, engine.clock, world.rules),
    };
  }

  /** Starts the process; it stands before its first call. */
  async live(actor: Actor, act: Act): Promise<void> {
    try {
      if (act.kind === 'settle') await this.settle(this.engine(actor));
      else await payOut(this.engine(actor), requestOf(act.key, act.respondAsync));
    } catch (error) {
      // Answers of the service, and the end of the process, belong to the game; anything else is a fault.
      if (!(error instanceof ServiceError || error instanceof Crash)) this.wrongs.push(String(error));
    }
  }

  settle(engine: Engine) {
    return settle(engine, { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 200 }, (id, error) => {
      if (!(error instanceof ServiceError || error instanceof Crash)) this.wrongs.push(`${id}: ${error}`);
    });
  }

  /** Settles alone until nothing is left. */
  async settleAlone(): Promise<void> {
    const { world } = this;
    for (let round = 0; round < 100; round += 1) {
      world.pass(10);
      await this.settle(this.engine(null));
      const payments = [...world.ledger.payments.values()];
      const isOver = payments.every((payment) => isSettled(payment) && payment.settleAtMs === null);
      if (isOver && world.ledger.breaker.transitions.length === 0) return;
    }
    throw new Error('a lone settler never came to an end');
  }

  payments(): Payment[] {
    return [...this.world.ledger.payments.values()];
  }

  expectTruth(): void {
    const { chain, ledger, rules } = this.world;
    expect(this.wrongs).toEqual([]);
    expect(ledger.breaker.transitions).toEqual([]);
    expect(ledger.breaker.books.USDT.outstandingMicro).toBe(0n);
    // Nothing was ever amiss, so no audit can have found anything, whenever it looked.
    expect(ledger.store.audit.findings).toEqual([]);
    expect(isTripped(ledger.breaker.circuit)).toBe(false);
    const paid = chain.paid.map(({ pending, block }) => ({ ...pending, atMs: block.timestampMs }));
    for (const payment of this.payments()) {
      const landed = paid.filter(({ txId }) => payment.attempts.some((attempt) => attempt.txId === txId));
      expect(landed.length, `${payment.id}, ${payment.status}, is paid at most once`).toBeLessThanOrEqual(1);
      expect(payment.status === 'confirmed', `${payment.id} is ${payment.status}`).toBe(landed.length === 1);
    }
    const keys = this.payments().map(({ idempotencyKey }) => idempotencyKey);
    expect(new Set(keys).size).toBe(keys.length);
    const known = new Set(this.payments().flatMap(({ attempts }) => attempts.map(({ txId }) => txId)));
    expect(paid.filter(({ txId }) => !known.has(txId))).toEqual([]);
    for (const [windowMs, limitMicro] of [
      [rules.windows.hourMs, rules.limits.USDT.hourlyMicro],
      [rules.windows.dayMs, rules.limits.USDT.dailyMicro],
    ] as const) {
      for (const last of paid) {
        const within = paid.filter(({ atMs }) => atMs <= last.atMs && atMs > last.atMs - windowMs);
        const sum = within.reduce((total, { transfer }) => total + transfer.amountMicro, 0n);
        expect(sum <= limitMicro, `${sum} left within ${windowMs} ms`).toBe(true);
      }
    }
  }
}

/** Some seconds of work, on a machine that may be busy with something else. */
const THOROUGH = { timeout: 300_000 };

describe('two processes at one payment', THOROUGH, () => {
  const settling: Act = { kind: 'settle' };
  const paying: Act = { kind: 'pay', key: 1, respondAsync: false };

  /** Where a payment may stand when two processes come to it. */
  const situations: readonly (readonly [string, (race: Race) => Promise<void>, Act, Act])[] = [
    ['two requests with one key', async () => {}, paying, paying],
    [
      'two settlers at an abandoned reservation',
      async (race) => {
        await abandon(race, 'pushReservation');
        race.world.pass(30);
      },
      settling,
      settling,
    ],
    [
      'a settler and a new try of a refused key, with a transition left over',
      async (race) => {
        await payOut(race.engine(null), requestOf(1, true));
        race.funds = 0n;
        race.world.pass(5);
        const dying = new Actor();
        const visit = expect(race.settle(race.engine(dying))).rejects.toThrow(Crash);
        await dying.stopBefore('noteClose');
        await dying.step();
        await dying.die();
        await visit;
        race.funds = 1_000_000n;
        race.world.pass(30);
      },
      settling,
      paying,
    ],
    [
      'two settlers at an expired attempt',
      async (race) => {
        race.world.chain.dropsBroadcasts = true;
        await payOut(race.engine(null), requestOf(1));
        race.world.pass(50);
        race.world.chain.dropsBroadcasts = false;
      },
      settling,
      settling,
    ],
    [
      'two settlers at a paid one',
      async (race) => {
        await payOut(race.engine(null), requestOf(1));
        race.world.pass(10);
      },
      settling,
      settling,
    ],
  ];

  it.each(situations)(
    '%s: one stops at any call, the other one at any call',
    async (_, prepare, one, other) => {
      for (let first = 0, isOver = false; !isOver; first += 1) {
        for (let second = 1, isDone = false; !isDone; second += 2) {
          const race = new Race();
          await prepare(race);
          const [a, b] = [new Actor(), new Actor()];
          const lives = [race.live(a, one), race.live(b, other)];
          await idle();
          isOver = !(await a.make(first));
          // Longer than a visit is reserved, so that the other one takes the payment too.
          race.world.pass(4);
          isDone = !(await b.make(second));
          await a.finish();
          await b.finish();
          await Promise.all(lives);
          await race.settleAlone();
          race.expectTruth();
          await payOut(race.engine(null), requestOf(1));
          await race.settleAlone();
          race.expectTruth();
          expect(race.payments()).toMatchObject([{ status: 'confirmed' }]);
        }
        expect(first).toBeLessThan(200);
      }
    },
  );
});

/** Pays in a process that dies right after its call of this name. */
async function abandon(race: Race, name: string): Promise<void> {
  const dying = new Actor();
  const asked = expect(payOut(race.engine(dying), requestOf(1))).rejects.toThrow(Crash);
  await dying.stopBefore(name);
  await dying.step();
  await dying.die();
  await asked;
}

describe('a cancellation and a signature at once', THOROUGH, () => {
  it('have one winner, wherever either stands when the other goes on', async () => {
    const winners = new Set<string>();
    for (let before = 1, isPaying = true; isPaying; before += 1) {
      for (let between = 0, isCancelling = true; isCancelling; between += 1) {
        const race = new Race();
        const payer = new Actor();
        const asked = payOut(race.engine(payer), requestOf(1)).catch(expectRefusal);
        isPaying = await payer.make(before);
        const [payment] = race.payments();
        if (payment === undefined) {
          await payer.finish();
          break;
        }
        const canceller = new Actor();
        const decision = { by: 'gateway', reason: 'a mistake' };
        const cancelled = cancelPayment(race.engine(canceller), payment, decision).then(
          () => true,
          (error: unknown) => {
            expectRefusal(error);
            expect(error).toMatchObject({ code: 'payment_not_cancellable' });
            return false;
          },
        );
        isCancelling = await canceller.make(between);
        await payer.finish();
        await canceller.finish();
        await asked;
        const winner = (await cancelled) ? 'cancelled' : 'confirmed';
        await race.settleAlone();
        expect(race.payments(), `after ${before} and ${between} calls`).toMatchObject([{ status: winner }]);
        race.expectTruth();
        winners.add(winner);
      }
    }
    expect([...winners].toSorted()).toEqual(['cancelled', 'confirmed']);
  });
});

function expectRefusal(error: unknown): void {
  if (!(error instanceof ServiceError)) throw error;
}

describe('a process that wakes late', () => {
  it('does not end as refused what another one has signed meanwhile', async () => {
    const race = new Race();
    const { world } = race;
    const engine = race.engine(null);
    const slow: Engine = {
      ...engine,
      network: {
        ...engine.network,
        // While this process hears that funds are lacking, its lease runs out and a settler pays.
        prepareTransfer: async () => {
          world.pass(30);
          await race.settle(race.engine(null));
          throw new ServiceError('insufficient_funds', 'spent by the very payment');
        },
      },
    };

    const { payment } = await payOut(slow, requestOf(1));

    expect(payment.status).toBe('broadcast');
    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'confirmed', generation: 0 }]);
    race.expectTruth();
  });

  it('does not refuse a new try of the key by what the last try met', async () => {
    const race = new Race();
    const { world } = race;
    const engine = race.engine(null);
    const poor: Engine['network'] = {
      ...engine.network,
      prepareTransfer: () => Promise.reject(new ServiceError('insufficient_funds', 'poor')),
    };
    const slow: Engine = {
      ...engine,
      network: {
        ...engine.network,
        prepareTransfer: async () => {
          world.pass(30);
          await race.settle({ ...race.engine(null), network: poor });
          await payOut(race.engine(null), requestOf(1, true));
          throw new ServiceError('insufficient_funds', 'poor');
        },
      },
    };

    await payOut(slow, requestOf(1));

    expect(race.payments()).toMatchObject([{ status: 'accepted', generation: 1 }]);
    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'confirmed' }]);
    race.expectTruth();
  });

  it('does not sign anew what another settler has signed anew already', async () => {
    const race = new Race();
    const { world } = race;
    world.chain.dropsBroadcasts = true;
    await payOut(race.engine(null), requestOf(1));
    world.pass(50);
    const slow = new Actor();
    const visit = race.settle(race.engine(slow));
    // It has proven that the first attempt never landed, and sleeps.
    await slow.stopBefore('reaccept');
    world.chain.dropsBroadcasts = false;
    // Its lease runs out meanwhile.
    world.pass(21);
    await race.settle(race.engine(null));
    await race.settle(race.engine(null));
    expect(race.payments()).toMatchObject([{ status: 'broadcast', attemptNumber: 2 }]);

    await slow.finish();
    await visit;

    expect(race.payments()).toMatchObject([{ status: 'broadcast', attemptNumber: 2 }]);
    await race.settleAlone();
    race.expectTruth();
  });

  it('does not sign anew while a block that is not yet solid may hold the expired attempt', async () => {
    const race = new Race();
    const { world } = race;
    world.chain.dropsBroadcasts = true;
    await payOut(race.engine(null), requestOf(1));
    world.pass(36);
    world.chain.dropsBroadcasts = false;
    const dying = new Actor();
    const visit = expect(race.settle(race.engine(dying))).rejects.toThrow(Crash);
    await dying.stopBefore('broadcast');
    world.pass(2);
    await dying.step();
    await dying.die();
    await visit;
    world.pass(2);
    expect(world.chain.paid).toHaveLength(1);

    await race.settle(race.engine(null));

    expect(race.payments()).toMatchObject([{ attemptNumber: 1 }]);
    await race.settleAlone();
    race.expectTruth();
  });

  it('does not expire the second attempt by the proof about the first', async () => {
    const race = new Race();
    const { world } = race;
    world.chain.dropsBroadcasts = true;
    await payOut(race.engine(null), requestOf(1));
    world.pass(50);
    const slow = new Actor();
    const visit = race.settle(race.engine(slow));
    await slow.stopBefore('claimDue');
    await slow.step();
    world.pass(21);
    const signing = new Actor();
    const second = race.settle(race.engine(signing));
    await signing.stopBefore('storeSigned');
    // The last moment to pay passes while one of them is about to sign; the other one finds it passed.
    world.pass(20);
    await slow.stopBefore('closePayment');
    world.chain.dropsBroadcasts = false;
    await signing.finish();
    await second;
    expect(race.payments()).toMatchObject([{ status: 'broadcast', attemptNumber: 2 }]);

    await slow.finish();
    await visit;

    expect(race.payments()).toMatchObject([{ status: 'broadcast', attemptNumber: 2 }]);
    await race.settleAlone();
    race.expectTruth();
  });

  it('takes out its reservation where another one stored the very same bytes in the same millisecond', async () => {
    const race = new Race();
    const { world } = race;
    const slow = new Actor();
    const engine = race.engine(slow);
    // Not made, and not acknowledged: what stands there is the other one's.
    const storeSigned = () => Promise.reject(new ServiceError('outcome_unknown', 'lost'));
    const ledger = new Proxy(engine.ledger, {
      get: (target, name) => (name === 'storeSigned' ? storeSigned : Reflect.get(target, name)),
    });
    const asked = payOut({ ...engine, ledger }, requestOf(1));
    await slow.stopBefore('insertPayment');
    await slow.step();
    world.pass(21);
    await race.settle(race.engine(null));
    expect(race.payments()).toMatchObject([{ status: 'broadcast' }]);
    const [stored] = race.payments();

    await slow.finish();
    await asked;

    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'confirmed', reservationId: stored?.reservationId }]);
    race.expectTruth();
  });

  it('does not note a reservation that was taken out when the payment expired', async () => {
    const race = new Race();
    const { world } = race;
    const slow = new Actor();
    const asked = payOut(race.engine(slow), requestOf(1, true));
    await slow.stopBefore('pushReservation');
    world.pass(100);
    const settler = new Actor();
    const visit = race.settle(race.engine(settler));
    await settler.stopBefore('closePayment');
    await slow.stopBefore('noteReservation');
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(amountOf(1));
    await settler.finish();
    await visit;
    expect(race.payments()).toMatchObject([{ status: 'expired', reservationId: null }]);
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);

    await slow.finish();
    await asked;

    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'expired', reservationId: null }]);
    race.expectTruth();
  });

  it('takes a reservation out once, where two settlers find it', async () => {
    const race = await expiredUnderReservation();
    const { world, settler, visit } = race;
    // Closed by now; its reservation stands in the breaker, and both settlers are about to take it out.
    await settler.stopBefore('takeOutReservation');
    const second = new Actor();
    const visitOfSecond = race.settle(race.engine(second));
    await second.stopBefore('takeOutReservation');
    await settler.finish();
    await visit;
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);

    await second.finish();
    await visitOfSecond;

    await race.settleAlone();
    race.expectTruth();
  });

  it('reads a payment again before it undoes what it could not note, where the payment has ended', async () => {
    const race = await expiredUnderReservation();
    const { world, settler, visit } = race;
    world.pass(21);
    const second = new Actor();
    const visitOfSecond = race.settle(race.engine(second));
    await second.stopBefore('noteReservation');
    await settler.stopBefore('closePayment');
    await settler.step();
    expect(race.payments()).toMatchObject([{ status: 'expired', reservationId: null }]);

    // Its note fails. The entry is not a leftover to drop: nobody has undone its effect yet.
    await second.finish();
    await visitOfSecond;
    await settler.finish();
    await visit;

    await race.settleAlone();
    race.expectTruth();
  });

  it('reads a payment again before it undoes what it could not note, where another one has noted it', async () => {
    const race = new Race();
    const { world } = race;
    await abandon(race, 'pushReservation');
    world.pass(30);
    const slow = new Actor();
    const visit = race.settle(race.engine(slow));
    await slow.stopBefore('noteReservation');
    const quick = new Actor();
    const visitOfQuick = race.settle(race.engine(quick));
    await quick.stopBefore('dropTransition');

    await slow.finish();
    await visit;
    await quick.finish();
    await visitOfQuick;

    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'confirmed' }]);
    race.expectTruth();
  });

  it('leaves a reservation counted that another process has signed for', async () => {
    const race = new Race();
    const { world } = race;
    const slow = new Actor();
    const asked = payOut(race.engine(slow), requestOf(1, true));
    await slow.stopBefore('noteReservation');
    world.pass(30);
    const other = new Actor();
    const visit = race.settle(race.engine(other));
    // The other one has stored the signed bytes with the note, and has yet to drop the entry.
    await other.stopBefore('dropTransition');

    await slow.finish();
    await asked;

    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(amountOf(1));
    await other.finish();
    await visit;
    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'confirmed' }]);
    race.expectTruth();
  });

  it('does not take its own sleep for a chain that has stalled', async () => {
    const { world } = new Race();
    const network = breakerAround(world, {
      readSolidHead: async () => {
        const head = world.chain.solidHead;
        world.nowMs += 3_600_000;
        return head;
      },
    });

    await expect(network.readSolidHead()).resolves.toEqual(world.chain.solidHead);

    expect(world.ledger.breaker.circuit.kind).toBe('closed');
  });

  it('does not open a circuit that has changed since its call was let through', async () => {
    const { world } = new Race();
    world.nowMs += 3_600_000;
    const probing = { kind: 'half_open', generation: 2, successes: 1, permits: [] } as const;
    const network = breakerAround(world, {
      readSolidHead: async () => {
        world.ledger.breaker = { ...world.ledger.breaker, circuit: probing };
        return world.chain.solidHead;
      },
    });

    await expect(network.readSolidHead()).rejects.toMatchObject({ code: 'chain_unavailable' });

    expect(world.ledger.breaker.circuit).toEqual(probing);
  });

  it('does not sign by what it saw before an operator stopped payments', async () => {
    const race = new Race();
    const { world } = race;
    const slow = new Actor();
    const asked = payOut(race.engine(slow), requestOf(1));
    await slow.stopBefore('pushReservation');
    world.isStopped = true;
    world.pass(21);

    await slow.finish();
    await asked;

    expect(race.payments()).toMatchObject([{ status: 'accepted', attempts: [] }]);
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(amountOf(1));
    world.isStopped = false;
    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'confirmed' }]);
    race.expectTruth();
  });

  it('does not lift a pause that is younger than the one it was to lift', async () => {
    const race = new Race();
    const { world } = race;
    const order = (reason: string) => ({ by: 'operator', reason, orderedAtMs: world.nowMs });
    await operateBreaker(world.engine(), 'pause', order('maintenance'));
    const slow = new Actor();
    const resumed = operateBreaker(race.engine(slow), 'resume', order('all is done'));
    const refused = expect(resumed).rejects.toMatchObject({ code: 'order_outdated' });
    await slow.stopBefore('liftPause');
    // Asked again elsewhere, for no answer came.
    await operateBreaker(world.engine(), 'resume', order('all is done'));
    world.pass(60);
    await operateBreaker(world.engine(), 'pause', order('the key has leaked'));

    await slow.finish();
    await refused;
    expect(world.ledger.breaker).toMatchObject({
      pause: { reason: 'the key has leaked' },
      lastOrder: { action: 'pause' },
    });
  });

  it('does not dial by a permit that ran out while it slept', async () => {
    const { world } = new Race();
    const open = {
      kind: 'open',
      generation: 1,
      openedAtMs: world.nowMs,
      reason: '-',
      until: 'recovery',
    } as const;
    world.ledger.breaker = { ...world.ledger.breaker, circuit: open };
    world.pass(21);
    const { ids, clock, rules } = world.engine();
    let dialled = 0;
    const network = {
      ...world.chain.network,
      readSolidHead: async () => {
        dialled += 1;
        return world.chain.solidHead;
      },
    };
    // It sleeps as soon as its permit is stored.
    const ledger = ledgerOf(world.engine(), {
      replaceCircuit: async (...change) => {
        const isStored = await world.ledger.replaceCircuit(...change);
        world.pass(31);
        return isStored;
      },
    });

    const late = withBreaker(network, ledger, ids, clock, rules).readSolidHead();

    await expect(late).rejects.toMatchObject({ code: 'circuit_open' });
    expect(dialled).toBe(0);
    // Its permit wedges nobody: it was a lease.
    await expect(
      withBreaker(network, world.ledger, ids, clock, rules).readSolidHead(),
    ).resolves.toBeDefined();
  });

  it('opens the circuit where the chain has stalled for certain', async () => {
    const { world } = new Race();
    world.nowMs += 3_600_000;
    const network = breakerAround(world, {});
    await expect(network.readSolidHead()).rejects.toMatchObject({ code: 'chain_unavailable' });
    expect(world.ledger.breaker.circuit).toMatchObject({ kind: 'open', generation: 1 });
  });
});

describe('what a caller is told once the key is claimed', () => {
  it('is never that nothing happened, where signing gave up and settling goes on', async () => {
    const race = new Race();
    const engine = race.engine(null);
    const ledger = ledgerOf(engine, { storeSigned: async () => 'tx_id_taken' });

    const asked = payOut({ ...engine, ledger }, requestOf(1));

    await expect(asked).rejects.toMatchObject({ code: 'outcome_unknown' });
    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'confirmed' }]);
  });

  it('is never that nothing happened, where the store went away just after the key was opened again', async () => {
    const race = new Race();
    race.funds = 0n;
    await expect(payOut(race.engine(null), requestOf(1))).rejects.toMatchObject({
      code: 'insufficient_funds',
    });
    race.funds = 1_000_000n;
    const engine = race.engine(null);
    const ledger = ledgerOf(engine, {
      findPayment: () => Promise.reject(new ServiceError('store_unavailable', 'away')),
    });

    const asked = payOut({ ...engine, ledger }, requestOf(1));

    await expect(asked).rejects.toMatchObject({ code: 'outcome_unknown' });
    await race.settleAlone();
    expect(race.payments()).toMatchObject([{ status: 'confirmed' }]);
  });
});

describe('a settler', () => {
  it('visits all other payments though one transition fails every time', async () => {
    const race = new Race();
    const { world } = race;
    const actor = new Actor();
    // Dies between pushing its reservation and noting it.
    const dying = expect(payOut(race.engine(actor), requestOf(1))).rejects.toThrow(Crash);
    await actor.stopBefore('storeSigned');
    await actor.die();
    await dying;
    const healthy = await payOut(race.engine(null), requestOf(2));
    world.pass(30);
    const engine = race.engine(null);
    const errors: string[] = [];

    const report = await settle(
      {
        ...engine,
        ledger: ledgerOf(engine, {
          noteReservation: () => Promise.reject(new ServiceError('outcome_unknown', 'always')),
        }),
      },
      { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 10 },
      (paymentId) => errors.push(paymentId),
    );

    expect(report.errors).toBe(1);
    expect(errors).toHaveLength(1);
    expect(world.ledger.payments.get(healthy.payment.id)?.status).toBe('confirmed');
  });

  describe('whose bytes no key opens', () => {
    async function withUnreadable(broadcast: 'dropped' | 'away') {
      const race = new Race();
      const { world } = race;
      world.chain.dropsBroadcasts = broadcast === 'dropped';
      const engine = race.engine(null);
      const away = () => Promise.reject(new ServiceError('circuit_open', 'the breaker lets nothing out'));
      await payOut(
        broadcast === 'away' ? { ...engine, network: { ...engine.network, broadcast: away } } : engine,
        requestOf(1),
      );
      world.chain.dropsBroadcasts = false;
      let opened = 0;
      const vault = {
        seal: engine.vault.seal,
        open: () => {
          opened += 1;
          throw new UnreadableBytes('another key');
        },
      };
      const visit = async () => {
        const errors: unknown[] = [];
        const limits = { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 10 };
        await settle({ ...race.engine(null), vault }, limits, (_, error) => errors.push(error));
        expect(errors).toEqual([]);
      };
      return { race, world, visit, opened: () => opened };
    }

    it('goes to a person where it is not known to have left, is counted until then, and visited no more', async () => {
      const { race, world, visit, opened } = await withUnreadable('away');
      expect(race.payments()).toMatchObject([{ status: 'signed' }]);
      world.pass(20);
      await visit();
      const [payment] = race.payments();
      expect(payment).toMatchObject({ status: 'needs_review', settleAtMs: null });
      expect(payment?.reason).toBe('the stored transaction of attempt 1 cannot be read (another key)');
      expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(amountOf(1));

      const writes = world.ledger.writes.length;
      for (let round = 0; round < 20; round += 1) {
        world.pass(20);
        await visit();
      }
      expect(opened()).toBe(1);
      expect(world.ledger.writes.length).toBe(writes);
    });

    it('is confirmed all the same where the chain holds it', async () => {
      const { race, world, visit, opened } = await withUnreadable('away');
      const [payment] = race.payments();
      const engine = race.engine(null);
      // A process sent it, and died before it could say so.
      await engine.network.broadcast(payment?.attempts[0]?.sealed ?? Buffer.alloc(0), '');
      world.pass(20);
      await visit();
      expect(race.payments()).toMatchObject([{ status: 'confirmed' }]);
      expect(opened()).toBe(0);
    });

    it('waits for the chain where it has left, and is signed anew once it is proven expired', async () => {
      const { race, world, visit, opened } = await withUnreadable('dropped');
      expect(race.payments()).toMatchObject([{ status: 'broadcast' }]);
      for (let second = 0; second < 35; second += 5) {
        world.pass(5);
        await visit();
        expect(race.payments()).toMatchObject([{ status: 'broadcast', attemptNumber: 1 }]);
      }
      // Looked at as often as it would have been sent, not at each visit.
      expect(opened()).toBe(2);
      expect(race.payments()[0]?.reason).toMatch(/cannot be read \(another key\).*the chain decides/);

      for (let round = 0; round < 10; round += 1) {
        world.pass(10);
        await visit();
      }
      expect(race.payments()).toMatchObject([
        { status: 'confirmed', attempts: [{ outcome: 'expired' }, { outcome: 'paid' }] },
      ]);
      expect(world.chain.paid).toHaveLength(1);
    });
  });
});

/**
 * A payment whose time to be paid has passed, and a settler about to close it, while the process that took it has
 * pushed its reservation at the last moment and died.
 */
async function expiredUnderReservation() {
  const race = new Race();
  const slow = new Actor();
  const asked = expect(payOut(race.engine(slow), requestOf(1, true))).rejects.toThrow(Crash);
  await slow.stopBefore('pushReservation');
  race.world.pass(100);
  const settler = new Actor();
  const visit = race.settle(race.engine(settler));
  await settler.stopBefore('closePayment');
  await slow.stopBefore('noteReservation');
  await slow.die();
  await asked;
  return Object.assign(race, { settler, visit });
}

/** The breaker around the simulated chain, some of whose answers are replaced. */
function breakerAround(world: World, replaced: Partial<Engine['network']>): Engine['network'] {
  const { ids, clock, rules } = world.engine();
  return withBreaker({ ...world.chain.network, ...replaced }, world.ledger, ids, clock, rules);
}

/** The same ledger with some of its methods replaced. */
function ledgerOf(engine: Engine, replaced: Partial<Engine['ledger']>): Engine['ledger'] {
  return new Proxy(engine.ledger, {
    get: (target, name) => Reflect.get(name in replaced ? replaced : target, name),
  });
}
