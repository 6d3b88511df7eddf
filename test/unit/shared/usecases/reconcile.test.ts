import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { END_STATUSES, type Payment, type PaymentOrder } from '../../../../shared/domain/payment.ts';
import { isRecovered } from '../../../../shared/domain/restore.ts';
import type { TronAddress } from '../../../../shared/domain/tron-address.ts';
import { audit } from '../../../../shared/usecases/audit.ts';
import {
  approvePayment,
  cancelPayment,
  rejectPayment,
  resolvePayment,
} from '../../../../shared/usecases/decide-payment.ts';
import type { Engine } from '../../../../shared/usecases/engine.ts';
import { operateBreaker } from '../../../../shared/usecases/operate-breaker.ts';
import { payBatch } from '../../../../shared/usecases/pay-batch.ts';
import { payOut } from '../../../../shared/usecases/pay-out.ts';
import type { PaymentRules } from '../../../../shared/usecases/payment-rules.ts';
import { quote } from '../../../../shared/usecases/quote.ts';
import { settle } from '../../../../shared/usecases/settle.ts';
import { backUp, putBack } from '../../../support/backup.ts';
import { Crash } from '../../../support/simulated-chain.ts';
import { address, RECIPIENT, World } from '../../../support/test-engine.ts';
import { runs } from '../../../support/thorough.ts';

const OTHER = address('TUt3LAMZymzTEiGVCMyHgPCtvq8Wo8Vy1D');
const OPERATOR = { by: 'operator', reason: 'looked at the chain' };

function order(amountMicro: bigint, recipient: TronAddress = RECIPIENT): PaymentOrder {
  return { asset: 'USDT', amountMicro, recipient, reference: null };
}

function pay(engine: Engine, key: string, amountMicro: bigint, recipient?: TronAddress) {
  return payOut(engine, {
    order: order(amountMicro, recipient),
    caller: 'gateway',
    idempotencyKey: key,
    respondAsync: false,
  });
}

function settleOnce(engine: Engine) {
  return settle(engine, { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax: 1_000 }, (_, error) => {
    throw error;
  });
}

async function settleEvery(world: World, seconds: number, runs: number): Promise<void> {
  for (let run = 0; run < runs; run += 1) {
    world.pass(seconds);
    await settleOnce(world.engine());
  }
}

/** Settles, second by second, until the history is read. @returns how many runs it took */
async function settleUntilReconciled(world: World): Promise<number> {
  for (let run = 1; run <= 600; run += 1) {
    world.pass(1);
    const { reconciliation } = await settleOnce(world.engine());
    if (reconciliation?.done === true) return run;
  }
  throw new Error('it was never reconciled');
}

async function reconcileAndResume(world: World): Promise<void> {
  await settleUntilReconciled(world);
  await operateBreaker(world.engine(), 'resume', OPERATOR);
}

function recoveredIn(world: World) {
  return [...world.ledger.payments.values()].filter(isRecovered);
}

function paidTo(world: World, recipient: TronAddress): bigint[] {
  return world.chain.paid
    .filter(({ pending }) => pending.transfer.recipient === recipient)
    .map(({ pending }) => pending.transfer.amountMicro);
}

/** A system that was backed up, paid one order since, and was put back. */
async function restoredAfterPaying(amountMicro = 25_000_000n): Promise<World> {
  const world = new World();
  await pay(world.engine(), 'before', 7_000_000n, OTHER);
  world.pass(10);
  await settleOnce(world.engine());
  const backup = backUp(world.ledger.store);
  world.pass(3);
  await pay(world.engine(), 'lost', amountMicro);
  world.pass(10);
  await settleOnce(world.engine());
  putBack(world.ledger.store, backup);
  return world;
}

/** A system that was backed up while an order waited for approval, that approved and paid it, and was put back. */
async function restoredAfterApproving(rules: Partial<PaymentRules> = {}) {
  const world = new World({
    amounts: { maxMicro: { USDT: null, TRX: null }, approvalAboveMicro: { USDT: 1_000_000n, TRX: null } },
    ...rules,
  });
  await pay(world.engine(), 'before', 1_000n, OTHER);
  const { payment } = await pay(world.engine(), 'approved', 25_000_000n);
  const backup = backUp(world.ledger.store);
  world.pass(1);
  await approvePayment(world.engine(), payment, 'approver');
  world.pass(10);
  await settleOnce(world.engine());
  expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
  putBack(world.ledger.store, backup);
  return { world, payment };
}

