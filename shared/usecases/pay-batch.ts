import { type Batch, itemKey } from '../domain/batch.ts';
import type { Breaker, Transition } from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import { type Payment, type PaymentOrder, UNTOUCHED } from '../domain/payment.ts';
import { judgeBatchTransition } from '../domain/transition-rules.ts';
import type { BatchGuard, Claimed } from '../ports/ledger.ts';
import { limitExceeded, paused, stopped, tooBusy } from './advance-payment.ts';
import { afterClaim, fingerprintOf, inFlight, keyReused, referenceTaken, unclear } from './claims.ts';
import type { Engine } from './engine.ts';
import { findObstacle, judgeOrder } from './obstacles.ts';
import { quoteBatch } from './quote-batch.ts';
import { demandOf, reserveBatch } from './reserve-and-close.ts';

/** One request to pay several orders, all or none. */
export interface PayBatchRequest {
  readonly orders: readonly PaymentOrder[];
  readonly caller: string;
  readonly idempotencyKey: string;
}

export interface PayBatchResult {
  readonly batch: Batch;
  /** The key had been used before, with the same orders: this is that batch as it is now. */
  readonly replayed: boolean;
}

/**
 * Admits a batch once, however often it is asked with the same key: its whole amount is reserved and each item
 * stands as a payment, which `settle` drives on. Or nothing of it is.
 *
 * @throws ServiceError as `payOut` does; and `approval_required` where an item would have to wait for approval
 */
export async function payBatch(engine: Engine, request: PayBatchRequest): Promise<PayBatchResult> {
  const { ledger, ids, rules } = engine;
  const { orders, caller, idempotencyKey } = request;
  const fingerprint = fingerprintOf('batch', ...orders);
  const breaker = await ledger.readBreaker();
  const nowMs = await ledger.serverTimeMs();
  const standing = await ledger.findByKey(caller, idempotencyKey);
  if (standing !== null && refusedOf(standing, fingerprint) === null) return replay(standing, fingerprint);

  const id = `bat_${ids.next()}`;
  const items = orders.map((order) => ({ ...order, paymentId: `pay_${ids.next()}` }));
  const demand = demandOf({ items, feeReservedMicro: 0n });
  const obstacle =
    (await judgeItems(engine, breaker, orders)) ?? (await findObstacle(engine, breaker, demand, nowMs));
  if (obstacle !== null) throw obstacle;
  const { feeMicro, refusal } = await quoteBatch(engine, breaker, demand.amounts, orders.length, id);
  if (refusal !== null) throw refusal;

  const batch: Batch = {
    id,
    caller,
    idempotencyKey,
    fingerprint,
    status: 'accepted',
    generation: 0,
    items,
    reservationId: null,
    notedIds: [],
    feeReservedMicro: feeMicro,
    createdAtMs: nowMs,
    payByMs: nowMs + rules.payByMs,
    reason: null,
    settleAtMs: nowMs + rules.leaseMs,
    leaseOwner: ids.next(),
  };
  const claim = await ledger.insertBatch(batch);
  if (claim === 'reference_taken') throw referenceTaken();
  if (claim === 'inserted') return admit(engine, batch, breaker);

  const rival = await ledger.findByKey(caller, idempotencyKey);
  if (rival === null) throw unclear();
  const refused = refusedOf(rival, fingerprint);
  if (refused === null) return replay(rival, fingerprint);
  const { payByMs, settleAtMs } = batch;
  if (!(await ledger.retryBatch(guardOf(refused), feeMicro, payByMs, settleAtMs ?? nowMs))) throw inFlight();
  const reopened = await ledger.findBatch(refused.id).catch((error: unknown) => {
    throw afterClaim(error);
  });
  if (reopened === null) throw inFlight();
  return admit(engine, reopened);
}

/** What stands there if it may be tried again by the same key and orders. */
function refusedOf(standing: Claimed, fingerprint: string): Batch | null {
  if (standing.kind !== 'batch') return null;
  const { batch } = standing;
  return batch.status === 'refused' && batch.fingerprint === fingerprint ? batch : null;
}

async function admit(engine: Engine, batch: Batch, known?: Breaker): Promise<PayBatchResult> {
  let progress: BatchProgress;
  try {
    progress = await advanceBatch(engine, batch, known);
  } catch (error) {
    throw afterClaim(error);
  }
  const { batch: after, waitsFor } = progress;
  // Refused, and stored as refused: now it may be said.
  if (after.status === 'refused') throw waitsFor ?? inFlight();
  if (after.reservationId === null) throw unclear(waitsFor ?? undefined);
  return { batch: after, replayed: false };
}

function replay(standing: Claimed, fingerprint: string): PayBatchResult {
  if (standing.kind !== 'batch' || standing.batch.fingerprint !== fingerprint) throw keyReused();
  if (standing.batch.reservationId === null) throw inFlight();
  return { batch: standing.batch, replayed: true };
}

