import type { AuditRecord } from '../../domain/audit.ts';
import type { Batch } from '../../domain/batch.ts';
import type { Amounts, Breaker, OperatorOrder, Pause, SolidHead, Transition } from '../../domain/breaker.ts';
import type { Circuit } from '../../domain/circuit.ts';
import { ServiceError } from '../../domain/errors.ts';
import type { AssetBook, FeeBook, SpentSlot } from '../../domain/limits.ts';
import { ASSETS, type Asset } from '../../domain/money.ts';
import { holdsReservation, type Payment } from '../../domain/payment.ts';
import { isRecovered, orderKey, type Restore, type RestoreMarks, restored } from '../../domain/restore.ts';

/** The collections of the payments database. */
export const PAYMENTS = 'payments';
export const BREAKER = 'breaker';
export const BREAKER_ID = 'breaker';
/** Beside the breaker's, so that it stays small. */
export const AUDIT_ID = 'audit';

/**
 * The form in which all of it is stored. Raised where what stands there has to be changed (`migrations.ts`); what a newer
 * program has changed is not read by an older one.
 */
export const SCHEMA = 2;

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
  /**
   * Of a recovered payment, the order that it may have paid; or the id of the payment that it paid, once a person has
   * said so. Absent for all others.
   */
  readonly standsFor?: string;
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
  /** Of all that is stored in this database; absent where it was made before this was counted, which is 1. */
  readonly schema?: number;
  readonly slotsVersion: bigint;
  readonly pushes: bigint;
  /** JSON text, so that compare-and-set compares it whole. */
  readonly circuit: string;
  readonly pause: Pause | null;
  /** Absent before the first. */
  readonly lastOrder?: OperatorOrder | null;
  readonly books: Readonly<Record<Asset, BookDocument>>;
  readonly fees: FeeBookDocument;
  readonly transitions: readonly Transition[];
  readonly solidHead: SolidHead | null;
  readonly spentBlockNumber: number;
  /** Absent where the database never came from a backup. */
  readonly restore?: Restore | null;
}

/** What audits remember, and whose turn it is. */
export interface AuditDocument extends AuditRecord {
  readonly _id: string;
  readonly owner: string;
  readonly dueAtMs: number;
}

interface BookDocument {
  readonly outstandingMicro: bigint;
  readonly spentTotalMicro: bigint;
  readonly hour: Uint8Array;
  readonly day: Uint8Array;
}
type FeeBookDocument = Omit<BookDocument, 'hour'>;

// Each field by its name, not by what is left of an object: the objects then all have one shape, which makes them
// several times as fast to make and to read.

export function auditFrom(document: AuditDocument): AuditRecord {
  return {
    books: document.books,
    wallet: document.wallet,
    findings: document.findings,
    differences: document.differences,
    accepted: document.accepted,
    marks: document.marks,
    inflows: document.inflows,
    blockNumber: document.blockNumber,
    transitions: document.transitions,
  };
}

export function isBatchDocument(document: PaymentDocument | BatchDocument): document is BatchDocument {
  return 'items' in document;
}

export function paymentFrom(document: PaymentDocument): Payment {
  return {
    id: document._id,
    caller: document.caller,
    idempotencyKey: document.idempotencyKey,
    batchId: document.batchId,
    fingerprint: document.fingerprint,
    asset: document.asset,
    amountMicro: document.amountMicro,
    recipient: document.recipient,
    reference: document.reference,
    status: document.status,
    generation: document.generation,
    attemptNumber: document.attemptNumber,
    reservationId: document.reservationId,
    closeId: document.closeId,
    notedIds: document.notedIds,
    feeReservedMicro: document.feeReservedMicro,
    approvedBy: document.approvedBy,
    attempts: document.attempts,
    history: document.history,
    createdAtMs: document.createdAtMs,
    payByMs: document.payByMs,
    endedAtMs: document.endedAtMs,
    reason: document.reason,
    leaseOwner: document.leaseOwner,
    lastBroadcastAtMs: document.lastBroadcastAtMs,
    settleAtMs: document.settleAtMs ?? null,
  };
}