/** A system that was backed up while an order waited for the chain, that paid it, and was put back some time later. */
async function restoredAfterWaiting(secondsPaid: number, rules: Partial<PaymentRules> = {}) {
  const world = new World(rules);
  world.chain.isAway = true;
  const { payment } = await pay(world.engine(), 'waiting', 25_000_000n);
  const backup = backUp(world.ledger.store);
  world.chain.isAway = false;
  world.pass(10);
  await settleOnce(world.engine());
  world.pass(secondsPaid);
  putBack(world.ledger.store, backup);
  return { world, payment };
}

/** A system whose first attempt was in the backup and never landed, that paid by a second one, and was put back. */
async function restoredAfterSecondAttempt(payByMs: number) {
  const world = new World({ payByMs });
  world.chain.dropsBroadcasts = true;
  const { payment } = await pay(world.engine(), 'twice', 25_000_000n);
  const backup = backUp(world.ledger.store);
  world.pass(70);
  await settleOnce(world.engine());
  world.chain.dropsBroadcasts = false;
  await settleEvery(world, 5, 5);
  expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
  putBack(world.ledger.store, backup);
  return { world, payment };
}

/** A payment as it is stored now. */
function held(world: World, { id }: Payment): Payment {
  const payment = world.ledger.payments.get(id);
  if (payment === undefined) throw new Error(`${id} is lost`);
  return payment;
}

