import type { Asset } from '../domain/money.ts';
import type { Payment, PaymentStatus } from '../domain/payment.ts';

/** Finds payments, newest first. Batches themselves are not among them; their payments are. */
export interface PaymentSearch {
  /**
   * Reads only as far as it is asked to: payments can be long, and who has enough of them leaves.
   * @param after the place where the last page ended; null for the first page
   * @param countMax the most that will be asked for
   * @throws ServiceError `store_unavailable`, at any step
   */
  find(filter: PaymentFilter, after: PagePlace | null, countMax: number): AsyncIterable<Payment>;
}

/** All that is given must hold. */
export interface PaymentFilter {
  readonly caller?: string;
  readonly status?: PaymentStatus;
  readonly asset?: Asset;
  readonly reference?: string;
  /** Created at or after, milliseconds since 1970. */
  readonly fromMs?: number;
  /** Created before. */
  readonly toMs?: number;
}

/** A payment's place in the order; it never changes, so a page never shows a payment twice. */
export interface PagePlace {
  readonly createdAtMs: number;
  readonly id: string;
}
