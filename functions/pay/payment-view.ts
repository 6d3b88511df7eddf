import { formatAmount } from '../../shared/domain/money.ts';
import type { Attempt, Payment } from '../../shared/domain/payment.ts';
import type { PaymentView } from './schema.ts';

/** A payment as callers see it: no caller's key, no fingerprint, no signed bytes. */
export function viewPayment(payment: Payment): PaymentView {
  return {
    id: payment.id,
    status: payment.status,
    asset: payment.asset,
    amount: formatAmount(payment.amountMicro),
    to: payment.recipient,
    reference: payment.reference,
    batch_id: payment.batchId,
    approved_by: payment.approvedBy,
    reason: payment.reason,
    created_at: instant(payment.createdAtMs),
    pay_by: instant(payment.payByMs),
    ended_at: payment.endedAtMs === null ? null : instant(payment.endedAtMs),
    attempts: payment.attempts.map(viewAttempt),
    history: payment.history.map(({ atMs, event, detail }) => ({ at: instant(atMs), event, detail })),
  };
}

function viewAttempt(attempt: Attempt): PaymentView['attempts'][number] {
  return {
    number: attempt.number,
    tx_id: attempt.txId,
    outcome: attempt.outcome,
    signed_at: instant(attempt.signedAtMs),
    expires_at: instant(attempt.expirationMs),
    fee_limit: formatAmount(attempt.feeLimitMicro),
    block_number: attempt.blockNumber,
    block_time: attempt.blockTimeMs === null ? null : instant(attempt.blockTimeMs),
    fee: attempt.feeMicro === null ? null : formatAmount(attempt.feeMicro),
    answers: attempt.answers.map(({ atMs, node, code }) => ({ at: instant(atMs), node, code })),
  };
}

function instant(ms: number): string {
  return new Date(ms).toISOString();
}
