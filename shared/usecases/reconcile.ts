import { isTripped } from '../domain/circuit.ts';
import { type ErrorCode, ServiceError } from '../domain/errors.ts';
import { freeableUntilMs } from '../domain/limits.ts';
import type { HistoryBlock, OutgoingTransfer, Restore } from '../domain/restore.ts';
import {
  beginWalk,
  blocksLeft,
  historyFloor,
  isRecovered,
  recoveredPayment,
  voidAtMs,
  walkOn,
} from '../domain/restore.ts';
import { advancePayment, tooBusy } from './advance-payment.ts';
import { fingerprintOf } from './claims.ts';
import type { Engine } from './engine.ts';
import { circuitOpen } from './payment-network-with-breaker.ts';
import { refreshSolidHead } from './reserve-and-close.ts';
import { trip } from './trip.ts';

/** What the rest waits for; the next run tries again. */
const WAITS: ReadonlySet<ErrorCode> = new Set(['chain_unavailable', 'circuit_open', 'too_busy']);

/** How far a restored system has come in finding out what was paid since the backup. */
export interface ReconciliationReport {
  readonly blocksRead: number;
  /** Null while it cannot be told. */
  readonly blocksLeft: number | null;
  /** Transfers that no payment stood for, over all runs. */
  readonly recovered: number;
  /** Payments can be resumed. */
  readonly done: boolean;
  /** Why it could not go further at this moment; null where it could. */
  readonly waitsFor: ServiceError | null;
}

/**
 * Reads the wallet's solid history since the backup that the system was put back from, as far as the time goes; the
 * next run goes on from there. Each transfer that no payment stands for becomes one, and is counted, before the walk
 * moves on below its block. Several runs at once do no harm: they find the same.
 */
export async function reconcile(
  engine: Engine,
  restore: Restore,
  deadlineMs: number,
): Promise<ReconciliationReport> {
  const { ledger, network, signer, clock, rules } = engine;
  const account = { address: signer.wallet, contract: rules.contract };
  const floor = historyFloor(restore, rules.headSkewMsMax);
  let blocksRead = 0;
  let reached = restore;
  const report = (waitsFor: ServiceError | null): ReconciliationReport => ({
    blocksRead,
    blocksLeft: blocksLeft(reached),
    recovered: reached.recovered,
    done: reached.reconciledAtMs !== null,
    waitsFor,
  });

  try {
    if (reached.walk === null) reached = await begin(engine, restore);
    await goOn();
    return report(null);
  } catch (error) {
    if (error instanceof ServiceError && WAITS.has(error.code)) return report(error);
    throw error;
  }

  async function goOn(): Promise<void> {
    while (reached.walk !== null && clock.nowMs() < deadlineMs) {
      const blocks = await network.readHistory(account, reached.walk.next, floor);
      if (blocks.length === 0) return;
      const recovered = await recoverAll(engine, blocks);
      const verdict = walkOn(reached, blocks, recovered, floor, await ledger.serverTimeMs());
      if (verdict.kind === 'broken') {
        // A person must look which of the two chains is the true one; then it is read anew.
        await trip(engine, verdict.reason);
        await ledger.moveRestore(reached, { ...reached, walk: null });
        return;
      }
      blocksRead += blocks.length;
      // Another run was faster; the next one sees how far it has come.
      if (!(await ledger.moveRestore(reached, verdict.restore))) break;
      reached = verdict.restore;
      if (verdict.kind === 'reconciled') break;
    }
  }
}

/**
 * Begins at a solid block that an earlier run has remembered, so that other nodes have had the time to come as far, and
 * a second operator's node has to show it too. By its time nothing can land any more that was signed before the restore.
 */
async function begin(engine: Engine, restore: Restore): Promise<Restore> {
  const { ledger, network, rules } = engine;
  const { circuit, solidHead } = await ledger.readCircuit();
  // It may have tripped over this very history: then that is not read over and over.
  if (circuit.kind === 'open' && isTripped(circuit))
    throw circuitOpen(`an operator must reset the breaker (${circuit.reason})`, 60_000);
  const isVoid =
    freeableUntilMs(await ledger.serverTimeMs(), solidHead?.timestampMs ?? null) >=
    voidAtMs(restore, rules.expirationMs, rules.expirationMarginMs, rules.headSkewMsMax);
  if (solidHead === null || !isVoid) {
    await refreshSolidHead(engine);
    return restore;
  }
  const [shown] = await network.walkSolidBlocks(solidHead.number, solidHead.timestampMs, solidHead);
  if (shown?.blockId !== solidHead.blockId) return restore;
  const begun = beginWalk(restore, solidHead);
  return (await ledger.moveRestore(restore, begun)) ? begun : restore;
}

async function recoverAll(engine: Engine, blocks: readonly HistoryBlock[]): Promise<number> {
  let recovered = 0;
  for (const block of blocks) {
    for (const transfer of block.transfers) {
      if (await recover(engine, transfer, block)) recovered += 1;
    }
  }
  return recovered;
}

/** @returns whether no payment stood for the transfer; now one does, and is counted */
async function recover(engine: Engine, transfer: OutgoingTransfer, block: HistoryBlock): Promise<boolean> {
  const { ledger, ids, vault } = engine;
  let payment = await ledger.findByTransaction(transfer.txId);
  if (payment === null) {
    const id = `pay_${ids.next()}`;
    const fingerprint = fingerprintOf({ ...transfer, reference: null });
    const sealed = vault.seal(transfer.bytes, id, 1);
    payment = recoveredPayment(id, fingerprint, transfer, block, sealed, await ledger.serverTimeMs());
    // Where a rival was faster, the next round finds what it has stored.
    if ((await ledger.insertPayment(payment)) !== 'inserted') throw tooBusy();
  }
  if (!isRecovered(payment)) return false;
  const after = (await advancePayment(engine, payment)).payment;
  // Not counted yet: the walk must not move on as though it were.
  if (after.reservationId === null) throw tooBusy();
  return true;
}