describe('a restored system', () => {
  it('is paused, and cannot be resumed before it has read what was paid since the backup', async () => {
    const world = await restoredAfterPaying();
    await expect(pay(world.engine(), 'new', 1_000_000n, OTHER)).rejects.toMatchObject({
      code: 'payments_paused',
      message: expect.stringContaining('backup of 2026-01-01'),
    });
    await expect(operateBreaker(world.engine(), 'resume', OPERATOR)).rejects.toMatchObject({
      code: 'not_reconciled',
    });
    await settleUntilReconciled(world);
    expect(world.ledger.breaker.pause).toMatchObject({ by: 'restore' });
    await operateBreaker(world.engine(), 'resume', OPERATOR);
    await pay(world.engine(), 'new', 1_000_000n, OTHER);
    world.pass(1);
    expect(paidTo(world, OTHER)).toEqual([7_000_000n, 1_000_000n]);
  });

  it('is not resumed by whoever reads the breaker just before it was restored', async () => {
    const world = await restoredAfterPaying();
    const { pause } = await world.ledger.readBreaker();
    if (pause === null) throw new Error('it is not paused');
    expect(await world.ledger.liftPause(pause)).toBe(false);
  });

  it('does nothing while its payments are still being put back', async () => {
    const world = new World();
    await pay(world.engine(), 'known', 7_000_000n);
    putBack(world.ledger.store, backUp(world.ledger.store), false);
    for (let run = 0; run < 100; run += 1) {
      world.pass(2);
      expect(await settleOnce(world.engine())).toMatchObject({ visited: 0, reconciliation: null });
    }
    await expect(operateBreaker(world.engine(), 'resume', OPERATOR)).rejects.toMatchObject({
      code: 'not_reconciled',
      message: expect.stringContaining('run it again'),
    });
  });

  it('takes each transfer that no payment stands for into the ledger, and counts it', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    await settleUntilReconciled(world);
    const [recovered, ...others] = recoveredIn(world);
    expect(others).toEqual([]);
    expect(recovered).toMatchObject({
      status: 'confirmed',
      asset: 'USDT',
      amountMicro: 25_000_000n,
      recipient: RECIPIENT,
      attempts: [{ outcome: 'paid', blockNumber: expect.any(Number), feeMicro: 345_000n }],
    });
    expect(world.ledger.breaker.books.USDT).toMatchObject({
      outstandingMicro: 0n,
      spentTotalMicro: 32_000_000n,
    });
    expect(world.ledger.breaker.fees).toMatchObject({ outstandingMicro: 0n, spentTotalMicro: 690_000n });
    expect(world.ledger.breaker.restore).toMatchObject({ recovered: 1, reconciledAtMs: world.nowMs });
  });

  it('counts them against the limits, whatever those say', async () => {
    const world = await restoredAfterPaying(990_000_000n);
    await reconcileAndResume(world);
    await expect(pay(world.engine(), 'new', 4_000_000n, OTHER)).rejects.toMatchObject({
      code: 'limit_exceeded',
    });
    await pay(world.engine(), 'new', 3_000_000n, OTHER);
  });

  it('does not take for a theft what it paid itself, while and after it finds out', async () => {
    const world = await restoredAfterPaying();
    for (let round = 0; round < 20; round += 1) {
      world.pass(6);
      await settleOnce(world.engine());
      await audit(world.engine());
    }
    expect(world.ledger.breaker.restore?.reconciledAtMs).not.toBeNull();
    expect(world.ledger.store.audit).toMatchObject({ findings: [], wallet: { unclear: null } });
    expect(world.ledger.breaker.circuit.kind).toBe('closed');
  });

  it('recovers a transfer that reverted for its fee alone', async () => {
    const world = new World();
    await pay(world.engine(), 'before', 7_000_000n, OTHER);
    world.pass(5);
    const backup = backUp(world.ledger.store);
    world.chain.reverts = true;
    await pay(world.engine(), 'lost', 25_000_000n);
    world.pass(5);
    world.chain.reverts = false;
    putBack(world.ledger.store, backup);
    await reconcileAndResume(world);
    expect(recoveredIn(world)).toMatchObject([{ status: 'failed' }]);
    expect(world.ledger.breaker.fees.spentTotalMicro).toBe(690_000n);
    expect((await pay(world.engine(), 'lost', 25_000_000n)).payment.status).toBe('broadcast');
  });

  it('finds what was signed before the restore and lands long after it', async () => {
    const world = new World();
    await pay(world.engine(), 'before', 7_000_000n, OTHER);
    world.pass(5);
    const backup = backUp(world.ledger.store);
    world.chain.dropsBroadcasts = true;
    const { payment } = await pay(world.engine(), 'lost', 25_000_000n);
    world.chain.dropsBroadcasts = false;
    putBack(world.ledger.store, backup);
    for (let run = 0; run < 50; run += 1) {
      world.pass(1);
      expect((await settleOnce(world.engine())).reconciliation).toMatchObject({ done: false, blocksRead: 0 });
    }
    // A node had it all the time.
    await world.chain.network.broadcast(payment.attempts[0]?.sealed ?? new Uint8Array(), '');
    await settleUntilReconciled(world);
    expect(recoveredIn(world)).toMatchObject([{ status: 'confirmed', amountMicro: 25_000_000n }]);
  });

  it('knows its own payments that landed since the backup', async () => {
    const world = new World();
    await pay(world.engine(), 'known', 25_000_000n);
    const backup = backUp(world.ledger.store);
    world.pass(10);
    putBack(world.ledger.store, backup);
    await reconcileAndResume(world);
    expect(recoveredIn(world)).toEqual([]);
    expect([...world.ledger.payments.values()]).toMatchObject([{ status: 'confirmed' }]);
    expect((await pay(world.engine(), 'equal', 25_000_000n)).payment.status).toBe('broadcast');
  });

  it('reads the whole history where the backup had never seen the chain', async () => {
    const world = new World();
    const backup = backUp(world.ledger.store);
    await pay(world.engine(), 'lost', 25_000_000n);
    world.pass(5);
    putBack(world.ledger.store, backup);
    await settleUntilReconciled(world);
    expect(recoveredIn(world)).toMatchObject([{ status: 'confirmed' }]);
  });

  it('that comes from a backup of one which was not reconciled reads the history of both', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    world.pass(2);
    const second = backUp(world.ledger.store);
    world.pass(2);
    putBack(world.ledger.store, second);
    await settleUntilReconciled(world);
    expect(recoveredIn(world)).toMatchObject([{ amountMicro: 25_000_000n }]);
    expect(world.ledger.breaker.restore?.recovered).toBe(1);
  });

  it('stays paused where the chain is not the one that the backup knew', async () => {
    const world = await restoredAfterPaying();
    world.chain.historyView = (blocks) =>
      blocks.map((block) => ({ ...block, parentId: `f${block.parentId.slice(1)}` }));
    for (let run = 0; run < 100; run += 1) {
      world.pass(1);
      await settleOnce(world.engine());
    }
    expect(world.ledger.breaker.circuit).toMatchObject({
      kind: 'open',
      until: 'reset',
      reason: expect.stringContaining('on the one of the backup'),
    });
    await expect(operateBreaker(world.engine(), 'resume', OPERATOR)).rejects.toMatchObject({
      code: 'not_reconciled',
      message: expect.stringMatching(/has tripped .*on the one of the backup.*must be reset first/),
    });
    expect((await settleOnce(world.engine())).reconciliation?.waitsFor?.message).toContain('must reset');
    // The operator mends the nodes, and it is read anew.
    world.chain.historyView = (blocks) => blocks;
    await operateBreaker(world.engine(), 'reset', OPERATOR);
    await reconcileAndResume(world);
    expect(recoveredIn(world)).toHaveLength(1);
    expect(world.ledger.breaker.restore?.recovered).toBe(1);
  });

  it('waits where the chain is away', async () => {
    const world = await restoredAfterPaying();
    world.pass(100);
    await settleOnce(world.engine());
    world.chain.isAway = true;
    expect(await settleOnce(world.engine())).toMatchObject({
      reconciliation: { done: false },
      waiting: { chain_unavailable: expect.any(Number) },
      errors: 0,
    });
    world.chain.isAway = false;
    await settleUntilReconciled(world);
  });
});