/** @param claimsReference false for a payment of a batch, which has claimed all references itself */
export function paymentDocument(payment: Payment, claimsReference: boolean): PaymentDocument {
  const { caller, reference, settleAtMs, attempts } = payment;
  return {
    _id: payment.id,
    caller: payment.caller,
    idempotencyKey: payment.idempotencyKey,
    batchId: payment.batchId,
    fingerprint: payment.fingerprint,
    asset: payment.asset,
    amountMicro: payment.amountMicro,
    recipient: payment.recipient,
    reference: payment.reference,
    status: payment.status,
    generation: payment.generation,
    attemptNumber: payment.attemptNumber,
    reservationId: payment.reservationId,
    closeId: payment.closeId,
    notedIds: payment.notedIds,
    feeReservedMicro: payment.feeReservedMicro,
    approvedBy: payment.approvedBy,
    attempts: payment.attempts,
    history: payment.history,
    createdAtMs: payment.createdAtMs,
    payByMs: payment.payByMs,
    endedAtMs: payment.endedAtMs,
    reason: payment.reason,
    leaseOwner: payment.leaseOwner,
    lastBroadcastAtMs: payment.lastBroadcastAtMs,
    ...(settleAtMs === null ? {} : { settleAtMs }),
    ...(claimsReference && reference !== null ? { referenceKeys: [referenceKey(caller, reference)] } : {}),
    ...(holdsReservation(payment) ? { isHeld: true as const } : {}),
    ...(attempts.length === 0 ? {} : { txIds: attempts.map(({ txId }) => txId) }),
    ...(isRecovered(payment) ? { standsFor: orderKey(payment) } : {}),
  };
}

export function batchFrom(document: BatchDocument): Batch {
  return {
    id: document._id,
    caller: document.caller,
    idempotencyKey: document.idempotencyKey,
    fingerprint: document.fingerprint,
    status: document.status,
    generation: document.generation,
    items: document.items,
    reservationId: document.reservationId,
    notedIds: document.notedIds,
    feeReservedMicro: document.feeReservedMicro,
    createdAtMs: document.createdAtMs,
    payByMs: document.payByMs,
    reason: document.reason,
    leaseOwner: document.leaseOwner,
    settleAtMs: document.settleAtMs ?? null,
  };
}

