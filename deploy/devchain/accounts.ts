import { createHash } from 'node:crypto';
import { keccakHex, toBase58 } from './encoding.ts';
import { addressOfPrivateKey } from './keys.ts';

/** One account of the development chain. Its key is public knowledge: it must never hold anything of worth. */
export type DevAccount = {
  readonly name: string;
  /** Base58, beginning with `T`. */
  readonly address: string;
  /** `41…` hex. */
  readonly addressHex: string;
  /** 32 bytes in hex. */
  readonly privateKey: string;
};

/** `wallet` pays; the others are there to be paid. */
const NAMES = ['wallet', 'alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace'] as const;

/** The well-known accounts of a seed, always the same; the first is `wallet`. */
export function devAccounts(seed: string): readonly DevAccount[] {
  return NAMES.map((name) => deriveAccount(seed, name));
}

/** The account that produces every block. */
export function witnessAccount(seed: string): DevAccount {
  return deriveAccount(seed, 'witness');
}

/** Where USDT lives, `41…` hex. The genesis state holds it, so no transaction decides its address. */
export function usdtAddressHex(seed: string): string {
  return `41${keccakHex(Buffer.from(`devchain:${seed}:usdt`)).slice(24)}`;
}

/** Where USDT lives, base58. */
export function usdtAddress(seed: string): string {
  return toBase58(usdtAddressHex(seed));
}

function deriveAccount(seed: string, name: string): DevAccount {
  // A SHA-256 value is a valid secp256k1 key but for 2^-128 of cases.
  const privateKey = createHash('sha256').update(`devchain:${seed}:${name}`).digest('hex');
  const addressHex = addressOfPrivateKey(privateKey);
  return { name, address: toBase58(addressHex), addressHex, privateKey };
}