describe('what a restored system does not pay again', () => {
  it('an order whose key was lost with the payment: a person says that it was paid', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    await reconcileAndResume(world);
    const { payment: held } = await pay(world.engine(), 'lost', 25_000_000n);
    expect(held).toMatchObject({ status: 'awaiting_approval', reservationId: null });
    expect(held.reason).toContain(world.chain.paid.at(-1)?.pending.txId);
    const ruled = await resolvePayment(world.engine(), held, 'paid', OPERATOR);
    expect(ruled).toMatchObject({ status: 'confirmed', attempts: [] });
    world.pass(10);
    await settleOnce(world.engine());
    expect((await pay(world.engine(), 'lost', 25_000_000n)).payment.status).toBe('confirmed');
    expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
    // The transfer is accounted for: the next equal order is another one.
    expect((await pay(world.engine(), 'other', 25_000_000n)).payment.status).toBe('broadcast');
  });

  it('nor holds it for ever: an approver says that it is another one', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    await reconcileAndResume(world);
    const { payment: held } = await pay(world.engine(), 'new', 25_000_000n);
    const { payment } = await approvePayment(world.engine(), held, 'approver');
    expect(payment.status).toBe('broadcast');
    // What was recovered may still have paid the next one.
    expect((await pay(world.engine(), 'lost', 25_000_000n)).payment.status).toBe('awaiting_approval');
  });

  it('an order that the backup shows as waiting', async () => {
    const { world } = await restoredAfterWaiting(10);
    await reconcileAndResume(world);
    world.pass(40);
    await settleOnce(world.engine());
    await settleOnce(world.engine());
    const [waiting] = [...world.ledger.payments.values()].filter((payment) => !isRecovered(payment));
    expect(waiting).toMatchObject({
      status: 'needs_review',
      reason: expect.stringContaining('it may be this payment'),
    });
    expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
  });

  it('an order whose first attempt was in the backup and whose second one paid it', async () => {
    const { world } = await restoredAfterSecondAttempt(3_600_000);
    await reconcileAndResume(world);
    await settleEvery(world, 5, 5);
    const [standing] = [...world.ledger.payments.values()].filter((payment) => !isRecovered(payment));
    expect(standing?.status).toBe('needs_review');
    expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
  });

  it('an order that was refused when it was backed up, and paid when it was tried again', async () => {
    const world = new World();
    world.verdict = 'on_the_deny_list';
    const refuse = (engine: Engine) =>
      expect(pay(engine, 'retried', 25_000_000n)).rejects.toMatchObject({ code: 'recipient_refused' });
    await pay({ ...world.engine(), recipients: { judge: async () => 'allowed' } }, 'before', 1n, OTHER);
    await refuse(world.engine());
    // Refused in advance nothing is stored; refused at the last look it is.
    let looks = 0;
    const turning: Engine = {
      ...world.engine(),
      recipients: { judge: async () => (++looks > 1 ? 'on_the_deny_list' : 'allowed') },
    };
    await refuse(turning);
    const backup = backUp(world.ledger.store);
    world.verdict = 'allowed';
    await pay(world.engine(), 'retried', 25_000_000n);
    world.pass(10);
    putBack(world.ledger.store, backup);
    await reconcileAndResume(world);
    expect((await pay(world.engine(), 'retried', 25_000_000n)).payment).toMatchObject({
      status: 'awaiting_approval',
      generation: 1,
    });
    expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
  });

  it('an order that was approved before the backup, and paid since', async () => {
    const world = new World({
      amounts: { maxMicro: { USDT: null, TRX: null }, approvalAboveMicro: { USDT: 1_000_000n, TRX: null } },
    });
    await pay(world.engine(), 'before', 1_000n, OTHER);
    const { payment } = await pay(world.engine(), 'approved', 25_000_000n);
    world.chain.isAway = true;
    await approvePayment(world.engine(), payment, 'approver');
    const backup = backUp(world.ledger.store);
    world.chain.isAway = false;
    world.pass(10);
    await settleOnce(world.engine());
    world.pass(10);
    expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
    putBack(world.ledger.store, backup);
    await reconcileAndResume(world);
    world.pass(40);
    await settleOnce(world.engine());
    await settleOnce(world.engine());
    expect(world.ledger.payments.get(payment.id)?.status).toBe('needs_review');
    expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
  });

  it('an order that waited for approval when it was backed up, whenever it is approved again', async () => {
    for (const approveAgain of ['before', 'after'] as const) {
      const { world, payment } = await restoredAfterApproving();
      if (approveAgain === 'before') await approvePayment(world.engine(), held(world, payment), 'approver');
      await reconcileAndResume(world);
      if (approveAgain === 'after') await approvePayment(world.engine(), held(world, payment), 'approver');
      world.pass(40);
      await settleOnce(world.engine());
      expect(paidTo(world, RECIPIENT), approveAgain).toEqual([25_000_000n]);
      expect(held(world, payment), approveAgain).toMatchObject({
        status: 'needs_review',
        reason: expect.stringContaining('it may be this payment'),
      });
    }
  });

  it('an order that was ruled to be paid by a process that died, and then approved', async () => {
    for (let crashAt = 1; ; crashAt += 1) {
      const world = await restoredAfterPaying(25_000_000n);
      await reconcileAndResume(world);
      const { payment } = await pay(world.engine(), 'lost', 25_000_000n);
      const died = await resolvePayment(world.engine(crashAt), payment, 'paid', OPERATOR).then(
        () => false,
        (error: unknown) => error instanceof Crash,
      );
      if (!died) {
        expect(crashAt).toBeGreaterThan(8);
        return;
      }
      const isClaimed = recoveredIn(world)[0]?.history.some(({ event }) => event === 'claimed');
      if (isClaimed !== true) continue;
      await approvePayment(world.engine(), held(world, payment), 'approver').catch(refused);
      world.pass(40);
      await settleOnce(world.engine());
      expect(paidTo(world, RECIPIENT), `died at ${crashAt}`).toEqual([25_000_000n]);
      expect((await resolvePayment(world.engine(), held(world, payment), 'paid', OPERATOR)).status).toBe(
        'confirmed',
      );
    }
  });

  it('an order whose process slept from before the restore until after it', async () => {
    const world = new World();
    await pay(world.engine(), 'before', 7_000_000n, OTHER);
    world.pass(10);
    await settleOnce(world.engine());
    const backup = backUp(world.ledger.store);
    await pay(world.engine(), 'lost', 25_000_000n);
    world.pass(10);
    await settleOnce(world.engine());
    const engine = world.engine();
    const slept: Engine = {
      ...engine,
      ledger: {
        ...engine.ledger,
        insertPayment: async (payment) => {
          putBack(world.ledger.store, backup);
          await reconcileAndResume(world);
          return engine.ledger.insertPayment(payment);
        },
      },
    };
    await pay(slept, 'lost', 25_000_000n).catch(refused);
    world.pass(40);
    await settleOnce(world.engine());
    expect(paidTo(world, RECIPIENT)).toEqual([25_000_000n]);
  });

  it('nor calls unpaid what was paid since, where its time is over', async () => {
    const { world, payment } = await restoredAfterWaiting(60, { payByMs: 60_000 });
    await settleUntilReconciled(world);
    world.pass(40);
    await settleOnce(world.engine());
    expect(held(world, payment).status).toBe('needs_review');
  });

  it('nor where nobody approves it again', async () => {
    const { world, payment } = await restoredAfterApproving({ approveByMs: 60_000 });
    world.pass(60);
    await settleUntilReconciled(world);
    world.pass(40);
    await settleOnce(world.engine());
    expect(held(world, payment).status).toBe('needs_review');
    const ruled = await resolvePayment(world.engine(), held(world, payment), 'paid', OPERATOR);
    expect(ruled.status).toBe('confirmed');
  });

  it('nor where its last attempt of the backup is dead', async () => {
    const { world, payment } = await restoredAfterSecondAttempt(120_000);
    await settleUntilReconciled(world);
    world.pass(40);
    await settleOnce(world.engine());
    await settleOnce(world.engine());
    expect(held(world, payment)).toMatchObject({
      status: 'needs_review',
      attempts: [{ outcome: 'expired' }],
    });
  });

  it('nor lets it be cancelled as though it were unpaid', async () => {
    const { world, payment } = await restoredAfterApproving();
    const cancel = () => cancelPayment(world.engine(), held(world, payment), { by: 'gateway', reason: null });
    await expect(cancel()).rejects.toMatchObject({ code: 'not_reconciled' });
    await expect(rejectPayment(world.engine(), held(world, payment), OPERATOR)).rejects.toMatchObject({
      code: 'not_reconciled',
    });
    await reconcileAndResume(world);
    await expect(cancel()).rejects.toMatchObject({
      code: 'payment_not_cancellable',
      message: expect.stringContaining('it may be this payment'),
    });
    // Who may reject it is shown why it is held.
    expect((await rejectPayment(world.engine(), held(world, payment), OPERATOR)).status).toBe('rejected');
  });

  it('takes the transfer for an order under review that a person says was paid by it', async () => {
    const { world, payment } = await restoredAfterWaiting(10);
    await reconcileAndResume(world);
    world.pass(40);
    await settleOnce(world.engine());
    await settleOnce(world.engine());
    const ruled = await resolvePayment(world.engine(), held(world, payment), 'paid', OPERATOR);
    expect(ruled).toMatchObject({
      status: 'confirmed',
      reason: expect.stringContaining('paid by transaction'),
    });
    expect((await pay(world.engine(), 'other', 25_000_000n)).payment.status).toBe('broadcast');
  });

  it('an order in a batch: it is to be asked for singly', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    await reconcileAndResume(world);
    await expect(
      payBatch(world.engine(), {
        orders: [order(1_000_000n, OTHER), order(25_000_000n)],
        caller: 'gateway',
        idempotencyKey: 'batch',
      }),
    ).rejects.toMatchObject({
      code: 'approval_required',
      field: 'items[1].amount',
      message: expect.stringContaining('it may be this payment'),
    });
    expect((await quote(world.engine(), order(25_000_000n))).needsApproval).toBe(true);
  });

  it('orders that are equal to a transfer which a person has dealt with are paid', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    await reconcileAndResume(world);
    const [recovered] = recoveredIn(world);
    if (recovered === undefined) throw new Error('nothing was recovered');
    const known = await resolvePayment(world.engine(), recovered, 'paid', OPERATOR);
    expect(known.history.at(-1)).toMatchObject({
      event: 'claimed',
      detail: expect.stringContaining('operator'),
    });
    expect((await pay(world.engine(), 'new', 25_000_000n)).payment.status).toBe('broadcast');
  });

  it('one transfer is no proof of two orders', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    await reconcileAndResume(world);
    const { payment: first } = await pay(world.engine(), 'one', 25_000_000n);
    const { payment: second } = await pay(world.engine(), 'two', 25_000_000n);
    const ruled = await Promise.allSettled(
      [first, second].map((held) => resolvePayment(world.engine(), held, 'paid', OPERATOR)),
    );
    expect(ruled.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });
});

