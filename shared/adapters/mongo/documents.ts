import type { Breaker, SolidHead, Transition } from '../../domain/breaker.ts';
import type { Circuit } from '../../domain/circuit.ts';
import type { AssetBook, SpentSlot } from '../../domain/limits.ts';
import type { Asset } from '../../domain/money.ts';
import type { Attempt, Payment } from '../../domain/payment.ts';

/** The collections of the payments database. */
export const PAYMENTS = 'payments';
export const BREAKER = 'breaker';
export const BREAKER_ID = 'breaker';

/** A payment as it is stored: the domain's fields under the same names, amounts as 64-bit integers. */
export interface PaymentDocument extends Omit<Payment, 'id' | 'settleAtMs' | 'attempts'> {
  readonly _id: string;
  /** Absent once nothing is left to do, so that a sparse index holds unfinished payments only. */
  readonly settleAtMs?: number;
  readonly attempts: readonly Attempt[];
  /** The ids of all attempts, for the unique index; absent before the first. */
  readonly txIds?: readonly string[];
}

/** The breaker as it is stored. */
export interface BreakerDocument {
  readonly _id: typeof BREAKER_ID;
  readonly version: bigint;
  /** JSON text, so that compare-and-set compares it whole. */
  readonly circuit: string;
  readonly books: Readonly<Record<Asset, BookDocument>>;
  readonly transitions: readonly Transition[];
  readonly solidHead: SolidHead | null;
}

interface BookDocument {
  readonly outstandingMicro: bigint;
  readonly hour: Uint8Array;
  readonly day: Uint8Array;
}

export function paymentFrom(document: PaymentDocument): Payment {
  const { _id, txIds: _txIds, settleAtMs, ...rest } = document;
  return { ...rest, id: _id, settleAtMs: settleAtMs ?? null };
}

export function paymentDocument(payment: Payment): PaymentDocument {
  const { id, settleAtMs, ...rest } = payment;
  return { _id: id, ...rest, ...(settleAtMs === null ? {} : { settleAtMs }) };
}

export function breakerFrom(document: BreakerDocument): Breaker {
  return {
    version: document.version,
    circuit: JSON.parse(document.circuit) as Circuit,
    books: { USDT: bookFrom(document.books.USDT), TRX: bookFrom(document.books.TRX) },
    transitions: document.transitions,
    solidHead: document.solidHead,
  };
}

export function breakerDocument(breaker: Breaker): BreakerDocument {
  return {
    _id: BREAKER_ID,
    version: breaker.version,
    circuit: circuitText(breaker.circuit),
    books: { USDT: bookDocument(breaker.books.USDT), TRX: bookDocument(breaker.books.TRX) },
    transitions: breaker.transitions,
    solidHead: breaker.solidHead,
  };
}

export function circuitText(circuit: Circuit): string {
  return JSON.stringify(circuit);
}

function bookFrom(document: BookDocument): AssetBook {
  return {
    outstandingMicro: document.outstandingMicro,
    hour: unpackSlots(document.hour),
    day: unpackSlots(document.day),
  };
}

function bookDocument(book: AssetBook): BookDocument {
  return { outstandingMicro: book.outstandingMicro, hour: packSlots(book.hour), day: packSlots(book.day) };
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
