import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { type RotatingVault, UnreadableBytes } from '../../ports/vault.ts';

// Sealed bytes: format (1) · key id (4) · nonce (12) · tag (16) · ciphertext.
const FORMAT = 1;
const KEY_ID_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;

interface VaultKey {
  readonly key: Buffer;
  /** Format and key id: with these begins everything that the key has sealed. */
  readonly header: Buffer;
}

/**
 * AES-256-GCM (NIST SP 800-38D) with a random nonce. Payment and attempt are authenticated beside the bytes, so
 * sealed bytes moved to another payment do not open.
 * @param revealCurrentHex the key that seals: 64 hex characters
 * @param revealOthersHex keys of the same form that only open
 */
export function aesVault(
  revealCurrentHex: () => string,
  revealOthersHex: readonly (() => string)[] = [],
): RotatingVault {
  const current = readKey(revealCurrentHex());
  const keys = [current, ...revealOthersHex.map((reveal) => readKey(reveal()))];
  const headers = new Set(keys.map(({ header }) => header.toString('hex')));
  if (headers.size < keys.length) throw new Error('two of the encryption keys have the same id');

  return {
    seal(signedTransaction, paymentId, attemptNumber) {
      const { key, header } = current;
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(
        boundTo(header, paymentId, attemptNumber),
      );
      const body = Buffer.concat([cipher.update(signedTransaction), cipher.final()]);
      return Buffer.concat([header, nonce, cipher.getAuthTag(), body]);
    },

    open(sealed, paymentId, attemptNumber) {
      const bytes = Buffer.from(sealed);
      const sealer = keys.find(({ header }) => startsWith(bytes, header));
      if (sealer === undefined) throw new UnreadableBytes('sealed under another key');
      const { key, header } = sealer;
      const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
      const tag = bytes.subarray(HEADER_BYTES + NONCE_BYTES, HEADER_BYTES + NONCE_BYTES + TAG_BYTES);
      const body = bytes.subarray(HEADER_BYTES + NONCE_BYTES + TAG_BYTES);
      if (nonce.length < NONCE_BYTES || tag.length < TAG_BYTES) throw new UnreadableBytes('cut short');
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
        .setAAD(boundTo(header, paymentId, attemptNumber))
        .setAuthTag(tag);
      try {
        return Buffer.concat([decipher.update(body), decipher.final()]);
      } catch {
        throw new UnreadableBytes('damaged, or sealed for another attempt');
      }
    },

    isSealedByCurrent: (sealed) => startsWith(Buffer.from(sealed), current.header),
  };
}

function readKey(keyHex: string): VaultKey {
  if (!/^[0-9a-fA-F]{64}$/.test(keyHex))
    throw new Error('the encryption key is not 64 hexadecimal characters');
  const key = Buffer.from(keyHex, 'hex');
  // Names the key without telling anything of it, so that rotated keys can be told apart.
  const keyId = createHash('sha256').update('key id').update(key).digest().subarray(0, KEY_ID_BYTES);
  return { key, header: Buffer.concat([Buffer.from([FORMAT]), keyId]) };
}

function boundTo(header: Buffer, paymentId: string, attemptNumber: number): Buffer {
  return Buffer.concat([header, Buffer.from(`${paymentId}/${attemptNumber}`, 'utf8')]);
}

function startsWith(bytes: Buffer, header: Buffer): boolean {
  return bytes.subarray(0, HEADER_BYTES).equals(header);
}
