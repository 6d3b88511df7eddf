import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { UnreadableBytes, type Vault } from '../../ports/vault.ts';

// Sealed bytes: format (1) · key id (4) · nonce (12) · tag (16) · ciphertext.
const FORMAT = 1;
const KEY_ID_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;

/**
 * AES-256-GCM (NIST SP 800-38D) with a random nonce. Payment and attempt are authenticated beside the bytes, so
 * sealed bytes moved to another payment do not open.
 * @param revealKeyHex 64 hex characters
 */
export function aesVault(revealKeyHex: () => string): Vault {
  const keyHex = revealKeyHex();
  if (!/^[0-9a-fA-F]{64}$/.test(keyHex))
    throw new Error('the encryption key is not 64 hexadecimal characters');
  const key = Buffer.from(keyHex, 'hex');
  // Names the key without telling anything of it, so that rotated keys can be told apart.
  const keyId = createHash('sha256').update('key id').update(key).digest().subarray(0, KEY_ID_BYTES);
  const header = Buffer.concat([Buffer.from([FORMAT]), keyId]);

  function boundTo(paymentId: string, attemptNumber: number): Buffer {
    return Buffer.concat([header, Buffer.from(`${paymentId}/${attemptNumber}`, 'utf8')]);
  }

  return {
    seal(signedTransaction, paymentId, attemptNumber) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(boundTo(paymentId, attemptNumber));
      const body = Buffer.concat([cipher.update(signedTransaction), cipher.final()]);
      return Buffer.concat([header, nonce, cipher.getAuthTag(), body]);
    },

    open(sealed, paymentId, attemptNumber) {
      const bytes = Buffer.from(sealed);
      if (!bytes.subarray(0, HEADER_BYTES).equals(header))
        throw new UnreadableBytes('sealed under another key');
      const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
      const tag = bytes.subarray(HEADER_BYTES + NONCE_BYTES, HEADER_BYTES + NONCE_BYTES + TAG_BYTES);
      const body = bytes.subarray(HEADER_BYTES + NONCE_BYTES + TAG_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
        .setAAD(boundTo(paymentId, attemptNumber))
        .setAuthTag(tag);
      try {
        return Buffer.concat([decipher.update(body), decipher.final()]);
      } catch {
        throw new UnreadableBytes('damaged, or sealed for another attempt');
      }
    },
  };
}
