import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JavaError, readRequest } from '../../../../deploy/devchain/json-format.ts';

const SHAPE = { num: 'int64', value: 'bytes', address: 'address', detail: 'bool' } as const;

describe('a request', () => {
  it('is read with unknown fields skipped and missing ones as defaults', () => {
    const text = '{"other": {"a": [1, "}"]}, "num": 12, "detail": true}';
    expect(readRequest(text, SHAPE, false)).toEqual({ num: 12n, value: '', address: '', detail: true });
  });

  it('takes addresses as base58 only where visible is said', () => {
    const text = '{"address":"TUt3LAMZymzTEiGVCMyHgPCtvq8Wo8Vy1D"}';
    expect(readRequest(text, SHAPE, true).address).toBe('41cf703cc905054463a9e31a6f36d20845ef8bf8be');
    expect(() => readRequest(text, SHAPE, false)).toThrow('1:12: INVALID hex String');
  });

  it.each([
    ['{"num":"50"}', `1:8: Couldn't parse integer: For input string: ""50""`],
    ['', '1:1: Expected "{".'],
    ['{\n "value":\n  "zz"}', '3:3: INVALID hex String'],
    ['{"num":1', '1:9: Expected "}".'],
  ])('that reads %j is answered with line and column', (text, message) => {
    expect(() => readRequest(text, SHAPE, false)).toThrow(`ParseException : ${message}`);
  });

  it('from anywhere is read or refused, and never anything else', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          readRequest(text, SHAPE, false);
        } catch (error) {
          expect(error).toBeInstanceOf(JavaError);
        }
      }),
    );
  });
});
