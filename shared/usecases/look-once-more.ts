import { ServiceError } from '../domain/errors.ts';
import {
  type Attempt,
  deadAttempts,
  type EndStatus,
  holdsReservation,
  type Payment,
} from '../domain/payment.ts';
import type { Transfer } from '../domain/transfer-evidence.ts';
import type { Engine } from './engine.ts';
import { type Gathered, gatherEvidence } from './gather-evidence.ts';
import { guardOf } from './reserve-and-close.ts';
import { trip } from './trip.ts';

/**
 * Asks once more for the attempts of an ended payment that were taken for dead. Solid evidence wins over any end:
 * where one has landed after all, all payments stop and a person must look, for money left that was not counted.
 * Where the chain says clearly that none has, the payment is looked at no more; else it is asked again later.
 */
export async function lookOnceMore(engine: Engine, payment: Payment, transfer: Transfer): Promise<void> {
  let isClear = true;
  for (const attempt of deadAttempts(payment)) {
    const seen = await look(engine, payment, attempt, transfer);
    if (seen === 'landed') return;
    isClear &&= seen === 'absent';
  }
  if (isClear) await engine.ledger.endVisits(guardOf(payment), payment.status as EndStatus);
}

async function look(
  engine: Engine,
  payment: Payment,
  attempt: Attempt,
  transfer: Transfer,
): Promise<'landed' | 'absent' | 'unclear'> {
  const { ledger } = engine;
  const { solidHead } = await ledger.readCircuit();
  const askedAtMs = await ledger.serverTimeMs();
  let gathered: Gathered;
  try {
    gathered = await gatherEvidence(engine, transfer, attempt.txId, solidHead, askedAtMs);
  } catch (error) {
    if (error instanceof ServiceError) return 'unclear';
    throw error;
  }
  // One node is enough to stop everything, whatever the others say: too early a stop costs nothing.
  const landed = gathered.evidences.find((evidence) => evidence.kind === 'paid');
  if (landed === undefined) {
    return ['absent', 'reverted'].includes(gathered.evidence.kind) ? 'absent' : 'unclear';
  }
  const reason = `${payment.id} was ${payment.status}, yet its attempt ${attempt.number} is on the chain`;
  // The stop comes first: should this process die here, the next visit finds the same evidence.
  await trip(engine, reason);
  const nowMs = await ledger.serverTimeMs();
  const holds = holdsReservation(payment);
  const { blockNumber, blockTimeMs, feeMicro } = landed;
  await ledger.reopenForReview(
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
  return 'landed';
}
