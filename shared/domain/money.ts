/**
 * Money is a bigint of millionths: micro-USDT for USDT, sun for TRX (both assets have six decimals on TRON).
 * Decimal strings live only at the edge; nothing in between is a float.
 */

/** What the service can pay out. */
export const ASSETS = ['USDT', 'TRX'] as const;
export type Asset = (typeof ASSETS)[number];

const DECIMALS = 6;

/** The largest amount that every part can carry: MongoDB's and protobuf's signed 64-bit integer. */
export const AMOUNT_MICRO_MAX = 2n ** 63n - 1n;

/** tronweb takes an amount of TRX as a float; above this it could not be signed to the last sun. */
export const TRX_AMOUNT_MICRO_MAX = 2n ** 53n - 1n;

// No sign, no exponent, no separators, no bare dot, no needless leading zeros: one amount, one spelling
// (but for trailing zeros), so that what a person reads is what is paid.
const DECIMAL_AMOUNT = /^(?:0|[1-9]\d{0,18})(?:\.\d{1,6})?$/;

/** Why a text is not an amount, as a sentence part that can follow "amount". */
export type AmountFault =
  | 'must be a decimal string such as "12.5", with at most 6 decimals'
  | 'must be above zero'
  | 'is larger than can be paid';

/** Reads a positive decimal string as micro units, or says why it cannot be one. */
export function parseAmount(
  text: string,
): { readonly amountMicro: bigint } | { readonly fault: AmountFault } {
  if (!DECIMAL_AMOUNT.test(text))
    return { fault: 'must be a decimal string such as "12.5", with at most 6 decimals' };
  const [whole = '0', fraction = ''] = text.split('.');
  const amountMicro = BigInt(whole + fraction.padEnd(DECIMALS, '0'));
  if (amountMicro === 0n) return { fault: 'must be above zero' };
  if (amountMicro > AMOUNT_MICRO_MAX) return { fault: 'is larger than can be paid' };
  return { amountMicro };
}

/** Writes micro units as the shortest decimal string: 25000000n is "25", 1500000n is "1.5". */
export function formatAmount(amountMicro: bigint): string {
  const sign = amountMicro < 0n ? '-' : '';
  const digits = (amountMicro < 0n ? -amountMicro : amountMicro).toString().padStart(DECIMALS + 1, '0');
  const whole = digits.slice(0, -DECIMALS);
  const fraction = digits.slice(-DECIMALS).replace(/0+$/, '');
  return `${sign}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}
