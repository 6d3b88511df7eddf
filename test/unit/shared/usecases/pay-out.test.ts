import { describe, expect, it } from 'vitest';
import { openCircuit } from '../../../../shared/domain/circuit.ts';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { NOTHING_IN_FLIGHT } from '../../../../shared/ports/payment-network.ts';
import { transferOf } from '../../../../shared/usecases/advance-payment.ts';
import { payBatch } from '../../../../shared/usecases/pay-batch.ts';
import { type PayOutRequest, payOut } from '../../../../shared/usecases/pay-out.ts';
import { quote } from '../../../../shared/usecases/quote.ts';
import { settle } from '../../../../shared/usecases/settle.ts';
import { RECIPIENT, World } from '../../../support/test-engine.ts';

const ORDER: PayOutRequest = {
  order: { asset: 'USDT', amountMicro: 25_000_000n, recipient: RECIPIENT, reference: null },
  caller: 'gateway',
  idempotencyKey: 'order-1',
  respondAsync: false,
};

const order = (amountMicro: bigint, idempotencyKey: string): PayOutRequest => ({
  ...ORDER,
  idempotencyKey,
  order: { ...ORDER.order, amountMicro },
});

async function refusalOf(promise: Promise<unknown>): Promise<ServiceError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ServiceError);
  return error as ServiceError;
}

const settleAll = (world: World) =>
  settle(world.engine(), { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 1_000 }, (_, error) => {
    throw error;
  });

