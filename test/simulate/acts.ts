import { BREAKER_ACTIONS, type BreakerAction } from '../../shared/domain/breaker.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import type { Payment } from '../../shared/domain/payment.ts';
import { HTTP_ERRORS } from '../../shared/runtime/http-errors.ts';
import {
  approvePayment,
  cancelPayment,
  rejectPayment,
  resolvePayment,
} from '../../shared/usecases/decide-payment.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { operateBreaker } from '../../shared/usecases/operate-breaker.ts';
import { payBatch } from '../../shared/usecases/pay-batch.ts';
import { settle } from '../../shared/usecases/settle.ts';
import type { Answer } from '../chaos/evidence.ts';
import type { Random } from '../support/random.ts';
import { Crash } from '../support/simulated-chain.ts';
import { show } from './replica-set.ts';
import type { SimulatedOrder, SimulatedWorld } from './world.ts';

/** What a process does from its start; one thing after the other. */
export type Act =
  | { readonly kind: 'pay'; readonly order: SimulatedOrder; readonly respondAsync: boolean }
  | { readonly kind: 'settle' }
  | { readonly kind: 'cancel' | 'approve' | 'reject'; readonly order: SimulatedOrder }
  | { readonly kind: 'resolve' }
  | { readonly kind: 'operate'; readonly action: BreakerAction };

const SETTLE: Act = { kind: 'settle' };
const CALLER = 'gateway';
const OPERATOR = { by: 'operator', reason: 'as the chain shows' };
const NO_ANSWER: Answer = { status: 0, code: null, id: null, shown: null };
const SETTLE_MS_MAX = 60_000;

/** What a process has to do: most pay or settle, some decide. */
export function drawScript(random: Random, { orders, focus }: SimulatedWorld, mustPay: boolean): Act[] {
  const role = mustPay ? 0 : random.below(10);
  if (role < focus.payersOfTen) return random.several(2, 4, () => drawPayment(random, orders));
  if (role < focus.payersOfTen + focus.settlersOfTen) {
    return random.several(3, 8, () => SETTLE);
  }
  return random.several(2, 4, () => drawDecision(random, orders));
}

function drawPayment(random: Random, orders: readonly SimulatedOrder[]): Act {
  return { kind: 'pay', order: random.pick(orders), respondAsync: random.chance(0.4) };
}

function drawDecision(random: Random, orders: readonly SimulatedOrder[]): Act {
  const order = random.pick(orders);
  const draw = random.below(10);
  if (draw < 4) return { kind: 'cancel', order };
  if (draw < 6) return { kind: random.chance(0.8) ? 'approve' : 'reject', order };
  if (draw < 7) return { kind: 'resolve' };
  if (draw < 8) return drawPayment(random, orders);
  return { kind: 'operate', action: random.pick(BREAKER_ACTIONS) };
}

export function nameOf(act: Act): string {
  if (act.kind === 'operate') return act.action;
  if (act.kind === 'settle' || act.kind === 'resolve') return act.kind;
  return `${act.kind} ${act.order.key}${act.kind === 'pay' && act.respondAsync ? ' (asynchronously)' : ''}`;
}

/**
 * Does it, and notes what the caller is told. What the service may answer, and the end of the process, belong to
 * the game; whatever else is thrown is a wrong.
 */
export async function perform(world: SimulatedWorld, engine: Engine, act: Act, who: string): Promise<void> {
  let answer: Answer = NO_ANSWER;
  try {
    answer = (await carryOut(world, engine, act)) ?? NO_ANSWER;
  } catch (error) {
    if (error instanceof ServiceError) answer = answerOf(error);
    else if (!(error instanceof Crash)) world.wrongs.push(`${nameOf(act)}: ${String(error)}`);
  }
  world.tell(() => `${who}: ${nameOf(act)} ends: ${show(answer)}`);
  if (act.kind === 'pay') noteAnswer(world, act.order, answer);
  else if (answer.status === 500) world.wrongs.push(`${nameOf(act)} was answered 500 ${answer.code}`);
}

