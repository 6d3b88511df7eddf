/**
 * The sealed bytes of all attempts, for replacing the key under which they are sealed.
 *
 * Both methods throw `ServiceError` as those of the ledger do: `store_unavailable`, `outcome_unknown`.
 */
export interface SealedAttempts {
  /** The payments with attempts whose ids come after this one, in the order of ids; none at the end. */
  findPage(afterPaymentId: string, paymentsMax: number): Promise<readonly SealedPayment[]>;

  /**
   * Puts other sealed bytes in the place of these.
   * @returns false where the attempt no longer has these: nothing was changed
   */
  replace(paymentId: string, attempt: SealedAttempt, sealed: Uint8Array): Promise<boolean>;
}

export interface SealedPayment {
  readonly id: string;
  readonly attempts: readonly SealedAttempt[];
}

export interface SealedAttempt {
  /** Its place among the payment's attempts, from 0: it never changes, for attempts are only ever added. */
  readonly index: number;
  readonly number: number;
  readonly sealed: Uint8Array;
}
