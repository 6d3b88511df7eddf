import type { SolidHead } from '../domain/breaker.ts';
import type { TronAddress } from '../domain/tron-address.ts';

/**
 * What can be told of the TRON network without paying. Unlike `PaymentNetwork` it passes by the breaker: whether
 * the network is back is worth knowing most of all while the circuit is open.
 *
 * All methods throw `ServiceError` `chain_unavailable` where no node gave a usable answer in time.
 */
export interface ChainStatus {
  /** The newest solid block of the first node that answers and shows the pinned genesis. */
  readSolidHead(): Promise<SolidHead>;
  /** The account's TRX in solid blocks, in sun; none where the account does not exist. */
  readTrxBalanceMicro(address: TronAddress): Promise<bigint>;
  /** The account's USDT in solid blocks, in millionths. */
  readTokenBalanceMicro(address: TronAddress): Promise<bigint>;
}
