import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { startDatabase } from '../../deploy/local/database/start-database.ts';
import { connectMongo } from '../../shared/adapters/mongo/connect.ts';
import { BREAKER_ID, type BreakerDocument, restoredBreaker } from '../../shared/adapters/mongo/documents.ts';
import { mongoLedger } from '../../shared/adapters/mongo/mongo-ledger.ts';
import { type AuditRecord, NEW_AUDIT } from '../../shared/domain/audit.ts';
import type { Batch } from '../../shared/domain/batch.ts';
import { type Closing, type Reservation, TRANSITIONS_MAX } from '../../shared/domain/breaker.ts';
import { openCircuit } from '../../shared/domain/circuit.ts';
import { closeBooks } from '../../shared/domain/closings.ts';
import { LIMIT_WINDOWS } from '../../shared/domain/limits.ts';
import { orderKey, RECOVERED, restored } from '../../shared/domain/restore.ts';
import type { Ledger, ReservationRoom } from '../../shared/ports/ledger.ts';
import { useDatabase } from '../support/database.ts';
import { memoryLedger } from '../support/memory-ledger.ts';
import { freePort } from '../support/ports.ts';
import { attempt, change, guardOf, payment } from '../support/stored-payment.ts';
import { RECIPIENT, START_MS } from '../support/test-engine.ts';
import { untilThere } from '../support/wait-until.ts';

const database = useDatabase();

const reservation = (paymentId: string, over: Partial<Reservation> = {}): Reservation => ({
  id: randomUUID(),
  paymentId,
  kind: 'reserve',
  generation: 0,
  amounts: { USDT: 25_000_000n, TRX: 0n },
  feeMicro: 7_000_000n,
  ...over,
});

const closing = (paymentId: string, over: Partial<Closing> = {}): Closing => ({
  ...reservation(paymentId),
  kind: 'commit',
  feeBurnedMicro: 345_000n,
  endedAtMs: START_MS,
  ...over,
});

const room = (over: Partial<ReservationRoom> = {}): ReservationRoom => ({
  slotsVersion: 0n,
  restoreId: null,
  outstandingMaxMicro: { USDT: 2n ** 62n, TRX: 2n ** 62n },
  feesOutstandingMaxMicro: 2n ** 62n,
  ...over,
});

const note = (reservationId: string) => ({ reservationId, feeReservedMicro: 7_000_000n });
const sent = (atMs: number, isOut: boolean) => ({
  atMs,
  isOut,
  answers: [{ atMs, node: 'node', code: 'SUCCESS' }],
});

