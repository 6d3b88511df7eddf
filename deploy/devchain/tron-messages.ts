import { enumeration, field, type MessageOf, message, repeated } from './protobuf.ts';

/**
 * The messages of the TRON protocol that this chain understands
 * (tronprotocol/java-tron `protocol/src/main/protos/core/Tron.proto` and `core/contract/*.proto`).
 */

export const CONTRACT_RESULT = enumeration({
  DEFAULT: 0,
  SUCCESS: 1,
  REVERT: 2,
  BAD_JUMP_DESTINATION: 3,
  OUT_OF_MEMORY: 4,
  PRECOMPILED_CONTRACT: 5,
  STACK_TOO_SMALL: 6,
  STACK_TOO_LARGE: 7,
  ILLEGAL_OPERATION: 8,
  STACK_OVERFLOW: 9,
  OUT_OF_ENERGY: 10,
  OUT_OF_TIME: 11,
  JVM_STACK_OVER_FLOW: 12,
  UNKNOWN: 13,
  TRANSFER_FAILED: 14,
  INVALID_CODE: 15,
});
export type ContractResult = keyof (typeof CONTRACT_RESULT)['enumeration'];

const ABI_PARAM = message('protocol.SmartContract.ABI.Entry.Param', {
  indexed: field(1, 'bool'),
  name: field(2, 'string'),
  type: field(3, 'string'),
});

const ABI_ENTRY = message('protocol.SmartContract.ABI.Entry', {
  anonymous: field(1, 'bool'),
  constant: field(2, 'bool'),
  name: field(3, 'string'),
  inputs: repeated(4, ABI_PARAM),
  outputs: repeated(5, ABI_PARAM),
  type: field(
    6,
    enumeration({
      UnknownEntryType: 0,
      Constructor: 1,
      Function: 2,
      Event: 3,
      Fallback: 4,
      Receive: 5,
      Error: 6,
    }),
  ),
  payable: field(7, 'bool'),
  stateMutability: field(
    8,
    enumeration({ UnknownMutabilityType: 0, Pure: 1, View: 2, Nonpayable: 3, Payable: 4 }),
  ),
});

export const SMART_CONTRACT = message('protocol.SmartContract', {
  origin_address: field(1, 'bytes'),
  contract_address: field(2, 'bytes'),
  abi: field(3, message('protocol.SmartContract.ABI', { entrys: repeated(1, ABI_ENTRY) })),
  bytecode: field(4, 'bytes'),
  call_value: field(5, 'int64'),
  consume_user_resource_percent: field(6, 'int64'),
  name: field(7, 'string'),
  origin_energy_limit: field(8, 'int64'),
  code_hash: field(9, 'bytes'),
  trx_hash: field(10, 'bytes'),
  version: field(11, 'int32'),
});
export type SmartContract = MessageOf<typeof SMART_CONTRACT>;

/** The kinds of contract (in TRON's words: what one transaction does) that this chain executes. */
export const CONTRACTS = {
  TransferContract: message('protocol.TransferContract', {
    owner_address: field(1, 'bytes'),
    to_address: field(2, 'bytes'),
    amount: field(3, 'int64'),
  }),
  CreateSmartContract: message('protocol.CreateSmartContract', {
    owner_address: field(1, 'bytes'),
    new_contract: field(2, SMART_CONTRACT),
    call_token_value: field(3, 'int64'),
    token_id: field(4, 'int64'),
  }),
  TriggerSmartContract: message('protocol.TriggerSmartContract', {
    owner_address: field(1, 'bytes'),
    contract_address: field(2, 'bytes'),
    call_value: field(3, 'int64'),
    data: field(4, 'bytes'),
    call_token_value: field(5, 'int64'),
    token_id: field(6, 'int64'),
  }),
  UpdateSettingContract: message('protocol.UpdateSettingContract', {
    owner_address: field(1, 'bytes'),
    contract_address: field(2, 'bytes'),
    consume_user_resource_percent: field(3, 'int64'),
  }),
  FreezeBalanceV2Contract: message('protocol.FreezeBalanceV2Contract', {
    owner_address: field(1, 'bytes'),
    frozen_balance: field(2, 'int64'),
    resource: field(3, enumeration({ BANDWIDTH: 0, ENERGY: 1, TRON_POWER: 2 })),
  }),
} as const;
export type ContractKind = keyof typeof CONTRACTS;
export type ContractValue<K extends ContractKind> = MessageOf<(typeof CONTRACTS)[K]>;

