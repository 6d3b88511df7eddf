import { type Breaker, NEW_BREAKER, TRANSITIONS_MAX } from '../../shared/domain/breaker.ts';
import type { AssetBook } from '../../shared/domain/limits.ts';
import type { Asset } from '../../shared/domain/money.ts';
import { isLive, type Payment } from '../../shared/domain/payment.ts';
import type { Ledger, PaymentChange, PaymentGuard } from '../../shared/ports/ledger.ts';

/**
 * A ledger in memory that holds itself to the port's conditions. `test/integration/ledger.test.ts` runs the
 * same cases on it and on the real one, so that tests on this one mean something.
 */
export class MemoryLedger implements Ledger {
  breaker: Breaker = NEW_BREAKER;
  readonly payments = new Map<string, Payment>();
  readonly nowMs: () => number;
  /** Every change that took effect, by the method's name: what a request costs in writes. */
  readonly writes: string[] = [];

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  async serverTimeMs() {
    return this.nowMs();
  }

  async readBreaker() {
    return structuredClone(this.breaker);
  }

  async pushTransition(...[version, transition, slots]: Parameters<Ledger['pushTransition']>) {
    const { breaker } = this;
    const isUnderWay = breaker.transitions.some(({ paymentId }) => paymentId === transition.paymentId);
    if (breaker.version !== version || isUnderWay || breaker.transitions.length >= TRANSITIONS_MAX)
      return false;
    const effect = transition.kind === 'reserve' ? transition.amountMicro : -transition.amountMicro;
    this.#changeBook(transition.asset, effect, slots);
    this.breaker = {
      ...this.breaker,
      version: version + 1n,
      transitions: [...breaker.transitions, transition],
    };
    this.writes.push('pushTransition');
    return true;
  }

  async dropTransition(transitionId: string) {
    const kept = this.breaker.transitions.filter(({ id }) => id !== transitionId);
    if (kept.length === this.breaker.transitions.length) return false;
    this.breaker = { ...this.breaker, transitions: kept };
    this.writes.push('dropTransition');
    return true;
  }

  async takeOutReservation(...[transition]: Parameters<Ledger['takeOutReservation']>) {
    const kept = this.breaker.transitions.filter(({ id }) => id !== transition.id);
    if (kept.length === this.breaker.transitions.length) return false;
    this.#changeBook(transition.asset, -transition.amountMicro, null);
    this.breaker = { ...this.breaker, transitions: kept };
    this.writes.push('takeOutReservation');
    return true;
  }

  async replaceCircuit(...[read, next]: Parameters<Ledger['replaceCircuit']>) {
    if (JSON.stringify(this.breaker.circuit) !== JSON.stringify(read)) return false;
    this.breaker = { ...this.breaker, circuit: next };
    this.writes.push('replaceCircuit');
    return true;
  }

  async advanceSolidHead(...[head]: Parameters<Ledger['advanceSolidHead']>) {
    if (this.breaker.solidHead !== null && this.breaker.solidHead.number >= head.number) return false;
    this.breaker = { ...this.breaker, solidHead: head };
    this.writes.push('advanceSolidHead');
    return true;
  }

  async insertPayment(payment: Payment) {
    if (this.#byKey(payment.caller, payment.idempotencyKey) !== undefined) return 'exists';
    this.payments.set(payment.id, payment);
    this.writes.push('insertPayment');
    return 'inserted';
  }

  async findPayment(paymentId: string) {
    return this.payments.get(paymentId) ?? null;
  }

  async findPaymentByKey(caller: string, idempotencyKey: string) {
    return this.#byKey(caller, idempotencyKey) ?? null;
  }

  async findDue(nowMs: number, limit: number) {
    return [...this.payments.values()]
      .filter(({ settleAtMs }) => settleAtMs !== null && settleAtMs <= nowMs)
      .sort((a, b) => (a.settleAtMs ?? 0) - (b.settleAtMs ?? 0))
      .slice(0, limit);
  }

  async rescheduleVisit(paymentId: string, seenSettleAtMs: number, settleAtMs: number | null) {
    const payment = this.payments.get(paymentId);
    if (payment?.settleAtMs !== seenSettleAtMs) return false;
    if (settleAtMs === null && isLive(payment.status)) return false;
    this.payments.set(paymentId, { ...payment, settleAtMs });
    this.writes.push('rescheduleVisit');
    return true;
  }

  async noteReservation(guard: PaymentGuard, reservationId: string, change: PaymentChange) {
    return this.#change('noteReservation', guard, change, (payment) =>
      payment.status === 'accepted' && payment.reservationId === null
        ? { reservationId, notedIds: [...payment.notedIds, reservationId] }
        : null,
    );
  }

