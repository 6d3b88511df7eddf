import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AMOUNT_MICRO_MAX,
  ASSETS,
  formatAmount,
  parseAmount,
  TRX_AMOUNT_MICRO_MAX,
} from '../../../../shared/domain/money.ts';

describe('an amount', () => {
  it.each([
    ['25', 25_000_000n],
    ['1.5', 1_500_000n],
    ['0.000001', 1n],
    ['10.100000', 10_100_000n],
    ['9223372036854.775807', AMOUNT_MICRO_MAX],
  ])('%s is read exactly', (text, amountMicro) => {
    expect(parseAmount(text)).toEqual({ amountMicro });
  });

  it.each([
    '',
    ' 1',
    '1 ',
    '+1',
    '-1',
    '-0',
    '1e3',
    '1E3',
    '0x10',
    'NaN',
    'Infinity',
    '1,5',
    '1.',
    '.5',
    '01',
    '00.5',
    '1_000',
    '0.0000001',
    '1.2.3',
    '١',
    '１',
    '1\n',
    '9'.repeat(20),
  ])('is not %j', (text) => {
    expect(parseAmount(text)).toEqual({
      fault: 'must be a decimal string such as "12.5", with at most 6 decimals',
    });
  });

  it.each(['0', '0.0', '0.000000'])('is not nothing (%s)', (text) => {
    expect(parseAmount(text)).toEqual({ fault: 'must be above zero' });
  });

  it.each(['9223372036854.775808', '9223372036854775808', '9999999999999999999'])(
    'is not %s, beyond 2^63',
    (text) => {
      expect(parseAmount(text)).toEqual({ fault: 'is larger than can be paid' });
    },
  );

  it('is what its digits say, with as many zeros behind as one likes', () => {
    const digits = fc.string({ unit: fc.constantFrom(...'0123456789'), maxLength: 6, size: 'max' });
    fc.assert(
      fc.property(fc.nat(), digits, (whole, fraction) => {
        const amountMicro = BigInt(whole) * 1_000_000n + BigInt(`${fraction}000000`.slice(0, 6));
        fc.pre(amountMicro > 0n);
        const text = fraction === '' ? `${whole}` : `${whole}.${fraction}`;
        expect(parseAmount(text)).toEqual({ amountMicro });
      }),
    );
  });

  it('of TRX is no more than a float carries to the last sun', () => {
    expect(TRX_AMOUNT_MICRO_MAX).toBe(BigInt(Number.MAX_SAFE_INTEGER));
    expect(ASSETS).toEqual(['USDT', 'TRX']);
  });

  it('comes back the same from its own text', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: AMOUNT_MICRO_MAX }), (amountMicro) => {
        expect(parseAmount(formatAmount(amountMicro))).toEqual({ amountMicro });
      }),
    );
  });

  it.each([
    [0n, '0'],
    [1n, '0.000001'],
    [-1_500_000n, '-1.5'],
    [10_000_000n, '10'],
  ])('%s micro units are written %s', (amountMicro, text) => {
    expect(formatAmount(amountMicro)).toBe(text);
  });
});
