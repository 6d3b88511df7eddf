import { ServiceError } from '../domain/errors.ts';
import { countedMicro, freeableUntilMs } from '../domain/limits.ts';
import type { PaymentOrder } from '../domain/payment.ts';
import type { TransferPlan } from '../ports/payment-network.ts';
import { transferOf } from './advance-payment.ts';
import type { Engine } from './engine.ts';
import { demandOfOrder, findObstacle, judgeOrder } from './obstacles.ts';

/** What a payment would cost, and whether it would be taken, as things stand. */
export interface Quote {
  readonly order: PaymentOrder;
  /** Null where the chain refuses it, or is away. */
  readonly plan: TransferPlan | null;
  /** What the asset's limits leave now. */
  readonly leftMicro: { readonly hour: bigint; readonly day: bigint };
  readonly needsApproval: boolean;
  /** Why it would not be taken now; null where it would. */
  readonly obstacle: ServiceError | null;
}

/** Simulates a payment and asks the limits; stores, reserves and signs nothing. */
export async function quote(engine: Engine, order: PaymentOrder): Promise<Quote> {
  const { ledger, network, rules } = engine;
  const breaker = await ledger.readBreaker();
  const nowMs = await ledger.serverTimeMs();
  const { refusal, needsApproval } = await judgeOrder(engine, breaker, order);
  const demand = demandOfOrder(order);
  let obstacle = refusal ?? (await findObstacle(engine, breaker, demand, nowMs));
  let plan: TransferPlan | null = null;
  try {
    const { books, fees } = breaker;
    plan = await network.prepareTransfer(transferOf(engine, order), {
      amountMicro: books[order.asset].outstandingMicro,
      trxMicro: books.TRX.outstandingMicro,
      feeMicro: fees.outstandingMicro,
    });
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    obstacle ??= error;
  }
  // Now that its fee is known, the fees of the day are asked as well.
  if (plan !== null) {
    obstacle ??= await findObstacle(engine, breaker, { ...demand, feeMicro: plan.feeMaxMicro }, nowMs);
  }
  const freeMs = freeableUntilMs(nowMs, breaker.solidHead?.timestampMs ?? null);
  const left = (window: 'hour' | 'day', limitMicro: bigint) => {
    const leftMicro = limitMicro - countedMicro(breaker.books[order.asset], window, rules.windows, freeMs);
    return leftMicro > 0n ? leftMicro : 0n;
  };
  const { hourlyMicro, dailyMicro } = rules.limits[order.asset];
  return {
    order,
    plan,
    leftMicro: { hour: left('hour', hourlyMicro), day: left('day', dailyMicro) },
    needsApproval: needsApproval !== null,
    obstacle,
  };
}
