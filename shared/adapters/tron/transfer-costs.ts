import { array, integer, integerOr, nonsense, object, text } from './node-answers.ts';
import type { JsonObject } from './node-client.ts';

/** The chain's prices, in sun; they change by vote, so they are read from the chain. */
export interface ChainPrices {
  readonly energySun: bigint;
  readonly bandwidthSunPerByte: bigint;
  /** Burned when a TRX transfer creates its recipient's account. */
  readonly activationSun: bigint;
  /** Burned on top where the sender has no staked bandwidth for it. */
  readonly activationBandwidthSun: bigint;
  /** Whether the network takes no transfer of TRX to a contract. */
  readonly forbidsTrxToContracts: boolean;
}

/** What an account may use without burning TRX. */
export interface AccountResources {
  readonly freeBandwidth: number;
  readonly stakedBandwidth: number;
  readonly energy: number;
}

/** Signed sizes, rounded up, plus the 64 bytes that every contract's result is charged. */
const TRX_TRANSFER_BYTES = 275;
const TOKEN_TRANSFER_BYTES = 350;

/** Energy use can rise between simulation and inclusion: a quarter more is allowed for, and not burned if unused. */
const FEE_LIMIT_MARGIN_PERCENT = 125n;

export function readPrices(answer: JsonObject): ChainPrices {
  const parameters = new Map(
    array(answer.chainParameter, 'chainParameter').map((entry) => {
      const { key, value } = object(entry, 'chainParameter');
      // A parameter without a value is zero, as all zero fields are left out.
      return [text(key, 'key'), value] as const;
    }),
  );
  const price = (key: string) => {
    // A node that does not name the price has not said that it is zero.
    if (!parameters.has(key)) throw nonsense(`no chain parameter ${key}`);
    return BigInt(integerOr(0, parameters.get(key), key));
  };
  return {
    energySun: price('getEnergyFee'),
    bandwidthSunPerByte: price('getTransactionFee'),
    activationSun: price('getCreateNewAccountFeeInSystemContract'),
    activationBandwidthSun: price('getCreateAccountFee'),
    // A node that does not know the rule does not keep it.
    forbidsTrxToContracts: parameters.get('getForbidTransferToContract') === 1,
  };
}

export function readResources(answer: JsonObject): AccountResources {
  const left = (limit: string, used: string) =>
    Math.max(0, integerOr(0, answer[limit], limit) - integerOr(0, answer[used], used));
  return {
    freeBandwidth: left('freeNetLimit', 'freeNetUsed'),
    stakedBandwidth: left('NetLimit', 'NetUsed'),
    energy: left('EnergyLimit', 'EnergyUsed'),
  };
}

/** What a transfer takes, in sun. */
export interface TransferCost {
  readonly bandwidth: number;
  /** What it burns as things stand, with a margin for energy that rises. */
  readonly burnSun: bigint;
  /** What it can burn at most: free and staked resources may be used up by others before it is included. */
  readonly maxSun: bigint;
}

export function trxTransferCost(
  prices: ChainPrices,
  resources: AccountResources,
  activates: boolean,
): TransferCost {
  const bandwidth = TRX_TRANSFER_BYTES;
  if (!activates) {
    return { bandwidth, ...bandwidthCost(prices, resources, bandwidth) };
  }
  const maxSun = prices.activationSun + prices.activationBandwidthSun;
  const burnSun = resources.stakedBandwidth >= bandwidth ? prices.activationSun : maxSun;
  return { bandwidth, burnSun, maxSun };
}

/** The cost of a token transfer, and the fee limit to sign for it. */
export function tokenTransferCost(
  prices: ChainPrices,
  resources: AccountResources,
  energyUsed: number,
): TransferCost & { readonly feeLimitSun: bigint } {
  const withMargin = ceilDivide(BigInt(energyUsed) * FEE_LIMIT_MARGIN_PERCENT, 100n);
  const burnedEnergy = withMargin - BigInt(resources.energy);
  // The limit covers staked energy as well: the chain divides it by the price to get the energy allowed.
  const feeLimitSun = withMargin * prices.energySun;
  const bandwidth = bandwidthCost(prices, resources, TOKEN_TRANSFER_BYTES);
  return {
    bandwidth: TOKEN_TRANSFER_BYTES,
    burnSun: bandwidth.burnSun + (burnedEnergy > 0n ? burnedEnergy * prices.energySun : 0n),
    maxSun: bandwidth.maxSun + feeLimitSun,
    feeLimitSun,
  };
}

/** `energy_used` of a constant call; it includes the contract's penalty for being busy. */
export function readEnergyUsed(answer: JsonObject): number {
  const energy = integer(answer.energy_used, 'energy_used');
  // No call is free; a fee limit of nothing would be signed, and the transfer would fail on the chain.
  if (energy === 0) throw nonsense('a call that takes no energy');
  return energy;
}

function bandwidthCost(
  prices: ChainPrices,
  resources: AccountResources,
  bytes: number,
): Pick<TransferCost, 'burnSun' | 'maxSun'> {
  const maxSun = BigInt(bytes) * prices.bandwidthSunPerByte;
  // The chain takes all of it from one source, never some from each.
  const isFree = resources.stakedBandwidth >= bytes || resources.freeBandwidth >= bytes;
  return { burnSun: isFree ? 0n : maxSun, maxSun };
}

function ceilDivide(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by;
}