/** Every item must be one that may be paid at once. */
async function judgeItems(
  engine: Engine,
  breaker: Breaker,
  orders: readonly PaymentOrder[],
): Promise<ServiceError | null> {
  for (const [index, order] of orders.entries()) {
    const { refusal, needsApproval } = await judgeOrder(engine, breaker, order);
    if (refusal !== null) {
      // Without a field it is no fault of the item.
      if (refusal.field === undefined) return refusal;
      return new ServiceError(refusal.code, refusal.message, { field: `items[${index}].${refusal.field}` });
    }
    if (needsApproval !== null) {
      const message = `What needs approval cannot be in a batch: ${needsApproval}.`;
      return new ServiceError('approval_required', message, { field: `items[${index}].amount` });
    }
  }
  return null;
}

/** How far a batch got. */
export interface BatchProgress {
  readonly batch: Batch;
  /** Why it was refused, or what it waits for. */
  readonly waitsFor: ServiceError | null;
}

/** Moves a batch on, as far as it goes now, from what is stored. */
export async function advanceBatch(engine: Engine, batch: Batch, known?: Breaker): Promise<BatchProgress> {
  if (batch.status !== 'accepted') return { batch, waitsFor: null };
  if (batch.reservationId !== null) return standUp(engine, batch, batch.reservationId);
  const { ledger } = engine;
  const nowMs = await ledger.serverTimeMs();
  if (nowMs >= batch.payByMs) return refuse(engine, batch, 'it could not be admitted in time', null);
  if (await engine.stopSwitch.isSet()) return { batch, waitsFor: stopped() };
  const reserving = await reserveBatch(engine, batch, known);
  switch (reserving.kind) {
    case 'moved':
      return { batch: await reread(engine, batch), waitsFor: null };
    case 'busy':
      return { batch, waitsFor: tooBusy() };
    case 'paused':
      return { batch, waitsFor: paused(reserving.pause) };
    case 'over_limit': {
      const over = limitExceeded(reserving.verdict, nowMs);
      return refuse(engine, batch, over.message, over);
    }
    case 'pushed': {
      const { id } = reserving.reservation;
      // Not noted: somebody else has; what they noted is read, and this entry is found as a leftover.
      if (!(await ledger.noteBatchReservation(guardOf(batch), id))) {
        return { batch: await reread(engine, batch), waitsFor: null };
      }
      return standUp(engine, batch, id);
    }
  }
}

/**
 * Inserts the payments, each holding its part of the noted reservation, then says so, and only then drops the
 * entry: until all of them stand, it is the entry that tells what the reserved sum is for.
 */
async function standUp(engine: Engine, batch: Batch, reservationId: string): Promise<BatchProgress> {
  const { ledger } = engine;
  await ledger.insertItems(paymentsOf(batch, reservationId));
  if (await ledger.admitBatch(guardOf(batch), reservationId)) await ledger.dropTransition(reservationId);
  return { batch: await reread(engine, batch), waitsFor: null };
}

async function refuse(
  engine: Engine,
  batch: Batch,
  reason: string,
  refusal: ServiceError | null,
): Promise<BatchProgress> {
  const refused = await engine.ledger.refuseBatch(guardOf(batch), reason);
  return { batch: await reread(engine, batch), waitsFor: refused ? refusal : null };
}

/**
 * Finishes or takes out a batch's entry in the breaker document.
 * @param batch read after the breaker document that showed the entry
 * @returns false for what the rules know no answer to
 */
export async function resolveBatchTransition(
  engine: Engine,
  transition: Transition,
  batch: Batch | null,
): Promise<boolean> {
  const { ledger } = engine;
  const verdict = judgeBatchTransition(transition, batch);
  if (verdict === 'anomaly' || batch === null || transition.kind !== 'reserve') return false;
  if (verdict === 'take_out') await ledger.takeOutReservation(transition);
  else if (verdict === 'drop') await ledger.dropTransition(transition.id);
  else if (verdict === 'admit' || (await ledger.noteBatchReservation(guardOf(batch), transition.id))) {
    await standUp(engine, batch, transition.id);
  }
  return true;
}

/** The same payments, whoever inserts them, and whenever. */
function paymentsOf(batch: Batch, reservationId: string): Payment[] {
  const { id: batchId, caller, createdAtMs, payByMs, feeReservedMicro } = batch;
  return batch.items.map(({ paymentId, ...order }, index) => ({
    ...UNTOUCHED,
    ...order,
    id: paymentId,
    caller,
    idempotencyKey: itemKey(batchId, index),
    batchId,
    fingerprint: fingerprintOf(order),
    status: 'accepted',
    reservationId,
    notedIds: [reservationId],
    feeReservedMicro,
    history: [{ atMs: createdAtMs, event: 'accepted', detail: `asked by ${caller}, in ${batchId}` }],
    createdAtMs,
    payByMs,
    settleAtMs: createdAtMs,
    lastBroadcastAtMs: null,
  }));
}

function guardOf({ id, generation }: Batch): BatchGuard {
  return { batchId: id, generation };
}

async function reread({ ledger }: Engine, batch: Batch): Promise<Batch> {
  const seen = await ledger.findBatch(batch.id);
  if (seen === null) throw new ServiceError('internal', `Batch ${batch.id} has vanished from the store.`);
  return seen;
}
