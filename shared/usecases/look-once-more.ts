import { ServiceError } from '../domain/errors.ts';
import {
  type Attempt,
  closingKind,
  type EndStatus,
  holdsReservation,
  type Payment,
} from '../domain/payment.ts';
import { joinEvidence, judgeTestimony, type Transfer } from '../domain/transfer-evidence.ts';
import type { Engine } from './engine.ts';
import { guardOf } from './reserve-and-close.ts';
import { trip } from './trip.ts';

/**
 * Asks once more for the attempts of an ended payment that were taken for dead. Solid evidence wins over any end:
 * where one has landed after all, all payments stop and a person must look, for money left that was not counted.
 */
export async function lookOnceMore(engine: Engine, payment: Payment, transfer: Transfer): Promise<void> {
  for (const attempt of payment.attempts) {
    if (attempt.outcome !== 'expired' && attempt.outcome !== 'live') continue;
    if (await hasLanded(engine, payment, attempt, transfer)) return;
  }
}

async function hasLanded(
  engine: Engine,
  payment: Payment,
  attempt: Attempt,
  transfer: Transfer,
): Promise<boolean> {
  const { ledger, network, rules } = engine;
  if (closingKind(payment.status) === 'none') return false;
  const { solidHead } = await ledger.readBreaker();
  const testimonies = await network.takeTestimony(attempt.txId, solidHead).catch((error: unknown) => {
    // Nothing was learnt: this is a last look, and a chain that is away is no reason to look for ever.
    if (error instanceof ServiceError) return [];
    throw error;
  });
  const evidence = joinEvidence(
    testimonies.map((testimony) =>
      judgeTestimony(transfer, attempt.txId, testimony, rules.confirmationsRequired),
    ),
  );
  if (evidence.kind !== 'paid') return false;
  const reason = `${payment.id} was ${payment.status}, yet its attempt ${attempt.number} is on the chain`;
  // The stop comes first: should this process die here, the next visit finds the same evidence.
  await trip(engine, reason);
  const nowMs = await ledger.serverTimeMs();
  const holds = holdsReservation(payment);
  const { blockNumber, blockTimeMs, feeMicro } = evidence;
  return ledger.reopenForReview(
    guardOf(payment),
    payment.status as EndStatus,
    holds,
    { attemptNumber: attempt.number, included: { blockNumber, blockTimeMs, feeMicro } },
    {
      entry: { atMs: nowMs, event: 'needs_review', detail: reason },
      // Where its reservation stands it goes on counting; else its amount is yet to be counted.
      settleAtMs: holds ? null : nowMs,
      reason,
    },
  );
}
