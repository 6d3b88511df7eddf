/** TRON accounts from private keys, without loading tronweb, which takes as long as the whole warm start. */
import { randomBytes } from 'node:crypto';
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
