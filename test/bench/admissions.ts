import { randomBytes } from 'node:crypto';
import type { Collection, Db } from 'mongodb';
import { RateLimiterMongo, RateLimiterRes } from 'rate-limiter-flexible';
import {
  BREAKER,
  BREAKER_ID,
  type BreakerDocument,
  breakerDocument,
  PAYMENTS,
  type PaymentDocument,
  paymentDocument,
} from '../../shared/adapters/mongo/documents.ts';
import type { Attempt, Payment } from '../../shared/domain/payment.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { closeAccounts, guardOf, noteOf, reserve } from '../../shared/usecases/reserve-and-close.ts';
import { attempt, payment as storedPayment } from '../support/stored-payment.ts';
import { busyBreaker } from './busy-breaker.ts';

/**
 * Ways to admit a payment under one shared limit. Each does what an admission by the breaker does, in this order:
 * read the hot document and the server's clock, count the amount in the document, store the signed attempt in the
 * payment's own, and finish in the hot document; all of the same size. `inc-hot` does what concerns the hot document
 * alone.
 */
export const CONTENDERS = ['breaker', 'inc', 'inc-hot', 'compare-and-set', 'rate-limiter-flexible'] as const;
export type ContenderName = (typeof CONTENDERS)[number];

export interface Contender {
  /** @returns false where the limit refuses; nothing is counted then */
  admit(payment: Payment): Promise<boolean>;
  /** Ends an admitted payment as paid, now; it then leaves the window with its time. Only where payments have ends. */
  confirm?(payment: Payment): Promise<void>;
}

/** The limit that is held, where one is. */
export interface RollingLimit {
  readonly payments: number;
  readonly windowSeconds: number;
}

export const AMOUNT_MICRO = 1_000_000n;
const FEE_MICRO = 8_000_000n;
const NO_LIMIT: RollingLimit = { payments: 1_000_000_000, windowSeconds: 3_600 };
/** Where the raw contenders keep a document like the breaker's. */
const RAW = 'raw';
const LIMITER = 'limiter';
const LIMITER_KEY = 'hot';
const INSERTED_TOGETHER = 100;

interface RawDocument extends BreakerDocument {
  readonly version: bigint;
}

/** Makes the hot documents of all contenders anew, as large as the breaker's is after a busy day. */
export async function resetHotDocuments(db: Db, limit: RollingLimit | null): Promise<void> {
  const fresh = breakerDocument(busyBreaker());
  // Where a limit is held, nothing else may count against it.
  const emptied = { ...fresh.books.USDT, hour: new Uint8Array(), day: new Uint8Array() };
  const books = limit === null ? fresh.books : { ...fresh.books, USDT: emptied };
  const document = { ...fresh, books };
  const { _id, ...rest } = document;
  await db.collection<BreakerDocument>(BREAKER).replaceOne({ _id }, document, { upsert: true });
  await db.collection<RawDocument>(RAW).replaceOne({ _id }, { ...document, version: 0n }, { upsert: true });
  await db.collection(LIMITER).deleteMany({});
  if (limit !== null) return;
  await db.collection(LIMITER).insertOne({
    ...rest,
    key: LIMITER_KEY,
    points: 0,
    expire: new Date(Date.now() + 86_400_000),
  });
}

/** @param held left out where no limit is to be met: then the engine's own are far away */
export function contender(name: ContenderName, engine: Engine, db: Db, held?: RollingLimit): Contender {
  const limit = held ?? NO_LIMIT;
  switch (name) {
    case 'breaker':
      return breakerContender(held === undefined ? engine : underLimit(engine, held));
    case 'inc':
    case 'inc-hot':
      return incContender(db, limit, name === 'inc');
    case 'compare-and-set':
      return compareAndSetContender(db, limit);
    case 'rate-limiter-flexible':
      return limiterContender(db, limit);
  }
}

