import { createHash } from 'node:crypto';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { createBase58check } from '@scure/base';

const base58check = createBase58check((bytes: Uint8Array) => createHash('sha256').update(bytes).digest());

/** Lower-case hex of bytes. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** Bytes of an even-length hex string. */
export function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

export function isHex(text: string): boolean {
  return text.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(text);
}

/** SHA-256 as hex. */
export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Keccak-256 as hex. */
export function keccakHex(bytes: Uint8Array): string {
  return toHex(keccak_256(bytes));
}

/** Base58check of a 21-byte address given as `41…` hex. */
export function toBase58(addressHex: string): string {
  return base58check.encode(fromHex(addressHex));
}

/** `41…` hex of a base58check address. @throws Error when the checksum is wrong. */
export function fromBase58(address: string): string {
  return toHex(base58check.decode(address));
}

/** The TRON address (`41…` hex) of a 20-byte EVM address. */
export function addressFromEvm(hex20: string): string {
  return `41${hex20}`;
}

const BIGINT_MARK = '#n:';

/** JSON with bigints kept exact, for the chain's own files. */
export function encodeJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'bigint' ? `${BIGINT_MARK}${item}` : item,
  );
}

/** Reads what {@link encodeJson} wrote. */
export function decodeJson(text: string): unknown {
  // Most stored blocks are empty and hold no bigint; parsing without a reviver is ten times as fast.
  if (!text.includes(BIGINT_MARK)) return JSON.parse(text);
  return JSON.parse(text, (_key, item: unknown) =>
    typeof item === 'string' && item.startsWith(BIGINT_MARK) ? BigInt(item.slice(BIGINT_MARK.length)) : item,
  );
}

/** `JSON.rawJSON` is in Node 22 and later; the ES2024 library does not declare it yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): object };

/** JSON as an HTTP API gives it: bigints become plain numbers of full precision. */
export function renderJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'bigint' ? rawJSON(item.toString()) : item,
  );
}

/** Parses JSON from outside; every integer becomes a bigint, so that 64-bit amounts stay exact. */
export function parseJson(text: string): unknown {
  return JSON.parse(text, ((_key: string, item: unknown, context?: { source?: string }) =>
    typeof item === 'number' && context?.source !== undefined && /^-?\d+$/.test(context.source)
      ? BigInt(context.source)
      : item) as (key: string, item: unknown) => unknown);
}

/** A value of parsed JSON seen as an object, or undefined. */
export function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
