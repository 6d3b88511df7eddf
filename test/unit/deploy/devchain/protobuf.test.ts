import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../../deploy/devchain/encoding.ts';
import {
  decode,
  encode,
  enumeration,
  field,
  message,
  ProtobufError,
  repeated,
} from '../../../../deploy/devchain/protobuf.ts';

const INNER = message('test.Inner', { text: field(1, 'string'), flag: field(2, 'bool') });
const OUTER = message('test.Outer', {
  big: field(1, 'int64'),
  small: field(2, 'int32'),
  bytes: field(3, 'bytes'),
  kind: field(4, enumeration({ NONE: 0, SOME: 7 })),
  inner: field(5, INNER),
  list: repeated(6, INNER),
  names: repeated(20, 'string'),
});

const inner = fc.record({ text: fc.string({ unit: 'grapheme' }), flag: fc.boolean() });
const outer = fc.record({
  big: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  small: fc.integer(),
  bytes: fc.uint8Array().map(toHex),
  kind: fc.constantFrom('NONE', 'SOME'),
  inner: fc.option(inner, { nil: undefined }),
  list: fc.array(inner),
  names: fc.array(fc.string()),
});

describe('the protobuf codec', () => {
  it('reads back whatever it wrote', () => {
    fc.assert(
      fc.property(outer, (value) => {
        expect(decode(OUTER, encode(OUTER, value))).toEqual(value);
      }),
    );
  });

  it('leaves defaults off the wire, but not inside lists', () => {
    expect(toHex(encode(OUTER, { big: 0n, bytes: '', kind: 'NONE' }))).toBe('');
    expect(toHex(encode(OUTER, { names: [''] }))).toBe('a20100');
  });

  it('writes negative numbers as ten bytes, as Java does', () => {
    expect(toHex(encode(OUTER, { small: -1 }))).toBe('10ffffffffffffffffff01');
  });

  it('keeps fields that the schema does not name, because they belong to the hash', () => {
    const bytes = '0801' + '9a06036162639a0600';
    const value = decode(OUTER, fromHex(bytes));
    expect(value.unknownHex).toBe('9a06036162639a0600');
    expect(toHex(encode(OUTER, value))).toBe(bytes);
  });

  it.each([
    ['a message cut in a field', '0a'],
    ['a length beyond the end', '1aff01'],
  ])('refuses %s with the words of the Java library', (_what, hex) => {
    expect(() => decode(OUTER, fromHex(hex))).toThrow(/input ended unexpectedly in the middle of a field/);
  });

  it('refuses tag zero and unknown wire types', () => {
    expect(() => decode(OUTER, fromHex('0001'))).toThrow(ProtobufError);
    expect(() => decode(OUTER, fromHex('0f'))).toThrow('invalid wire type');
  });

  it('never fails but with its own error on bytes from anywhere', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decode(OUTER, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtobufError);
        }
      }),
    );
  });
});
