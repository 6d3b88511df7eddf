import type { Batch } from '../../domain/batch.ts';
import type { Amounts, Breaker, Pause, SolidHead, Transition } from '../../domain/breaker.ts';
import type { Circuit } from '../../domain/circuit.ts';
import { ServiceError } from '../../domain/errors.ts';
import type { AssetBook, FeeBook, SpentSlot } from '../../domain/limits.ts';
import { ASSETS, type Asset } from '../../domain/money.ts';
import { holdsReservation, type Payment } from '../../domain/payment.ts';

/** The collections of the payments database. */
export const PAYMENTS = 'payments';
export const BREAKER = 'breaker';
export const BREAKER_ID = 'breaker';

/** A payment as it is stored: the domain's fields under the same names, amounts as 64-bit integers. */
export interface PaymentDocument extends Omit<Payment, 'id' | 'settleAtMs'> {
  readonly _id: string;
  /** Absent once nothing is left to do, so that a sparse index holds unfinished payments only. */
  readonly settleAtMs?: number;
  /** The ids of all attempts, for the unique index; absent before the first. */
  readonly txIds?: readonly string[];
  /** `CALLER REFERENCE`, for the unique index; absent without a reference, and where the batch holds it. */
  readonly referenceKeys?: readonly string[];
  /** Absent where no reservation of it stands, so that a sparse index holds just what must add up. */
  readonly isHeld?: true;
}

/**
 * A batch as it is stored: in the collection of payments, so that one unique index covers the keys of both, and one
 * query finds all that is due. Its `items` tell it apart.
 */
export interface BatchDocument extends Omit<Batch, 'id' | 'settleAtMs'> {
  readonly _id: string;
  readonly settleAtMs?: number;
  readonly referenceKeys?: readonly string[];
}

/** The breaker as it is stored. */
export interface BreakerDocument {
  readonly _id: string;
  readonly slotsVersion: bigint;
  readonly pushes: bigint;
  /** JSON text, so that compare-and-set compares it whole. */
  readonly circuit: string;
  readonly pause: Pause | null;
  readonly books: Readonly<Record<Asset, BookDocument>>;
  readonly fees: FeeBookDocument;
  readonly transitions: readonly Transition[];
  readonly solidHead: SolidHead | null;
  readonly spentBlockNumber: number;
}

interface BookDocument {
  readonly outstandingMicro: bigint;
  readonly spentTotalMicro: bigint;
  readonly hour: Uint8Array;
  readonly day: Uint8Array;
}
type FeeBookDocument = Omit<BookDocument, 'hour'>;

export function isBatchDocument(document: PaymentDocument | BatchDocument): document is BatchDocument {
  return 'items' in document;
}

export function paymentFrom(document: PaymentDocument): Payment {
  const { _id, txIds: _txIds, referenceKeys: _keys, isHeld: _isHeld, settleAtMs, ...rest } = document;
  return { ...rest, id: _id, settleAtMs: settleAtMs ?? null };
}

/** @param claimsReference false for a payment of a batch, which has claimed all references itself */
export function paymentDocument(payment: Payment, claimsReference: boolean): PaymentDocument {
  const { id, settleAtMs, ...rest } = payment;
  const { caller, reference } = payment;
  return {
    _id: id,
    ...rest,
    ...(settleAtMs === null ? {} : { settleAtMs }),
    ...(claimsReference && reference !== null ? { referenceKeys: [referenceKey(caller, reference)] } : {}),
    ...(holdsReservation(payment) ? { isHeld: true as const } : {}),
  };
}

export function batchFrom(document: BatchDocument): Batch {
  const { _id, referenceKeys: _keys, settleAtMs, ...rest } = document;
  return { ...rest, id: _id, settleAtMs: settleAtMs ?? null };
}

export function batchDocument(batch: Batch): BatchDocument {
  const { id, settleAtMs, ...rest } = batch;
  const references = batch.items.flatMap(({ reference }) =>
    reference === null ? [] : [referenceKey(batch.caller, reference)],
  );
  return {
    _id: id,
    ...rest,
    ...(settleAtMs === null ? {} : { settleAtMs }),
    ...(references.length === 0 ? {} : { referenceKeys: references }),
  };
}

/** No caller's name has a space, so the two parts are told apart. */
function referenceKey(caller: string, reference: string): string {
  return `${caller} ${reference}`;
}

/** @throws ServiceError `store_unavailable` where it was written by a version that kept its books otherwise */
export function breakerFrom(document: BreakerDocument): Breaker {
  if (document.slotsVersion === undefined) {
    throw new ServiceError('store_unavailable', 'The breaker document is of another version.');
  }
  const { _id, circuit, books, fees, ...rest } = document;
  return {
    ...rest,
    spentBlockNumber: rest.spentBlockNumber ?? 0,
    circuit: JSON.parse(circuit) as Circuit,
    books: { USDT: bookFrom(books.USDT), TRX: bookFrom(books.TRX) },
    fees: feesFrom(fees),
  };
}

export function breakerDocument(breaker: Breaker): BreakerDocument {
  const { circuit, books, fees, ...rest } = breaker;
  return {
    _id: BREAKER_ID,
    ...rest,
    circuit: circuitText(circuit),
    books: { USDT: bookDocument(books.USDT), TRX: bookDocument(books.TRX) },
    fees: { ...fees, day: packSlots(fees.day) },
  };
}

export function circuitText(circuit: Circuit): string {
  return JSON.stringify(circuit);
}

/** The assets that an amount is of. */
export function assetsIn(amounts: Amounts): Asset[] {
  return ASSETS.filter((asset) => amounts[asset] !== 0n);
}

function bookFrom({ outstandingMicro, spentTotalMicro, hour, day }: BookDocument): AssetBook {
  return { outstandingMicro, spentTotalMicro, hour: unpackSlots(hour), day: unpackSlots(day) };
}

function feesFrom({ outstandingMicro, spentTotalMicro, day }: FeeBookDocument): FeeBook {
  return { outstandingMicro, spentTotalMicro, day: unpackSlots(day) };
}

function bookDocument(book: AssetBook): BookDocument {
  return { ...book, hour: packSlots(book.hour), day: packSlots(book.day) };
}

// A slot is two big-endian 64-bit integers: 650 slots an asset stay near 10 KiB.
const SLOT_BYTES = 16;

/** Packs slots into bytes: as documents they would be five times as large. */
export function packSlots(slots: readonly SpentSlot[]): Uint8Array {
  const bytes = Buffer.alloc(slots.length * SLOT_BYTES);
  slots.forEach((slot, index) => {
    bytes.writeBigInt64BE(BigInt(slot.untilMs), index * SLOT_BYTES);
    bytes.writeBigInt64BE(slot.amountMicro, index * SLOT_BYTES + 8);
  });
  return bytes;
}

export function unpackSlots(packed: Uint8Array): SpentSlot[] {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  return Array.from({ length: bytes.length / SLOT_BYTES }, (_, index) => ({
    untilMs: Number(bytes.readBigInt64BE(index * SLOT_BYTES)),
    amountMicro: bytes.readBigInt64BE(index * SLOT_BYTES + 8),
  }));
}
