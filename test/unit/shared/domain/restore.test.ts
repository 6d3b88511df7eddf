import { describe, expect, it } from 'vitest';
import { NEW_BREAKER } from '../../../../shared/domain/breaker.ts';
import {
  beginWalk,
  blocksLeft,
  describeDoubt,
  type HistoryBlock,
  historyFloor,
  isAtFloor,
  isClearedSince,
  isRecovered,
  isUnreconciled,
  type OutgoingTransfer,
  obstacleToResume,
  orderKey,
  type Restore,
  recoveredPayment,
  restored,
  voidAtMs,
  walkOn,
} from '../../../../shared/domain/restore.ts';
import type { TronAddress } from '../../../../shared/domain/tron-address.ts';

const BACKUP_MS = Date.parse('2026-01-01T00:00:00Z');
const RESTORED_MS = BACKUP_MS + 3_600_000;
const SKEW_MS = 300_000;

const id = (number: number) => String(number).padStart(64, '0');
const head = (number: number, timestampMs = BACKUP_MS - 60_000) => ({
  number,
  blockId: id(number),
  timestampMs,
});
const marks = { restoreId: 'r1', backupAtMs: BACKUP_MS, restoredAtMs: RESTORED_MS, isLoaded: true };

function mark(knownHead: Restore['knownHead'], over: Partial<Restore> = {}): Restore {
  const { restore } = restored({ ...NEW_BREAKER, solidHead: knownHead }, marks);
  if (restore === null) throw new Error('it is not marked');
  return { ...restore, ...over };
}

function blocks(from: number, to: number): HistoryBlock[] {
  return Array.from({ length: from - to + 1 }, (_, below) => ({
    ...head(from - below, BACKUP_MS + (from - below) * 1_000),
    parentId: id(from - below - 1),
    transfers: [],
  }));
}

describe('a restored breaker', () => {
  it('is paused, by whom and since when, and keeps all else', () => {
    const breaker = { ...NEW_BREAKER, pushes: 7n, solidHead: head(70) };
    expect(restored(breaker, marks)).toEqual({
      ...breaker,
      pause: {
        by: 'restore',
        atMs: RESTORED_MS,
        reason: 'it was put back from a backup of 2026-01-01T00:00:00.000Z',
      },
      restore: {
        id: 'r1',
        backupAtMs: BACKUP_MS,
        restoredAtMs: RESTORED_MS,
        isLoaded: true,
        knownHead: head(70),
        walk: null,
        reconciledAtMs: null,
        recovered: 0,
      },
    });
  });

  it('goes back to the first of two restores where that was not reconciled, and only then', () => {
    const later = { ...marks, restoreId: 'r2', backupAtMs: BACKUP_MS + 9_000 };
    const unknown = mark(head(70), { recovered: 3 });
    const again = restored({ ...NEW_BREAKER, solidHead: head(99), restore: unknown }, later).restore;
    expect(again).toMatchObject({ id: 'r2', backupAtMs: BACKUP_MS, knownHead: head(70), recovered: 0 });
    const known = { ...unknown, reconciledAtMs: RESTORED_MS };
    const anew = restored({ ...NEW_BREAKER, solidHead: head(99), restore: known }, later).restore;
    expect(anew).toMatchObject({ backupAtMs: BACKUP_MS + 9_000, knownHead: head(99), reconciledAtMs: null });
  });
});

describe('a system', () => {
  it('knows what it has paid where it was never restored, or is reconciled', () => {
    expect(isUnreconciled(null)).toBe(false);
    expect(isUnreconciled(mark(head(70)))).toBe(true);
    expect(isUnreconciled(mark(head(70), { reconciledAtMs: 1 }))).toBe(false);
  });
});

describe('nothing can land any more', () => {
  it.each<[string, Restore['knownHead'], number]>([
    ['as far as the lost server may have been ahead of the chain', head(70, BACKUP_MS - 60_000), 60_000],
    ['and no further than clocks may differ', head(70, BACKUP_MS - 900_000), SKEW_MS],
    ['as far as that where the backup knew no block', null, SKEW_MS],
    ['and never earlier, where the chain was ahead', head(70, BACKUP_MS + 5_000), 0],
  ])('once an attempt of the last moment has expired: %s', (_, knownHead, aheadMs) => {
    expect(voidAtMs(mark(knownHead), 20_000, 3_000, SKEW_MS)).toBe(RESTORED_MS + aheadMs + 23_000);
  });
});

