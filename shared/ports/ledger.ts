import type { AuditRecord, BookSums } from '../domain/audit.ts';
import type { Batch } from '../domain/batch.ts';
import type { Breaker, Closing, OperatorOrder, Pause, Reservation, SolidHead } from '../domain/breaker.ts';
import type { Circuit } from '../domain/circuit.ts';
import type { ClosedBooks } from '../domain/closings.ts';
import type { Asset } from '../domain/money.ts';
import type { Attempt, EndStatus, HistoryEntry, NodeAnswer, Payment } from '../domain/payment.ts';
import type { Restore } from '../domain/restore.ts';

/**
 * The store of payments, of batches, and of the one breaker document.
 *
 * Every method is one read from the primary with read concern majority, or one conditional change of one
 * document, acknowledged by a majority and journaled. A change answers whether its condition held; false means
 * that nothing was changed. Two documents never change together: the order of calls is the protocol (reserve →
 * note → drop; close → announce → note → apply), and always the breaker is read before the payment.
 *
 * All methods throw `ServiceError`:
 * - `store_unavailable`: nothing was done (or it was a read)
 * - `outcome_unknown`: the change may or may not have been made; read again before going on
 */
export interface Ledger extends BreakerStore, PaymentStore, BatchStore, AuditStore {
  /** The database server's clock, milliseconds since 1970: the only clock that all instances share. */
  serverTimeMs(): Promise<number>;

  /**
   * When the first of all unfinished payments and batches is due, by the server's time; null where there is none:
   * the one read that a run costs which has nothing to do.
   */
  firstDueMs(): Promise<number | null>;

  /**
   * Takes up payments and batches whose `settleAtMs` has come, longest waiting first: each goes to one owner until
   * the lease ends. One read where nothing is due.
   */
  claimDue(lease: Lease, nowMs: number, limit: number): Promise<Due>;

  /** Puts off the next visit of what is still held under this lease, in one step for all of it. */
  putOff(lease: Lease, ids: readonly string[], settleAtMs: number): Promise<void>;
}

export interface Lease {
  /** An id of one run or invocation, not of a process. */
  readonly owner: string;
  readonly untilMs: number;
}

export interface Due {
  readonly payments: readonly Payment[];
  readonly batches: readonly Batch[];
}

export interface BreakerStore {
  readBreaker(): Promise<Breaker>;

  /** What every call to the network looks at, without the books beside it, which are a hundred times as large. */
  readCircuit(): Promise<Pick<Breaker, 'circuit' | 'solidHead'>>;

  /**
   * Counts a reservation. Condition: the slots that the room was computed from stand, outstanding sums are within
   * that room, nobody has paused payments, there is place for one more transition, and none of the same payment
   * is under way.
   * @param room null for what the chain has taken already: it counts whatever the limits say
   */
  pushReservation(reservation: Reservation, room: ReservationRoom | null): Promise<boolean>;

  /**
   * Announces closings, which changes no book yet. Condition: there is place for all of them, and none of these
   * payments has a transition under way.
   */
  pushClosings(closings: readonly Closing[]): Promise<boolean>;

  /**
   * Removes noted closings together with their effects. Condition: all of them are there; and where slots are
   * charged, the slots they were computed from stand.
   */
  applyClosings(slotsVersion: bigint, closings: readonly Closing[], after: ClosedBooks): Promise<boolean>;

  /** Removes an entry without touching the books: a noted reservation, or a closing whose rival won. */
  dropTransition(transitionId: string): Promise<boolean>;

  /** Removes a reservation together with its effect. Condition: it is there. */
  takeOutReservation(reservation: Reservation): Promise<boolean>;

  /** Replaces the circuit. Condition: the circuit is still the one that was read. */
  replaceCircuit(read: Circuit, next: Circuit): Promise<boolean>;

  /** Pauses. Condition: nobody has before. */
  setPause(pause: Pause): Promise<boolean>;

  /** Resumes. Condition: this pause stands, and a restored system has read the wallet's history. */
  liftPause(pause: Pause): Promise<boolean>;

  /**
   * Takes the reading of the wallet's history after a restore further. Condition: it stands where it was read, all
   * payments are back, and it is not over.
   */
  moveRestore(read: Restore, next: Restore): Promise<boolean>;