/** Every contract type of the protocol, so that a transaction of a kind we do not execute keeps its identity. */
const CONTRACT_TYPE = enumeration({
  AccountCreateContract: 0,
  TransferContract: 1,
  TransferAssetContract: 2,
  VoteAssetContract: 3,
  VoteWitnessContract: 4,
  WitnessCreateContract: 5,
  AssetIssueContract: 6,
  WitnessUpdateContract: 8,
  ParticipateAssetIssueContract: 9,
  AccountUpdateContract: 10,
  FreezeBalanceContract: 11,
  UnfreezeBalanceContract: 12,
  WithdrawBalanceContract: 13,
  UnfreezeAssetContract: 14,
  UpdateAssetContract: 15,
  ProposalCreateContract: 16,
  ProposalApproveContract: 17,
  ProposalDeleteContract: 18,
  SetAccountIdContract: 19,
  CustomContract: 20,
  CreateSmartContract: 30,
  TriggerSmartContract: 31,
  GetContract: 32,
  UpdateSettingContract: 33,
  ExchangeCreateContract: 41,
  ExchangeInjectContract: 42,
  ExchangeWithdrawContract: 43,
  ExchangeTransactionContract: 44,
  UpdateEnergyLimitContract: 45,
  AccountPermissionUpdateContract: 46,
  ClearABIContract: 48,
  UpdateBrokerageContract: 49,
  ShieldedTransferContract: 51,
  MarketSellAssetContract: 52,
  MarketCancelOrderContract: 53,
  FreezeBalanceV2Contract: 54,
  UnfreezeBalanceV2Contract: 55,
  WithdrawExpireUnfreezeContract: 56,
  DelegateResourceContract: 57,
  UnDelegateResourceContract: 58,
  CancelAllUnfreezeV2Contract: 59,
});

export const CONTRACT = message('protocol.Transaction.Contract', {
  type: field(1, CONTRACT_TYPE),
  parameter: field(
    2,
    message('google.protobuf.Any', { type_url: field(1, 'string'), value: field(2, 'bytes') }),
  ),
  provider: field(3, 'bytes'),
  ContractName: field(4, 'bytes'),
  Permission_id: field(5, 'int32'),
});

export const RAW_DATA = message('protocol.Transaction.raw', {
  ref_block_bytes: field(1, 'bytes'),
  ref_block_num: field(3, 'int64'),
  ref_block_hash: field(4, 'bytes'),
  expiration: field(8, 'int64'),
  data: field(10, 'bytes'),
  contract: repeated(11, CONTRACT),
  scripts: field(12, 'bytes'),
  timestamp: field(14, 'int64'),
  fee_limit: field(18, 'int64'),
});
export type RawData = MessageOf<typeof RAW_DATA>;

export const TRANSACTION = message('protocol.Transaction', {
  raw_data: field(1, RAW_DATA),
  signature: repeated(2, 'bytes'),
  ret: repeated(
    5,
    message('protocol.Transaction.Result', {
      fee: field(1, 'int64'),
      ret: field(2, enumeration({ SUCESS: 0, FAILED: 1 })),
      contractRet: field(3, CONTRACT_RESULT),
    }),
  ),
});

export const BLOCK_RAW = message('protocol.BlockHeader.raw', {
  timestamp: field(1, 'int64'),
  txTrieRoot: field(2, 'bytes'),
  parentHash: field(3, 'bytes'),
  number: field(7, 'int64'),
  witness_id: field(8, 'int64'),
  witness_address: field(9, 'bytes'),
  version: field(10, 'int32'),
  accountStateRoot: field(11, 'bytes'),
});
export type BlockRaw = MessageOf<typeof BLOCK_RAW>;
