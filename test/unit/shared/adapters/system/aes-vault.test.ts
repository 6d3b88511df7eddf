import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aesVault } from '../../../../../shared/adapters/system/aes-vault.ts';
import { UnreadableBytes } from '../../../../../shared/ports/vault.ts';

const vault = aesVault(() => '1f'.repeat(32));
const bytes = Buffer.from('0a85010a0200332208f6e99f79c007f5b0', 'hex');

describe('sealed bytes', () => {
  it('open to what was sealed, for any bytes, payment and attempt', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 512 }), fc.string(), fc.nat(), (content, payment, attempt) => {
        const opened = vault.open(vault.seal(content, payment, attempt), payment, attempt);
        expect(Buffer.from(opened).equals(content)).toBe(true);
      }),
    );
  });

  it('are different each time, and do not show what they hold', () => {
    const seals = [vault.seal(bytes, 'p', 0), vault.seal(bytes, 'p', 0)].map((sealed) => Buffer.from(sealed));
    expect(seals[0]?.equals(seals[1] ?? Buffer.alloc(0))).toBe(false);
    expect(seals.some((sealed) => sealed.includes(bytes))).toBe(false);
  });

  it.each([
    ['another payment', 'q', 1],
    ['another attempt', 'p', 2],
    ['a payment and attempt that read alike when joined', 'p/1', 1],
  ])('do not open for %s', (_, payment, attempt) => {
    expect(() => vault.open(vault.seal(bytes, 'p', 1), payment, attempt)).toThrow(UnreadableBytes);
  });

  it('do not open under another key', () => {
    const other = aesVault(() => '2f'.repeat(32));
    expect(() => other.open(vault.seal(bytes, 'p', 1), 'p', 1)).toThrow('sealed under another key');
  });

  it('do not open after any single bit was flipped', () => {
    const sealed = vault.seal(bytes, 'p', 1);
    fc.assert(
      fc.property(fc.nat(sealed.length * 8 - 1), (bit) => {
        const damaged = Buffer.from(sealed);
        damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(() => vault.open(damaged, 'p', 1)).toThrow(UnreadableBytes);
      }),
      { numRuns: 400 },
    );
  });

  it('do not open when cut short or lengthened anywhere', () => {
    const sealed = Buffer.from(vault.seal(bytes, 'p', 1));
    for (let length = 0; length < sealed.length; length += 1) {
      expect(() => vault.open(sealed.subarray(0, length), 'p', 1)).toThrow(UnreadableBytes);
    }
    expect(() => vault.open(Buffer.concat([sealed, Buffer.of(0)]), 'p', 1)).toThrow(UnreadableBytes);
  });
});

describe('a vault with several keys', () => {
  const [old, next, strange] = ['1f', '2f', '3f'].map((byte) => () => byte.repeat(32)) as [
    () => string,
    () => string,
    () => string,
  ];
  const rotated = aesVault(next, [strange, old]);

  it('opens what each of its keys has sealed, for that attempt alone', () => {
    for (const key of [old, next, strange]) {
      const sealed = aesVault(key).seal(bytes, 'p', 1);
      expect(Buffer.from(rotated.open(sealed, 'p', 1)).equals(bytes)).toBe(true);
      expect(() => rotated.open(sealed, 'p', 2)).toThrow(UnreadableBytes);
    }
  });

  it('seals under the current key alone', () => {
    const sealed = rotated.seal(bytes, 'p', 1);
    expect(Buffer.from(aesVault(next).open(sealed, 'p', 1)).equals(bytes)).toBe(true);
    for (const key of [old, strange]) {
      expect(() => aesVault(key).open(sealed, 'p', 1)).toThrow('sealed under another key');
    }
  });

  it('tells what the current key has sealed from all else', () => {
    expect(rotated.isSealedByCurrent(rotated.seal(bytes, 'p', 1))).toBe(true);
    expect(rotated.isSealedByCurrent(aesVault(old).seal(bytes, 'p', 1))).toBe(false);
    expect(rotated.isSealedByCurrent(Buffer.of(1))).toBe(false);
  });

  it('does not open under a key that an attacker has written another id of', () => {
    const sealed = Buffer.from(aesVault(old).seal(bytes, 'p', 1));
    Buffer.from(rotated.seal(bytes, 'p', 1)).copy(sealed, 0, 0, 5);
    expect(() => rotated.open(sealed, 'p', 1)).toThrow(UnreadableBytes);
  });

  it('does not take one key twice', () => {
    expect(() => aesVault(old, [next, old])).toThrow('two of the encryption keys have the same id');
  });
});

it.each(['', '1f', '1f'.repeat(31), '1f'.repeat(33), `${'1f'.repeat(31)}zz`, ` ${'1f'.repeat(32)}`])(
  'refuses %j for a key, at once and without repeating it',
  (key) => {
    expect(() => aesVault(() => key)).toThrow(/^the encryption key is not 64 hexadecimal characters$/);
  },
);
