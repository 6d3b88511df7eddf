import { describe, expect, it } from 'vitest';
import { type AmountPolicy, judgeAmount } from '../../../../shared/domain/amount-policy.ts';

const POLICY: AmountPolicy = {
  maxMicro: { USDT: 1_000n, TRX: null },
  approvalAboveMicro: { USDT: 100n, TRX: 50n },
};

describe('the size of a payment', () => {
  it.each([
    ['USDT', 100n, 'fine'],
    ['USDT', 101n, 'needs_approval'],
    ['USDT', 1_000n, 'needs_approval'],
    ['USDT', 1_001n, 'above_maximum'],
    ['TRX', 50n, 'fine'],
    ['TRX', 51n, 'needs_approval'],
    ['TRX', 10n ** 18n, 'needs_approval'],
  ] as const)('%s of %s micro units is %s', (asset, amountMicro, verdict) => {
    expect(judgeAmount({ asset, amountMicro }, POLICY)).toBe(verdict);
  });

  it('is nobody’s concern where there are no rules', () => {
    const none = { USDT: null, TRX: null };
    const policy = { maxMicro: none, approvalAboveMicro: none };
    expect(judgeAmount({ asset: 'USDT', amountMicro: 10n ** 18n }, policy)).toBe('fine');
  });
});
