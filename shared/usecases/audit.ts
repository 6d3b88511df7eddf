import {
  type AuditRecord,
  add,
  type BookSums,
  countedFor,
  countedForBatch,
  type Finding,
  isSameMoment,
  judgeBooks,
  judgeWallet,
  noteTransitions,
  oldTransitions,
  outstandingOf,
  reasonToTrip,
} from '../domain/audit.ts';
import { isBatchId } from '../domain/batch.ts';
import { type Breaker, transitionsOf } from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import { isUnreconciled } from '../domain/restore.ts';
import { credible } from '../domain/transfer-evidence.ts';
import type { Engine } from './engine.ts';
import { trip } from './trip.ts';

/** What one audit found, and what it cost. */
export interface AuditReport {
  readonly findings: readonly Finding[];
  /** Why the books, or the wallet, could not be compared this time; null where they could. */
  readonly booksUnclear: string | null;
  readonly walletUnclear: string | null;
  /** Transitions that have been under way for longer than any step takes. */
  readonly oldTransitions: number;
  /** Reads of the store, whatever the number of payments. */
  readonly storeReads: number;
  /** Nodes whose balances were heard. */
  readonly nodesHeard: number;
  readonly durationMs: number;
}

/** Looks at the books before they are taken as too busy to be compared; the next audit tries again. */
const LOOKS_MAX = 4;
const LOOK_PAUSE_MS_MAX = 50;

/**
 * Compares what is counted as outstanding with what payments hold, and the wallet with what was spent from it, where
 * an audit is due: by one settler once an interval. What two audits in a row have found trips the breaker, but for
 * amounts that are counted twice, which is safe; and it is shown until it is gone or an operator accepts it.
 * @returns null where none is due, or another settler is at it
 */
export async function audit(engine: Engine): Promise<AuditReport | null> {
  const { ledger, clock, ids, rules } = engine;
  const owner = ids.next();
  const nowMs = await ledger.serverTimeMs();
  const last = await ledger.claimAudit(owner, nowMs, nowMs + rules.auditIntervalMs);
  if (last === null) return null;
  const startedAtMs = clock.nowMs();

  const books = await lookAtBooks(engine);
  let record =
    books.differences === null
      ? { ...last, books: { ...last.books, unclear: 'payments moved while they were being added up' } }
      : judgeBooks(last, books.differences, nowMs);
  const wallet = await lookAtWallet(engine, record, books.breaker, nowMs);
  record = noteTransitions(wallet.record, wallet.breaker, nowMs);

  if (await ledger.storeAudit(owner, record)) {
    const reason = reasonToTrip(record);
    // Said again by every audit until it is done: this process may die, or rivals may hold the circuit.
    if (reason !== null) await trip(engine, reason);
  }
  return {
    findings: record.findings,
    booksUnclear: record.books.unclear,
    walletUnclear: record.wallet.unclear,
    oldTransitions: oldTransitions(record, nowMs),
    storeReads: books.reads + wallet.reads,
    nodesHeard: wallet.nodesHeard,
    durationMs: Math.max(0, clock.nowMs() - startedAtMs),
  };
}

/**
 * Adds up what payments hold between two reads of the breaker that show the same moment. What has no step under way
 * cannot change then; what has one is read by itself, each in one read.
 */
async function lookAtBooks(
  engine: Engine,
): Promise<{ readonly differences: BookSums | null; readonly breaker: Breaker; readonly reads: number }> {
  const { ledger, clock, ids } = engine;
  let before = await ledger.readBreaker();
  let reads = 1;
  for (let look = 1; ; look += 1) {
    const { held, reads: readsOfLook } = await sumHeld(engine, before);
    const after = await ledger.readBreaker();
    reads += readsOfLook + 1;
    if (isSameMoment(before, after)) {
      const counted = outstandingOf(after);
      const differences = {
        USDT: counted.USDT - held.USDT,
        TRX: counted.TRX - held.TRX,
        fees: counted.fees - held.fees,
      };
      return { differences, breaker: after, reads };
    }
    if (look === LOOKS_MAX) return { differences: null, breaker: after, reads };
    before = after;
    await clock.sleep(ids.random() * LOOK_PAUSE_MS_MAX);
  }
}

async function sumHeld(
  { ledger }: Engine,
  breaker: Breaker,
): Promise<{ readonly held: BookSums; readonly reads: number }> {
  const moving = [...new Set(breaker.transitions.map(({ paymentId }) => paymentId))];
  const batchIds = moving.filter(isBatchId);
  const paymentIds = moving.filter((id) => !isBatchId(id));
  let held = await ledger.sumHeld({ paymentIds, batchIds });
  let reads = 1;
  if (paymentIds.length > 0) {
    const payments = await ledger.findPayments(paymentIds);
    reads += 1;
    for (const id of paymentIds) {
      const payment = payments.find((each) => each.id === id) ?? null;
      // A payment of a batch that is still being inserted is counted with it.
      if (payment?.batchId != null && batchIds.includes(payment.batchId)) continue;
      held = add(held, countedFor(payment, transitionsOf(breaker, id)));
    }
  }
  for (const batchId of batchIds) {
    const batch = await ledger.findBatch(batchId);
    const items = await ledger.findPayments((batch?.items ?? []).map(({ paymentId }) => paymentId));
    reads += 2;
    const itemOf = (id: string) => {
      const payment = items.find((item) => item.id === id);
      return payment === undefined ? null : countedFor(payment, transitionsOf(breaker, id));
    };
    for (const reservation of transitionsOf(breaker, batchId)) {
      held = add(held, countedForBatch(batch, reservation, itemOf));
    }
  }
  return { held, reads };
}

interface WalletLook {
  readonly record: AuditRecord;
  readonly breaker: Breaker;
  readonly reads: number;
  readonly nodesHeard: number;
}

async function lookAtWallet(
  engine: Engine,
  record: AuditRecord,
  before: Breaker,
  nowMs: number,
): Promise<WalletLook> {
  const { ledger, network, signer, rules } = engine;
  const unclear = (why: string): WalletLook => ({
    record: { ...record, wallet: { ...record.wallet, unclear: why } },
    breaker: before,
    reads: 0,
    nodesHeard: 0,
  });
  // It would look like a theft.
  if (isUnreconciled(before.restore)) return unclear('what was paid since the backup is not known yet');
  try {
    const account = { address: signer.wallet, contract: rules.contract };
    const all = await network.readHoldings(account, before.solidHead);
    // Where the chain has stood still, so have the balances: only what is ahead of its time is a lie.
    const views = credible(all, before.solidHead, nowMs + rules.headSkewMsMax);
    const after = await ledger.readBreaker();
    return {
      record: judgeWallet(record, before, views, after, nowMs),
      breaker: after,
      reads: 1,
      nodesHeard: views.length,
    };
  } catch (error) {
    const isAway =
      error instanceof ServiceError && (error.code === 'chain_unavailable' || error.code === 'circuit_open');
    if (!isAway) throw error;
    return unclear(error.message);
  }
}
