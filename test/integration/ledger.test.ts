import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { startDatabase } from '../../deploy/local/database/start-database.ts';
import { connectMongo } from '../../shared/adapters/mongo/connect.ts';
import { mongoLedger } from '../../shared/adapters/mongo/mongo-ledger.ts';
import { TRANSITIONS_MAX, type Transition } from '../../shared/domain/breaker.ts';
import { openCircuit } from '../../shared/domain/circuit.ts';
import type { Attempt, Payment } from '../../shared/domain/payment.ts';
import type { Ledger, PaymentChange, PaymentGuard } from '../../shared/ports/ledger.ts';
import { useDatabase } from '../support/database.ts';
import { MemoryLedger } from '../support/memory-ledger.ts';
import { freePort } from '../support/ports.ts';
import { RECIPIENT, START_MS } from '../support/test-engine.ts';

const database = useDatabase();

const payment = (over: Partial<Payment> = {}): Payment => ({
  id: `pay_${randomUUID()}`,
  caller: 'gateway',
  idempotencyKey: randomUUID(),
  fingerprint: 'f'.repeat(64),
  asset: 'USDT',
  amountMicro: 2n ** 62n,
  recipient: RECIPIENT,
  reference: null,
  status: 'accepted',
  generation: 0,
  attemptNumber: 1,
  reservationId: null,
  closeId: null,
  notedIds: [],
  attempts: [],
  history: [{ atMs: START_MS, event: 'accepted', detail: 'asked by gateway' }],
  createdAtMs: START_MS,
  payByMs: START_MS + 3_600_000,
  endedAtMs: null,
  reason: null,
  settleAtMs: START_MS,
  lastBroadcastAtMs: null,
  ...over,
});

const attempt = (over: Partial<Attempt> = {}): Attempt => ({
  number: 1,
  txId: randomUUID().replaceAll('-', '').repeat(2),
  sealed: Buffer.from('sealed bytes'),
  referenceBlockNumber: 7,
  referenceBlockId: '7'.repeat(64),
  expirationMs: START_MS + 60_000,
  feeLimitMicro: 10_000_000n,
  signedAtMs: START_MS,
  outcome: 'live',
  blockNumber: null,
  blockTimeMs: null,
  feeMicro: null,
  ...over,
});

const transition = (paymentId: string, over: Partial<Transition> = {}): Transition => ({
  id: randomUUID(),
  paymentId,
  kind: 'reserve',
  generation: 0,
  asset: 'USDT',
  amountMicro: 25_000_000n,
  ...over,
});

const guardOf = ({ id, generation, attemptNumber }: Payment): PaymentGuard => ({
  paymentId: id,
  generation,
  attemptNumber,
});

const change = (over: Partial<PaymentChange> = {}): PaymentChange => ({
  entry: { atMs: START_MS + 1, event: 'changed', detail: 'by a test' },
  settleAtMs: START_MS + 1_000,
  ...over,
});