describe('reading the history', () => {
  it('is resumed wherever a process died, and counts nothing twice', async () => {
    for (let crashAt = 1; ; crashAt += 1) {
      const world = await restoredAfterPaying(25_000_000n);
      world.pass(80);
      await settleOnce(world.engine());
      world.pass(1);
      let died = false;
      try {
        await settleOnce(world.engine(crashAt));
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        died = true;
      }
      if (world.ledger.breaker.restore?.reconciledAtMs === null) await settleUntilReconciled(world);
      world.pass(40);
      await settleOnce(world.engine());
      const { books, fees, transitions } = world.ledger.breaker;
      expect(recoveredIn(world), `died at ${crashAt}`).toMatchObject([{ status: 'confirmed' }]);
      expect([books.USDT.outstandingMicro, books.USDT.spentTotalMicro]).toEqual([0n, 32_000_000n]);
      expect([fees.outstandingMicro, fees.spentTotalMicro]).toEqual([0n, 690_000n]);
      expect(transitions).toEqual([]);
      if (!died) {
        expect(crashAt).toBeGreaterThan(40);
        return;
      }
    }
  });

  it('does not go below a transfer that could not be counted', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    world.pass(80);
    await settleOnce(world.engine());
    const engine = world.engine();
    const busy: Engine = { ...engine, ledger: { ...engine.ledger, pushReservation: async () => false } };
    for (let run = 0; run < 5; run += 1) {
      expect((await settleOnce(busy)).reconciliation).toMatchObject({ done: false });
    }
    expect((await settleOnce(busy)).waiting).toEqual({ too_busy: 1 });
    await settleUntilReconciled(world);
    expect(world.ledger.breaker.books.USDT.spentTotalMicro).toBe(32_000_000n);
  });

  it('ends a run where a node shows nothing', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    world.chain.historyView = () => [];
    for (let run = 0; run < 100; run += 1) {
      world.pass(1);
      expect((await settleOnce(world.engine())).reconciliation).toMatchObject({ done: false, blocksRead: 0 });
    }
  });

  it('is done by several settlers at once as by one', async () => {
    const world = await restoredAfterPaying(25_000_000n);
    for (let run = 0; run < 120; run += 1) {
      world.pass(1);
      await Promise.all([1, 2, 3].map(() => settleOnce(world.engine())));
    }
    expect(world.ledger.breaker.restore?.reconciledAtMs).not.toBeNull();
    expect(recoveredIn(world)).toHaveLength(1);
    expect(world.ledger.breaker.books.USDT).toMatchObject({
      outstandingMicro: 0n,
      spentTotalMicro: 32_000_000n,
    });
  });
});