// The memory ledger stands in for the real one in thousands of lives, so it must keep the very same promises.
describe.each([
  ['on MongoDB', () => mongoLedger(database.connect())],
  ['in memory', () => memoryLedger(() => START_MS)],
])('a ledger %s', (_, open: () => Ledger) => {
  it('tells the time of its server', async () => {
    expect(Number.isSafeInteger(await open().serverTimeMs())).toBe(true);
  });

  it('begins with an empty breaker', async () => {
    expect(await open().readBreaker()).toMatchObject({
      slotsVersion: 0n,
      pushes: 0n,
      pause: null,
      circuit: { kind: 'closed', failures: 0 },
      transitions: [],
      solidHead: null,
      books: { USDT: { outstandingMicro: 0n, hour: [], day: [] } },
    });
  });

  it('keeps what a person ordered last', async () => {
    const ledger = open();
    expect((await ledger.readBreaker()).lastOrder).toBeNull();
    const order = { action: 'reset', reason: 'the node is back', by: 'operator', atMs: START_MS } as const;
    await ledger.recordOrder(order);
    expect((await ledger.readBreaker()).lastOrder).toEqual(order);
  });

  it('returns a payment exactly as it was stored, by id and by key', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment({ reference: 'invoice-7' });
    expect(await ledger.insertPayment(stored)).toBe('inserted');
    expect(await ledger.findPayment(stored.id)).toEqual(stored);
    expect(await ledger.findByKey(stored.caller, stored.idempotencyKey)).toEqual({
      kind: 'payment',
      payment: stored,
    });
    expect(await ledger.findPayment('pay_absent')).toBeNull();
  });

  it('lets one of many rivals claim a key', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const claims = await Promise.all(
      Array.from({ length: 20 }, () => ledger.insertPayment(payment({ idempotencyKey: 'one' }))),
    );
    expect(claims.filter((claim) => claim === 'inserted')).toHaveLength(1);
    expect(await ledger.insertPayment(payment({ idempotencyKey: 'one', caller: 'shop' }))).toBe('inserted');
  });

  it('counts a reservation while it fits what is outstanding, on the slots that were read', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const first = reservation('pay_1');
    const fits = room({ outstandingMaxMicro: { USDT: 0n, TRX: 0n }, feesOutstandingMaxMicro: 0n });
    expect(await ledger.pushReservation(first, fits)).toBe(true);
    expect(await ledger.pushReservation(reservation('pay_2'), fits)).toBe(false);
    expect(await ledger.pushReservation(reservation('pay_2'), room({ slotsVersion: 1n }))).toBe(false);
    expect(
      await ledger.pushReservation(reservation('pay_2'), room({ feesOutstandingMaxMicro: 6_999_999n })),
    ).toBe(false);
    expect(
      await ledger.pushReservation(
        reservation('pay_2'),
        room({ outstandingMaxMicro: { USDT: 24_999_999n, TRX: 0n } }),
      ),
    ).toBe(false);
    const breaker = await ledger.readBreaker();
    expect(breaker).toMatchObject({ slotsVersion: 0n, pushes: 1n, transitions: [first] });
    expect(breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
    expect(breaker.books.TRX.outstandingMicro).toBe(0n);
    expect(breaker.fees.outstandingMicro).toBe(7_000_000n);
    // What the chain has taken counts, whatever the limits say.
    expect(await ledger.pushReservation(reservation('pay_2'), null)).toBe(true);
  });

  it('lets exactly as many rivals reserve as fit', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const fits = room({ outstandingMaxMicro: { USDT: 100_000_000n, TRX: 0n } });
    const pushed = await Promise.all(
      Array.from({ length: 20 }, (_, index) => ledger.pushReservation(reservation(`pay_${index}`), fits)),
    );
    expect(pushed.filter(Boolean)).toHaveLength(5);
    expect((await ledger.readBreaker()).books.USDT.outstandingMicro).toBe(125_000_000n);
  });

  it('reserves nothing while payments are paused, and pauses once', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const pause = { reason: 'audit', by: 'operator', atMs: START_MS };
    expect(await ledger.liftPause(pause)).toBe(false);
    expect(await ledger.setPause(pause)).toBe(true);
    expect(await ledger.setPause(pause)).toBe(false);
    expect((await ledger.readBreaker()).pause).toEqual(pause);
    expect(await ledger.pushReservation(reservation('pay_1'), room())).toBe(false);
    for (const other of [{ atMs: START_MS - 1 }, { by: 'another' }]) {
      expect(await ledger.liftPause({ ...pause, ...other })).toBe(false);
    }
    expect(await ledger.liftPause(pause)).toBe(true);
    expect(await ledger.liftPause(pause)).toBe(false);
    expect(await ledger.pushReservation(reservation('pay_1'), room())).toBe(true);
  });

  it('keeps one entry a payment, and no more than the document is meant to hold', async () => {
    const ledger = open();
    await ledger.readBreaker();
    for (let index = 0; index < TRANSITIONS_MAX - 1; index += 1) {
      expect(await ledger.pushReservation(reservation(`pay_${index}`), room())).toBe(true);
    }
    expect(await ledger.pushReservation(reservation('pay_1'), room())).toBe(false);
    expect(await ledger.pushClosings([closing('pay_1'), closing('pay_x')])).toBe(false);
    expect(await ledger.pushClosings([closing('pay_x'), closing('pay_y')])).toBe(false);
    expect(await ledger.pushClosings([closing('pay_x')])).toBe(true);
    expect(await ledger.pushReservation(reservation('pay_z'), room())).toBe(false);
    const [held] = (await ledger.readBreaker()).transitions;
    expect(await ledger.dropTransition(held?.id ?? '')).toBe(true);
    expect(await ledger.pushReservation(reservation('pay_z'), room())).toBe(true);
  });

  it('drops an entry without touching the sums, once', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const pushed = reservation('pay_1');
    await ledger.pushReservation(pushed, room());
    expect(await ledger.dropTransition(pushed.id)).toBe(true);
    expect(await ledger.dropTransition(pushed.id)).toBe(false);
    const breaker = await ledger.readBreaker();
    expect(breaker.transitions).toEqual([]);
    expect(breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
  });

  it('takes a reservation out together with its effect, once', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const pushed = reservation('pay_1', { amounts: { USDT: 3n, TRX: 4n } });
    await ledger.pushReservation(pushed, room());
    const taken = await Promise.all([ledger.takeOutReservation(pushed), ledger.takeOutReservation(pushed)]);
    expect(taken.filter(Boolean)).toHaveLength(1);
    const breaker = await ledger.readBreaker();
    expect(breaker.transitions).toEqual([]);
    expect(breaker.books.USDT.outstandingMicro).toBe(0n);
    expect(breaker.books.TRX.outstandingMicro).toBe(0n);
    expect(breaker.fees.outstandingMicro).toBe(0n);
  });

  it('announces closings without an effect, and applies all of them at once, once', async () => {
    const ledger = open();
    for (const id of ['pay_1', 'pay_2', 'pay_3']) {
      await ledger.readBreaker();
      const reserved = reservation(id);
      await ledger.pushReservation(reserved, room());
      await ledger.dropTransition(reserved.id);
    }
    const closings = [
      closing('pay_1', { blockNumber: 77 }),
      closing('pay_2', { kind: 'release', feeBurnedMicro: 0n }),
    ];
    expect(await ledger.pushClosings(closings)).toBe(true);
    expect(await ledger.pushClosings([closing('pay_2')])).toBe(false);
    const read = await ledger.readBreaker();
    expect(read.transitions).toEqual(closings);
    expect(read.books.USDT.outstandingMicro).toBe(75_000_000n);

    // Another reservation comes between the reading and the change.
    await ledger.pushReservation(reservation('pay_4'), room());
    const after = closeBooks(read, closings, LIMIT_WINDOWS, START_MS);
    const rivals = await Promise.all([
      ledger.applyClosings(read.slotsVersion, closings, after),
      ledger.applyClosings(read.slotsVersion, closings, after),
    ]);
    expect(rivals.filter(Boolean)).toHaveLength(1);
    const breaker = await ledger.readBreaker();
    expect(breaker).toMatchObject({
      slotsVersion: 1n,
      spentBlockNumber: 77,
      transitions: [{ paymentId: 'pay_4' }],
    });
    expect(breaker.books.USDT).toMatchObject({
      outstandingMicro: 50_000_000n,
      spentTotalMicro: 25_000_000n,
      hour: [{ amountMicro: 25_000_000n }],
      day: [{ amountMicro: 25_000_000n }],
    });
    expect(breaker.fees).toMatchObject({ outstandingMicro: 14_000_000n, spentTotalMicro: 345_000n });
  });

  it('applies closings on the slots they were computed from alone, and all or none', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const closings = [closing('pay_1'), closing('pay_2')];
    await ledger.pushClosings(closings);
    const read = await ledger.readBreaker();
    const after = closeBooks(read, closings, LIMIT_WINDOWS, START_MS);
    expect(await ledger.applyClosings(read.slotsVersion + 1n, closings, after)).toBe(false);
    await ledger.dropTransition(closings[0]?.id ?? '');
    expect(await ledger.applyClosings(read.slotsVersion, closings, after)).toBe(false);
    expect((await ledger.readBreaker()).books.USDT.outstandingMicro).toBe(0n);
  });

  it('replaces the circuit only where it still is what was read', async () => {
    const ledger = open();
    const { circuit } = await ledger.readBreaker();
    const opened = openCircuit(circuit, 'because "quotes" matter', START_MS);
    expect(await ledger.replaceCircuit(circuit, opened)).toBe(true);
    expect(await ledger.replaceCircuit(circuit, opened)).toBe(false);
    expect(await ledger.readBreaker()).toMatchObject({ circuit: opened, slotsVersion: 0n });
  });

  it('remembers newer solid heads only', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const head = { number: 10, blockId: 'a'.repeat(64), timestampMs: START_MS };
    expect(await ledger.advanceSolidHead(head)).toBe(true);
    expect(await ledger.advanceSolidHead({ ...head, timestampMs: START_MS + 1 })).toBe(false);
    expect(await ledger.advanceSolidHead({ ...head, number: 9 })).toBe(false);
    expect((await ledger.readBreaker()).solidHead).toEqual(head);
  });

  it('takes up what is due, longest waiting first, and gives each to one owner until the lease ends', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const [late, later, notYet, done] = [
      payment({ settleAtMs: START_MS - 10 }),
      payment({ settleAtMs: START_MS - 5 }),
      payment({ settleAtMs: START_MS + 1 }),
      payment({ settleAtMs: null }),
    ] as const;
    for (const each of [later, notYet, done, late]) await ledger.insertPayment(each);
    const lease = (owner: string) => ({ owner, untilMs: START_MS + 30_000 });
    expect((await ledger.claimDue(lease('a'), START_MS, 1)).payments).toMatchObject([
      { id: late.id, leaseOwner: 'a', settleAtMs: START_MS + 30_000 },
    ]);
    const claims = await Promise.all(['b', 'c', 'd'].map((o) => ledger.claimDue(lease(o), START_MS, 10)));
    expect(claims.flatMap(({ payments }) => payments.map(({ id }) => id))).toEqual([later.id]);
    expect(await ledger.claimDue(lease('e'), START_MS, 10)).toEqual({ payments: [], batches: [] });

    await ledger.putOff(lease('b'), [late.id], START_MS + 1_000);
    expect((await ledger.findPayment(late.id))?.settleAtMs).toBe(START_MS + 30_000);
    await ledger.putOff(lease('a'), [late.id], START_MS + 1_000);
    expect((await ledger.findPayment(late.id))?.settleAtMs).toBe(START_MS + 1_000);
    const again = await ledger.claimDue(lease('f'), START_MS + 30_000, 10);
    expect(again.payments.map(({ id }) => id).slice(0, 2)).toEqual([notYet.id, late.id]);
  });

  it('gives each of several settlers a page of its own, though all look at once', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const ids = [];
    for (let index = 0; index < 8; index += 1) {
      const stored = payment({ settleAtMs: START_MS + index });
      await ledger.insertPayment(stored);
      ids.push(stored.id);
    }
    const pages = await Promise.all(
      [1, 2, 3, 4].map((owner) =>
        ledger.claimDue({ owner: `owner-${owner}`, untilMs: START_MS + 60_000 }, START_MS + 10, 2),
      ),
    );
    expect(pages.flatMap(({ payments }) => payments.map(({ id }) => id)).sort()).toEqual(ids.sort());
  });

  it('tells when the first of all that is unfinished is due', async () => {
    const ledger = open();
    await ledger.readBreaker();
    expect(await ledger.firstDueMs()).toBeNull();
    await ledger.insertPayment(payment({ settleAtMs: null }));
    expect(await ledger.firstDueMs()).toBeNull();
    await ledger.insertPayment(payment({ settleAtMs: START_MS + 9 }));
    await ledger.insertPayment(payment({ settleAtMs: START_MS + 7 }));
    expect(await ledger.firstDueMs()).toBe(START_MS + 7);
  });

  it('gives the audit to one of many rivals once it is due, and takes what it found from the last of them', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const claimed = await Promise.all(
      Array.from({ length: 8 }, (_, index) => ledger.claimAudit(`owner-${index}`, START_MS, START_MS + 60)),
    );
    expect(claimed.filter((record) => record !== null)).toEqual([NEW_AUDIT]);
    const owner = `owner-${claimed.findIndex((record) => record !== null)}`;
    const record: AuditRecord = {
      ...NEW_AUDIT,
      books: { clearAtMs: START_MS, unclear: null },
      findings: [{ kind: 'outflow', of: 'TRX', amountMicro: 2n ** 53n + 1n, isConfirmed: true }],
      marks: { USDT: 2n ** 53n + 1n, TRX: null },
      transitions: [{ id: 'one', sinceMs: START_MS }],
    };
    expect(await ledger.storeAudit('somebody', record)).toBe(false);
    expect(await ledger.storeAudit(owner, record)).toBe(true);
    expect(await ledger.claimAudit('late', START_MS + 59, START_MS + 120)).toBeNull();
    const again = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        ledger.claimAudit(`again-${index}`, START_MS + 60, START_MS + 120),
      ),
    );
    expect(again.filter((found) => found !== null)).toEqual([record]);
    expect(await ledger.storeAudit(owner, NEW_AUDIT)).toBe(false);
    // An operator takes it from whoever is at it.
    expect(await ledger.claimAudit('an operator', Number.MAX_SAFE_INTEGER, START_MS)).toEqual(record);
    expect(await ledger.claimAudit('next', START_MS, START_MS + 60)).toEqual(record);
  });

  it('adds up what payments hold, but for those that are left out', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const none = { paymentIds: [], batchIds: [] };
    expect(await ledger.sumHeld(none)).toEqual({ USDT: 0n, TRX: 0n, fees: 0n });
    const held = { reservationId: 'r', feeReservedMicro: 7n };
    const moving = payment({ ...held, amountMicro: 3n });
    for (const stored of [
      payment({ ...held, amountMicro: 2n ** 53n }),
      payment({ ...held, amountMicro: 1n }),
      payment({ ...held, amountMicro: 40n, asset: 'TRX' }),
      payment({ ...held, amountMicro: 500n, closeId: 'c' }),
      payment({ amountMicro: 600n }),
      payment({ ...held, amountMicro: 70n, batchId: 'bat_1' }),
      moving,
    ]) {
      expect(await ledger.insertPayment(stored)).toBe('inserted');
    }
    expect(await ledger.sumHeld({ paymentIds: [moving.id], batchIds: ['bat_1'] })).toEqual({
      USDT: 2n ** 53n + 1n,
      TRX: 40n,
      fees: 21n,
    });
    expect(await ledger.sumHeld(none)).toEqual({ USDT: 2n ** 53n + 74n, TRX: 40n, fees: 35n });
  });

  it('ends the visits of what is over alone', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    expect(await ledger.endVisits(guardOf(stored), 'refused')).toBe(false);
    const end = { status: 'refused', reason: 'no', endedAtMs: START_MS, included: null } as const;
    await ledger.noteReservation(guardOf(stored), note('r1'), change());
    await ledger.closePayment(guardOf(stored), 'accepted', end, change());
    expect(await ledger.endVisits(guardOf(stored), 'refused')).toBe(false);
    await ledger.noteClose(guardOf(stored), 'refused', 'c1', change());
    expect(await ledger.endVisits(guardOf(stored), 'refused')).toBe(true);
    expect((await ledger.findPayment(stored.id))?.settleAtMs).toBeNull();
  });

  it('lets one payment of a caller have a reference', async () => {
    const ledger = open();
    await ledger.readBreaker();
    expect(await ledger.insertPayment(payment({ reference: 'r' }))).toBe('inserted');
    expect(await ledger.insertPayment(payment({ reference: 'r' }))).toBe('reference_taken');
    expect(await ledger.insertPayment(payment({ reference: 'r', caller: 'shop' }))).toBe('inserted');
    expect(await ledger.insertPayment(payment())).toBe('inserted');
    expect(await ledger.insertPayment(payment())).toBe('inserted');
  });

  it('lets a payment wait for approval, once', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment({ status: 'awaiting_approval' });
    await ledger.insertPayment(stored);
    expect(await ledger.noteReservation(guardOf(stored), note('r1'), change())).toBe(false);
    expect(await ledger.approve(guardOf(stored), 'boss', START_MS + 7, change())).toBe(true);
    expect(await ledger.approve(guardOf(stored), 'chief', START_MS + 8, change())).toBe(false);
    expect(await ledger.findPayment(stored.id)).toMatchObject({
      status: 'accepted',
      approvedBy: 'boss',
      payByMs: START_MS + 7,
    });
  });

  it('leaves a payment to review, which then counts anew where its reservation was released', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const found = {
      attemptNumber: 1,
      included: { blockNumber: 9, blockTimeMs: START_MS + 5, feeMicro: 345_000n },
    };
    const end = { status: 'expired', reason: 'late', endedAtMs: START_MS, included: null } as const;
    const stored = payment();
    await ledger.insertPayment(stored);
    await ledger.storeSigned(guardOf(stored), attempt(), note('r1'), change());
    await ledger.closePayment(guardOf(stored), 'signed', end, change());
    const holding = await ledger.findPayment(stored.id);
    expect(holding).toMatchObject({ feeReservedMicro: 7_000_000n });
    expect(await ledger.reopenForReview(guardOf(stored), 'expired', false, found, change())).toBe(false);
    await ledger.noteClose(guardOf(stored), 'expired', 'c1', change());
    expect(await ledger.reopenForReview(guardOf(stored), 'expired', true, found, change())).toBe(false);
    expect(await ledger.reopenForReview(guardOf(stored), 'expired', false, found, change())).toBe(true);
    const reviewed = await ledger.findPayment(stored.id);
    expect(reviewed).toMatchObject({
      status: 'needs_review',
      generation: 1,
      reservationId: null,
      closeId: null,
      notedIds: ['r1', 'c1'],
      attempts: [{ outcome: 'paid', blockNumber: 9 }],
    });
    if (reviewed === null) throw new Error('gone');
    expect(await ledger.noteReservation(guardOf(reviewed), note('r2'), change())).toBe(true);
    const ruled = { status: 'confirmed', reason: 'seen', endedAtMs: START_MS, included: null } as const;
    expect(await ledger.closePayment(guardOf(reviewed), 'needs_review', ruled, change())).toBe(true);
  });

  const batch = (over: Partial<Batch> = {}): Batch => ({
    id: `bat_${randomUUID()}`,
    caller: 'gateway',
    idempotencyKey: randomUUID(),
    fingerprint: 'f'.repeat(64),
    status: 'accepted',
    generation: 0,
    items: [
      {
        paymentId: 'pay_item',
        asset: 'TRX',
        amountMicro: 5n,
        recipient: RECIPIENT,
        reference: 'in-batch',
      },
    ],
    reservationId: null,
    notedIds: [],
    feeReservedMicro: 7n,
    createdAtMs: START_MS,
    payByMs: START_MS + 9,
    reason: null,
    settleAtMs: START_MS,
    leaseOwner: null,
    ...over,
  });

  it('admits a batch once its reservation is noted, and refuses it only before', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = batch();
    const guard = { batchId: stored.id, generation: 0 };
    expect(await ledger.insertBatch(stored)).toBe('inserted');
    expect(await ledger.insertBatch(batch({ idempotencyKey: stored.idempotencyKey }))).toBe('exists');
    expect(await ledger.insertBatch(batch())).toBe('reference_taken');
    expect(await ledger.insertPayment(payment({ reference: 'in-batch' }))).toBe('reference_taken');
    expect(await ledger.insertPayment(payment({ idempotencyKey: stored.idempotencyKey }))).toBe('exists');
    expect(await ledger.findByKey('gateway', stored.idempotencyKey)).toEqual({
      kind: 'batch',
      batch: stored,
    });
    expect(await ledger.findPayment(stored.id)).toBeNull();
    expect(await ledger.admitBatch(guard, 'r1')).toBe(false);
    expect(await ledger.refuseBatch(guard, 'full')).toBe(true);
    expect(await ledger.noteBatchReservation(guard, 'r0')).toBe(false);
    expect(await ledger.retryBatch(guard, 7n, START_MS + 99, START_MS)).toBe(true);
    const next = { ...guard, generation: 1 };
    expect(await ledger.noteBatchReservation(guard, 'r0')).toBe(false);
    expect(await ledger.noteBatchReservation(next, 'r1')).toBe(true);
    expect(await ledger.noteBatchReservation(next, 'r2')).toBe(false);
    expect(await ledger.refuseBatch(next, 'full')).toBe(false);
    const due = await ledger.claimDue({ owner: 'a', untilMs: START_MS + 9 }, START_MS, 10);
    expect(due.batches).toMatchObject([{ id: stored.id, reservationId: 'r1', leaseOwner: 'a' }]);

    const item = payment({ id: 'pay_item', reference: 'in-batch', batchId: stored.id });
    await ledger.insertItems([item]);
    await ledger.insertItems([{ ...item, amountMicro: 7n }]);
    expect(await ledger.findPayments(['pay_item', stored.id])).toEqual([item]);
    expect(await ledger.admitBatch(next, 'r1')).toBe(true);
    expect(await ledger.findBatch(stored.id)).toMatchObject({ status: 'admitted', settleAtMs: null });
  });

  it('notes a reservation once, for the right generation, and says so in the history', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    expect(await ledger.noteReservation({ ...guardOf(stored), generation: 1 }, note('r0'), change())).toBe(
      false,
    );
    expect(await ledger.noteReservation(guardOf(stored), note('r1'), change({ reason: 'waits' }))).toBe(true);
    expect(await ledger.noteReservation(guardOf(stored), note('r2'), change())).toBe(false);
    expect(await ledger.findPayment(stored.id)).toMatchObject({
      reservationId: 'r1',
      notedIds: ['r1'],
      reason: 'waits',
      settleAtMs: START_MS + 1_000,
      history: [{ event: 'accepted' }, { event: 'changed' }],
    });
  });

  it('stores one signed attempt, noting the reservation in the same write', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    // Nothing is signed without a reservation.
    expect(await ledger.storeSigned(guardOf(stored), attempt(), null, change())).toBe('moved');
    const signed = attempt();
    const rivals = await Promise.all([
      ledger.storeSigned(guardOf(stored), signed, note('r1'), change()),
      ledger.storeSigned(guardOf(stored), attempt(), note('r1'), change()),
    ]);
    expect(rivals.sort()).toEqual(['moved', 'stored']);
    const after = await ledger.findPayment(stored.id);
    expect(after).toMatchObject({ status: 'signed', reservationId: 'r1', notedIds: ['r1'] });
    expect(after?.attempts).toHaveLength(1);
    expect(Buffer.from(after?.attempts[0]?.sealed ?? []).toString()).toBe('sealed bytes');
  });

  it('stores a signed attempt for a reservation that a settler has noted meanwhile, but for no other', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    await ledger.noteReservation(guardOf(stored), note('r1'), change());
    expect(await ledger.storeSigned(guardOf(stored), attempt(), note('r2'), change())).toBe('moved');
    expect(await ledger.storeSigned(guardOf(stored), attempt(), note('r1'), change())).toBe('stored');
    expect((await ledger.findPayment(stored.id))?.notedIds).toEqual(['r1']);
  });

  it('refuses the same transaction for two payments', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const [one, two] = [payment(), payment()];
    await ledger.insertPayment(one);
    await ledger.insertPayment(two);
    const same = attempt();
    expect(await ledger.storeSigned(guardOf(one), same, note('r1'), change())).toBe('stored');
    expect(await ledger.storeSigned(guardOf(two), same, note('r2'), change())).toBe('tx_id_taken');
    expect(await ledger.findPayment(two.id)).toMatchObject({ status: 'accepted', reservationId: null });
  });

  it('calls a payment broadcast only once its bytes may be out', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    await ledger.storeSigned(guardOf(stored), attempt(), note('r1'), change());
    expect(await ledger.recordBroadcast(guardOf(stored), sent(START_MS + 1, false), change())).toBe(true);
    expect(await ledger.findPayment(stored.id)).toMatchObject({
      status: 'signed',
      lastBroadcastAtMs: START_MS + 1,
    });
    expect(await ledger.recordBroadcast(guardOf(stored), sent(START_MS + 2, true), change())).toBe(true);
    expect(await ledger.recordBroadcast(guardOf(stored), sent(START_MS + 3, false), change())).toBe(true);
    expect(await ledger.findPayment(stored.id)).toMatchObject({
      status: 'broadcast',
      lastBroadcastAtMs: START_MS + 3,
    });
  });

  it('accepts again with the next attempt, marking the last one expired', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    expect(await ledger.reaccept(guardOf(stored), change())).toBe(false);
    await ledger.storeSigned(guardOf(stored), attempt(), note('r1'), change());
    expect(await ledger.recordBroadcast(guardOf(stored), sent(START_MS + 5, true), change())).toBe(true);
    expect(await ledger.reaccept(guardOf(stored), change())).toBe(true);
    expect(await ledger.reaccept(guardOf(stored), change())).toBe(false);
    const after = await ledger.findPayment(stored.id);
    expect(after).toMatchObject({
      status: 'accepted',
      attemptNumber: 2,
      reservationId: 'r1',
      lastBroadcastAtMs: START_MS + 5,
      attempts: [{ number: 1, outcome: 'expired' }],
    });
    if (after === null) throw new Error('gone');
    // An answer to the first attempt that comes late changes nothing.
    expect(await ledger.recordBroadcast(guardOf(stored), sent(START_MS + 9, true), change())).toBe(false);
    expect(await ledger.storeSigned(guardOf(after), attempt({ number: 2 }), null, change())).toBe('stored');
  });

  it('closes a payment once, and notes its commit once', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    await ledger.storeSigned(guardOf(stored), attempt(), note('r1'), change());
    const end = {
      status: 'confirmed',
      reason: null,
      endedAtMs: START_MS + 9,
      included: { blockNumber: 8, blockTimeMs: START_MS + 9, feeMicro: 345_000n },
    } as const;
    expect(await ledger.closePayment(guardOf(stored), 'broadcast', end, change())).toBe(false);
    expect(await ledger.noteClose(guardOf(stored), 'confirmed', 'c0', change())).toBe(false);
    expect(await ledger.closePayment(guardOf(stored), 'signed', end, change())).toBe(true);
    expect(await ledger.closePayment(guardOf(stored), 'signed', end, change())).toBe(false);
    expect(await ledger.noteClose(guardOf(stored), 'failed', 'c0', change())).toBe(false);
    expect(await ledger.noteClose(guardOf(stored), 'confirmed', 'c1', change({ settleAtMs: null }))).toBe(
      true,
    );
    expect(await ledger.noteClose(guardOf(stored), 'confirmed', 'c2', change())).toBe(false);
    expect(await ledger.findPayment(stored.id)).toMatchObject({
      status: 'confirmed',
      closeId: 'c1',
      notedIds: ['r1', 'c1'],
      endedAtMs: START_MS + 9,
      settleAtMs: null,
      attempts: [{ outcome: 'paid', blockNumber: 8, feeMicro: 345_000n }],
    });
  });

  it('opens a refused payment again only when nothing of its last try is left standing', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    await ledger.noteReservation(guardOf(stored), note('r1'), change());
    const end = { status: 'refused', reason: 'too little', endedAtMs: START_MS, included: null } as const;
    await ledger.closePayment(guardOf(stored), 'accepted', end, change());
    expect(await ledger.retryRefused(guardOf(stored), 'accepted', START_MS + 99, change())).toBe(false);
    await ledger.noteClose(guardOf(stored), 'refused', 'c1', change());
    expect(await ledger.retryRefused(guardOf(stored), 'accepted', START_MS + 99, change())).toBe(true);
    expect(await ledger.retryRefused(guardOf(stored), 'accepted', START_MS + 99, change())).toBe(false);
    expect(await ledger.findPayment(stored.id)).toMatchObject({
      status: 'accepted',
      generation: 1,
      reservationId: null,
      closeId: null,
      notedIds: ['r1', 'c1'],
      payByMs: START_MS + 99,
      endedAtMs: null,
    });
  });
});

