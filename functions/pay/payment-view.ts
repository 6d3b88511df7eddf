import type { Batch } from '../../shared/domain/batch.ts';
import type { Breaker, OperatorOrder } from '../../shared/domain/breaker.ts';
import { isTripped } from '../../shared/domain/circuit.ts';
import { formatAmount } from '../../shared/domain/money.ts';
import type { Attempt, Payment } from '../../shared/domain/payment.ts';
import type { Quote } from '../../shared/usecases/quote.ts';
import type { BatchView, BreakerView, PaymentView, QuoteView } from './schema.ts';

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

export function viewBatch({ id, status, reason, createdAtMs, items }: Batch): BatchView {
  return {
    id,
    status,
    reason,
    created_at: instant(createdAtMs),
    items: items.map(({ paymentId, recipient, amountMicro, asset, reference }) => ({
      payment_id: paymentId,
      to: recipient,
      amount: formatAmount(amountMicro),
      asset,
      reference,
    })),
  };
}

export function viewQuote({ plan, leftMicro, needsApproval, obstacle }: Quote): QuoteView {
  return {
    accepted: obstacle === null,
    obstacle: obstacle === null ? null : { code: obstacle.code, detail: obstacle.message },
    needs_approval: needsApproval,
    fee: plan === null ? null : formatAmount(plan.estimate.feeMicro),
    fee_limit: plan === null ? null : formatAmount(plan.feeLimitMicro),
    fee_max: plan === null ? null : formatAmount(plan.feeMaxMicro),
    energy: plan?.estimate.energy ?? null,
    bandwidth: plan?.estimate.bandwidth ?? null,
    activates: plan?.estimate.activates ?? null,
    limits_leave: { hour: formatAmount(leftMicro.hour), day: formatAmount(leftMicro.day) },
  };
}

export function viewBreaker({ circuit, pause, lastOrder }: Breaker): BreakerView {
  return {
    circuit_breaker_status: circuit.kind,
    reason: circuit.kind === 'open' ? circuit.reason : null,
    needs_reset: isTripped(circuit),
    paused: pause === null ? null : { reason: pause.reason, by: pause.by, at: instant(pause.atMs) },
    last_order: lastOrder === null ? null : viewOrder(lastOrder),
  };
}

function viewOrder({ action, reason, by, atMs }: OperatorOrder): NonNullable<BreakerView['last_order']> {
  return { action, reason, by, at: instant(atMs) };
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
