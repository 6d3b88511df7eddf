import { describe, expect, it } from 'vitest';
import { mongoLedger } from '../../shared/adapters/mongo/mongo-ledger.ts';
import { openCircuit } from '../../shared/domain/circuit.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import type { PaymentNetwork } from '../../shared/ports/payment-network.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { payOut } from '../../shared/usecases/pay-out.ts';
import { withBreaker } from '../../shared/usecases/payment-network-with-breaker.ts';
import { useDatabase } from '../support/database.ts';
import { RECIPIENT, World } from '../support/test-engine.ts';

const database = useDatabase();
const INSTANCES = 8;
const AMOUNT_MICRO = 12_500_000n;

/** Instances with connections of their own to one real database, before one chain in memory. */
function instances(
  world: World,
  change: (network: PaymentNetwork) => PaymentNetwork = (network) => network,
): Engine[] {
  return Array.from({ length: INSTANCES }, () => {
    const engine = world.engine();
    const ledger = mongoLedger(database.connect());
    // The chain goes by the database's clock, which is the one that all instances share.
    const network = withBreaker(change(world.chain.network), ledger, engine.ids, engine.clock, world.rules);
    const clock = { ...engine.clock, sleep: (ms: number) => new Promise<void>((go) => setTimeout(go, ms)) };
    return { ...engine, ledger, network, clock };
  });
}

describe('eight instances at an open circuit', () => {
  it('never dial more than three probes at once, and close it together', async () => {
    const world = new World({ headSkewMsMax: Number.POSITIVE_INFINITY });
    const ASKED = 40;
    let dialled = 0;
    let refused = 0;
    const allAnswered = Promise.withResolvers<void>();
    const answer = () => {
      if (dialled + refused === ASKED) allAnswered.resolve();
    };
    const engines = instances(world, (network) => ({
      ...network,
      // A probe lasts until every rival has been told whether it may dial.
      readSolidHead: async () => {
        dialled += 1;
        answer();
        await allAnswered.promise;
        return network.readSolidHead();
      },
    }));
    const [{ ledger }] = engines as [Engine];
    const { circuit } = await ledger.readBreaker();
    await ledger.replaceCircuit(circuit, openCircuit(circuit, 'away', 0));
    await Promise.all(
      Array.from({ length: ASKED }, async (_, index) => {
        const { network } = engines[index % INSTANCES] as Engine;
        await network.readSolidHead().catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'circuit_open' });
          refused += 1;
          answer();
        });
      }),
    );
    expect(dialled).toBe(3);
    expect((await ledger.readBreaker()).circuit.kind).toBe('closed');
  });
});

describe('eight instances at one limit', () => {
  it('commit exactly what it admits, to the micro-unit, and never more', async () => {
    const world = new World({ headSkewMsMax: Number.POSITIVE_INFINITY, leaseMs: 600_000 });
    const engines = instances(world);
    const pay = async (engine: Engine, key: number): Promise<boolean> => {
      try {
        await payOut(engine, {
          order: { asset: 'USDT', amountMicro: AMOUNT_MICRO, recipient: RECIPIENT, reference: null },
          caller: 'gateway',
          idempotencyKey: `order-${key}`,
          respondAsync: false,
        });
        return true;
      } catch (error) {
        // Refused; or too many rivals at this moment, and nothing is reserved.
        const codes = ['limit_exceeded', 'too_busy', 'outcome_unknown'];
        if (error instanceof ServiceError && codes.includes(error.code)) return false;
        throw error;
      }
    };
    const admitted = await Promise.all(
      engines.flatMap((engine, instance) =>
        [1, 2, 3].map(async (lane) => {
          let count = 0;
          for (let round = 0; round < 5; round += 1) {
            if (await pay(engine, instance * 100 + lane * 10 + round)) count += 1;
          }
          return count;
        }),
      ),
    );
    const { books, transitions } = await (engines[0] as Engine).ledger.readBreaker();
    expect(books.USDT.outstandingMicro).toBe(1_000_000_000n);
    expect(admitted.reduce((sum, count) => sum + count, 0)).toBe(80);
    expect(transitions).toEqual([]);
    const sent = world.chain.pool.reduce((sum, { transfer }) => sum + transfer.amountMicro, 0n);
    expect(sent).toBe(1_000_000_000n);
  });

  it('make one payment of two hundred posts of one key', async () => {
    const world = new World({ headSkewMsMax: Number.POSITIVE_INFINITY, leaseMs: 600_000 });
    const engines = instances(world);
    const asked = await Promise.allSettled(
      Array.from({ length: 200 }, (_, index) =>
        payOut(engines[index % INSTANCES] as Engine, {
          order: { asset: 'USDT', amountMicro: AMOUNT_MICRO, recipient: RECIPIENT, reference: 'one' },
          caller: 'gateway',
          idempotencyKey: 'one',
          respondAsync: false,
        }),
      ),
    );
    const ids = asked.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value.payment.id] : []));
    expect(new Set(ids).size).toBe(1);
    const codes = asked.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason.code] : []));
    expect(codes.filter((code) => code !== 'payment_in_flight')).toEqual([]);
    expect(world.chain.pool).toHaveLength(1);
    const { books } = await (engines[0] as Engine).ledger.readBreaker();
    expect(books.USDT.outstandingMicro).toBe(AMOUNT_MICRO);
  });
});
