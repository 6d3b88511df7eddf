/**
 * Encrypts signed transactions at rest. What is sealed for one attempt cannot be opened as another's.
 *
 * `open` throws `UnreadableBytes` where the bytes cannot be read: another key, another attempt, or damage.
 */
export interface Vault {
  seal(signedTransaction: Uint8Array, paymentId: string, attemptNumber: number): Uint8Array;
  open(sealed: Uint8Array, paymentId: string, attemptNumber: number): Uint8Array;
}

/** Sealed bytes that no configured key opens for this attempt. The message is safe to show. */
export class UnreadableBytes extends Error {
  override readonly name = 'UnreadableBytes';
}