function underLimit(engine: Engine, { payments, windowSeconds }: RollingLimit): Engine {
  const micro = AMOUNT_MICRO * BigInt(payments);
  const usdt = { hourlyMicro: micro, dailyMicro: micro };
  const windowMs = windowSeconds * 1_000;
  return {
    ...engine,
    rules: {
      ...engine.rules,
      limits: { ...engine.rules.limits, USDT: usdt },
      windows: { hourMs: windowMs, dayMs: windowMs },
    },
  };
}

function breakerContender(engine: Engine): Contender {
  const { ledger } = engine;
  return {
    async admit(payment) {
      const known = await ledger.readBreaker();
      const reserving = await reserve(engine, payment, FEE_MICRO, known.restore, known);
      if (reserving.kind !== 'pushed') return false;
      const { reservation } = reserving;
      const stored = await ledger.storeSigned(guardOf(payment), newAttempt(), noteOf(reservation), {
        entry: { atMs: Date.now(), event: 'signed', detail: 'attempt 1' },
        settleAtMs: Date.now(),
      });
      if (stored !== 'stored') throw new Error(`the admission was not noted: ${stored}`);
      await ledger.dropTransition(reservation.id);
      return true;
    },

    async confirm(payment) {
      const nowMs = await ledger.serverTimeMs();
      const included = { blockNumber: 1, blockTimeMs: nowMs, feeMicro: 0n };
      const closed = await ledger.closePayment(
        guardOf(payment),
        'signed',
        { status: 'confirmed', reason: null, endedAtMs: nowMs, included },
        { entry: { atMs: nowMs, event: 'confirmed', detail: 'in block 1' }, settleAtMs: nowMs },
      );
      if (!closed) throw new Error('the payment was not confirmed');
      await closeAccounts(engine, payment.id);
    },
  };
}

function incContender(db: Db, { payments }: RollingLimit, doesAll: boolean): Contender {
  const hot = db.collection<RawDocument>(RAW);
  const maxMicro = AMOUNT_MICRO * BigInt(payments - 1);
  return {
    async admit(payment) {
      await hot.findOne({ _id: BREAKER_ID });
      if (doesAll) await lookAtClock(db);
      const { matchedCount } = await hot.updateOne(
        { _id: BREAKER_ID, 'books.USDT.outstandingMicro': { $lte: maxMicro } },
        { $inc: { 'books.USDT.outstandingMicro': AMOUNT_MICRO } },
      );
      if (matchedCount === 0) return false;
      if (doesAll) await noteRaw(db, payment);
      await hot.updateOne({ _id: BREAKER_ID }, { $inc: { pushes: 1n } });
      return true;
    },
  };
}

function compareAndSetContender(db: Db, { payments }: RollingLimit): Contender {
  const hot = db.collection<RawDocument>(RAW);
  const maxMicro = AMOUNT_MICRO * BigInt(payments - 1);

  /** Changes the document of that version; reads it again for as long as others come between. */
  async function change(
    known: RawDocument,
    next: (document: RawDocument) => object | null,
  ): Promise<bigint | null> {
    for (let document = known; ; ) {
      const set = next(document);
      if (set === null) return null;
      const { matchedCount } = await hot.updateOne(
        { _id: BREAKER_ID, version: document.version },
        { $set: { ...set, version: document.version + 1n } },
      );
      if (matchedCount === 1) return document.version + 1n;
      document = await read();
    }
  }

  async function read(): Promise<RawDocument> {
    const document = await hot.findOne({ _id: BREAKER_ID });
    if (document === null) throw new Error('the hot document is gone');
    return document;
  }

  return {
    async admit(payment) {
      const document = await read();
      await lookAtClock(db);
      const version = await change(document, ({ books }) =>
        books.USDT.outstandingMicro > maxMicro
          ? null
          : { 'books.USDT.outstandingMicro': books.USDT.outstandingMicro + AMOUNT_MICRO },
      );
      if (version === null) return false;
      await noteRaw(db, payment);
      // Nobody may have come between: tried without reading again.
      await change({ ...document, version }, ({ pushes }) => ({ pushes: pushes + 1n }));
      return true;
    },
  };
}