describe('the walk', () => {
  it('ends above the block that the backup knew, whatever the times say', () => {
    const floor = historyFloor(mark(head(70)), SKEW_MS);
    expect(isAtFloor(head(72, 0), floor)).toBe(false);
    expect(isAtFloor(head(71), floor)).toBe(true);
    expect(isAtFloor(head(70), floor)).toBe(true);
  });

  it('ends before the backup’s time where that knew none, or at the first block of all', () => {
    const floor = historyFloor(mark(null), SKEW_MS);
    expect(isAtFloor(head(72, BACKUP_MS - SKEW_MS), floor)).toBe(false);
    expect(isAtFloor(head(72, BACKUP_MS - SKEW_MS - 1), floor)).toBe(true);
    expect(isAtFloor(head(1, BACKUP_MS), floor)).toBe(false);
    expect(isAtFloor(head(0, BACKUP_MS), floor)).toBe(true);
  });

  it('goes on below the last block that was taken, counts, and is over at its floor', () => {
    const begun = beginWalk(mark(head(70), { recovered: 5 }), head(80));
    const floor = historyFloor(begun, SKEW_MS);
    expect(begun).toMatchObject({
      walk: { from: head(80), next: { number: 80, blockId: id(80) } },
      recovered: 0,
    });
    expect(blocksLeft(begun)).toBe(10);
    const on = walkOn(begun, blocks(80, 76), 2, floor, RESTORED_MS + 1);
    expect(on).toMatchObject({
      kind: 'on',
      restore: { walk: { next: { number: 75, blockId: id(75) } }, recovered: 2, reconciledAtMs: null },
    });
    if (on.kind !== 'on') throw new Error('it is over');
    expect(blocksLeft(on.restore)).toBe(5);
    const over = walkOn(on.restore, blocks(75, 71), 1, floor, RESTORED_MS + 2);
    expect(over).toMatchObject({
      kind: 'reconciled',
      restore: { recovered: 3, reconciledAtMs: RESTORED_MS + 2 },
    });
    if (over.kind !== 'reconciled') throw new Error('it is not over');
    expect(blocksLeft(over.restore)).toBe(0);
    expect(blocksLeft({ ...over.restore, knownHead: null })).toBe(0);
    expect(blocksLeft(mark(null, { walk: begun.walk }))).toBeNull();
  });

  it('that can only end by time ends without a block to compare', () => {
    const begun = beginWalk(mark(null), head(2));
    const floor = historyFloor(begun, SKEW_MS);
    expect(walkOn(begun, blocks(2, 0), 0, floor, 9)).toMatchObject({ kind: 'reconciled' });
  });

  it('takes nothing in where nothing was read, or it has not begun', () => {
    const begun = beginWalk(mark(head(70)), head(80));
    const floor = historyFloor(begun, SKEW_MS);
    expect(walkOn(begun, [], 0, floor, 1)).toEqual({ kind: 'on', restore: begun });
    const fresh = mark(head(70));
    expect(walkOn(fresh, blocks(80, 71), 0, floor, 1)).toEqual({ kind: 'on', restore: fresh });
    expect(blocksLeft(fresh)).toBeNull();
  });

  it('is broken where it ends at another block than the backup knew', () => {
    const begun = beginWalk(mark({ ...head(70), blockId: id(1_070) }), head(72));
    const verdict = walkOn(begun, blocks(72, 71), 0, historyFloor(begun, SKEW_MS), 1);
    expect(verdict).toEqual({
      kind: 'broken',
      reason: `block 70 is ${id(70)} on this chain, and was ${id(1_070)} on the one of the backup`,
    });
  });

  it('is over below the block that the backup knew, too, where it began there', () => {
    const begun = beginWalk(mark(head(70)), head(70));
    const verdict = walkOn(begun, blocks(70, 70), 0, historyFloor(begun, SKEW_MS), 9);
    expect(verdict).toMatchObject({ kind: 'reconciled', restore: { reconciledAtMs: 9 } });
  });
});

describe('why payments cannot be resumed', () => {
  const since = "the wallet's history since the backup of 2026-01-01T00:00:00.000Z";
  const walk = { from: head(90), next: { number: 75, blockId: id(75) } };

  it.each<[string, Restore | null, string | null]>([
    ['nothing, where nothing was restored', null, null],
    ['nothing, once it is reconciled', mark(head(70), { reconciledAtMs: 1 }), null],
    ['half of it', mark(head(70), { isLoaded: false }), 'the restore has not come to its end; run it again'],
    [
      'time',
      mark(head(70)),
      `${since} is read once nothing that was signed before the restore can land any more`,
    ],
    ['blocks', mark(head(70), { walk }), `${since} is being read, 5 of 20 blocks are left`],
    [
      'an unknown number of them',
      mark(null, { walk }),
      `${since} is being read, from block 90 down to block 75 so far`,
    ],
  ])('%s', (_, restore, obstacle) => {
    expect(obstacleToResume(restore)).toBe(obstacle);
  });
});

