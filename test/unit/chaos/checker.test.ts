import { describe, expect, it } from 'vitest';
import { check, type Rule } from '../../chaos/checker.ts';
import type { Answer, ChainTransfer, Evidence, Order, PaymentRow } from '../../chaos/evidence.ts';

/** A checker that cannot fail proves nothing: each promise is broken here in doctored evidence, and must be named. */

const accepted: Answer = { status: 201, code: null, id: 'pay_1', shown: 'broadcast' };
const lost: Answer = { status: 502, code: 'instance_lost', id: null, shown: null };
const limited: Answer = { status: 429, code: 'limit_exceeded', id: null, shown: null };

const transfer: ChainTransfer = {
  txId: 'tx1',
  asset: 'USDT',
  to: 'Talice',
  amountMicro: 5_000_000n,
  blockNumber: 7,
  blockTimeMs: 100_000,
};
const payment: PaymentRow = {
  id: 'pay_1',
  idempotencyKey: 'order-1',
  batchId: null,
  status: 'confirmed',
  reason: null,
  asset: 'USDT',
  amountMicro: 5_000_000n,
  recipient: 'Talice',
  txIds: ['tx0', 'tx1'],
  isOpen: false,
  isHeld: false,
};
const order: Order = {
  idempotencyKey: 'order-1',
  kind: 'payment',
  items: [{ to: 'Talice', asset: 'USDT', amountMicro: 5_000_000n }],
  answers: [lost, accepted],
  cancelAsked: false,
};
const batch: Order = {
  idempotencyKey: 'order-2',
  kind: 'batch',
  items: [
    { to: 'Tbob', asset: 'TRX', amountMicro: 1n },
    { to: 'Tcarol', asset: 'TRX', amountMicro: 2n },
  ],
  answers: [{ status: 201, code: null, id: 'bat_1', shown: 'admitted' }],
  cancelAsked: false,
};
const batchPayments: readonly PaymentRow[] = batch.items.map(({ to, asset, amountMicro }, index) => ({
  ...payment,
  id: `pay_b${index}`,
  idempotencyKey: `bat_1#${index}`,
  batchId: 'bat_1',
  asset,
  amountMicro,
  recipient: to,
  txIds: [`txb${index}`],
}));
const batchTransfers: readonly ChainTransfer[] = batch.items.map((item, index) => ({
  ...item,
  txId: `txb${index}`,
  blockNumber: 8,
  blockTimeMs: 101_000,
}));

const truth: Evidence = {
  wallet: 'Twallet',
  transfers: [transfer, ...batchTransfers],
  payments: [payment, ...batchPayments],
  breaker: {
    transitions: 0,
    feesOutstandingMicro: 0n,
    books: {
      USDT: { outstandingMicro: 0n, spentMicro: 5_000_000n },
      TRX: { outstandingMicro: 0n, spentMicro: 3n },
    },
    tripped: null,
  },
  orders: [order, batch],
  limits: [{ asset: 'USDT', name: 'hour', windowMs: 20_000, limitMicro: 5_000_000n }],
  permitsSeenMax: 3,
  permitsMax: 3,
  looks: 100,
};

function rulesBroken(changes: Partial<Evidence>): Rule[] {
  return [...new Set(check({ ...truth, ...changes }).map(({ rule }) => rule))];
}

/** The books follow the transfers, so that a test breaks just the promise that it is about. */
function withTransfers(...transfers: readonly ChainTransfer[]): Pick<Evidence, 'transfers' | 'breaker'> {
  const sumOf = (asset: ChainTransfer['asset']) =>
    transfers.filter((one) => one.asset === asset).reduce((sum, { amountMicro }) => sum + amountMicro, 0n);
  return {
    transfers,
    breaker: {
      ...truth.breaker,
      books: {
        USDT: { outstandingMicro: 0n, spentMicro: sumOf('USDT') },
        TRX: { outstandingMicro: 0n, spentMicro: sumOf('TRX') },
      },
    },
  };
}