/** What happens to a system that is put back now and then. */
type Happening =
  | { readonly kind: 'pay'; readonly key: number; readonly equal: number; readonly crashAt: number | null }
  | { readonly kind: 'settle'; readonly seconds: number; readonly crashAt: number | null }
  | { readonly kind: 'drops'; readonly is: boolean }
  | { readonly kind: 'back_up' }
  | { readonly kind: 'put_back' };

const KEYS = 5;
const AMOUNTS = [25_000_000n, 40_000_000n];
/** Time that runs out while a system is put back, and time enough. */
const payBy = fc.constantFrom(90_000, 3_600_000);
const crash = fc.option(fc.integer({ min: 1, max: 60 }), { freq: 3 });
const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('pay' as const),
      key: fc.nat(KEYS - 1),
      equal: fc.nat(AMOUNTS.length - 1),
      crashAt: crash,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      seconds: fc.integer({ min: 1, max: 40 }),
      crashAt: crash,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('drops' as const), is: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'back_up' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'put_back' as const }) },
);

/**
 * Callers, an operator and an approver who know what they asked for and look at the chain: which transaction was signed
 * for which key is noted as it is stored, and that is what a restored database forgets.
 */
class Truth {
  readonly world: World;
  readonly #keyOf = new Map<string, string>();

