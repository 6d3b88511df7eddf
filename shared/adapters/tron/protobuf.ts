/** Protobuf's wire format, as much of it as blocks and transactions take. https://protobuf.dev/programming-guides/encoding */

/** Something that is not as it is known here: to be told from a mistake of ours. */
export class Unknown extends Error {}

// What is zero or empty is not written.

export function integerField(field: number, value: unknown): Buffer {
  if (value === undefined || value === 0) return Buffer.alloc(0);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new Unknown('no number');
  return Buffer.concat([varint(field << 3), varint(value)]);
}

export function bytesField(field: number, value: unknown): Buffer {
  return value === undefined ? Buffer.alloc(0) : lengthDelimited(field, bytesOf(value));
}

export function lengthDelimited(field: number, content: Buffer): Buffer {
  return Buffer.concat([varint((field << 3) | 2), varint(content.length), content]);
}

/** @throws Unknown for anything but hexadecimal text */
export function bytesOf(value: unknown): Buffer {
  if (typeof value !== 'string' || !/^(?:[0-9a-fA-F]{2})*$/.test(value)) throw new Unknown('no bytes');
  return Buffer.from(value, 'hex');
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** A message's fields by number, each with all that was written under it. */
export type Fields = ReadonlyMap<number, readonly (bigint | Buffer)[]>;

const VARINT = 0;
const FIXED_64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

/** @throws Unknown for bytes that are no message */
export function readMessage(bytes: Buffer): Fields {
  const fields = new Map<number, (bigint | Buffer)[]>();
  let at = 0;

  function readVarint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at];
      if (byte === undefined) break;
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new Unknown('no number');
  }

  function readBytes(length: bigint): Buffer {
    if (length > BigInt(bytes.length - at)) throw new Unknown('a message that breaks off');
    const from = at;
    at += Number(length);
    return bytes.subarray(from, at);
  }

  while (at < bytes.length) {
    const tag = readVarint();
    const field = Number(tag >> 3n);
    const values = fields.get(field) ?? [];
    switch (Number(tag & 7n)) {
      case VARINT:
        values.push(readVarint());
        break;
      case FIXED_64:
        values.push(readBytes(8n));
        break;
      case LENGTH_DELIMITED:
        values.push(readBytes(readVarint()));
        break;
      case FIXED_32:
        values.push(readBytes(4n));
        break;
      default:
        throw new Unknown('a wire type that is not known');
    }
    fields.set(field, values);
  }
  return fields;
}

/** The last number under a field, as a signed 64-bit integer; zero where there is none. */
export function numberAt(fields: Fields, field: number): bigint {
  const value = fields.get(field)?.at(-1) ?? 0n;
  if (typeof value !== 'bigint') throw new Unknown('no number');
  return BigInt.asIntN(64, value);
}

/** The last bytes under a field; none where there are none. */
export function bytesAt(fields: Fields, field: number): Buffer {
  const value = fields.get(field)?.at(-1) ?? Buffer.alloc(0);
  if (typeof value === 'bigint') throw new Unknown('no bytes');
  return value;
}
