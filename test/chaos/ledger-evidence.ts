import type { Db } from 'mongodb';
import { BREAKER, BREAKER_ID, PAYMENTS } from '../../shared/adapters/mongo/documents.ts';
import type { Circuit } from '../../shared/domain/circuit.ts';
import type { Asset } from '../../shared/domain/money.ts';
import type { BreakerFigures, PaymentRow } from './evidence.ts';

/** Reads the documents as they lie in the database, past all code that the functions use. */

interface StoredPayment {
  readonly _id: string;
  readonly idempotencyKey: string;
  readonly batchId: string | null;
  readonly status: string;
  readonly reason: string | null;
  readonly asset: Asset;
  readonly amountMicro: bigint;
  readonly recipient: string;
  readonly attempts: readonly { readonly txId: string }[];
  readonly settleAtMs?: number;
  readonly isHeld?: boolean;
}

interface StoredBook {
  readonly outstandingMicro: bigint;
  readonly spentTotalMicro: bigint;
}

interface StoredBreaker {
  readonly _id: string;
  readonly circuit: string;
  readonly transitions: readonly unknown[];
  readonly books: Readonly<Record<Asset, StoredBook>>;
  readonly fees: StoredBook;
}

export async function readPayments(db: Db): Promise<PaymentRow[]> {
  const documents = await db
    .collection<StoredPayment>(PAYMENTS)
    .find({ items: { $exists: false } })
    .toArray();
  return documents.map(({ _id, attempts, settleAtMs, isHeld, ...rest }) => ({
    id: _id,
    idempotencyKey: rest.idempotencyKey,
    batchId: rest.batchId,
    status: rest.status,
    reason: rest.reason,
    asset: rest.asset,
    amountMicro: BigInt(rest.amountMicro),
    recipient: rest.recipient,
    txIds: attempts.map(({ txId }) => txId),
    isOpen: settleAtMs !== undefined,
    isHeld: isHeld === true,
  }));
}

/** Payments and batches that something is still to be done for. */
export function countOpen(db: Db): Promise<number> {
  return db.collection(PAYMENTS).countDocuments({ settleAtMs: { $exists: true } });
}

/** Payments that wait for a person's ruling. */
export function countUnderReview(db: Db): Promise<number> {
  return db.collection(PAYMENTS).countDocuments({ status: 'needs_review' });
}

/** @returns null before the first payment made the document */
export async function readBreakerFigures(db: Db): Promise<BreakerFigures | null> {
  const stored = await findBreaker(db);
  if (stored === null) return null;
  const circuit = JSON.parse(stored.circuit) as Circuit;
  const bookOf = (asset: Asset) => ({
    outstandingMicro: BigInt(stored.books[asset].outstandingMicro),
    spentMicro: BigInt(stored.books[asset].spentTotalMicro),
  });
  return {
    transitions: stored.transitions.length,
    feesOutstandingMicro: BigInt(stored.fees.outstandingMicro),
    books: { USDT: bookOf('USDT'), TRX: bookOf('TRX') },
    tripped: circuit.kind === 'open' && circuit.until === 'reset' ? circuit.reason : null,
  };
}

/** How many permits to probe the network are out at this moment. */
export async function countPermits(db: Db): Promise<number> {
  const stored = await findBreaker(db);
  if (stored === null) return 0;
  const circuit = JSON.parse(stored.circuit) as Circuit;
  if (circuit.kind !== 'half_open') return 0;
  const nowMs = Date.now();
  return circuit.permits.filter(({ expiresAtMs }) => expiresAtMs > nowMs).length;
}

function findBreaker(db: Db): Promise<StoredBreaker | null> {
  return db.collection<StoredBreaker>(BREAKER).findOne({ _id: BREAKER_ID });
}