it('a ledger that finds the database away says so, and finds it again once it is back', async () => {
  const port = await freePort();
  const { client, db } = connectMongo({
    url: `mongodb://127.0.0.1:${port}/?directConnection=true`,
    database: 'late',
    credentials: null,
    connectTimeoutMs: 500,
    serverSelectionTimeoutMs: 300,
    maxPoolSize: 2,
  });
  const ledger = mongoLedger(db);
  for (let ask = 0; ask < 2; ask += 1) {
    await expect(ledger.insertPayment(payment())).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(ledger.readBreaker()).rejects.toMatchObject({ code: 'store_unavailable' });
  }
  const late = await startDatabase({ memory: true, port });
  try {
    expect(await untilThere(() => ledger.readBreaker())).toMatchObject({ slotsVersion: 0n });
    expect(await ledger.insertPayment(payment())).toBe('inserted');
  } finally {
    await client.close();
    await late.stop();
  }
});

it('a ledger that has payments but has lost its breaker document refuses to go on with empty books', async () => {
  const db = database.connect();
  const ledger = mongoLedger(db);
  await ledger.readBreaker();
  await ledger.insertPayment(payment());
  await db.collection('breaker').deleteMany({});
  await expect(ledger.readBreaker()).rejects.toMatchObject({ code: 'store_unavailable' });
});

