import { randomUUID } from 'node:crypto';
import { BSON, type Db } from 'mongodb';
import type { Document } from '../../../shared/adapters/mongo/document-store.ts';
import {
  BREAKER,
  BREAKER_ID,
  type BreakerDocument,
  breakerFrom,
  PAYMENTS,
  restoredBreaker,
} from '../../../shared/adapters/mongo/documents.ts';
import { migrateDatabase } from '../../../shared/adapters/mongo/migrations.ts';
import { prepareDatabase } from '../../../shared/adapters/mongo/mongo-store.ts';
import { readServerTimeMs } from '../../../shared/adapters/mongo/server-time.ts';
import { storeAccess } from '../../../shared/adapters/mongo/store-errors.ts';
import { type BackupContent, type BackupDocument, type DocumentCounts, readBackup } from './backup-file.ts';
import { type Backup, breakerIn, findPrimary, takeBackup } from './take-backup.ts';

/** It must not be done as it was asked for. Nothing was changed. */
export class RestoreRefused extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'RestoreRefused';
  }
}

export interface RestoreOrder {
  readonly path: string;
  /** That the present content may go; a backup of it is made before. */
  readonly isReplacing: boolean;
  /** Where that backup is made. */
  readonly folder: string;
}

export interface RestoreReport extends BackupContent {
  /** Of what was there; null where nothing was. */
  readonly before: Backup | null;
}

/** Whole documents together are at most this, when they are inserted or removed. */
const BATCH_DOCUMENTS = 500;
const BATCH_BYTES = 8 * 1024 * 1024;

/**
 * Whether it could be done: the file is whole and of this database, and nothing stands in its way. Changes nothing.
 * @throws BackupUnusable, RestoreRefused
 */
export async function judgeRestore(db: Db, { path, isReplacing }: RestoreOrder): Promise<BackupContent> {
  return (await judge(db, path, isReplacing)).content;
}

/**
 * Puts a backup back. The order of writes is such that, wherever it breaks off, nothing can be paid from what is there
 * then, and it can be run again: the breaker comes first, paused and marked as not loaded, and that it is loaded is
 * said last.
 * @throws BackupUnusable, RestoreRefused: nothing was changed; any other error: it has to be run again
 */
export async function restoreBackup(
  db: Db,
  { path, isReplacing, folder }: RestoreOrder,
): Promise<RestoreReport> {
  const { content, breaker, others, standing } = await judge(db, path, isReplacing);
  const before = standing.kind === 'in use' ? await takeBackup(db, { folder, kind: 'before-restore' }) : null;
  const nowMs = () => readServerTimeMs(db, storeAccess(db.client));
  const restoreId = randomUUID();

  const marks = {
    restoreId,
    backupAtMs: content.header.takenAtMs,
    restoredAtMs: await nowMs(),
    isLoaded: false,
  };
  await replaceBreaker(db, standing.breaker, restoredBreaker(breaker, marks));
  await removePayments(db);
  await prepareDatabase(db);
  await insertPayments(db, path);
  await replaceOthers(db, others);
  await compareCounts(db, content.counts);
  await migrateDatabase(db);
  await markAsLoaded(db, restoreId, await nowMs());
  return { ...content, before };
}

/**
 * For a database that was brought back by other means: its content is taken for what it was at that time. It is paused,
 * and has to find out what was paid since.
 * @throws RestoreRefused
 */
export async function markAsRestored(db: Db, backupAtMs: number): Promise<void> {
  await findPrimary(db);
  const breaker = await breakers(db).findOne({ _id: BREAKER_ID });
  if (breaker === null) throw new RestoreRefused('there is no breaker document in this database');
  if (breaker.restore?.isLoaded === false)
    throw new RestoreRefused('a restore from a file has not come to its end here; run it again');
  const restoredAtMs = await readServerTimeMs(db, storeAccess(db.client));
  if (backupAtMs > restoredAtMs) {
    throw new RestoreRefused(
      `${new Date(backupAtMs).toISOString()} is in the future: the database's clock shows ${new Date(restoredAtMs).toISOString()}`,
    );
  }
  const marks = { restoreId: randomUUID(), backupAtMs, restoredAtMs, isLoaded: true };
  // First: whatever breaks off after it, nothing is paid.
  await replaceBreaker(db, breaker, restoredBreaker(breaker, marks));
  await prepareDatabase(db);
  await migrateDatabase(db);
}

interface Standing {
  readonly kind: 'fresh' | 'restore broke off' | 'in use';
  readonly breaker: BreakerDocument | null;
}

