/**
 * A backup in one file: gzip of lines of canonical EJSON, which is what MongoDB's own tools write and read.
 *
 *     {"format":"tron-payment-backup","version":1,"database":…,"takenAtMs":…,"consistency":…}
 *     {"collection":"breaker","document":{…}}
 *     {"collection":"payments","document":{…}}
 *     {"end":{"counts":{"breaker":2,"payments":1},"documents":"SHA-256","lines":"SHA-256"}}
 *
 * `lines` is over all bytes before the last line, `documents` over the documents' BSON as the database gave it: so the
 * file tells by itself that it is whole, and that what is read from it is, byte for byte, what was stored.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { BSON } from 'mongodb';
import type { CollectionName } from '../../../shared/adapters/mongo/document-store.ts';

const FORMAT = 'tron-payment-backup';
const VERSION = 1;

/**
 * snapshot: a replica set showed one moment by itself · same moment: a server that cannot was read twice, and nothing
 * that concerns two documents had begun or ended in between.
 */
export type Consistency = 'snapshot' | 'same moment';

export interface BackupHeader {
  readonly database: string;
  /** The database's clock before anything was read: what happened earlier is in the backup. */
  readonly takenAtMs: number;
  readonly consistency: Consistency;
}

export interface BackupDocument {
  readonly collection: CollectionName;
  readonly bson: Uint8Array;
}

export type DocumentCounts = Readonly<Record<CollectionName, number>>;

/** What a whole file holds. */
export interface BackupContent {
  readonly header: BackupHeader;
  readonly counts: DocumentCounts;
}

/** A file that must not be put back. The message names it, and says what is wrong. */
export class BackupUnusable extends Error {
  constructor(path: string, problem: string) {
    super(`${path} ${problem}`);
    this.name = 'BackupUnusable';
  }
}

/** Lines are gathered to about this much before they are compressed. */
const CHUNK_BYTES = 64 * 1024;
/** MongoDB's largest document is 16 MiB; nothing longer than this is a document in EJSON. */
const LINE_BYTES_MAX = 64 * 1024 * 1024;
const LINE_BREAK = 10;

/** A file under way has this ending, and a dot before its name. */
const PARTIAL = '.partial';
/** One that nothing was added to for so long is not under way any more: who wrote it was killed. */
const PARTIAL_MS_MAX = 3_600_000;

/**
 * Writes a backup. The file appears under its name only when all of it is on the disk and has been read back.
 * @param documents may throw, and then nothing is left behind
 * @throws what `documents` throws; BackupUnusable where it does not read back; the system's error where it cannot be
 *   written
 */
export async function writeBackup(
  path: string,
  header: BackupHeader,
  documents: AsyncIterable<BackupDocument>,
): Promise<BackupContent & { readonly fileBytes: number }> {
  const folder = dirname(path);
  const partial = join(folder, `.${basename(path)}.${randomUUID()}${PARTIAL}`);
  await removeLeftovers(folder);
  try {
    await pipeline(
      Readable.from(chunks(linesOf(header, documents)), { objectMode: true, highWaterMark: 2 }),
      createGzip(),
      createWriteStream(partial, { flags: 'wx', mode: 0o600, flush: true }),
    );
    const content = await verifyBackup(partial);
    const { size: fileBytes } = await stat(partial);
    await rename(partial, path);
    await syncFolder(folder);
    return { ...content, fileBytes };
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith('.') || !name.endsWith(PARTIAL)) continue;
    const path = join(folder, name);
    // Another backup may end just now, and its file be gone.
    const modifiedMs = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => Number.POSITIVE_INFINITY,
    );
    if (Date.now() - modifiedMs > PARTIAL_MS_MAX) await rm(path, { force: true });
  }
}

/** Reads the whole file. @throws BackupUnusable */
export async function verifyBackup(path: string): Promise<BackupContent> {
  const reading = readBackup(path);
  for (;;) {
    const { done, value } = await reading.next();
    if (done === true) return value;
  }
}

/**
 * The documents of a file, in their order, and at its end what it holds. Whether the file is whole is known only then:
 * who must not do anything with a broken one verifies it first.
 * @throws BackupUnusable
 */
export async function* readBackup(path: string): AsyncGenerator<BackupDocument, BackupContent> {
  const unusable = (problem: string) => new BackupUnusable(path, problem);
  const lines = createHash('sha256');
  const documents = createHash('sha256');
  const counts: Record<CollectionName, number> = { breaker: 0, payments: 0 };
  let header: BackupHeader | undefined;
  let end: string | undefined;
  for await (const line of readLines(path)) {
    if (end !== undefined) throw unusable('goes on after its end');
    const text = line.toString('utf8');
    if (header === undefined) {
      header = parseHeader(text, unusable);
    } else if (text.startsWith('{"end":')) {
      end = text;
      continue;
    } else {
      const document = parseDocument(text, unusable);
      documents.update(document.bson);
      counts[document.collection] += 1;
      yield document;
    }
    lines.update(line).update('\n');
  }
  if (header === undefined) throw unusable('is empty');
  if (end === undefined) throw unusable('is cut off: its last line is missing');
  const found = endLine({ counts, documents: documents.digest('hex'), lines: lines.digest('hex') });
  if (end !== found.trimEnd()) throw unusable('is damaged: its content is not what its last line says');
  return { header, counts };
}

