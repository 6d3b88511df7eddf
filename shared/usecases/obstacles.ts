import { judgeAmount } from '../domain/amount-policy.ts';
import { amountsOf, type Breaker, TRANSITIONS_MAX } from '../domain/breaker.ts';
import { admitCall } from '../domain/circuit.ts';
import { ServiceError } from '../domain/errors.ts';
import { formatAmount } from '../domain/money.ts';
import type { PaymentOrder } from '../domain/payment.ts';
import { judgeRecipient, limitExceeded, paused, stopped, tooBusy } from './advance-payment.ts';
import { findDoubt } from './doubt.ts';
import type { Engine } from './engine.ts';
import { circuitOpen } from './payment-network-with-breaker.ts';
import { type Demand, judgeDemand, refreshSolidHead } from './reserve-and-close.ts';

/** What one order alone says about itself, whatever the service's state. */
export interface OrderVerdict {
  /** It is not paid as things are configured. */
  readonly refusal: ServiceError | null;
  /** Why a second person has to approve it first; null where none has to. */
  readonly needsApproval: string | null;
}

/**
 * Judges an order by the operator's rules: the largest payment, the recipients' lists, the need for approval; and by
 * what a restored system has found to be paid.
 */
export async function judgeOrder(
  engine: Pick<Engine, 'ledger' | 'rules' | 'recipients'>,
  breaker: Pick<Breaker, 'restore'>,
  order: PaymentOrder,
): Promise<OrderVerdict> {
  const verdict = judgeAmount(order, engine.rules.amounts);
  if (verdict === 'above_maximum') {
    const maxMicro = engine.rules.amounts.maxMicro[order.asset] ?? 0n;
    const message = `A single payment is at most ${formatAmount(maxMicro)} ${order.asset}.`;
    return {
      refusal: new ServiceError('above_maximum', message, { field: 'amount' }),
      needsApproval: null,
    };
  }
  const doubt = await findDoubt(engine, breaker, order, null);
  return {
    refusal: await judgeRecipient(engine, order).catch(unjudged),
    needsApproval: doubt ?? (verdict === 'needs_approval' ? 'it waits for approval' : null),
  };
}

/** A list that cannot be read turns away what is new, and hides nothing that stands. */
function unjudged(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  throw error;
}

/** What a single order asks of the limits while nobody knows its fee yet. */
export function demandOfOrder({ asset, amountMicro }: PaymentOrder): Demand {
  // The fee is judged once it is simulated, or counted at its most; a refusal in advance would be a guess.
  return { amounts: amountsOf(asset, amountMicro), feeMicro: 0n };
}

/** What stands in the way of anything new of this size, told before anything is stored. */
export async function findObstacle(
  engine: Engine,
  breaker: Breaker,
  demand: Demand,
  nowMs: number,
): Promise<ServiceError | null> {
  const { ledger, rules } = engine;
  if (await engine.stopSwitch.isSet()) return stopped();
  if (breaker.pause !== null) return paused(breaker.pause);
  if (breaker.transitions.length >= TRANSITIONS_MAX) return tooBusy();
  const admission = admitCall(breaker.circuit, rules.circuit, nowMs, 'dry-run');
  if (!admission.admitted) return circuitOpen(admission.reason, admission.retryAtMs - nowMs);

  const first = judgeDemand(engine, breaker, demand, nowMs);
  let { refusal } = first;
  // Nothing may have asked for a head in a while; a newer one frees what has left the window since.
  if (first.newerHeadHelps && (await refreshSolidHead(engine))) {
    ({ refusal } = judgeDemand(engine, await ledger.readBreaker(), demand, nowMs));
  }
  return refusal === null ? null : limitExceeded(refusal, nowMs);
}
