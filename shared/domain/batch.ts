import type { PaymentOrder } from './payment.ts';

/**
 * Up to a hundred payments under one key, admitted all together or not at all:
 *
 *   accepted → admitted      reserved as a whole, and every item inserted as a payment that holds its part
 *      └→ refused → accepted again, when the same key asks once more
 *
 * Once admitted, each payment lives its own life.
 */
export interface Batch {
  /** `bat_` and a time-ordered unique id. */
  readonly id: string;
  readonly caller: string;
  readonly idempotencyKey: string;
  readonly fingerprint: string;
  readonly status: BatchStatus;
  /** Raised each time a refused batch is tried again. */
  readonly generation: number;
  readonly items: readonly BatchItem[];
  /** The noted reservation of this generation; once there is one, the batch can only be admitted. */
  readonly reservationId: string | null;
  /** Every transition id ever noted here. */
  readonly notedIds: readonly string[];
  /** The most TRX that each item's reservation counts for fees. */
  readonly feeReservedMicro: bigint;
  readonly createdAtMs: number;
  readonly payByMs: number;
  readonly reason: string | null;
  /** When `settle` looks at it next; null once it is admitted or refused. */
  readonly settleAtMs: number | null;
  readonly leaseOwner: string | null;
}

export type BatchStatus = 'accepted' | 'admitted' | 'refused';

export interface BatchItem extends PaymentOrder {
  /** The payment that this item becomes. */
  readonly paymentId: string;
}

export const BATCH_ITEMS_MAX = 100;

/** The key of a batch's payment: with a space, which no key of a caller has. */
export function itemKey(batchId: string, index: number): string {
  return `${batchId} ${index}`;
}

export function isBatchId(id: string): boolean {
  return id.startsWith('bat_');
}
