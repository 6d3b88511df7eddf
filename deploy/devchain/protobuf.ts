import { fromHex, toHex } from './encoding.ts';

/**
 * A small protocol-buffers codec driven by schemas written in TypeScript: java-tron hashes the *re-serialised*
 * message, so a chain must encode exactly as Java does: fields by ascending number, defaults left out.
 */

/** Enumerations map names to numbers; the numbers go on the wire. */
export type EnumType = { readonly enumeration: Readonly<Record<string, number>> };
export type MessageType<Fields extends FieldMap = FieldMap> = {
  readonly message: string;
  readonly fields: Fields;
};
export type ScalarType = 'int32' | 'int64' | 'bool' | 'string' | 'bytes';
export type FieldType = ScalarType | EnumType | MessageType;
export type Field = { readonly number: number; readonly type: FieldType; readonly repeated: boolean };
export type FieldMap = Readonly<Record<string, Field>>;

type Single<T> = T extends 'int32'
  ? number
  : T extends 'int64'
    ? bigint
    : T extends 'bool'
      ? boolean
      : T extends 'string' | 'bytes'
        ? string
        : T extends { readonly enumeration: infer E }
          ? keyof E & string
          : T extends { readonly fields: infer F extends FieldMap }
            ? Decoded<F>
            : never;

/**
 * The TypeScript value of a message: int64 as bigint, bytes as lower-case hex, enumerations as their names,
 * absent scalars as their defaults, absent messages as undefined. `unknownHex` keeps fields that the schema
 * does not name, because they belong to the hash.
 */
export type Decoded<F extends FieldMap> = {
  readonly [K in keyof F]: F[K] extends { readonly repeated: true }
    ? readonly Single<F[K]['type']>[]
    : F[K]['type'] extends MessageType
      ? Single<F[K]['type']> | undefined
      : Single<F[K]['type']>;
} & { readonly unknownHex?: string };

export type MessageOf<T extends MessageType> = Decoded<T['fields']>;
/** What an encoder takes: every field may be left out. */
export type Draft = Readonly<Record<string, unknown>>;

export function field<const T extends FieldType>(
  number: number,
  type: T,
): { readonly number: number; readonly type: T; readonly repeated: false } {
  return { number, type, repeated: false };
}

export function repeated<const T extends FieldType>(
  number: number,
  type: T,
): { readonly number: number; readonly type: T; readonly repeated: true } {
  return { number, type, repeated: true };
}

export function message<const F extends FieldMap>(name: string, fields: F): MessageType<F> {
  return { message: name, fields };
}

export function enumeration<const E extends Readonly<Record<string, number>>>(
  values: E,
): { readonly enumeration: E } {
  return { enumeration: values };
}

/** Bytes that are no valid message; the message text is Java protobuf's. */
export class ProtobufError extends Error {
  override readonly name = 'ProtobufError';
}

const TRUNCATED =
  'While parsing a protocol message, the input ended unexpectedly in the middle of a field.  This could mean ' +
  'either that the input has been truncated or that an embedded message misreported its own length.';

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** Decodes a message. @throws ProtobufError */
export function decode<T extends MessageType>(type: T, bytes: Uint8Array): MessageOf<T> {
  return decodeFields(type, new Reader(bytes)) as MessageOf<T>;
}

/** Encodes a message, canonically. */
export function encode<T extends MessageType>(type: T, value: Draft): Uint8Array {
  const writer = new Writer();
  encodeFields(type, value, writer);
  return writer.finish();
}

function decodeFields(type: MessageType, reader: Reader): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const byNumber = new Map<number, readonly [string, Field]>();
  for (const [name, spec] of Object.entries(type.fields)) {
    byNumber.set(spec.number, [name, spec]);
    result[name] = spec.repeated ? [] : defaultOf(spec.type);
  }
  let unknownHex = '';
  while (!reader.atEnd()) {
    const start = reader.position;
    const tag = Number(reader.varint());
    const number = tag >>> 3;
    const wire = tag & 7;
    if (number === 0) throw new ProtobufError('Protocol message contained an invalid tag (zero).');
    const known = byNumber.get(number);
    if (known === undefined || wire !== wireOf(known[1].type)) {
      reader.skip(wire);
      unknownHex += toHex(reader.slice(start));
      continue;
    }
    const [name, spec] = known;
    const value = decodeSingle(spec.type, reader);
    if (spec.repeated) (result[name] as unknown[]).push(value);
    else result[name] = value;
  }
  if (unknownHex !== '') result.unknownHex = unknownHex;
  return result;
}