const marks = { restoreId: 'restore-1', backupAtMs: START_MS, restoredAtMs: START_MS + 1, isLoaded: true };

describe.each([
  [
    'on MongoDB',
    async (isLoaded: boolean) => {
      const db = database.connect();
      const ledger = mongoLedger(db);
      await ledger.readBreaker();
      const breaker = db.collection<BreakerDocument>('breaker');
      const fresh = await breaker.findOne({ _id: BREAKER_ID });
      if (fresh === null) throw new Error('there is no breaker document');
      await breaker.replaceOne({ _id: BREAKER_ID }, restoredBreaker(fresh, { ...marks, isLoaded }));
      return ledger;
    },
  ],
  [
    'in memory',
    async (isLoaded: boolean) => {
      const ledger = memoryLedger(() => START_MS);
      ledger.breaker = restored(ledger.breaker, { ...marks, isLoaded });
      return ledger;
    },
  ],
])('a restored ledger %s', (_, open: (isLoaded: boolean) => Promise<Ledger>) => {
  const head = { number: 70, blockId: '7'.repeat(64), timestampMs: START_MS };
  const link = (number: number) => ({ number, blockId: String(number).padStart(64, '0') });

  it('is resumed only once its history is read, one step after the other', async () => {
    const ledger = await open(true);
    const { restore: first, pause } = await ledger.readBreaker();
    if (first === null || pause === null) throw new Error('it is not marked');
    expect(pause).toMatchObject({ by: 'restore', atMs: START_MS + 1 });
    expect(first).toMatchObject({ backupAtMs: START_MS, knownHead: null, walk: null, reconciledAtMs: null });
    expect(await ledger.liftPause(pause)).toBe(false);
    const second = { ...first, walk: { from: head, next: link(70) } };
    expect(await ledger.moveRestore(second, first)).toBe(false);
    expect(await ledger.moveRestore({ ...first, id: 'another' }, second)).toBe(false);
    expect(await ledger.moveRestore(first, second)).toBe(true);
    expect(await ledger.moveRestore(first, second)).toBe(false);
    const third = { ...first, walk: { from: head, next: link(69) }, recovered: 2 };
    expect(await ledger.moveRestore(second, third)).toBe(true);
    expect((await ledger.readBreaker()).restore).toEqual(third);
    expect(await ledger.liftPause(pause)).toBe(false);
    const last = { ...third, reconciledAtMs: START_MS + 9 };
    expect(await ledger.moveRestore(third, last)).toBe(true);
    expect(await ledger.moveRestore(third, last)).toBe(false);
    expect(await ledger.liftPause(pause)).toBe(true);
    expect((await ledger.readBreaker()).pause).toBeNull();
  });

  it('takes no reservation that was judged before it was restored', async () => {
    const ledger = await open(true);
    const { restore, pause } = await ledger.readBreaker();
    if (restore === null || pause === null) throw new Error('it is not marked');
    await ledger.moveRestore(restore, { ...restore, reconciledAtMs: START_MS + 9 });
    await ledger.liftPause(pause);
    expect(await ledger.pushReservation(reservation('pay_1'), room())).toBe(false);
    expect(await ledger.pushReservation(reservation('pay_1'), room({ restoreId: 'restore-0' }))).toBe(false);
    expect(await ledger.pushReservation(reservation('pay_1'), room({ restoreId: restore.id }))).toBe(true);
  });

  it('does not begin before all payments are back', async () => {
    const ledger = await open(false);
    const { restore, pause } = await ledger.readBreaker();
    if (restore === null || pause === null) throw new Error('it is not marked');
    const begun = { ...restore, walk: { from: head, next: link(70) } };
    expect(await ledger.moveRestore(restore, begun)).toBe(false);
    expect(await ledger.liftPause(pause)).toBe(false);
  });

  it('keeps what was found on the chain, once a transaction, until it is known what that paid', async () => {
    const ledger = await open(true);
    const own = payment({ status: 'broadcast', attempts: [attempt({ txId: 'a'.repeat(64) })] });
    await ledger.insertPayment(own);
    expect(await ledger.findByTransaction('a'.repeat(64))).toEqual(own);
    expect(await ledger.findByTransaction('b'.repeat(64))).toBeNull();
    const found = (txId: string, outcome: 'paid' | 'reverted' = 'paid') =>
      payment({
        caller: RECOVERED,
        idempotencyKey: txId,
        status: outcome === 'paid' ? 'confirmed' : 'failed',
        amountMicro: 5n,
        attempts: [attempt({ txId, outcome })],
      });
    expect(await ledger.insertPayment(found('a'.repeat(64)))).not.toBe('inserted');
    const [first, second] = [found('c'.repeat(64)), found('d'.repeat(64))].sort((a, b) =>
      a.id < b.id ? -1 : 1,
    );
    if (first === undefined || second === undefined) throw new Error('there are two');
    for (const each of [second, first, found('e'.repeat(64), 'reverted')]) {
      expect(await ledger.insertPayment(each)).toBe('inserted');
    }
    expect(await ledger.insertPayment({ ...first, id: 'pay_other' })).toBe('exists');

    const order = { asset: 'USDT', amountMicro: 5n, recipient: RECIPIENT, reference: null } as const;
    const entry = { atMs: START_MS + 5, event: 'claimed', detail: 'it paid that' };
    expect(await ledger.findRecovered(orderKey({ ...order, amountMicro: 6n }))).toBeNull();
    expect(await ledger.findRecovered(orderKey(order))).toEqual(first);
    expect(await ledger.claimRecovered(first, 'pay_x', entry)).toBe(true);
    expect(await ledger.claimRecovered(first, 'pay_y', entry)).toBe(false);
    expect(await ledger.findRecovered('pay_x')).toEqual({ ...first, history: [...first.history, entry] });
    expect(await ledger.findRecovered(orderKey(order))).toEqual(second);
    expect(await ledger.claimRecovered(second, 'pay_y', entry)).toBe(true);
    expect(await ledger.findRecovered(orderKey(order))).toBeNull();
  });

  it('forgets an old approval of what has to be approved anew', async () => {
    const ledger = await open(true);
    const refused = payment({ status: 'refused', approvedBy: 'approver' });
    await ledger.insertPayment(refused);
    expect(await ledger.retryRefused(guardOf(refused), 'awaiting_approval', START_MS, change())).toBe(true);
    expect((await ledger.findPayment(refused.id))?.approvedBy).toBeNull();
  });
});
