/** TRON accounts from private keys, without loading tronweb, which takes as long as the whole warm start. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { privateToAddress } from '@ethereumjs/util';
import { addressFromHex, type TronAddress } from '../../shared/domain/tron-address.ts';

export type Account = {
  readonly address: TronAddress;
  /** 64 lower-case hex digits. */
  readonly privateKey: string;
};

/**
 * The account of a private key given as 64 hex digits, with or without `0x`, white space around it allowed.
 *
 * @throws Error that does not repeat the key.
 */
export function accountOf(text: string): Account {
  const privateKey = text.trim().replace(/^0x/, '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(privateKey)) throw new Error('is not a private key of 64 hex digits');
  // TRON takes its addresses from public keys as Ethereum does, and writes them in another way.
  const address = addressFromHex(
    `41${Buffer.from(privateToAddress(Buffer.from(privateKey, 'hex'))).toString('hex')}`,
  );
  if (address === undefined) throw new Error('has no address');
  return { address, privateKey };
}

/** An account that nobody has used before. */
export function createAccount(): Account {
  for (;;) {
    try {
      return accountOf(randomBytes(32).toString('hex'));
    } catch {
      // One in 2^128 random numbers is no private key of the curve.
    }
  }
}

/**
 * A new account to pay to. Its key is kept in the folder of secrets, so that nothing is ever paid to where nobody
 * can spend it: on another network it is money.
 */
export function createRecipient(secretsDir: string): TronAddress {
  const { address, privateKey } = createAccount();
  const folder = join(secretsDir, 'recipients');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, address), privateKey, { mode: 0o600 });
  return address;
}