describe('the checker of chaos', () => {
  it('finds nothing where every promise was kept', () => {
    expect(check(truth)).toEqual([]);
  });

  it('finds a recipient that was paid twice, though each transfer has a row', () => {
    const twice = { ...transfer, txId: 'tx0', blockTimeMs: 200_000 };
    expect(rulesBroken(withTransfers(...truth.transfers, twice))).toContain('paid_once');
    const row = { ...payment, id: 'pay_2', idempotencyKey: 'order-1-again', txIds: ['tx9'] };
    const again = { ...transfer, txId: 'tx9', blockTimeMs: 200_000 };
    expect(
      rulesBroken({ ...withTransfers(...truth.transfers, again), payments: [...truth.payments, row] }),
    ).toEqual(['paid_once']);
  });

  it('finds a payment that is confirmed and not on the chain', () => {
    expect(rulesBroken(withTransfers(...batchTransfers))).toEqual(['confirmed_is_on_chain']);
  });

  it.each([
    ['amount', { amountMicro: 4_999_999n }],
    ['recipient', { to: 'Tmallory' }],
    ['asset', { asset: 'TRX' as const }],
  ])('finds a payment that was confirmed by a transfer of another %s', (_, other) => {
    const transfers = withTransfers({ ...transfer, ...other }, ...batchTransfers);
    expect(rulesBroken(transfers)).toEqual(['confirmed_is_on_chain']);
  });

  it('finds a transfer that no payment knows', () => {
    const foreign = { ...transfer, txId: 'tx9', to: 'Tmallory', blockTimeMs: 200_000 };
    expect(rulesBroken(withTransfers(...truth.transfers, foreign))).toEqual(['chain_has_a_row']);
  });

  it.each(['failed', 'expired', 'cancelled', 'refused', 'broadcast'])(
    'finds a payment that is %s and was paid',
    (status) => {
      const payments = [{ ...payment, status }, ...batchPayments];
      expect(rulesBroken({ payments })).toEqual(['chain_has_a_row']);
    },
  );

  it('finds one micro-unit above the limit in a window, and none where the window has just passed', () => {
    const bob = { ...transfer, txId: 'tx5', to: 'Tdave', amountMicro: 1n };
    const row = { ...payment, id: 'pay_5', idempotencyKey: 'order-5', recipient: 'Tdave', amountMicro: 1n };
    const payments = [...truth.payments, { ...row, txIds: ['tx5'] }];
    const at = (blockTimeMs: number) =>
      rulesBroken({ ...withTransfers(...truth.transfers, { ...bob, blockTimeMs }), payments });
    expect(at(100_000)).toEqual(['within_limits']);
    expect(at(80_001)).toEqual(['within_limits']);
    expect(at(119_999)).toEqual(['within_limits']);
    expect(at(120_000)).toEqual([]);
    expect(at(80_000)).toEqual([]);
  });

  it('leaves out of a window what every node denied, and nothing else, and asks for its row all the same', () => {
    const bob = { ...transfer, txId: 'tx5', to: 'Tdave', amountMicro: 1n };
    const row = { ...payment, id: 'pay_5', idempotencyKey: 'order-5', recipient: 'Tdave', amountMicro: 1n };
    const payments = [...truth.payments, { ...row, txIds: ['tx5'] }];
    const over = { ...withTransfers(...truth.transfers, bob), payments };
    expect(rulesBroken({ ...over, deniedTxIds: ['tx5'] })).toEqual([]);
    expect(rulesBroken({ ...over, deniedTxIds: ['txb0'] })).toEqual(['within_limits']);
    expect(rulesBroken({ ...over, payments: truth.payments, deniedTxIds: ['tx5'] })).toEqual([
      'chain_has_a_row',
    ]);
  });

  it('finds more permits than there may be, and that nobody looked', () => {
    expect(rulesBroken({ permitsSeenMax: 4 })).toEqual(['permits']);
    expect(rulesBroken({ looks: 0 })).toEqual(['permits']);
  });

  it.each([
    ['is still being worked on', { isOpen: true }],
    ['still holds its reservation', { isHeld: true }],
  ])('finds a payment that %s', (_, state) => {
    expect(rulesBroken({ payments: [{ ...payment, ...state }, ...batchPayments] })).toEqual([
      'everything_ends',
    ]);
  });

  it('finds a payment under review, and a breaker that tripped', () => {
    const payments = [{ ...payment, status: 'needs_review' }, ...batchPayments];
    expect(rulesBroken({ payments })).toEqual(['chain_has_a_row', 'everything_ends']);
    expect(rulesBroken({ breaker: { ...truth.breaker, tripped: 'a head of tomorrow' } })).toEqual([
      'everything_ends',
    ]);
  });

  it.each([
    ['transitions', { transitions: 1 }],
    ['fees outstanding', { feesOutstandingMicro: 1n }],
    [
      'amounts outstanding',
      { books: { ...truth.breaker.books, USDT: { outstandingMicro: 1n, spentMicro: 5_000_000n } } },
    ],
    [
      'amounts that count as spent and are not on the chain',
      { books: { ...truth.breaker.books, TRX: { outstandingMicro: 0n, spentMicro: 4n } } },
    ],
  ])('finds %s in the books at rest', (_, figures) => {
    expect(rulesBroken({ breaker: { ...truth.breaker, ...figures } })).toEqual(['books_are_true']);
  });

  it('finds a payment that was shown to its caller and is lost', () => {
    expect(rulesBroken({ ...withTransfers(...batchTransfers), payments: batchPayments })).toEqual([
      'answers_are_true',
    ]);
  });

  it('finds a key that was answered with two payments', () => {
    const answers = [accepted, { ...accepted, id: 'pay_2' }];
    expect(rulesBroken({ orders: [{ ...order, answers }, batch] })).toEqual(['answers_are_true']);
  });

  it('finds a key with two rows', () => {
    const second = { ...payment, id: 'pay_2', status: 'expired', txIds: [] };
    expect(rulesBroken({ payments: [...truth.payments, second] })).toEqual(['answers_are_true']);
  });

  it('finds a payment that is not what was asked for', () => {
    const items = [{ to: 'Talice', asset: 'USDT' as const, amountMicro: 4_000_000n }];
    expect(rulesBroken({ orders: [{ ...order, items }, batch] })).toEqual(['answers_are_true']);
  });

  it('finds a payment that was shown confirmed and is something else', () => {
    const answers = [{ ...accepted, shown: 'confirmed' }];
    const payments = [{ ...payment, status: 'expired' }, ...batchPayments];
    expect(
      rulesBroken({ ...withTransfers(...batchTransfers), payments, orders: [{ ...order, answers }, batch] }),
    ).toEqual(['answers_are_true']);
  });

  it('finds a refusal of what was paid, but not where another answer left it open', () => {
    expect(rulesBroken({ orders: [{ ...order, answers: [limited, limited] }, batch] })).toEqual([
      'answers_are_true',
    ]);
    expect(rulesBroken({ orders: [{ ...order, answers: [lost, limited] }, batch] })).toEqual([]);
    const noInstance = { ...lost, status: 503, code: 'no_instance' };
    expect(rulesBroken({ orders: [{ ...order, answers: [noInstance] }, batch] })).toEqual([
      'answers_are_true',
    ]);
  });

  it('finds an answer that nobody foresaw', () => {
    const answers = [{ ...lost, status: 500, code: 'internal' }, accepted];
    expect(rulesBroken({ orders: [{ ...order, answers }, batch] })).toEqual(['answers_are_true']);
  });

  it('finds a batch that was admitted in part', () => {
    const evidence = {
      ...withTransfers(...truth.transfers.filter(({ txId }) => txId !== 'txb1')),
      payments: truth.payments.filter(({ id }) => id !== 'pay_b1'),
    };
    expect(rulesBroken(evidence)).toEqual(['answers_are_true']);
  });
});