  constructor(payByMs: number) {
    this.world = new World({
      payByMs,
      approveByMs: payByMs,
      amounts: { maxMicro: { USDT: null, TRX: null }, approvalAboveMicro: { USDT: 30_000_000n, TRX: null } },
    });
  }

  engine(crashAt: number | null = null): Engine {
    const engine = this.world.engine(crashAt ?? undefined);
    const { ledger } = engine;
    const storeSigned: typeof ledger.storeSigned = async (guard, attempt, note, change) => {
      try {
        return await ledger.storeSigned(guard, attempt, note, change);
      } finally {
        const payment = this.world.ledger.payments.get(guard.paymentId);
        const isStored = payment?.attempts.some(({ txId }) => txId === attempt.txId);
        if (payment !== undefined && isStored) this.#keyOf.set(attempt.txId, payment.idempotencyKey);
      }
    };
    return { ...engine, ledger: { ...ledger, storeSigned } };
  }

  timesPaid(key: string): number {
    return this.world.chain.paid.filter(({ pending }) => this.#keyOf.get(pending.txId) === key).length;
  }

  /**
   * Rules on all that waits for a person, by what is true; but approves without a look what is said to wait for nothing
   * but approval.
   */
  async rule(): Promise<void> {
    for (const payment of this.world.ledger.payments.values()) {
      const isPaid = this.timesPaid(payment.idempotencyKey) > 0;
      if (payment.status === 'awaiting_approval') {
        const isRoutine = payment.reason === 'it waits for approval';
        if (isPaid && !isRoutine) await resolvePayment(this.engine(), payment, 'paid', OPERATOR);
        else await approvePayment(this.engine(), payment, 'approver').catch(refused);
      } else if (payment.status === 'needs_review' && !isRecovered(payment)) {
        // Too early for a ruling where its bytes may land yet.
        await resolvePayment(this.engine(), payment, isPaid ? 'paid' : 'not_paid', OPERATOR).catch(refused);
      }
    }
  }
}

function refused(error: unknown): void {
  if (!(error instanceof ServiceError)) throw error;
}

async function mayDie(life: Promise<unknown>): Promise<void> {
  await life.catch((error: unknown) => {
    if (!(error instanceof Crash) && !(error instanceof ServiceError)) throw error;
  });
}

describe('whatever is lost with a backup', () => {
  it('no key is paid twice, and what was paid is counted', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        payBy,
        fc.array(happening, { minLength: 4, maxLength: 30 }),
        async (payByMs, happenings) => {
          const truth = new Truth(payByMs);
          const { world } = truth;
          let backup = backUp(world.ledger.store);
          const ask = (key: number, equal: number, crashAt: number | null) =>
            mayDie(pay(truth.engine(crashAt), `key-${key}`, AMOUNTS[equal] ?? 1n));
          const asked = new Map<number, number>();
          for (const one of happenings) {
            switch (one.kind) {
              case 'pay': {
                // A key is always asked for with the same order.
                const equal = asked.get(one.key) ?? one.equal;
                asked.set(one.key, equal);
                await ask(one.key, equal, one.crashAt);
                break;
              }
              case 'settle':
                world.pass(one.seconds);
                await mayDie(settleOnce(truth.engine(one.crashAt)));
                break;
              case 'drops':
                world.chain.dropsBroadcasts = one.is;
                break;
              case 'back_up':
                backup = backUp(world.ledger.store);
                break;
              case 'put_back':
                putBack(world.ledger.store, backup);
                break;
            }
            const { restore, pause } = world.ledger.breaker;
            if (pause !== null && restore?.reconciledAtMs !== null) {
              await operateBreaker(truth.engine(), 'resume', OPERATOR);
            }
            await truth.rule();
          }

          world.chain.dropsBroadcasts = false;
          if (world.ledger.breaker.restore?.reconciledAtMs === null) await settleUntilReconciled(world);
          await operateBreaker(truth.engine(), 'resume', OPERATOR);
          for (let round = 0; round < 40; round += 1) {
            for (const [key, equal] of asked) await ask(key, equal, null);
            await truth.rule();
            world.pass(20);
            await settleOnce(truth.engine());
            await truth.rule();
          }
          for (const key of asked.keys()) expect(truth.timesPaid(`key-${key}`)).toBeLessThanOrEqual(1);
          for (const payment of world.ledger.payments.values()) {
            if (isRecovered(payment)) continue;
            expect(END_STATUSES).toContain(payment.status);
            expect(truth.timesPaid(payment.idempotencyKey)).toBe(payment.status === 'confirmed' ? 1 : 0);
          }
          const sentMicro = world.chain.paid.reduce(
            (sum, { pending }) => sum + pending.transfer.amountMicro,
            0n,
          );
          const { books, fees, transitions } = world.ledger.breaker;
          expect(books.USDT.spentTotalMicro).toBeGreaterThanOrEqual(sentMicro);
          expect([books.USDT.outstandingMicro, fees.outstandingMicro]).toEqual([0n, 0n]);
          expect(transitions).toEqual([]);
          expect(world.ledger.store.audit.findings).toEqual([]);
        },
      ),
      runs(50, 500),
    );
  });
});
