import {
  closeSync,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  write,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import type { StoredBlock } from './block.ts';
import { decodeJson, encodeJson } from './encoding.ts';
import type { StateValue } from './state.ts';

const writeFile = promisify(write);
const syncFile = promisify(fdatasync);

/** One block as it lies in the file: what was in it, what it changed, and how far the chain was solid then. */
export type BlockRecord = {
  readonly block: StoredBlock;
  /** A null removes the key. */
  readonly changes: readonly (readonly [key: string, value: StateValue | null])[];
  readonly solidNumber: number;
};

/** The first record: whose chain this is. */
export type ChainIdentity = { readonly format: 1; readonly seed: string; readonly genesisBlockId: string };

const FILE = 'blocks.log';
/** Each record: length of the payload, its CRC-32, the payload. */
const HEADER_BYTES = 8;
const RECORD_BYTES_MAX = 1 << 28;

/**
 * The chain's only file: an append-only log. A record is on the disk (fdatasync) before anyone is served its
 * block. A block whose number is not above the one before begins another branch: what it replaces is void.
 */
export class BlockStore {
  readonly #file: number;
  #end: number;

  private constructor(file: number) {
    this.#file = file;
    this.#end = 0;
  }

  /**
   * Opens the log and hands every record in it to `onRecord`, with its place in the file.
   * A torn last record, as kill -9 or a power cut leaves it, is cut off: nobody was served it.
   * @throws Error in one clear line when the data belong to another chain or are damaged before their end.
   */
  static open(
    folder: string,
    identity: ChainIdentity,
    onRecord: (record: BlockRecord, offset: number) => void,
  ): BlockStore {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, FILE);
    const store = new BlockStore(openSync(path, 'a+', 0o600));
    try {
      store.#load(path, identity, onRecord);
    } catch (error) {
      store.close();
      throw error;
    }
    return store;
  }

  /** Appends blocks, all or (after a crash) a first part of them. @returns their places, once they are durable. */
  async append(records: readonly BlockRecord[]): Promise<readonly number[]> {
    const frames = records.map((record) => frame(encodeJson(record)));
    const offsets: number[] = [];
    let end = this.#end;
    for (const bytes of frames) {
      offsets.push(end);
      end += bytes.length;
    }
    await this.#write(Buffer.concat(frames));
    return offsets;
  }

  /** Reads one record back. */
  read(offset: number): BlockRecord {
    const payload = this.#readFrame(offset);
    if (typeof payload !== 'string') throw new Error(`no block at byte ${offset} of ${FILE}`);
    return decodeJson(payload) as BlockRecord;
  }

  close(): void {
    closeSync(this.#file);
  }

  #load(
    path: string,
    identity: ChainIdentity,
    onRecord: (record: BlockRecord, offset: number) => void,
  ): void {
    const first = this.#readFrame(0);
    if (typeof first !== 'string') {
      this.#cutTail(0, first, path);
      this.#writeIdentity(path, identity);
      return;
    }
    const found = decodeJson(first) as ChainIdentity;
    if (found.seed !== identity.seed || found.genesisBlockId !== identity.genesisBlockId) {
      throw new Error(
        `the chain in ${dirname(path)} was made with the seed "${found.seed}" (genesis ${found.genesisBlockId.slice(16, 32)}…), ` +
          `not "${identity.seed}": give that seed, another --data, or --fresh`,
      );
    }
    this.#end = HEADER_BYTES + Buffer.byteLength(first);
    for (;;) {
      const payload = this.#readFrame(this.#end);
      if (typeof payload !== 'string') {
        this.#cutTail(this.#end, payload, path);
        return;
      }
      onRecord(decodeJson(payload) as BlockRecord, this.#end);
      this.#end += HEADER_BYTES + Buffer.byteLength(payload);
    }
  }

  /** The payload at a place, or why there is none. */
  #readFrame(offset: number): string | TornRecord {
    const header = Buffer.alloc(HEADER_BYTES);
    const got = readSync(this.#file, header, 0, HEADER_BYTES, offset);
    if (got === 0) return new TornRecord(0, true);
    const length = header.readUInt32BE(0);
    if (got < HEADER_BYTES) return new TornRecord(got, true);
    if (length === 0 || length > RECORD_BYTES_MAX) return new TornRecord(HEADER_BYTES, length === 0);
    const payload = Buffer.alloc(length);
    const read = readSync(this.#file, payload, 0, length, offset + HEADER_BYTES);
    if (read < length) return new TornRecord(HEADER_BYTES + read, true);
    if (crc32(payload) !== header.readUInt32BE(4)) {
      const beyond = readSync(this.#file, Buffer.alloc(1), 0, 1, offset + HEADER_BYTES + length);
      return new TornRecord(HEADER_BYTES + length, beyond === 0);
    }
    return payload.toString('utf8');
  }

  #cutTail(end: number, torn: TornRecord, path: string): void {
    if (torn.bytes === 0) return;
    if (!torn.last) throw new Error(`${path} is damaged at byte ${end}: restore it, or start with --fresh`);
    ftruncateSync(this.#file, end);
    fsyncSync(this.#file);
  }

  #writeIdentity(path: string, identity: ChainIdentity): void {
    const bytes = frame(encodeJson(identity));
    writeSync(this.#file, bytes);
    fsyncSync(this.#file);
    // The file's name must be durable as well.
    const folder = openSync(dirname(path), 'r');
    fsyncSync(folder);
    closeSync(folder);
    this.#end = bytes.length;
  }

  async #write(bytes: Buffer): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const result = await writeFile(this.#file, bytes, written, bytes.length - written, null);
      written += result.bytesWritten;
    }
    await syncFile(this.#file);
    this.#end += bytes.length;
  }
}

/** A record that is not whole; `last` when nothing follows it, so that a crash can have left it. */
class TornRecord {
  readonly bytes: number;
  readonly last: boolean;

  constructor(bytes: number, last: boolean) {
    this.bytes = bytes;
    this.last = last;
  }
}

function frame(payload: string): Buffer {
  const body = Buffer.from(payload, 'utf8');
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(body.length, 0);
  header.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([header, body]);
}