async function* linesOf(
  { database, takenAtMs, consistency }: BackupHeader,
  documents: AsyncIterable<BackupDocument>,
): AsyncGenerator<string> {
  const lines = createHash('sha256');
  const all = createHash('sha256');
  const counts: Record<CollectionName, number> = { breaker: 0, payments: 0 };
  const first = `${JSON.stringify({ format: FORMAT, version: VERSION, database, takenAtMs, consistency })}\n`;
  lines.update(first);
  yield first;
  for await (const { collection, bson } of documents) {
    // Each number as the type that it is stored as: a round double must not come back as an integer.
    const document = BSON.deserialize(bson, { promoteValues: false });
    const line = `${BSON.EJSON.stringify({ collection, document }, { relaxed: false })}\n`;
    lines.update(line);
    all.update(bson);
    counts[collection] += 1;
    yield line;
  }
  yield endLine({ counts, documents: all.digest('hex'), lines: lines.digest('hex') });
}

function endLine(end: {
  readonly counts: DocumentCounts;
  readonly documents: string;
  readonly lines: string;
}): string {
  return `${JSON.stringify({ end })}\n`;
}

async function* chunks(lines: AsyncIterable<string>): AsyncGenerator<Buffer> {
  let gathered = '';
  for await (const line of lines) {
    gathered += line;
    if (gathered.length < CHUNK_BYTES) continue;
    yield Buffer.from(gathered);
    gathered = '';
  }
  yield Buffer.from(gathered);
}

type Unusable = (problem: string) => BackupUnusable;

function parseHeader(text: string, unusable: Unusable): BackupHeader {
  const read = parsed(text, JSON.parse) as Partial<Record<string, unknown>> | undefined;
  if (read?.format !== FORMAT) throw unusable('is no backup of this service');
  if (read.version !== VERSION)
    throw unusable(`is a backup of version ${read.version}; this program reads ${VERSION}`);
  const { database, takenAtMs, consistency } = read;
  const isHeader =
    typeof database === 'string' &&
    Number.isSafeInteger(takenAtMs) &&
    (consistency === 'snapshot' || consistency === 'same moment');
  if (!isHeader) throw unusable('is damaged: its first line does not say what it holds');
  return { database, takenAtMs: Number(takenAtMs), consistency };
}

function parseDocument(text: string, unusable: Unusable): BackupDocument {
  const read = parsed(text, (line) => BSON.EJSON.parse(line, { relaxed: false })) as
    | { readonly collection?: unknown; readonly document?: BSON.Document }
    | undefined;
  const { collection, document } = read ?? {};
  const isKnown = collection === 'breaker' || collection === 'payments';
  const bson = isKnown ? parsed(document, BSON.serialize) : undefined;
  if (!isKnown || bson === undefined) throw unusable('is damaged: a line of it is no document');
  return { collection, bson };
}

/** Undefined where it cannot be read: a damaged line may hold anything. */
function parsed<T, U>(value: T | undefined, parse: (value: T) => U): U | undefined {
  try {
    return value === undefined ? undefined : parse(value);
  } catch {
    return undefined;
  }
}

async function* readLines(path: string): AsyncGenerator<Buffer> {
  const { size } = await stat(path).catch((error: Error) => {
    throw notReadable(path, error);
  });
  const source = createReadStream(path);
  const gunzip = createGunzip();
  source.on('error', (error) => gunzip.destroy(notReadable(path, error)));
  source.pipe(gunzip);
  let rest: Buffer[] = [];
  let restBytes = 0;
  try {
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      let from = 0;
      for (let at = chunk.indexOf(LINE_BREAK); at !== -1; at = chunk.indexOf(LINE_BREAK, from)) {
        const piece = chunk.subarray(from, at);
        yield rest.length === 0 ? piece : Buffer.concat([...rest, piece]);
        from = at + 1;
        rest = [];
        restBytes = 0;
      }
      if (from === chunk.length) continue;
      rest.push(chunk.subarray(from));
      restBytes += chunk.length - from;
      if (restBytes > LINE_BYTES_MAX) throw new BackupUnusable(path, 'is damaged: a line of it is too long');
    }
  } catch (error) {
    throw isOfZlib(error) ? new BackupUnusable(path, describeZlib(error)) : error;
  } finally {
    source.destroy();
    gunzip.destroy();
  }
  if (restBytes > 0) throw new BackupUnusable(path, 'is cut off within a line');
  if (gunzip.bytesWritten !== size) throw new BackupUnusable(path, 'goes on after its end');
}

function notReadable(path: string, { code }: NodeJS.ErrnoException): BackupUnusable {
  const hint = code === 'EACCES' ? ': it must belong to the user of the containers' : '';
  return new BackupUnusable(path, code === 'ENOENT' ? 'is not there' : `cannot be read (${code})${hint}`);
}

function isOfZlib(error: unknown): error is NodeJS.ErrnoException {
  return /^Z_/.test(String((error as NodeJS.ErrnoException | null)?.code));
}

function describeZlib({ code, message }: NodeJS.ErrnoException): string {
  return code === 'Z_BUF_ERROR' ? 'is cut off' : `is damaged or no backup (${message})`;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