// The memory ledger stands in for the real one in thousands of lives, so it must keep the very same promises.
describe.each([
  ['on MongoDB', () => mongoLedger(connectHere())],
  ['in memory', () => new MemoryLedger(() => START_MS)],
])('a ledger %s', (_, open: () => Ledger) => {
  it('tells the time of its server', async () => {
    expect(Number.isSafeInteger(await open().serverTimeMs())).toBe(true);
  });

  it('begins with an empty breaker', async () => {
    expect(await open().readBreaker()).toMatchObject({
      version: 0n,
      circuit: { kind: 'closed', failures: 0 },
      transitions: [],
      solidHead: null,
      books: { USDT: { outstandingMicro: 0n, hour: [], day: [] } },
    });
  });

  it('returns a payment exactly as it was stored, by id and by key', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment({ reference: 'invoice-7' });
    expect(await ledger.insertPayment(stored)).toBe('inserted');
    expect(await ledger.findPayment(stored.id)).toEqual(stored);
    expect(await ledger.findPaymentByKey(stored.caller, stored.idempotencyKey)).toEqual(stored);
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

  it('pushes a transition with its effect, only onto the version that was read', async () => {
    const ledger = open();
    const { version } = await ledger.readBreaker();
    const first = transition('pay_1');
    expect(await ledger.pushTransition(version, first, null)).toBe(true);
    expect(await ledger.pushTransition(version, transition('pay_2'), null)).toBe(false);
    const breaker = await ledger.readBreaker();
    expect(breaker).toMatchObject({ version: 1n, transitions: [first] });
    expect(breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
    expect(breaker.books.TRX.outstandingMicro).toBe(0n);
  });

  it('pushes one transition a payment, and no more than the document is meant to hold', async () => {
    const ledger = open();
    await ledger.readBreaker();
    for (let index = 0; index < TRANSITIONS_MAX; index += 1) {
      expect(await ledger.pushTransition(BigInt(index), transition(`pay_${index}`), null)).toBe(true);
    }
    const full = BigInt(TRANSITIONS_MAX);
    expect(await ledger.pushTransition(full, transition('pay_x'), null)).toBe(false);
    const [held] = (await ledger.readBreaker()).transitions;
    expect(await ledger.dropTransition(held?.id ?? '')).toBe(true);
    expect(await ledger.pushTransition(full, transition('pay_1'), null)).toBe(false);
    expect(await ledger.pushTransition(full, transition('pay_x'), null)).toBe(true);
  });

  it('drops an entry without touching the sums, once', async () => {
    const ledger = open();
    const { version } = await ledger.readBreaker();
    const pushed = transition('pay_1');
    await ledger.pushTransition(version, pushed, null);
    expect(await ledger.dropTransition(pushed.id)).toBe(true);
    expect(await ledger.dropTransition(pushed.id)).toBe(false);
    const breaker = await ledger.readBreaker();
    expect(breaker).toMatchObject({ version: 1n, transitions: [] });
    expect(breaker.books.USDT.outstandingMicro).toBe(25_000_000n);
  });

  it('takes a reservation out together with its effect, once', async () => {
    const ledger = open();
    const { version } = await ledger.readBreaker();
    const pushed = transition('pay_1');
    await ledger.pushTransition(version, pushed, null);
    const taken = await Promise.all([ledger.takeOutReservation(pushed), ledger.takeOutReservation(pushed)]);
    expect(taken.filter(Boolean)).toHaveLength(1);
    const breaker = await ledger.readBreaker();
    expect(breaker.transitions).toEqual([]);
    expect(breaker.books.USDT.outstandingMicro).toBe(0n);
  });

  it('moves a committed amount from outstanding into the slots', async () => {
    const ledger = open();
    const { version } = await ledger.readBreaker();
    const reserved = transition('pay_1');
    await ledger.pushTransition(version, reserved, null);
    await ledger.dropTransition(reserved.id);
    const slots = {
      hour: [{ untilMs: START_MS + 10_000, amountMicro: 25_000_000n }],
      day: [
        { untilMs: START_MS, amountMicro: 1n },
        { untilMs: START_MS + 300_000, amountMicro: 2n ** 60n },
      ],
    };
    expect(await ledger.pushTransition(1n, transition('pay_1', { kind: 'commit' }), slots)).toBe(true);
    expect((await ledger.readBreaker()).books.USDT).toEqual({ outstandingMicro: 0n, ...slots });
  });

  it('replaces the circuit only where it still is what was read', async () => {
    const ledger = open();
    const { circuit, version } = await ledger.readBreaker();
    const opened = openCircuit(circuit, 'because "quotes" matter', START_MS);
    expect(await ledger.replaceCircuit(circuit, opened)).toBe(true);
    expect(await ledger.replaceCircuit(circuit, opened)).toBe(false);
    expect(await ledger.readBreaker()).toMatchObject({ circuit: opened, version });
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

  it('shows due payments, longest waiting first, and gives each visit to one settler', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const [late, later, notYet, done] = [
      payment({ settleAtMs: START_MS - 10 }),
      payment({ settleAtMs: START_MS - 5 }),
      payment({ settleAtMs: START_MS + 1 }),
      payment({ settleAtMs: null }),
    ] as const;
    for (const each of [later, notYet, done, late]) await ledger.insertPayment(each);
    const due = await ledger.findDue(START_MS, 10);
    expect(due.map(({ id }) => id)).toEqual([late.id, later.id]);
    expect(await ledger.findDue(START_MS, 1)).toHaveLength(1);
    const visits = await Promise.all(
      [1, 2, 3].map((n) => ledger.rescheduleVisit(late.id, START_MS - 10, START_MS + n)),
    );
    expect(visits.filter(Boolean)).toHaveLength(1);
    // Only an ended payment has nothing left to be visited for.
    expect(await ledger.rescheduleVisit(later.id, START_MS - 5, null)).toBe(false);
    const end = { status: 'refused', reason: 'no', endedAtMs: START_MS, included: null } as const;
    await ledger.closePayment(guardOf(later), 'accepted', end, change({ settleAtMs: START_MS - 5 }));
    expect(await ledger.rescheduleVisit(later.id, START_MS - 5, null)).toBe(true);
    expect((await ledger.findPayment(later.id))?.settleAtMs).toBeNull();
    expect(await ledger.findDue(START_MS, 10)).toEqual([]);
  });

  it('notes a reservation once, for the right generation, and says so in the history', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    expect(await ledger.noteReservation({ ...guardOf(stored), generation: 1 }, 'r0', change())).toBe(false);
    expect(await ledger.noteReservation(guardOf(stored), 'r1', change({ reason: 'waits' }))).toBe(true);
    expect(await ledger.noteReservation(guardOf(stored), 'r2', change())).toBe(false);
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
      ledger.storeSigned(guardOf(stored), signed, 'r1', change()),
      ledger.storeSigned(guardOf(stored), attempt(), 'r1', change()),
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
    await ledger.noteReservation(guardOf(stored), 'r1', change());
    expect(await ledger.storeSigned(guardOf(stored), attempt(), 'r2', change())).toBe('moved');
    expect(await ledger.storeSigned(guardOf(stored), attempt(), 'r1', change())).toBe('stored');
    expect((await ledger.findPayment(stored.id))?.notedIds).toEqual(['r1']);
  });

  it('refuses the same transaction for two payments', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const [one, two] = [payment(), payment()];
    await ledger.insertPayment(one);
    await ledger.insertPayment(two);
    const same = attempt();
    expect(await ledger.storeSigned(guardOf(one), same, 'r1', change())).toBe('stored');
    expect(await ledger.storeSigned(guardOf(two), same, 'r2', change())).toBe('tx_id_taken');
    expect(await ledger.findPayment(two.id)).toMatchObject({ status: 'accepted', reservationId: null });
  });

  it('calls a payment broadcast only once its bytes may be out', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    await ledger.storeSigned(guardOf(stored), attempt(), 'r1', change());
    expect(await ledger.recordBroadcast(guardOf(stored), START_MS + 1, false, change())).toBe(true);
    expect(await ledger.findPayment(stored.id)).toMatchObject({
      status: 'signed',
      lastBroadcastAtMs: START_MS + 1,
    });
    expect(await ledger.recordBroadcast(guardOf(stored), START_MS + 2, true, change())).toBe(true);
    expect(await ledger.recordBroadcast(guardOf(stored), START_MS + 3, false, change())).toBe(true);
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
    await ledger.storeSigned(guardOf(stored), attempt(), 'r1', change());
    expect(await ledger.recordBroadcast(guardOf(stored), START_MS + 5, true, change())).toBe(true);
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
    expect(await ledger.recordBroadcast(guardOf(stored), START_MS + 9, true, change())).toBe(false);
    expect(await ledger.storeSigned(guardOf(after), attempt({ number: 2 }), null, change())).toBe('stored');
  });

  it('closes a payment once, and notes its commit once', async () => {
    const ledger = open();
    await ledger.readBreaker();
    const stored = payment();
    await ledger.insertPayment(stored);
    await ledger.storeSigned(guardOf(stored), attempt(), 'r1', change());
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
    await ledger.noteReservation(guardOf(stored), 'r1', change());
    const end = { status: 'refused', reason: 'too little', endedAtMs: START_MS, included: null } as const;
    await ledger.closePayment(guardOf(stored), 'accepted', end, change());
    expect(await ledger.retryRefused(guardOf(stored), START_MS + 99, change())).toBe(false);
    await ledger.noteClose(guardOf(stored), 'refused', 'c1', change());
    expect(await ledger.retryRefused(guardOf(stored), START_MS + 99, change())).toBe(true);
    expect(await ledger.retryRefused(guardOf(stored), START_MS + 99, change())).toBe(false);
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

function connectHere() {
  return connectMongo({
    url: database.url(),
    database: database.name(),
    credentials: null,
    connectTimeoutMs: 5_000,
    serverSelectionTimeoutMs: 5_000,
    maxPoolSize: 10,
  }).db;
}

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
    expect(await ledger.readBreaker()).toMatchObject({ version: 0n });
    expect(await ledger.insertPayment(payment())).toBe('inserted');
  } finally {
    await client.close();
    await late.stop();
  }
});

it('a ledger that has payments but has lost its breaker document refuses to go on with empty books', async () => {
  const db = connectHere();
  const ledger = mongoLedger(db);
  await ledger.readBreaker();
  await ledger.insertPayment(payment());
  await db.collection('breaker').deleteMany({});
  await expect(ledger.readBreaker()).rejects.toMatchObject({ code: 'store_unavailable' });
});
