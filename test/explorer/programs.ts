import type { BreakerAction } from '../../shared/domain/breaker.ts';
import type { Payment } from '../../shared/domain/payment.ts';
import { advancePayment } from '../../shared/usecases/advance-payment.ts';
import { cancelPayment, resolvePayment } from '../../shared/usecases/decide-payment.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { operateBreaker } from '../../shared/usecases/operate-breaker.ts';
import { advanceBatch, payBatch } from '../../shared/usecases/pay-batch.ts';
import { payOut } from '../../shared/usecases/pay-out.ts';
import { settle } from '../../shared/usecases/settle.ts';
import { RECIPIENT } from '../support/test-engine.ts';
import type { Eyes, Ports } from './script.ts';

/** What a process of a model does once; `engine` is its own. */
export type Task = (engine: Engine, ports: Pick<Ports, 'eyes' | 'onError'>) => Promise<unknown>;

const CALLER = 'gateway';
const OPERATOR = { by: 'operator', reason: 'because' };

const orderOf = (amountMicro: bigint) =>
  ({ asset: 'TRX', amountMicro, recipient: RECIPIENT, reference: null }) as const;

/** Pays under this key. */
export function pay(key: string, amountMicro: bigint, respondAsync = false): Task {
  const request = { order: orderOf(amountMicro), caller: CALLER, idempotencyKey: key, respondAsync };
  return (engine) => payOut(engine, request);
}

/** Pays several amounts under one key, all or none. */
export function payAll(key: string, ...amountsMicro: readonly bigint[]): Task {
  const request = { orders: amountsMicro.map(orderOf), caller: CALLER, idempotencyKey: key };
  return (engine) => payBatch(engine, request);
}

/** One run of `settle`, for so many payments at most. */
export function settleOnce(paymentsMax = 1): Task {
  const bounds = { deadlineMs: Number.POSITIVE_INFINITY, paymentsMax };
  return (engine, { onError }) => settle(engine, bounds, (_, error) => onError(error));
}

/** What `settle` does for one payment or batch, under no lease: as a run that froze once it had taken it up. */
export function visit(key: string): Task {
  return async (engine) => {
    const found = await engine.ledger.findByKey(CALLER, key);
    if (found?.kind === 'payment') await advancePayment(engine, found.payment);
    if (found?.kind === 'batch') await advanceBatch(engine, found.batch);
  };
}

export function cancel(key: string): Task {
  return async (engine) => {
    const payment = await find(engine, key);
    if (payment !== null) await cancelPayment(engine, payment, { by: CALLER, reason: null });
  };
}

/** An operator who looks at the chain, and rules by what is there. */
export function rule(key: string, ruling = ruleTruly): Task {
  return async (engine, { eyes }) => {
    const payment = await find(engine, key);
    if (payment !== null) await ruling(engine, eyes, payment);
  };
}

/** Calls a payment unpaid only after a look at the chain at a time when nothing of it could be included any more. */
export async function ruleTruly(engine: Engine, eyes: Eyes, payment: Payment): Promise<void> {
  const nowMs = await engine.ledger.serverTimeMs();
  if (payment.attempts.every(({ expirationMs }) => expirationMs <= nowMs)) {
    await ruleHastily(engine, eyes, payment);
  }
}

/** Looks at any time, and may rule much later. */
export async function ruleHastily(engine: Engine, eyes: Eyes, payment: Payment): Promise<void> {
  if (payment.status !== 'needs_review') return;
  const isPaid = await eyes.seePaid(payment.attempts.map(({ txId }) => txId));
  await resolvePayment(engine, payment, isPaid ? 'paid' : 'not_paid', OPERATOR);
}

export function order(...actions: readonly BreakerAction[]): Task {
  return async (engine) => {
    for (const action of actions) await operateBreaker(engine, action, OPERATOR);
  };
}

async function find({ ledger }: Engine, key: string): Promise<Payment | null> {
  const found = await ledger.findByKey(CALLER, key);
  return found?.kind === 'payment' ? found.payment : null;
}