describe('paying out', () => {
  it('broadcasts a new payment with its amount reserved, in four writes before the answer is recorded', async () => {
    const world = new World();

    const { payment, replayed } = await payOut(world.engine(), ORDER);

    expect(replayed).toBe(false);
    expect(payment.status).toBe('broadcast');
    expect(payment.attempts).toHaveLength(1);
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
    expect(world.ledger.breaker.transitions).toEqual([]);
    expect(world.ledger.writes).toEqual([
      'insertPayment',
      'pushReservation',
      'storeSigned',
      'dropTransition',
      'recordBroadcast',
    ]);
  });

  it('answers the same key and order with the same payment, and sends nothing again', async () => {
    const world = new World();
    const first = await payOut(world.engine(), ORDER);

    const again = await payOut(world.engine(), ORDER);

    expect(again.replayed).toBe(true);
    expect(again.payment.id).toBe(first.payment.id);
    expect(world.chain.pool).toHaveLength(1);
  });

  it('refuses the same key for another amount', async () => {
    const world = new World();
    await payOut(world.engine(), ORDER);

    const refusal = await refusalOf(payOut(world.engine(), order(26_000_000n, 'order-1')));

    expect(refusal.code).toBe('idempotency_key_reused');
    expect(world.chain.pool).toHaveLength(1);
  });

  it('keeps the keys of two callers apart', async () => {
    const world = new World();
    const mine = await payOut(world.engine(), ORDER);
    const theirs = await payOut(world.engine(), { ...ORDER, caller: 'shop' });
    expect(theirs.payment.id).not.toBe(mine.payment.id);
  });

  it('says that a payment is in flight while its claim is fresh and nothing is reserved', async () => {
    const world = new World();
    // Dies right after the claim is inserted.
    await expect(payOut(world.engine(10), ORDER)).rejects.toThrow();
    expect(world.ledger.payments.size).toBe(1);
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(0n);

    const refusal = await refusalOf(payOut(world.engine(), ORDER));

    expect(refusal.code).toBe('payment_in_flight');
    expect(refusal.retryAfterSeconds).toBeGreaterThan(0);
  });

  it('refuses what does not fit the hourly limit, says what is left, and stores nothing', async () => {
    const world = new World();
    await payOut(world.engine(), order(990_000_000n, 'order-1'));

    const refusal = await refusalOf(payOut(world.engine(), order(10_000_001n, 'order-2')));

    expect(refusal.code).toBe('limit_exceeded');
    expect(refusal.extra).toMatchObject({ limit: 'hourly', limit_amount: '1000', remaining: '10' });
    expect(world.ledger.payments.size).toBe(1);
  });

  it('admits the last micro-unit of a limit', async () => {
    const world = new World();
    await payOut(world.engine(), order(990_000_000n, 'order-1'));
    await expect(payOut(world.engine(), order(10_000_000n, 'order-2'))).resolves.toBeDefined();
  });

  it('lets a key that a limit refused pay later, with the same order', async () => {
    const world = new World();
    await payOut(world.engine(), order(1_000_000_000n, 'order-1'));
    world.pass(10);
    await settleAll(world);
    expect((await refusalOf(payOut(world.engine(), order(1n, 'order-2')))).code).toBe('limit_exceeded');

    world.pass(3_630);

    const { payment } = await payOut(world.engine(), order(1n, 'order-2'));
    expect(payment.status).toBe('broadcast');
  });

  it('does not free a limit while the chain stands still, however late it is by the clock', async () => {
    const world = new World();
    await payOut(world.engine(), order(1_000_000_000n, 'order-1'));
    world.pass(10);
    await settleAll(world);

    world.nowMs += 7_200_000;

    expect((await refusalOf(payOut(world.engine(), order(1n, 'order-2')))).code).toBe('limit_exceeded');
  });

  it('reserves and waits while the chain is away, and settling pays once it is back', async () => {
    const world = new World();
    world.chain.isAway = true;

    const { payment } = await payOut(world.engine(), ORDER);

    expect(payment.status).toBe('accepted');
    expect(payment.reservationId).not.toBeNull();
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
    expect(world.ledger.breaker.transitions).toEqual([]);

    world.chain.isAway = false;
    for (let round = 0; round < 4; round += 1) {
      world.pass(5);
      await settleAll(world);
    }
    expect(world.ledger.payments.get(payment.id)?.status).toBe('confirmed');
  });

  it('only reserves when the caller does not want to wait', async () => {
    const world = new World();
    const { payment } = await payOut(world.engine(), { ...ORDER, respondAsync: true });
    expect(payment.status).toBe('accepted');
    expect(payment.reservationId).not.toBeNull();
    expect(world.chain.pool).toEqual([]);
  });

  it('asks the chain even so: the fee counts at its estimate and a quarter, and what is refused is told at once', async () => {
    const world = new World();
    const rules = { ...world.engine().rules, feeReserveMicro: 53_000_000n };
    const engine = { ...world.engine(), rules };
    const { payment } = await payOut(engine, { ...ORDER, respondAsync: true });
    const transfer = transferOf(engine, ORDER.order);
    const { feeMaxMicro } = await engine.network.prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    expect(payment.feeReservedMicro).toBe((feeMaxMicro * 125n) / 100n);
    expect(world.ledger.breaker.fees.outstandingMicro).toBe(payment.feeReservedMicro);

    const prepareTransfer = () => Promise.reject(new ServiceError('insufficient_funds', 'too little'));
    const poor = { ...world.engine(), network: { ...world.engine().network, prepareTransfer } };
    const asked = { ...order(5n, 'order-2'), respondAsync: true };
    expect(await refusalOf(payOut(poor, asked))).toMatchObject({ code: 'insufficient_funds' });
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
  });

  it('counts the most that may be signed while the chain is away', async () => {
    const world = new World();
    const away = () => Promise.reject(new ServiceError('chain_unavailable', 'away'));
    const engine = { ...world.engine(), network: { ...world.engine().network, prepareTransfer: away } };
    const { payment } = await payOut(engine, { ...ORDER, respondAsync: true });
    expect(payment).toMatchObject({ status: 'accepted', feeReservedMicro: engine.rules.feeReserveMicro });
  });

  it('takes nothing while the circuit is open, and says when to come back', async () => {
    const world = new World();
    const { circuit } = world.ledger.breaker;
    world.ledger.breaker = {
      ...world.ledger.breaker,
      circuit: openCircuit(circuit, 'nodes away', world.nowMs),
    };

    const refusal = await refusalOf(payOut(world.engine(), ORDER));

    expect(refusal.code).toBe('circuit_open');
    expect(refusal.retryAfterSeconds).toBe(300);
    expect(world.ledger.payments.size).toBe(0);
  });

  it('still shows a standing payment while the circuit is open', async () => {
    const world = new World();
    const first = await payOut(world.engine(), ORDER);
    const { circuit } = world.ledger.breaker;
    world.ledger.breaker = {
      ...world.ledger.breaker,
      circuit: openCircuit(circuit, 'nodes away', world.nowMs),
    };

    const again = await payOut(world.engine(), ORDER);

    expect(again).toMatchObject({ replayed: true, payment: { id: first.payment.id } });
  });

  it('takes nothing while the stop switch is set', async () => {
    const world = new World();
    world.isStopped = true;
    expect((await refusalOf(payOut(world.engine(), ORDER))).code).toBe('payments_stopped');
    expect(world.ledger.payments.size).toBe(0);
  });

  it('takes nothing while a list of recipients cannot be read, and still shows what stands', async () => {
    const world = new World();
    const first = await payOut(world.engine(), ORDER);
    const unreadable = new ServiceError('payments_stopped', 'The list cannot be read.', {
      retryAfterSeconds: 60,
    });
    const engine = { ...world.engine(), recipients: { judge: () => Promise.reject(unreadable) } };

    expect(await payOut(engine, ORDER)).toMatchObject({ replayed: true, payment: { id: first.payment.id } });
    expect((await refusalOf(payOut(engine, order(26_000_000n, 'order-1')))).code).toBe(
      'idempotency_key_reused',
    );
    expect(await refusalOf(payOut(engine, order(1n, 'order-2')))).toBe(unreadable);
    expect(await quote(engine, ORDER.order)).toMatchObject({ obstacle: unreadable });
    const batch = { orders: [ORDER.order], caller: 'gateway', idempotencyKey: 'batch-1' };
    expect(await refusalOf(payBatch(engine, batch))).toBe(unreadable);
    expect(world.ledger.payments.size).toBe(1);
  });

  it('stores a refusal, reserves nothing for it, and lets the key try again', async () => {
    const world = new World();
    const engine = world.engine();
    const refusing = {
      ...engine,
      network: {
        ...engine.network,
        prepareTransfer: () => Promise.reject(new ServiceError('insufficient_funds', 'too little USDT')),
      },
    };

    expect((await refusalOf(payOut(refusing, ORDER))).code).toBe('insufficient_funds');

    const [refused] = world.ledger.payments.values();
    expect(refused).toMatchObject({ status: 'refused', generation: 0 });
    expect(refused?.reservationId).toBeNull();
    expect(world.ledger.breaker).toMatchObject({
      transitions: [],
      books: { USDT: { outstandingMicro: 0n } },
    });

    const { payment, replayed } = await payOut(world.engine(), ORDER);
    expect(payment).toMatchObject({ id: refused?.id, status: 'broadcast', generation: 1 });
    expect(replayed).toBe(false);
    expect(world.ledger.breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
  });

  it('opens the circuit after five calls in a row have failed', async () => {
    const world = new World();
    world.chain.isAway = true;
    for (let call = 1; call <= 5; call += 1) await payOut(world.engine(), order(1n, `order-${call}`));
    expect(world.ledger.breaker.circuit).toMatchObject({ kind: 'open', generation: 1 });
    expect((await refusalOf(payOut(world.engine(), order(1n, 'order-6')))).code).toBe('circuit_open');
  });

  it('signs two equal orders of one millisecond as two transactions', async () => {
    const world = new World();
    const one = await payOut(world.engine(), order(5n, 'order-1'));
    const two = await payOut(world.engine(), order(5n, 'order-2'));
    expect(two.payment.attempts[0]?.txId).not.toBe(one.payment.attempts[0]?.txId);
    world.pass(5);
    await settleAll(world);
    expect(world.chain.paid).toHaveLength(2);
  });
});
