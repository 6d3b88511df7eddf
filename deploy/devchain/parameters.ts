/**
 * The chain's parameters: those of a java-tron 4.8.0 private chain with main-net-like settings, in the order in
 * which `getchainparameters` lists them. A value of 0 is not printed.
 */
export const CHAIN_PARAMETERS: readonly (readonly [key: string, value: bigint])[] = [
  ['getMaintenanceTimeInterval', 21_600_000n],
  ['getAccountUpgradeCost', 9_999_000_000n],
  ['getCreateAccountFee', 100_000n],
  ['getTransactionFee', 1_000n],
  ['getAssetIssueFee', 1_024_000_000n],
  ['getWitnessPayPerBlock', 8_000_000n],
  ['getWitnessStandbyAllowance', 115_200_000_000n],
  ['getCreateNewAccountFeeInSystemContract', 1_000_000n],
  ['getCreateNewAccountBandwidthRate', 1n],
  ['getAllowCreationOfContracts', 1n],
  ['getRemoveThePowerOfTheGr', 0n],
  ['getEnergyFee', 100n],
  ['getExchangeCreateFee', 1_024_000_000n],
  ['getMaxCpuTimeOfOneTx', 80n],
  ['getAllowUpdateAccountName', 0n],
  ['getAllowSameTokenName', 1n],
  ['getAllowDelegateResource', 1n],
  ['getTotalEnergyLimit', 180_000_000_000n],
  ['getAllowTvmTransferTrc10', 1n],
  ['getTotalEnergyCurrentLimit', 180_000_000_000n],
  ['getAllowMultiSign', 1n],
  ['getAllowAdaptiveEnergy', 0n],
  ['getTotalEnergyTargetLimit', 12_500_000n],
  ['getTotalEnergyAverageUsage', 0n],
  ['getUpdateAccountPermissionFee', 100_000_000n],
  ['getMultiSignFee', 1_000_000n],
  ['getAllowAccountStateRoot', 0n],
  ['getAllowProtoFilterNum', 0n],
  ['getAllowTvmConstantinople', 1n],
  ['getAllowTvmSolidity059', 1n],
  ['getAllowTvmIstanbul', 1n],
  ['getAllowShieldedTRC20Transaction', 0n],
  ['getForbidTransferToContract', 0n],
  ['getAdaptiveResourceLimitTargetRatio', 10n],
  ['getAdaptiveResourceLimitMultiplier', 1_000n],
  ['getChangeDelegation', 1n],
  ['getWitness127PayPerBlock', 16_000_000n],
  ['getAllowMarketTransaction', 1n],
  ['getMarketSellFee', 0n],
  ['getMarketCancelFee', 0n],
  ['getAllowPBFT', 0n],
  ['getAllowTransactionFeePool', 0n],
  ['getMaxFeeLimit', 15_000_000_000n],
  ['getAllowOptimizeBlackHole', 1n],
  ['getAllowNewResourceModel', 1n],
  ['getAllowTvmFreeze', 1n],
  ['getAllowTvmVote', 1n],
  ['getAllowTvmLondon', 1n],
  ['getAllowTvmCompatibleEvm', 1n],
  ['getAllowAccountAssetOptimization', 1n],
  ['getFreeNetLimit', 600n],
  ['getTotalNetLimit', 43_200_000_000n],
  ['getAllowHigherLimitForMaxCpuTimeOfOneTx', 1n],
  ['getAllowAssetOptimization', 1n],
  ['getAllowNewReward', 1n],
  ['getMemoFee', 1_000_000n],
  ['getAllowDelegateOptimization', 1n],
  ['getUnfreezeDelayDays', 14n],
  ['getAllowOptimizedReturnValueOfChainId', 1n],
  ['getAllowDynamicEnergy', 0n],
  ['getDynamicEnergyThreshold', 0n],
  ['getDynamicEnergyIncreaseFactor', 0n],
  ['getDynamicEnergyMaxFactor', 0n],
  ['getAllowTvmShangHai', 1n],
  ['getAllowCancelAllUnfreezeV2', 1n],
  ['getMaxDelegateLockPeriod', 86_400n],
  ['getAllowOldRewardOpt', 1n],
  ['getAllowEnergyAdjustment', 1n],
  ['getMaxCreateAccountTxSize', 1_000n],
  ['getAllowStrictMath', 1n],
  ['getConsensusLogicOptimization', 1n],
  ['getAllowTvmCancun', 1n],
  ['getAllowTvmBlob', 1n],
];

export const CREATE_ACCOUNT_FEE_SUN = 100_000n;
export const CREATE_ACCOUNT_IN_CONTRACT_FEE_SUN = 1_000_000n;
export const BANDWIDTH_FEE_SUN = 1_000n;
export const ENERGY_FEE_SUN = 100n;
export const MEMO_FEE_SUN = 1_000_000n;
export const FEE_LIMIT_MAX_SUN = 15_000_000_000n;
export const FREE_BANDWIDTH = 600n;
export const TOTAL_BANDWIDTH = 43_200_000_000n;
export const TOTAL_ENERGY = 180_000_000_000n;
export const BLOCK_REWARD_SUN = 8_000_000n;
/** Size that an account-creating transaction may have without its signatures. */
export const CREATE_ACCOUNT_BYTES_MAX = 1_000;
export const TRANSACTION_BYTES_MAX = 512_000;
/** Room that each transaction pays for its result. */
export const RESULT_BYTES = 64;
export const EXPIRATION_AHEAD_MAX_MS = 86_400_000;
/** How far back a reference block may lie: two bytes of its number. */
export const TAPOS_WINDOW = 65_536;
/** The protocol's block interval; usage recovers in slots of this length, whatever pace this chain is given. */
export const SLOT_MS = 3_000;
/** Usage recovers over 24 h. */
export const RECOVERY_WINDOW_SLOTS = 28_800n;
export const BLOCK_VERSION = 32;
