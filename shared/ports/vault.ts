/**
 * Encrypts signed transactions at rest. What is sealed for one attempt cannot be opened as another's.
 *
 * `seal` always uses the current key. `open` also takes what the other configured keys have sealed, and throws
 * `UnreadableBytes` where the bytes cannot be read: an unknown key, another attempt, or damage.
 */
export interface Vault {
  seal(signedTransaction: Uint8Array, paymentId: string, attemptNumber: number): Uint8Array;
  open(sealed: Uint8Array, paymentId: string, attemptNumber: number): Uint8Array;
}

/** A vault whose key can be replaced. */
export interface RotatingVault extends Vault {
  /** Whether the bytes say that the current key has sealed them. They are not opened. */
  isSealedByCurrent(sealed: Uint8Array): boolean;
}

/** Sealed bytes that no configured key opens for this attempt. The message is safe to show. */
export class UnreadableBytes extends Error {
  override readonly name = 'UnreadableBytes';
}
