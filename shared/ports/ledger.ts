import type { Breaker, SolidHead, Transition } from '../domain/breaker.ts';
import type { Circuit } from '../domain/circuit.ts';
import type { AssetBook } from '../domain/limits.ts';
import type { Attempt, EndStatus, HistoryEntry, Payment } from '../domain/payment.ts';

/**
 * The store of payments and of the one breaker document.
 *
 * Every method is one read from the primary with read concern majority, or one conditional change of one
 * document, acknowledged by a majority and journaled. A change answers whether its condition held; false means
 * that nothing was changed. Two documents never change together: the order of calls is the protocol (reserve →
 * note → drop; close → commit or release → note → drop), and always the breaker is read before the payment.
 *
 * All methods throw `ServiceError`:
 * - `store_unavailable`: nothing was done (or it was a read)
 * - `outcome_unknown`: the change may or may not have been made; read again before going on
 */
export interface Ledger extends BreakerStore, PaymentStore {
  /** The database server's clock, milliseconds since 1970: the only clock that all instances share. */
  serverTimeMs(): Promise<number>;
}

export interface BreakerStore {
  readBreaker(): Promise<Breaker>;

  /**
   * Adds a transition with its effect to the version that was read.
   * Condition: that version still stands and no transition of the same payment is under way.
   * @param slots for a commit: the slots after the charge, computed from that same version
   */
  pushTransition(
    version: bigint,
    transition: Transition,
    slots: Pick<AssetBook, 'hour' | 'day'> | null,
  ): Promise<boolean>;

  /** Removes an entry whose payment holds its note. Condition: it is there. */
  dropTransition(transitionId: string): Promise<boolean>;

  /** Removes a reservation together with its effect. Condition: it is there. Only reservations are taken out. */
  takeOutReservation(transition: Transition): Promise<boolean>;

  /** Replaces the circuit. Condition: the circuit is still the one that was read. */
  replaceCircuit(read: Circuit, next: Circuit): Promise<boolean>;

  /** Remembers a newer solid head. Condition: it is newer than the remembered one. */
  advanceSolidHead(head: SolidHead): Promise<boolean>;
}

/** Which payment, generation and attempt a change is meant for; it changes nothing for any other. */
export interface PaymentGuard {
  readonly paymentId: string;
  readonly generation: number;
  readonly attemptNumber: number;
}

export interface PaymentStore {
  /**
   * Claims the caller's idempotency key by inserting the payment itself.
   * @returns 'exists' where the caller has used the key before (that payment is there to be read)
   */
  insertPayment(payment: Payment): Promise<'inserted' | 'exists'>;

  findPayment(paymentId: string): Promise<Payment | null>;
  findPaymentByKey(caller: string, idempotencyKey: string): Promise<Payment | null>;

  /** Payments whose `settleAtMs` has come, longest waiting first. */
  findDue(nowMs: number, limit: number): Promise<Payment[]>;

  /**
   * Moves the next visit, or ends the visits of an ended payment (null). Condition: nobody else has moved it, so
   * one settler takes a payment at a time.
   */
  rescheduleVisit(paymentId: string, seenSettleAtMs: number, settleAtMs: number | null): Promise<boolean>;

  /** Notes a reservation. Condition: accepted, of this generation, and none noted. */
  noteReservation(guard: PaymentGuard, reservationId: string, change: PaymentChange): Promise<boolean>;

  /**
   * Stores a signed attempt; its bytes may leave only once this has answered true, or after a read shows it.
   * Condition: accepted, this generation and attempt; and where `noteId` is given no other reservation noted (it
   * is noted by this same write), else one noted.
   * @returns 'moved' where the condition did not hold, 'tx_id_taken' where another attempt has the very same
   *   transaction id: nothing was stored, sign again with another timestamp
   */
  storeSigned(
    guard: PaymentGuard,
    attempt: Attempt,
    noteId: string | null,
    change: PaymentChange,
  ): Promise<'stored' | 'moved' | 'tx_id_taken'>;

  /**
   * Records what came of sending the bytes. Condition: signed or broadcast, this generation and attempt.
   * @param isOut whether a node may have taken them: only then the payment is broadcast
   */
  recordBroadcast(
    guard: PaymentGuard,
    broadcastAtMs: number,
    isOut: boolean,
    change: PaymentChange,
  ): Promise<boolean>;

  /**
   * Returns the payment to accepted with the next attempt number, its reservation kept. Only on proof that the
   * attempt can never land. Condition: signed or broadcast, this generation and attempt.
   */
  reaccept(guard: PaymentGuard, change: PaymentChange): Promise<boolean>;

  /** Ends the payment. Condition: still in the live state that was read, same generation and attempt. */
  closePayment(
    guard: PaymentGuard,
    from: Payment['status'],
    end: PaymentEnd,
    change: PaymentChange,
  ): Promise<boolean>;

  /** Notes the commit or release. Condition: that end state, a reservation noted, none closed. */
  noteClose(guard: PaymentGuard, status: EndStatus, closeId: string, change: PaymentChange): Promise<boolean>;

  /** Opens a refused payment for another try of the same key. Condition: refused, nothing of the last try left. */
  retryRefused(guard: PaymentGuard, payByMs: number, change: PaymentChange): Promise<boolean>;
}

/** How a payment ended. */
export interface PaymentEnd {
  readonly status: EndStatus;
  readonly reason: string | null;
  readonly endedAtMs: number;
  /** Where the attempt's transaction was found, if it was. */
  readonly included: {
    readonly blockNumber: number;
    readonly blockTimeMs: number;
    readonly feeMicro: bigint;
  } | null;
}

/** What every change of a payment also says. */
export interface PaymentChange {
  readonly entry: HistoryEntry;
  /** The next visit of `settle`; null once nothing is left to do. */
  readonly settleAtMs: number | null;
  /** What the payment waits for; left as it is where undefined. */
  readonly reason?: string | null;
}
