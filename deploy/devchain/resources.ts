import {
  FREE_BANDWIDTH,
  RECOVERY_WINDOW_SLOTS,
  SLOT_MS,
  TOTAL_BANDWIDTH,
  TOTAL_ENERGY,
} from './parameters.ts';
import type { Account, World } from './world.ts';

/**
 * Bandwidth and energy of an account, after java-tron's ResourceProcessor: usage is kept as an average over a
 * window of 24 h, with six more digits, and falls linearly with each slot of 3 s. Every account has the default
 * window here; java-tron widens it by parts of a slot when staked usage piles up.
 */

const PRECISION = 1_000_000n;
const SUN_PER_TRX = 1_000_000n;

/** The protocol's slot of a moment; the genesis lies at 0. */
export function slotOf(timeMs: number): number {
  return Math.floor(timeMs / SLOT_MS);
}

/** Usage after recovering from `lastSlot` to `nowSlot` and then using `amount`. */
export function recoverUsage(usage: bigint, amount: bigint, lastSlot: number, nowSlot: number): bigint {
  let average = divideUp(usage * PRECISION, RECOVERY_WINDOW_SLOTS);
  if (nowSlot !== lastSlot) {
    const passed = BigInt(nowSlot - lastSlot);
    average =
      passed < RECOVERY_WINDOW_SLOTS
        ? divideRounded(average * (RECOVERY_WINDOW_SLOTS - passed), RECOVERY_WINDOW_SLOTS)
        : 0n;
  }
  average += divideUp(amount * PRECISION, RECOVERY_WINDOW_SLOTS);
  return (average * RECOVERY_WINDOW_SLOTS) / PRECISION;
}

export type Resources = {
  readonly freeNetUsed: bigint;
  readonly netUsed: bigint;
  readonly netLimit: bigint;
  readonly netLeft: bigint;
  readonly freeNetLeft: bigint;
  readonly energyUsed: bigint;
  readonly energyLimit: bigint;
  readonly energyLeft: bigint;
};

/** What an account may use for nothing at this slot. */
export function resourcesOf(world: World, account: Account, nowSlot: number): Resources {
  const freeNetUsed = recoverUsage(account.freeNetUsage, 0n, account.freeNetSlot, nowSlot);
  const netUsed = recoverUsage(account.netUsage, 0n, account.netSlot, nowSlot);
  const energyUsed = recoverUsage(account.energyUsage, 0n, account.energySlot, nowSlot);
  const netLimit = shareOf(account.frozenForBandwidth, world.total('bandwidthWeight'), TOTAL_BANDWIDTH);
  const energyLimit = shareOf(account.frozenForEnergy, world.total('energyWeight'), TOTAL_ENERGY);
  return {
    freeNetUsed,
    netUsed,
    netLimit,
    netLeft: netLimit > netUsed ? netLimit - netUsed : 0n,
    freeNetLeft: FREE_BANDWIDTH > freeNetUsed ? FREE_BANDWIDTH - freeNetUsed : 0n,
    energyUsed,
    energyLimit,
    energyLeft: energyLimit > energyUsed ? energyLimit - energyUsed : 0n,
  };
}

/** Stakes share the chain's capacity by weight; weights count whole TRX. */
function shareOf(frozenSun: bigint, totalWeight: bigint, capacity: bigint): bigint {
  return totalWeight === 0n ? 0n : (frozenSun * capacity) / (totalWeight * SUN_PER_TRX);
}

function divideUp(numerator: bigint, denominator: bigint): bigint {
  return (numerator + denominator - 1n) / denominator;
}

function divideRounded(numerator: bigint, denominator: bigint): bigint {
  return (2n * numerator + denominator) / (2n * denominator);
}