  /** Keeps what a person ordered, for others to read. */
  recordOrder(order: OperatorOrder): Promise<void>;

  /** Remembers a newer solid head. Condition: it is newer than the remembered one. */
  advanceSolidHead(head: SolidHead): Promise<boolean>;
}

/** The most that may be outstanding, without the new reservation, for it to fit. */
export interface ReservationRoom {
  readonly slotsVersion: bigint;
  /** The restore that the database came from, where it did: what was judged before it counts no more. */
  readonly restoreId: string | null;
  readonly outstandingMaxMicro: Readonly<Record<Asset, bigint>>;
  readonly feesOutstandingMaxMicro: bigint;
}

/** Which payment, generation and attempt a change is meant for; it changes nothing for any other. */
export interface PaymentGuard {
  readonly paymentId: string;
  readonly generation: number;
  readonly attemptNumber: number;
}

/** 'exists': the caller's key stands for something · 'reference_taken': its reference does. Nothing was stored. */
export type Claim = 'inserted' | 'exists' | 'reference_taken';

export interface PaymentStore {
  /** Claims the caller's idempotency key, and its reference if there is one, by inserting the payment itself. */
  insertPayment(payment: Payment): Promise<Claim>;

  findPayment(paymentId: string): Promise<Payment | null>;
  findPayments(paymentIds: readonly string[]): Promise<Payment[]>;

  /** What a caller's key stands for. */
  findByKey(caller: string, idempotencyKey: string): Promise<Claimed | null>;

  /** The payment that signed a transaction, or that stands for it. */
  findByTransaction(txId: string): Promise<Payment | null>;

  /**
   * The oldest recovered payment that moved money and stands for any of these.
   * @param standsFor orders that it may have paid (`orderKey`), or payments that it is known to have paid
   */
  findRecovered(...standsFor: readonly string[]): Promise<Payment | null>;

  /** Says what a recovered payment paid. Condition: it is not known yet. */
  claimRecovered(recovered: Payment, standsFor: string, entry: HistoryEntry): Promise<boolean>;

  /** Ends the visits. Condition: of this generation, in this end state, and nothing is left to commit or release. */
  endVisits(guard: PaymentGuard, status: EndStatus): Promise<boolean>;

  /** Notes a reservation. Condition: accepted (or to be reviewed), of this generation, and none noted. */
  noteReservation(guard: PaymentGuard, note: ReservationNote, change: PaymentChange): Promise<boolean>;

  /**
   * Stores a signed attempt; its bytes may leave only once this has answered true, or after a read shows it.
   * Condition: accepted, this generation and attempt; and where a note is given no other reservation noted (it
   * is noted by this same write), else one noted.
   * @returns 'moved' where the condition did not hold, 'tx_id_taken' where another attempt has the very same
   *   transaction id: nothing was stored, sign again with another timestamp
   */
  storeSigned(
    guard: PaymentGuard,
    attempt: Attempt,
    note: ReservationNote | null,
    change: PaymentChange,
  ): Promise<'stored' | 'moved' | 'tx_id_taken'>;

  /** Records what came of sending the bytes. Condition: signed or broadcast, this generation and attempt. */
  recordBroadcast(guard: PaymentGuard, broadcast: BroadcastRecord, change: PaymentChange): Promise<boolean>;

  /**
   * Returns the payment to accepted with the next attempt number, its reservation kept. Only on proof that the
   * attempt can never land. Condition: signed or broadcast, this generation and attempt.
   */
  reaccept(guard: PaymentGuard, change: PaymentChange): Promise<boolean>;

  /**
   * Ends the payment: a live one, one that waits for approval, or one that an operator rules on. Condition: still
   * in the state that was read, same generation and attempt.
   */
  closePayment(
    guard: PaymentGuard,
    from: Payment['status'],
    end: PaymentEnd,
    change: PaymentChange,
  ): Promise<boolean>;

  /** Notes the commit or release. Condition: that end state, a reservation noted, none closed. */
  noteClose(guard: PaymentGuard, status: EndStatus, closeId: string, change: PaymentChange): Promise<boolean>;

