import { createHash } from 'node:crypto';
import { ServiceError } from '../domain/errors.ts';
import type { Payment } from '../domain/payment.ts';
import type { PagePlace, PaymentFilter, PaymentSearch } from '../ports/payment-search.ts';

export interface PaymentPage {
  readonly payments: readonly Payment[];
  /** Continues behind the last payment; null at the end. */
  readonly nextCursor: string | null;
}

/** What a page may hold. It has one payment at least, however long that one is. */
export interface PageRoom {
  /** The most payments. */
  readonly countMax: number;
  /** The most bytes. */
  readonly bytesMax: number;
  /** How many a payment takes. */
  readonly bytesOf: (payment: Payment) => number;
}

/**
 * One page of payments, newest first. The cursor names a place in an order that never changes: payments that are
 * made meanwhile come before the first page, and none is shown twice or left out.
 * @throws ServiceError `field_invalid` for a cursor that is not ours, or of another search
 */
export async function listPayments(
  search: PaymentSearch,
  filter: PaymentFilter,
  cursor: string | null,
  { countMax, bytesMax, bytesOf }: PageRoom,
): Promise<PaymentPage> {
  const after = cursor === null ? null : readCursor(cursor, filter);
  const payments: Payment[] = [];
  let bytes = 0;
  for await (const payment of search.find(filter, after, countMax + 1)) {
    bytes += bytesOf(payment);
    const last = payments.at(-1);
    if (last !== undefined && (payments.length === countMax || bytes > bytesMax)) {
      return { payments, nextCursor: writeCursor(last, filter) };
    }
    payments.push(payment);
  }
  return { payments, nextCursor: null };
}

function writeCursor({ createdAtMs, id }: PagePlace, filter: PaymentFilter): string {
  return Buffer.from(JSON.stringify([createdAtMs, id, searchName(filter)])).toString('base64url');
}

function readCursor(cursor: string, filter: PaymentFilter): PagePlace {
  try {
    const [createdAtMs, id, search] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    if (Number.isSafeInteger(createdAtMs) && typeof id === 'string' && search === searchName(filter)) {
      return { createdAtMs: createdAtMs as number, id };
    }
  } catch {
    // Not ours: told below.
  }
  throw new ServiceError('field_invalid', 'The cursor is not one of this search.', { field: 'cursor' });
}

/** Tells searches apart, so that a cursor cannot be carried from one to another. */
function searchName(filter: PaymentFilter): string {
  const given = Object.entries(filter).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(given)).digest('base64url').slice(0, 12);
}
