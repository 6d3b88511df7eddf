import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressFromHex,
  addressToHex,
  addressToWord,
  parseTronAddress,
} from '../../../../shared/domain/tron-address.ts';

const USDT = 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t';

describe('a TRON address', () => {
  it('is read from base58 and written in the forms that nodes use', () => {
    const address = parseTronAddress(USDT);
    if (address === undefined) throw new Error('not read');
    expect(addressToHex(address)).toBe('41a614f803b6fd780986a42c78ec9c7f77e6ded13c');
    expect(addressToWord(address)).toBe('000000000000000000000000a614f803b6fd780986a42c78ec9c7f77e6ded13c');
    expect(addressFromHex(addressToHex(address))).toBe(USDT);
  });

  it.each([
    ['nothing', ''],
    ['a wrong checksum', 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u'],
    ['two letters swapped', 'TR7NHqjeKQxGTCi8q8YZ4pL8otSzgjLj6t'],
    ['the hex form', '41a614f803b6fd780986a42c78ec9c7f77e6ded13c'],
    ["Bitcoin's", '1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa'],
    ["Ethereum's", '0xdAC17F958D2ee523a2206206994597C13D831ec7'],
    ['one that is cut', USDT.slice(0, 33)],
    ['one with a blank', ` ${USDT.slice(1)}`],
    ['letters that base58 leaves out', 'T0IlOqjeKQxGTCi8q8ZY4pL8otSzgjLj6t'],
    ['a very long text', 'T'.repeat(1_000_000)],
  ])('is not %s', (_, text) => {
    expect(parseTronAddress(text)).toBeUndefined();
  });

  const hex = fc
    .uint8Array({ minLength: 20, maxLength: 20 })
    .map((bytes) => `41${Buffer.from(bytes).toString('hex')}`);
  const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

  it('comes back the same from its hex form, and stands in a word without its first byte', () => {
    fc.assert(
      fc.property(hex, (text) => {
        const address = addressFromHex(text);
        if (address === undefined) throw new Error('not read');
        expect(parseTronAddress(address)).toBe(address);
        expect(addressToHex(address)).toBe(text);
        expect(addressFromHex(text.toUpperCase())).toBe(address);
        expect(addressToWord(address)).toBe(`${'0'.repeat(24)}${text.slice(2)}`);
      }),
    );
  });

  it('is none any more once any single character of it is another one', () => {
    fc.assert(
      fc.property(hex, (text) => {
        const address = String(addressFromHex(text));
        for (let at = 0; at < address.length; at += 1) {
          for (const character of BASE58) {
            if (character === address[at]) continue;
            const changed = `${address.slice(0, at)}${character}${address.slice(at + 1)}`;
            if (parseTronAddress(changed) !== undefined) throw new Error(`${changed} passes for ${address}`);
          }
        }
      }),
      // Two thousand changes each.
      { numRuns: 3 },
    );
  });

  it.each([
    '',
    '41',
    'a614f803b6fd780986a42c78ec9c7f77e6ded13c',
    'zz'.repeat(21),
    '0041a614f803b6fd780986a42c78ec9c7f77e6ded13c',
    '41a614f803b6fd780986a42c78ec9c7f77e6ded13c00',
  ])('is not hex %j', (hex) => {
    expect(addressFromHex(hex)).toBeUndefined();
  });
});