async function carryOut(world: SimulatedWorld, engine: Engine, act: Act): Promise<Answer | undefined> {
  switch (act.kind) {
    case 'pay':
      return pay(world, engine, act.order, act.respondAsync);
    case 'settle':
      await settleOnce(world, engine);
      return undefined;
    case 'cancel':
    case 'approve':
    case 'reject': {
      const found = await engine.ledger.findByKey(CALLER, act.order.key);
      if (found?.kind === 'payment') await decide(engine, act.kind, found.payment, act.order);
      return undefined;
    }
    case 'resolve':
      await rule(world, engine);
      return undefined;
    case 'operate':
      await operateBreaker(engine, act.action, OPERATOR);
      return undefined;
  }
}

async function pay(
  world: SimulatedWorld,
  engine: Engine,
  { key, kind, items }: SimulatedOrder,
  respondAsync: boolean,
): Promise<Answer> {
  const asked = { caller: CALLER, idempotencyKey: key };
  if (kind === 'batch') {
    const { batch } = await payBatch(engine, { ...asked, orders: items });
    return { status: 202, code: null, id: batch.id, shown: batch.status };
  }
  const [order] = items;
  if (order === undefined) throw new RangeError('an order of nothing');
  const { payment } = await world.payOut(engine, { ...asked, order, respondAsync });
  return { status: 201, code: null, id: payment.id, shown: payment.status };
}

function answerOf({ code }: ServiceError): Answer {
  return { status: HTTP_ERRORS[code].status, code, id: null, shown: null };
}

function noteAnswer({ documents }: SimulatedWorld, order: SimulatedOrder, answer: Answer): void {
  order.answers.push(answer);
  // A refusal is said of the payment as it stands: from then on this try of the key never pays.
  if (answer.status !== 422 && answer.status !== 429) return;
  for (const { idempotencyKey, status, generation } of documents) {
    if (idempotencyKey === order.key && status === 'refused') order.refusedGenerations.add(generation);
  }
}

export function settleOnce(world: SimulatedWorld, engine: Engine) {
  const bounds = { deadlineMs: engine.clock.nowMs() + SETTLE_MS_MAX, paymentsMax: 200 };
  return settle(engine, bounds, (id, error) => {
    if (!(error instanceof ServiceError || error instanceof Crash))
      world.wrongs.push(`${id}: ${String(error)}`);
  });
}

async function decide(
  engine: Engine,
  kind: 'cancel' | 'approve' | 'reject',
  payment: Payment,
  order: SimulatedOrder,
): Promise<void> {
  if (kind === 'cancel') {
    order.cancelAsked = true;
    await cancelPayment(engine, payment, { by: CALLER, reason: null });
  } else if (kind === 'approve') await approvePayment(engine, payment, OPERATOR.by);
  else await rejectPayment(engine, payment, OPERATOR);
}

/** An operator rules on what is to be reviewed, once solid blocks tell the truth of it. */
async function rule(world: SimulatedWorld, engine: Engine): Promise<void> {
  for (const { _id: id, status } of world.documents) {
    if (status !== 'needs_review') continue;
    const payment = await engine.ledger.findPayment(id);
    const truth = payment === null ? null : truthOf(world, payment);
    if (payment !== null && truth !== null) await resolvePayment(engine, payment, truth, OPERATOR);
  }
}

function truthOf({ chain }: SimulatedWorld, { attempts }: Payment): 'paid' | 'not_paid' | null {
  const landed = attempts.map(({ txId }) => chain.included.get(txId)).find((found) => found !== undefined);
  if (landed !== undefined) {
    if (!chain.isSolid(landed.transaction.txId)) return null;
    return landed.reverted ? 'not_paid' : 'paid';
  }
  return attempts.every(({ expirationMs }) => expirationMs < chain.solidTimeMs) ? 'not_paid' : null;
}