export function batchDocument(batch: Batch): BatchDocument {
  const { settleAtMs } = batch;
  const references = batch.items.flatMap(({ reference }) =>
    reference === null ? [] : [referenceKey(batch.caller, reference)],
  );
  return {
    _id: batch.id,
    caller: batch.caller,
    idempotencyKey: batch.idempotencyKey,
    fingerprint: batch.fingerprint,
    status: batch.status,
    generation: batch.generation,
    items: batch.items,
    reservationId: batch.reservationId,
    notedIds: batch.notedIds,
    feeReservedMicro: batch.feeReservedMicro,
    createdAtMs: batch.createdAtMs,
    payByMs: batch.payByMs,
    reason: batch.reason,
    leaseOwner: batch.leaseOwner,
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
  if (document.slotsVersion === undefined || schemaOf(document) > SCHEMA) {
    throw ofAnotherVersion();
  }
  const { books } = document;
  return {
    slotsVersion: document.slotsVersion,
    pushes: document.pushes,
    circuit: circuitFrom(document),
    pause: document.pause,
    lastOrder: document.lastOrder ?? null,
    books: { USDT: bookFrom(books.USDT), TRX: bookFrom(books.TRX) },
    fees: feesFrom(document.fees),
    transitions: document.transitions,
    solidHead: document.solidHead,
    spentBlockNumber: document.spentBlockNumber ?? 0,
    restore: document.restore ?? null,
  };
}

export function breakerDocument(breaker: Breaker): BreakerDocument {
  const { books, fees } = breaker;
  return {
    _id: BREAKER_ID,
    schema: SCHEMA,
    slotsVersion: breaker.slotsVersion,
    pushes: breaker.pushes,
    circuit: circuitText(breaker.circuit),
    pause: breaker.pause,
    lastOrder: breaker.lastOrder,
    books: { USDT: bookDocument(books.USDT), TRX: bookDocument(books.TRX) },
    fees: feesDocument(fees),
    transitions: breaker.transitions,
    solidHead: breaker.solidHead,
    spentBlockNumber: breaker.spentBlockNumber,
    restore: breaker.restore,
  };
}

/** A backup's breaker document as it is put back: paused, and marked as restored. */
export function restoredBreaker(document: BreakerDocument, marks: RestoreMarks): BreakerDocument {
  return { ...breakerDocument(restored(breakerFrom(document), marks)), schema: schemaOf(document) };
}

export function schemaOf({ schema }: Pick<BreakerDocument, 'schema'>): number {
  return schema ?? 1;
}

/** The circuit that was read last: it changes once in a while, and is read before each call. */
let lastCircuit: { readonly text: string; readonly circuit: Circuit } | undefined;

export function circuitFrom({ circuit: text }: Pick<BreakerDocument, 'circuit'>): Circuit {
  if (lastCircuit?.text !== text) lastCircuit = { text, circuit: JSON.parse(text) as Circuit };
  return lastCircuit.circuit;
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

function bookDocument({ outstandingMicro, spentTotalMicro, hour, day }: AssetBook): BookDocument {
  return { outstandingMicro, spentTotalMicro, hour: packSlots(hour), day: packSlots(day) };
}

function feesDocument({ outstandingMicro, spentTotalMicro, day }: FeeBook): FeeBookDocument {
  return { outstandingMicro, spentTotalMicro, day: packSlots(day) };
}

/**
 * Slots as bytes, nine each at the most, so that a full breaker document stays below 32 KiB: as documents they would
 * take ten times that. A head says how to read them: the format, the widths of both numbers, the first slot's end,
 * and the unit in which the ends that follow are counted from one another.
 */
const SLOTS_FORMAT = 1;
const HEAD_BYTES = 15;
/** The widest integer that a buffer reads as a number. */
const NUMBER_BYTES = 6;

export function packSlots(slots: readonly SpentSlot[]): Uint8Array {
  const [first] = slots;
  if (first === undefined) return new Uint8Array();
  const gapsMs = slots.map(({ untilMs }, index) => untilMs - (slots[index - 1] ?? first).untilMs);
  const unitMs = gapsMs.reduce(greatestDivisor, 0) || 1;
  const gapBytes = bytesOf(BigInt(Math.max(...gapsMs) / unitMs));
  const amountBytes = bytesOf(
    slots.reduce((most, { amountMicro }) => (amountMicro > most ? amountMicro : most), 0n),
  );
  const bytes = Buffer.alloc(HEAD_BYTES + slots.length * (gapBytes + amountBytes));
  bytes.set([SLOTS_FORMAT, gapBytes, amountBytes]);
  bytes.writeUIntBE(first.untilMs, 3, NUMBER_BYTES);
  bytes.writeUIntBE(unitMs, 9, NUMBER_BYTES);
  let at = HEAD_BYTES;
  slots.forEach(({ amountMicro }, index) => {
    bytes.writeUIntBE((gapsMs[index] ?? 0) / unitMs, at, gapBytes);
    writeAmount(bytes, amountMicro, at + gapBytes, amountBytes);
    at += gapBytes + amountBytes;
  });
  return bytes;
}

/** @throws ServiceError `store_unavailable` for slots that were packed by another version */
export function unpackSlots(packed: Uint8Array): SpentSlot[] {
  if (packed.length === 0) return [];
  const bytes = Buffer.isBuffer(packed)
    ? packed
    : Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  const [format = 0, gapBytes = 0, amountBytes = 0] = bytes;
  if (format !== SLOTS_FORMAT) throw ofAnotherVersion();
  const unitMs = bytes.readUIntBE(9, NUMBER_BYTES);
  let untilMs = bytes.readUIntBE(3, NUMBER_BYTES);
  const slots: SpentSlot[] = [];
  for (let at = HEAD_BYTES; at < bytes.length; at += gapBytes + amountBytes) {
    untilMs += bytes.readUIntBE(at, gapBytes) * unitMs;
    slots.push({ untilMs, amountMicro: readAmount(bytes, at + gapBytes, amountBytes) });
  }
  return slots;
}

// In two halves where it is wider than a number: several times as fast as by way of text.
const LOW_BITS = 8 * NUMBER_BYTES;

function writeAmount(bytes: Buffer, amountMicro: bigint, at: number, width: number): void {
  const highBytes = Math.max(0, width - NUMBER_BYTES);
  if (highBytes > 0) bytes.writeUIntBE(Number(amountMicro >> BigInt(LOW_BITS)), at, highBytes);
  bytes.writeUIntBE(Number(BigInt.asUintN(LOW_BITS, amountMicro)), at + highBytes, width - highBytes);
}

function readAmount(bytes: Buffer, at: number, width: number): bigint {
  const highBytes = Math.max(0, width - NUMBER_BYTES);
  const low = BigInt(bytes.readUIntBE(at + highBytes, width - highBytes));
  return highBytes === 0 ? low : (BigInt(bytes.readUIntBE(at, highBytes)) << BigInt(LOW_BITS)) | low;
}

function bytesOf(value: bigint): number {
  return Math.ceil(value.toString(16).length / 2);
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

function ofAnotherVersion(): ServiceError {
  return new ServiceError('store_unavailable', 'The breaker document is of another version.');
}