function decodeSingle(type: FieldType, reader: Reader): unknown {
  if (type === 'int64') return BigInt.asIntN(64, reader.varint());
  if (type === 'int32') return Number(BigInt.asIntN(32, reader.varint()));
  if (type === 'bool') return reader.varint() !== 0n;
  if (type === 'bytes') return toHex(reader.bytes());
  if (type === 'string') return Buffer.from(reader.bytes()).toString('utf8');
  if ('enumeration' in type) {
    const number = Number(BigInt.asIntN(32, reader.varint()));
    return Object.keys(type.enumeration).find((name) => type.enumeration[name] === number) ?? 'UNRECOGNIZED';
  }
  return decodeFields(type, new Reader(reader.bytes()));
}

function encodeFields(type: MessageType, value: Draft, writer: Writer): void {
  const ordered = Object.entries(type.fields).sort(([, a], [, b]) => a.number - b.number);
  for (const [name, spec] of ordered) {
    const given = value[name];
    if (given === undefined || given === null) continue;
    const items: readonly unknown[] = spec.repeated ? (given as readonly unknown[]) : [given];
    for (const item of items) {
      // Inside a repeated field even a default value is an element.
      if (!spec.repeated && isDefault(spec.type, item)) continue;
      encodeSingle(spec, item, writer);
    }
  }
  if (typeof value.unknownHex === 'string') writer.raw(fromHex(value.unknownHex));
}

function encodeSingle(spec: Field, item: unknown, writer: Writer): void {
  const { type } = spec;
  writer.varint(BigInt((spec.number << 3) | wireOf(type)));
  if (type === 'int64' || type === 'int32')
    writer.varint(BigInt.asUintN(64, BigInt(item as bigint | number)));
  else if (type === 'bool') writer.varint(item === true ? 1n : 0n);
  else if (type === 'bytes') writer.bytes(fromHex(item as string));
  else if (type === 'string') writer.bytes(Buffer.from(item as string, 'utf8'));
  else if ('enumeration' in type) writer.varint(BigInt(type.enumeration[item as string] ?? 0));
  else writer.bytes(encode(type, item as Draft));
}

function wireOf(type: FieldType): number {
  if (type === 'int32' || type === 'int64' || type === 'bool') return VARINT;
  if (type === 'string' || type === 'bytes') return LENGTH_DELIMITED;
  return 'enumeration' in type ? VARINT : LENGTH_DELIMITED;
}

/** The value of an absent field. */
export function defaultOf(type: FieldType): unknown {
  if (type === 'int64') return 0n;
  if (type === 'int32') return 0;
  if (type === 'bool') return false;
  if (type === 'string' || type === 'bytes') return '';
  if ('enumeration' in type) return Object.keys(type.enumeration).find((n) => type.enumeration[n] === 0);
  return undefined;
}

/** True for a value that proto3 leaves off the wire (and JsonFormat out of the answer). */
export function isDefault(type: FieldType, value: unknown): boolean {
  if (type === 'int64' || type === 'int32') return value === 0n || value === 0;
  return value === defaultOf(type);
}

class Reader {
  readonly #bytes: Uint8Array;
  position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  atEnd(): boolean {
    return this.position >= this.#bytes.length;
  }

  varint(): bigint {
    let result = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.position];
      if (byte === undefined) throw new ProtobufError(TRUNCATED);
      this.position += 1;
      result |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, result);
    }
    throw new ProtobufError('CodedInputStream encountered a malformed varint.');
  }

  bytes(): Uint8Array {
    const length = Number(this.varint());
    const end = this.position + length;
    if (end > this.#bytes.length) throw new ProtobufError(TRUNCATED);
    const slice = this.#bytes.subarray(this.position, end);
    this.position = end;
    return slice;
  }

  skip(wire: number): void {
    if (wire === VARINT) this.varint();
    else if (wire === LENGTH_DELIMITED) this.bytes();
    else if (wire === FIXED64) this.#advance(8);
    else if (wire === FIXED32) this.#advance(4);
    else throw new ProtobufError('Protocol message tag had invalid wire type.');
  }

  slice(start: number): Uint8Array {
    return this.#bytes.subarray(start, this.position);
  }

  #advance(count: number): void {
    this.position += count;
    if (this.position > this.#bytes.length) throw new ProtobufError(TRUNCATED);
  }
}

class Writer {
  readonly #chunks: Uint8Array[] = [];

  varint(value: bigint): void {
    const out: number[] = [];
    let rest = value;
    while (rest > 0x7fn) {
      out.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    out.push(Number(rest));
    this.#chunks.push(Uint8Array.from(out));
  }

  bytes(value: Uint8Array): void {
    this.varint(BigInt(value.length));
    this.#chunks.push(value);
  }

  raw(value: Uint8Array): void {
    this.#chunks.push(value);
  }

  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#chunks));
  }
}