describe('the payment that stands for a transfer', () => {
  const recipient = 'TDaDHQxnFPamQVVeptVogMJzoacHDpMXSo' as TronAddress;
  const transfer: OutgoingTransfer = {
    txId: 'ab'.repeat(32),
    bytes: Buffer.from('signed'),
    asset: 'USDT',
    amountMicro: 25_000_000n,
    recipient,
    succeeded: true,
    feeMicro: 345_000n,
    feeLimitMicro: 10_000_000n,
    signedAtMs: BACKUP_MS + 1_000,
    expirationMs: BACKUP_MS + 61_000,
  };
  const [block] = blocks(75, 75);
  if (block === undefined) throw new Error('there is one');
  const sealed = Buffer.from('sealed');
  const stand = (over: Partial<OutgoingTransfer> = {}) =>
    recoveredPayment('pay_1', 'print', { ...transfer, ...over }, block, sealed, RESTORED_MS);

  it('is nobody’s, to be counted first, and holds what the chain shows', () => {
    const reason = 'found in block 75 after a restore; whose order it paid is not known';
    expect(stand()).toEqual({
      id: 'pay_1',
      caller: '(recovered)',
      idempotencyKey: transfer.txId,
      batchId: null,
      fingerprint: 'print',
      asset: 'USDT',
      amountMicro: 25_000_000n,
      recipient,
      reference: null,
      status: 'needs_review',
      generation: 0,
      attemptNumber: 1,
      reservationId: null,
      closeId: null,
      notedIds: [],
      feeReservedMicro: 0n,
      approvedBy: null,
      attempts: [
        {
          number: 1,
          txId: transfer.txId,
          sealed,
          referenceBlockNumber: 74,
          referenceBlockId: id(74),
          expirationMs: transfer.expirationMs,
          feeLimitMicro: 10_000_000n,
          signedAtMs: transfer.signedAtMs,
          outcome: 'paid',
          answers: [],
          blockNumber: 75,
          blockTimeMs: block.timestampMs,
          feeMicro: 345_000n,
        },
      ],
      history: [{ atMs: RESTORED_MS, event: 'recovered', detail: reason }],
      createdAtMs: RESTORED_MS,
      payByMs: RESTORED_MS,
      endedAtMs: null,
      reason,
      settleAtMs: RESTORED_MS,
      leaseOwner: null,
      lastBroadcastAtMs: null,
    });
    expect(stand({ succeeded: false }).attempts[0]?.outcome).toBe('reverted');
  });

  it('was signed before its block, whatever time the transaction gives itself', () => {
    const signedAtMs = (said: number) => stand({ signedAtMs: said }).attempts[0]?.signedAtMs;
    // In nanoseconds, as some wallets write it.
    expect(signedAtMs(1_767_225_600_000_000_000)).toBe(block.timestampMs);
    expect(signedAtMs(block.timestampMs + 1)).toBe(block.timestampMs);
    expect(signedAtMs(block.timestampMs - 1)).toBe(block.timestampMs - 1);
    expect(signedAtMs(-(2 ** 63))).toBe(0);
    expect([isRecovered(stand()), isRecovered({ caller: 'gateway' })]).toEqual([true, false]);
  });

  it('is compared with orders by asset, recipient and amount, and says so where one is held', () => {
    expect(orderKey(stand())).toBe(`USDT ${recipient} 25000000`);
    expect(describeDoubt(stand())).toBe(
      `an equal transfer was found on the chain after a restore (pay_1, transaction ${transfer.txId}): it may be this payment`,
    );
  });
});

describe('an approval clears a payment', () => {
  const at = (event: string, atMs: number) => ({ event, atMs, detail: '' });
  const known = mark(head(70), { reconciledAtMs: RESTORED_MS + 100 });

  it.each<[string, boolean, Restore, ReturnType<typeof at>[]]>([
    [
      'that was held since the history is known',
      true,
      known,
      [at('awaiting_approval', RESTORED_MS + 100), at('approved', RESTORED_MS + 101)],
    ],
    [
      'but not one that was held before',
      false,
      known,
      [at('awaiting_approval', RESTORED_MS + 99), at('approved', RESTORED_MS + 101)],
    ],
    [
      'nor by one from before it was held',
      false,
      known,
      [at('approved', RESTORED_MS + 101), at('awaiting_approval', RESTORED_MS + 102)],
    ],
    ['nor one that was never held', false, known, [at('approved', RESTORED_MS + 101)]],
    ['nor where it is only held', false, known, [at('awaiting_approval', RESTORED_MS + 101)]],
    [
      'nor while the history is not known',
      false,
      mark(head(70)),
      [at('awaiting_approval', RESTORED_MS + 100), at('approved', RESTORED_MS + 101)],
    ],
  ])('%s', (_, isCleared, restore, history) => {
    expect(isClearedSince({ history }, restore)).toBe(isCleared);
  });
});
