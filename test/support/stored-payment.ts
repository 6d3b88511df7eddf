import { randomUUID } from 'node:crypto';
import { type Attempt, type Payment, UNTOUCHED } from '../../shared/domain/payment.ts';
import type { PaymentChange, PaymentGuard } from '../../shared/ports/ledger.ts';
import { RECIPIENT, START_MS } from './test-engine.ts';

/** A payment as one is stored for a new request. */
export const payment = (over: Partial<Payment> = {}): Payment => ({
  ...UNTOUCHED,
  id: `pay_${randomUUID()}`,
  caller: 'gateway',
  idempotencyKey: randomUUID(),
  fingerprint: 'f'.repeat(64),
  asset: 'USDT',
  amountMicro: 2n ** 62n,
  recipient: RECIPIENT,
  reference: null,
  status: 'accepted',
  history: [{ atMs: START_MS, event: 'accepted', detail: 'asked by gateway' }],
  createdAtMs: START_MS,
  payByMs: START_MS + 3_600_000,
  settleAtMs: START_MS,
  ...over,
});

/** A signed attempt, under a transaction id of its own. */
export const attempt = (over: Partial<Attempt> = {}): Attempt => ({
  number: 1,
  txId: randomUUID().replaceAll('-', '').repeat(2),
  sealed: Buffer.from('sealed bytes'),
  referenceBlockNumber: 7,
  referenceBlockId: '7'.repeat(64),
  expirationMs: START_MS + 60_000,
  feeLimitMicro: 10_000_000n,
  signedAtMs: START_MS,
  outcome: 'live',
  answers: [],
  blockNumber: null,
  blockTimeMs: null,
  feeMicro: null,
  ...over,
});

export const guardOf = ({ id, generation, attemptNumber }: Payment): PaymentGuard => ({
  paymentId: id,
  generation,
  attemptNumber,
});

/** What a change says beside its effect. */
export const change = (over: Partial<PaymentChange> = {}): PaymentChange => ({
  entry: { atMs: START_MS + 1, event: 'changed', detail: 'by a test' },
  settleAtMs: START_MS + 1_000,
  ...over,
});
