import { createHash } from 'node:crypto';
import { createBase58check } from '@scure/base';

const base58check = createBase58check((bytes: Uint8Array) => createHash('sha256').update(bytes).digest());

/** The byte that begins every TRON address: main net and all test nets use the same. */
const ADDRESS_PREFIX = 0x41;
const ADDRESS_BYTES = 21;

/** A TRON account, in the form that people exchange: base58 with a checksum, beginning with `T`. */
export type TronAddress = string & { readonly tronAddress: unique symbol };

/** Twenty zero bytes: nobody holds its key, and what is sent there is burned. */
export const ZERO_ADDRESS = 'T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb' as TronAddress;

/**
 * Reads a base58check TRON address.
 * @returns undefined for anything else: a wrong checksum, the hex form, another chain's address.
 */
export function parseTronAddress(text: string): TronAddress | undefined {
  // Decoding is quadratic in the length, so hostile lengths are turned away first.
  if (text.length !== 34) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = base58check.decode(text);
  } catch {
    return undefined;
  }
  return bytes.length === ADDRESS_BYTES && bytes[0] === ADDRESS_PREFIX ? (text as TronAddress) : undefined;
}

/** Decoding checks two hashes, and few addresses are asked for again and again: the wallet, the contract, recipients. */
const HEX_FORMS_MAX = 1_000;
const hexForms = new Map<TronAddress, string>();

/** The 42-character hex form that nodes use (`41…`, lower case). */
export function addressToHex(address: TronAddress): string {
  const known = hexForms.get(address);
  if (known !== undefined) return known;
  const hex = Buffer.from(base58check.decode(address)).toString('hex');
  if (hexForms.size >= HEX_FORMS_MAX) hexForms.clear();
  hexForms.set(address, hex);
  return hex;
}

/** The base58 form of a 42-character hex address, or undefined where it is none. */
export function addressFromHex(hex: string): TronAddress | undefined {
  if (!/^41[0-9a-fA-F]{40}$/.test(hex)) return undefined;
  return base58check.encode(Buffer.from(hex, 'hex')) as TronAddress;
}

/** The 64-character word by which a TRON address stands in contract arguments and event topics. */
export function addressToWord(address: TronAddress): string {
  return addressToHex(address).slice(2).padStart(64, '0');
}