async function judge(db: Db, path: string, isReplacing: boolean) {
  const { content, breaker, others } = await readBreakers(path);
  const { header } = content;
  if (header.database !== db.databaseName)
    throw new RestoreRefused(
      `${path} is of the database ${header.database}, and this one is ${db.databaseName}`,
    );
  if (breaker === undefined)
    throw new RestoreRefused(`${path} holds no breaker document: it is no whole system`);
  if (breaker.restore?.isLoaded === false)
    throw new RestoreRefused(`${path} is of a system whose own restore had not come to its end`);
  if (!isReadable(breaker))
    throw new RestoreRefused(
      `${path} is of another version of this service, which keeps its books otherwise`,
    );
  await findPrimary(db);
  const standing = await readStanding(db);
  if (standing.kind === 'in use' && !isReplacing) {
    throw new RestoreRefused(
      `the database ${db.databaseName} is in use; --replace makes a backup of it, and puts the other one in its place`,
    );
  }
  return { content, breaker, others, standing };
}

function isReadable(breaker: BreakerDocument): boolean {
  try {
    breakerFrom(breaker);
    return true;
  } catch {
    return false;
  }
}

async function readBreakers(path: string) {
  const reading = readBackup(path);
  let breaker: BreakerDocument | undefined;
  const others: Document[] = [];
  for (;;) {
    const { done, value } = await reading.next();
    if (done === true) return { content: value, breaker, others };
    if (value.collection !== BREAKER) continue;
    const document = breakerIn(value.bson);
    if (document._id === BREAKER_ID) breaker = document;
    else others.push(typed(value));
  }
}

async function readStanding(db: Db): Promise<Standing> {
  const breaker = await breakers(db).findOne({ _id: BREAKER_ID });
  if (breaker?.restore?.isLoaded === false) return { kind: 'restore broke off', breaker };
  const isFresh = breaker === null || (breaker.pushes === 0n && (breaker.restore ?? null) === null);
  const payment = await payments(db).findOne({}, { projection: { _id: 1 } });
  return { kind: isFresh && payment === null ? 'fresh' : 'in use', breaker };
}

/** @throws RestoreRefused where it is not the one that was read any more: then somebody pays from it */
async function replaceBreaker(db: Db, read: BreakerDocument | null, next: BreakerDocument): Promise<void> {
  const { _id, ...fields } = next;
  const { matchedCount, upsertedCount } =
    read === null
      ? await breakers(db).replaceOne({ _id }, fields, { upsert: true })
      : await breakers(db).replaceOne({ _id, pushes: read.pushes, slotsVersion: read.slotsVersion }, fields);
  if (matchedCount + upsertedCount === 0)
    throw new RestoreRefused('payments are being made from this database; stop pay and settle first');
}

async function removePayments(db: Db): Promise<void> {
  for (;;) {
    const page = await payments(db)
      .find({}, { projection: { _id: 1 }, limit: BATCH_DOCUMENTS })
      .toArray();
    if (page.length === 0) return;
    await payments(db).deleteMany({ _id: { $in: page.map(({ _id }) => _id) } });
  }
}

async function insertPayments(db: Db, path: string): Promise<void> {
  let batch: Document[] = [];
  let bytes = 0;
  for await (const document of readBackup(path)) {
    if (document.collection !== PAYMENTS) continue;
    const isFull = batch.length === BATCH_DOCUMENTS || bytes + document.bson.length > BATCH_BYTES;
    if (isFull && batch.length > 0) {
      await payments(db).insertMany(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(typed(document));
    bytes += document.bson.length;
  }
  if (batch.length > 0) await payments(db).insertMany(batch);
}

/** What audits remember. */
async function replaceOthers(db: Db, others: readonly Document[]): Promise<void> {
  const collection = db.collection<Document>(BREAKER);
  await collection.deleteMany({ _id: { $nin: [BREAKER_ID, ...others.map(({ _id }) => _id)] } });
  for (const { _id, ...fields } of others) await collection.replaceOne({ _id }, fields, { upsert: true });
}

async function compareCounts(db: Db, counts: DocumentCounts): Promise<void> {
  for (const collection of [BREAKER, PAYMENTS] as const) {
    const there = await db.collection(collection).countDocuments({});
    if (there !== counts[collection])
      throw new Error(
        `${there} documents are in ${collection}, and ${counts[collection]} were put there: somebody else writes to this database`,
      );
  }
}

async function markAsLoaded(db: Db, restoreId: string, restoredAtMs: number): Promise<void> {
  const { matchedCount } = await breakers(db).updateOne(
    { _id: BREAKER_ID, 'restore.id': restoreId, 'restore.isLoaded': false },
    { $set: { 'restore.isLoaded': true, 'restore.restoredAtMs': restoredAtMs } },
  );
  if (matchedCount === 0)
    throw new Error('another restore has begun meanwhile; run one of them again, alone');
}

/** As it is stored: each number with the type that it has in the file. */
function typed({ bson }: BackupDocument): Document {
  return BSON.deserialize(bson, { promoteValues: false }) as Document;
}

const breakers = (db: Db) => db.collection<BreakerDocument>(BREAKER);
const payments = (db: Db) => db.collection<Document>(PAYMENTS);