function limiterContender(db: Db, { payments, windowSeconds }: RollingLimit): Contender {
  const limiter = new RateLimiterMongo({
    storeClient: db.client,
    dbName: db.databaseName,
    tableName: LIMITER,
    keyPrefix: '',
    points: payments,
    duration: windowSeconds,
  });
  return {
    async admit(payment) {
      await limiter.get(LIMITER_KEY);
      await lookAtClock(db);
      try {
        await limiter.consume(LIMITER_KEY, 1);
      } catch (error) {
        if (error instanceof RateLimiterRes) return false;
        throw error;
      }
      await noteRaw(db, payment);
      await limiter.penalty(LIMITER_KEY, 0);
      return true;
    },
  };
}

async function lookAtClock(db: Db): Promise<void> {
  await db.command({ hello: 1 });
}

/** What every payout stores of itself, whoever admits it. */
async function noteRaw(db: Db, payment: Payment): Promise<void> {
  const payments: Collection<PaymentDocument> = db.collection(PAYMENTS);
  const attempt = newAttempt();
  const { matchedCount } = await payments.updateOne(
    { _id: payment.id, status: 'accepted' },
    {
      $set: { status: 'signed', settleAtMs: Date.now(), isHeld: true },
      $push: {
        attempts: attempt,
        txIds: attempt.txId,
        history: { atMs: Date.now(), event: 'signed', detail: 'attempt 1' },
      },
    },
  );
  if (matchedCount !== 1) throw new Error('the admission was not noted');
}

/** Payments that wait for their reservation; stored at once, before the time is taken. */
export async function insertPayments(db: Db, engine: Engine, count: number): Promise<Payment[]> {
  return insert(
    db,
    Array.from({ length: count }, () => newPayment(engine)),
  );
}

async function insert(db: Db, payments: Payment[]): Promise<Payment[]> {
  const documents = payments.map((payment) => paymentDocument(payment, false));
  const collection: Collection<PaymentDocument> = db.collection(PAYMENTS);
  for (let from = 0; from < documents.length; from += INSERTED_TOGETHER) {
    await collection.insertMany(documents.slice(from, from + INSERTED_TOGETHER));
  }
  return payments;
}

/** Payments that are confirmed, with reservations that are yet to be committed, and counted as such. */
export async function insertConfirmed(db: Db, engine: Engine, count: number): Promise<Payment[]> {
  const nowMs = Date.now();
  const payments = Array.from({ length: count }, () => {
    const reservationId = engine.ids.next();
    return {
      ...newPayment(engine),
      status: 'confirmed' as const,
      reservationId,
      notedIds: [reservationId],
      feeReservedMicro: FEE_MICRO,
      endedAtMs: nowMs,
    };
  });
  await db.collection<BreakerDocument>(BREAKER).updateOne(
    { _id: BREAKER_ID },
    {
      $inc: {
        'books.USDT.outstandingMicro': AMOUNT_MICRO * BigInt(count),
        'fees.outstandingMicro': FEE_MICRO * BigInt(count),
      },
    },
  );
  return insert(db, payments);
}

function newPayment({ ids }: Engine): Payment {
  const nowMs = Date.now();
  return storedPayment({
    id: `pay_${ids.next()}`,
    amountMicro: AMOUNT_MICRO,
    idempotencyKey: ids.next(),
    history: [{ atMs: nowMs, event: 'accepted', detail: 'asked by gateway' }],
    createdAtMs: nowMs,
    payByMs: nowMs + 3_600_000,
    settleAtMs: nowMs + 60_000,
    leaseOwner: ids.next(),
  });
}

/** As large as one of a USDT transfer. */
function newAttempt(): Attempt {
  const nowMs = Date.now();
  return attempt({
    sealed: randomBytes(320),
    expirationMs: nowMs + 300_000,
    feeLimitMicro: FEE_MICRO,
    signedAtMs: nowMs,
  });
}
