import { createHash } from 'node:crypto';
import type { Amounts, Breaker } from '../domain/breaker.ts';
import { ServiceError } from '../domain/errors.ts';
import { laterFeeMicro } from '../domain/limits.ts';
import { ASSETS, type Asset } from '../domain/money.ts';
import { addressFromHex, type TronAddress } from '../domain/tron-address.ts';
import { transferOf } from './advance-payment.ts';
import type { Engine } from './engine.ts';

/** What a batch's items may cost. */
export interface BatchQuote {
  /** What each item's fee is counted at, in sun. */
  readonly feeMicro: bigint;
  /** Why the chain would not let all of them through as things stand. */
  readonly refusal: ServiceError | null;
}

/**
 * Asks the chain about a batch as a whole, by one transfer an asset: of the whole sum, to somebody who holds nothing
 * yet, for whom it takes the most. So the wallet covers all items and their fees before the first is signed; were it
 * only asked item by item, what is counted for one would refuse the next. While the chain is away each fee is counted
 * at the most that may be signed.
 * @param amounts of all items together
 * @param batchId makes the recipient one whom nobody can have sent anything
 */
export async function quoteBatch(
  { network, signer, rules }: Engine,
  { books, fees }: Breaker,
  amounts: Amounts,
  items: number,
  batchId: string,
): Promise<BatchQuote> {
  const recipient = strangerOf(batchId);
  const prepare = (asset: Asset, otherFeesMicro: bigint) =>
    network.prepareTransfer(
      transferOf({ signer, rules }, { asset, amountMicro: amounts[asset], recipient }),
      {
        amountMicro: books[asset].outstandingMicro,
        trxMicro: books.TRX.outstandingMicro + (asset === 'TRX' ? 0n : amounts.TRX),
        feeMicro: fees.outstandingMicro + otherFeesMicro,
      },
    );
  try {
    let feeMicro = 0n;
    const assets = ASSETS.filter((asset) => amounts[asset] > 0n);
    for (const asset of assets) {
      const { feeMaxMicro } = await prepare(asset, 0n);
      const countedMicro = laterFeeMicro(feeMaxMicro, rules.feeReserveMicro);
      if (countedMicro > feeMicro) feeMicro = countedMicro;
    }
    const [asset] = assets;
    // Now that one fee is known, all of them are asked for.
    if (asset !== undefined && items > 1) await prepare(asset, feeMicro * BigInt(items - 1));
    return { feeMicro, refusal: null };
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const most = { feeMicro: rules.feeReserveMicro, refusal: null };
    switch (error.code) {
      case 'insufficient_funds':
      case 'simulation_failed':
        return { ...most, refusal: error };
      // Recipients who hold the token take half of that, and each is judged by itself.
      case 'fee_above_cap':
      case 'chain_unavailable':
      case 'circuit_open':
        return most;
      default:
        throw error;
    }
  }
}

function strangerOf(batchId: string): TronAddress {
  const stranger = addressFromHex(`41${createHash('sha256').update(batchId).digest('hex').slice(0, 40)}`);
  if (stranger === undefined) throw new TypeError('a hash is no address');
  return stranger;
}