  async storeSigned(...[guard, attempt, noteId, change]: Parameters<Ledger['storeSigned']>) {
    const isTaken = [...this.payments.values()].some(({ attempts }) =>
      attempts.some(({ txId }) => txId === attempt.txId),
    );
    let isRefused = false;
    const stored = this.#change('storeSigned', guard, change, (payment) => {
      const isReserved =
        noteId === null
          ? payment.reservationId !== null
          : payment.reservationId === null || payment.reservationId === noteId;
      if (payment.status !== 'accepted' || !isReserved) return null;
      if (isTaken) {
        isRefused = true;
        return null;
      }
      return {
        status: 'signed',
        lastBroadcastAtMs: null,
        reservationId: noteId ?? payment.reservationId,
        attempts: [...payment.attempts, attempt],
        notedIds:
          noteId === null || payment.notedIds.includes(noteId)
            ? payment.notedIds
            : [...payment.notedIds, noteId],
      };
    });
    if (isRefused) return 'tx_id_taken';
    return stored ? 'stored' : 'moved';
  }

  async recordBroadcast(...[guard, lastBroadcastAtMs, isOut, change]: Parameters<Ledger['recordBroadcast']>) {
    return this.#change('recordBroadcast', guard, change, ({ status }) =>
      status === 'signed' || status === 'broadcast'
        ? { lastBroadcastAtMs, ...(isOut ? { status: 'broadcast' } : {}) }
        : null,
    );
  }

  async reaccept(guard: PaymentGuard, change: PaymentChange) {
    return this.#change('reaccept', guard, change, (payment) =>
      payment.status === 'signed' || payment.status === 'broadcast'
        ? {
            status: 'accepted',
            attemptNumber: guard.attemptNumber + 1,
            attempts: withOutcome(payment, guard.attemptNumber, { outcome: 'expired' }),
          }
        : null,
    );
  }

  async closePayment(...[guard, from, end, change]: Parameters<Ledger['closePayment']>) {
    const { status, reason, endedAtMs, included } = end;
    const outcome = { confirmed: 'paid', failed: 'reverted', expired: 'expired' } as const;
    return this.#change('closePayment', guard, change, (payment) => {
      if (payment.status !== from) return null;
      const attempts =
        from !== 'accepted' && status in outcome
          ? withOutcome(payment, guard.attemptNumber, {
              outcome: outcome[status as keyof typeof outcome],
              ...(included ?? {}),
            })
          : payment.attempts;
      return { status, reason, endedAtMs, attempts };
    });
  }

  async noteClose(...[guard, status, closeId, change]: Parameters<Ledger['noteClose']>) {
    return this.#change('noteClose', guard, change, (payment) =>
      payment.status === status && payment.reservationId !== null && payment.closeId === null
        ? { closeId, notedIds: [...payment.notedIds, closeId] }
        : null,
    );
  }

  async retryRefused(guard: PaymentGuard, payByMs: number, change: PaymentChange) {
    return this.#change('retryRefused', guard, change, (payment) =>
      payment.status === 'refused' && (payment.reservationId === null || payment.closeId !== null)
        ? {
            status: 'accepted',
            generation: guard.generation + 1,
            reservationId: null,
            closeId: null,
            endedAtMs: null,
            payByMs,
          }
        : null,
    );
  }

  #byKey(caller: string, key: string): Payment | undefined {
    const all = [...this.payments.values()];
    return all.find((payment) => payment.caller === caller && payment.idempotencyKey === key);
  }

  #changeBook(asset: Asset, effectMicro: bigint, slots: Pick<AssetBook, 'hour' | 'day'> | null) {
    const book = this.breaker.books[asset];
    const changed = { ...book, ...slots, outstandingMicro: book.outstandingMicro + effectMicro };
    this.breaker = { ...this.breaker, books: { ...this.breaker.books, [asset]: changed } };
  }

  #change(
    name: string,
    guard: PaymentGuard,
    change: PaymentChange,
    rule: (payment: Payment) => Partial<Payment> | null,
  ): boolean {
    const payment = this.payments.get(guard.paymentId);
    if (payment === undefined) return false;
    const isMeant = payment.generation === guard.generation && payment.attemptNumber === guard.attemptNumber;
    const changed = isMeant ? rule(payment) : null;
    if (changed === null) return false;
    this.payments.set(payment.id, {
      ...payment,
      ...changed,
      settleAtMs: change.settleAtMs,
      history: [...payment.history, change.entry],
      ...(change.reason === undefined ? {} : { reason: change.reason }),
    });
    this.writes.push(name);
    return true;
  }
}

function withOutcome(payment: Payment, attemptNumber: number, outcome: Partial<Payment['attempts'][number]>) {
  return payment.attempts.map((attempt) =>
    attempt.number === attemptNumber ? { ...attempt, ...outcome } : attempt,
  );
}