  /**
   * Opens a refused payment for another try of the same key. Condition: refused, nothing of the last try left.
   * @param status where the amount has to be approved first, `awaiting_approval`
   */
  retryRefused(
    guard: PaymentGuard,
    status: 'accepted' | 'awaiting_approval',
    payByMs: number,
    change: PaymentChange,
  ): Promise<boolean>;

  /** Lets a payment be made that waited for it. Condition: awaiting approval, of this generation. */
  approve(guard: PaymentGuard, approver: string, payByMs: number, change: PaymentChange): Promise<boolean>;

  /**
   * Leaves an ended payment to an operator, because the chain contradicts its end. Condition: still in that end
   * state, and its reservation still held, or not, as it was read.
   * @param holds whether its reservation still stands; if not, the payment begins a new generation, whose
   *   amount is yet to be counted
   */
  reopenForReview(
    guard: PaymentGuard,
    from: EndStatus,
    holds: boolean,
    found: { readonly attemptNumber: number; readonly included: Inclusion },
    change: PaymentChange,
  ): Promise<boolean>;
}

export type Claimed =
  | { readonly kind: 'payment'; readonly payment: Payment }
  | { readonly kind: 'batch'; readonly batch: Batch };

export interface ReservationNote {
  readonly reservationId: string;
  readonly feeReservedMicro: bigint;
}

export interface BroadcastRecord {
  readonly atMs: number;
  /** Whether a node may have taken the bytes: only then the payment is broadcast. */
  readonly isOut: boolean;
  readonly answers: readonly NodeAnswer[];
}

/** Where a transaction stands in the chain. */
export interface Inclusion {
  readonly blockNumber: number;
  readonly blockTimeMs: number;
  readonly feeMicro: bigint;
}

/** How a payment ended. */
export interface PaymentEnd {
  readonly status: EndStatus;
  readonly reason: string | null;
  readonly endedAtMs: number;
  /** Where the attempt's transaction was found, if it was. */
  readonly included: Inclusion | null;
}

/** What every change of a payment also says. */
export interface PaymentChange {
  readonly entry: HistoryEntry;
  /** The next visit of `settle`; null once nothing is left to do. */
  readonly settleAtMs: number | null;
  /** What the payment waits for; left as it is where undefined. */
  readonly reason?: string | null;
}

/** Which batch and generation a change is meant for. */
export interface BatchGuard {
  readonly batchId: string;
  readonly generation: number;
}

export interface BatchStore {
  /** Claims the caller's idempotency key, and the references of all items, by inserting the batch itself. */
  insertBatch(batch: Batch): Promise<Claim>;

  findBatch(batchId: string): Promise<Batch | null>;

  /** Notes the reservation. Condition: accepted, of this generation, and none noted. From here on it is admitted. */
  noteBatchReservation(guard: BatchGuard, reservationId: string): Promise<boolean>;

  /** Inserts the payments of a batch, each holding its part of the reservation. Those that are there stay as they are. */
  insertItems(payments: readonly Payment[]): Promise<void>;

  /** Says that all payments are there. Condition: accepted, with this reservation noted. */
  admitBatch(guard: BatchGuard, reservationId: string): Promise<boolean>;

  /** Refuses a batch. Condition: accepted, of this generation, and no reservation noted. */
  refuseBatch(guard: BatchGuard, reason: string): Promise<boolean>;

  /** Opens a refused batch for another try of the same key. Condition: refused, of this generation. */
  retryBatch(
    guard: BatchGuard,
    feeReservedMicro: bigint,
    payByMs: number,
    settleAtMs: number,
  ): Promise<boolean>;
}

export interface AuditStore {
  /**
   * Takes up the audit where it is due, so that of several settlers one makes it. Whoever took it up before can no
   * longer store what it found.
   * @param dueAtMs when the next one is due
   * @returns what audits remember; null where it is not due
   */
  claimAudit(owner: string, nowMs: number, dueAtMs: number): Promise<AuditRecord | null>;

  /** Stores what an audit found. Condition: nobody has taken it up since. */
  storeAudit(owner: string, record: AuditRecord): Promise<boolean>;

  /**
   * Sums what payments hold in the books under noted reservations.
   * @param except payments, and payments of batches, that are left out
   */
  sumHeld(except: {
    readonly paymentIds: readonly string[];
    readonly batchIds: readonly string[];
  }): Promise<BookSums>;
}
