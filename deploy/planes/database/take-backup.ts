import { join } from 'node:path';
import { BSON, type ClientSession, type Db, type ReadConcernLike } from 'mongodb';
import {
  BREAKER,
  BREAKER_ID,
  type BreakerDocument,
  breakerFrom,
  PAYMENTS,
} from '../../../shared/adapters/mongo/documents.ts';
import { readServerTimeMs } from '../../../shared/adapters/mongo/server-time.ts';
import { storeAccess } from '../../../shared/adapters/mongo/store-errors.ts';
import { isSameMoment } from '../../../shared/domain/audit.ts';
import { type BackupContent, type BackupDocument, type Consistency, writeBackup } from './backup-file.ts';

export interface Backup extends BackupContent {
  readonly path: string;
  readonly fileBytes: number;
}

/** `before-restore` is of whatever is there, be it without its breaker document. */
export type BackupKind = 'backup' | 'before-restore';

/** The first wire version of servers that show a session one moment: MongoDB 5.0. */
const SNAPSHOT_WIRE_VERSION = 13;
/** Reads of a busy server that shows no moment by itself, until the backup is given up. */
const TRIES_MAX = 5;
const BATCH = 500;
/** For a primary to make sure that it still is one. */
const CONFIRM_MS = 30_000;
/** The server no longer has the moment that is being read. */
const SNAPSHOT_TOO_OLD = [239, 246];

/**
 * Makes a backup of breaker and payments as they were at one moment. It only reads.
 * @param db as `connectMongo` opens it
 * @param folder where the file is made; its name is the kind and the time
 * @throws Error in one line; then there is no file
 */
export async function takeBackup(
  db: Db,
  { folder, kind }: { readonly folder: string; readonly kind: BackupKind },
): Promise<Backup> {
  const { isSet } = await findPrimary(db);
  const write = async (consistency: Consistency, documents: AsyncIterable<BackupDocument>) => {
    const takenAtMs = await readServerTimeMs(db, storeAccess(db.client));
    const path = join(folder, nameOf(kind, takenAtMs));
    const header = { database: db.databaseName, takenAtMs, consistency };
    return { path, ...(await writeBackup(path, header, documents)) };
  };
  if (isSet) return write('snapshot', readSnapshot(db, kind));
  for (let tries = 1; ; tries += 1) {
    try {
      return await write('same moment', readTwice(db, kind));
    } catch (error) {
      if (!(error instanceof MomentPassed)) throw error;
      if (tries === TRIES_MAX)
        throw new Error('payments were made all the while; pause them, and make the backup then');
    }
  }
}

/** @throws Error where another server is the primary: this one may be behind. */
export async function findPrimary(db: Db): Promise<{ readonly isSet: boolean }> {
  const { isWritablePrimary, primary, setName, maxWireVersion } = await storeAccess(db.client).reading(() =>
    db.command({ hello: 1 }),
  );
  if (isWritablePrimary !== true) {
    const where = typeof primary === 'string' ? `; it is ${primary}, name that one in MONGO_HOST` : '';
    throw new Error(`this database server is not the primary${where}`);
  }
  return { isSet: typeof setName === 'string' && Number(maxWireVersion) >= SNAPSHOT_WIRE_VERSION };
}

/** How the programs read a breaker document, whichever way they came by it. */
export function breakerIn(bson: Uint8Array): BreakerDocument {
  return BSON.deserialize(bson, { useBigInt64: true, promoteBuffers: true }) as BreakerDocument;
}

/** What may be backed up as a system. @throws Error */
function judge(breaker: BackupDocument | undefined, kind: BackupKind): void {
  if (kind === 'before-restore') return;
  if (breaker === undefined)
    throw new Error('there is no breaker document in this database: nothing to back up');
  if (breakerIn(breaker.bson).restore?.isLoaded === false)
    throw new Error('a restore has not come to its end here; run it again before a backup is made');
}

async function* readSnapshot(db: Db, kind: BackupKind): AsyncGenerator<BackupDocument> {
  // A server that was the primary may take itself for it for some seconds more: this read makes it ask the others.
  await db
    .collection<BreakerDocument>(BREAKER)
    .findOne({ _id: BREAKER_ID }, { readConcern: { level: 'linearizable' }, maxTimeMS: CONFIRM_MS });
  const session = db.client.startSession({ snapshot: true });
  try {
    const read = { session, readConcern: { level: 'snapshot' } } as const;
    yield* readBreakers(db, kind, read);
    yield* readAll(db, PAYMENTS, read);
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    if (!SNAPSHOT_TOO_OLD.some((known) => known === code)) throw error;
    throw new Error(
      'reading took longer than the server keeps a moment: raise its minSnapshotHistoryWindowInSeconds',
      { cause: error },
    );
  } finally {
    await session.endSession();
  }
}

/**
 * A server without sessions: where the breaker is the same before and after the payments were read, no step between
 * two documents began or ended meanwhile.
 */
async function* readTwice(db: Db, kind: BackupKind): AsyncGenerator<BackupDocument> {
  const before = yield* readBreakers(db, kind);
  yield* readAll(db, PAYMENTS);
  for await (const after of readAll(db, BREAKER)) {
    if (idOf(after) !== BREAKER_ID) continue;
    if (before === undefined || !isUnchanged(breakerIn(before.bson), breakerIn(after.bson)))
      throw new MomentPassed();
    return;
  }
  if (before !== undefined) throw new MomentPassed();
}

class MomentPassed extends Error {}

function isUnchanged(before: BreakerDocument, after: BreakerDocument): boolean {
  return before.slotsVersion === after.slotsVersion && isSameMoment(breakerFrom(before), breakerFrom(after));
}

/** All of the breaker's collection, and at the end its own document among them. */
async function* readBreakers(
  db: Db,
  kind: BackupKind,
  read: ReadOptions = {},
): AsyncGenerator<BackupDocument, BackupDocument | undefined> {
  let breaker: BackupDocument | undefined;
  const others: BackupDocument[] = [];
  for await (const document of readAll(db, BREAKER, read)) {
    if (idOf(document) === BREAKER_ID) breaker = document;
    else others.push(document);
  }
  judge(breaker, kind);
  yield* breaker === undefined ? others : [breaker, ...others];
  return breaker;
}

interface ReadOptions {
  readonly session?: ClientSession;
  readonly readConcern?: ReadConcernLike;
}

async function* readAll(
  db: Db,
  collection: BackupDocument['collection'],
  read: ReadOptions = {},
): AsyncGenerator<BackupDocument> {
  // In the order of ids, so that two backups of the same content are the same.
  const cursor = db.collection(collection).find({}, { ...read, raw: true, batchSize: BATCH });
  for await (const bson of cursor.sort({ _id: 1 })) yield { collection, bson: bson as unknown as Uint8Array };
}

function idOf({ bson }: BackupDocument): unknown {
  return BSON.deserialize(bson)._id;
}

/** No colons in it: not every file system takes them. */
function nameOf(kind: BackupKind, takenAtMs: number): string {
  return `${kind}-${new Date(takenAtMs).toISOString().replaceAll(':', '-')}.ejson.gz`;
}
