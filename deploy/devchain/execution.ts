import { fromHex, keccakHex, toBase58, toHex } from './encoding.ts';
import { type EvmOutcome, runEvm } from './evm.ts';
import {
  BANDWIDTH_FEE_SUN,
  CREATE_ACCOUNT_BYTES_MAX,
  CREATE_ACCOUNT_FEE_SUN,
  CREATE_ACCOUNT_IN_CONTRACT_FEE_SUN,
  ENERGY_FEE_SUN,
  FEE_LIMIT_MAX_SUN,
  MEMO_FEE_SUN,
  RESULT_BYTES,
} from './parameters.ts';
import { encode } from './protobuf.ts';
import { Refusal } from './refusal.ts';
import { recoverUsage, resourcesOf, slotOf } from './resources.ts';
import { type ContractCall, contractAddressOf, readCall, type Transaction } from './transaction.ts';
import { type ContractResult, SMART_CONTRACT } from './tron-messages.ts';
import type { Account, WritableWorld } from './world.ts';
import { newAccount } from './world.ts';

/** The block in which a transaction is executed. */
export type BlockContext = {
  readonly number: number;
  readonly timestampMs: number;
  readonly witness: string;
  readonly chainId: bigint;
  /** Time of the block before: usage and creation times count by it, as in java-tron. */
  readonly headTimeMs: number;
};

/** What a transaction did and cost. Amounts in sun; zero stands for a field that answers leave out. */
export type Receipt = {
  readonly contractRet: ContractResult;
  readonly fee: bigint;
  readonly netUsage: bigint;
  readonly netFee: bigint;
  readonly energyUsage: bigint;
  readonly originEnergyUsage: bigint;
  readonly energyFee: bigint;
  readonly energyUsageTotal: bigint;
  /** Set for everything that ran in the EVM. */
  readonly vm: (EvmOutcome & { readonly contractAddress: string }) | undefined;
};

/**
 * Executes a transaction whose form, time, reference and signature have been checked: bandwidth, memo fee, the
 * contract itself, the energy bill. @throws Refusal when it may not enter a block; the overlay is then worthless.
 */
export async function executeTransaction(
  world: WritableWorld,
  transaction: Transaction,
  block: BlockContext,
): Promise<Receipt> {
  const call = readCall(transaction);
  if (call === undefined) throw notSupported(transaction);
  const net = consumeBandwidth(world, transaction, call, block);
  const memoFee = consumeMemoFee(world, transaction, call.value.owner_address);
  const { vm, contractFee, bill } = await act(world, transaction, call, block);
  return {
    contractRet: vm?.result ?? 'SUCCESS',
    fee: net.fee + memoFee + contractFee + bill.energyFee,
    netUsage: net.usage,
    netFee: net.fee,
    ...bill,
    vm,
  };
}

type Acted = { readonly vm: Receipt['vm']; readonly contractFee: bigint; readonly bill: EnergyBill };
type EnergyBill = Pick<Receipt, 'energyUsage' | 'originEnergyUsage' | 'energyFee' | 'energyUsageTotal'>;
const NO_ENERGY: EnergyBill = { energyUsage: 0n, originEnergyUsage: 0n, energyFee: 0n, energyUsageTotal: 0n };

async function act(
  world: WritableWorld,
  transaction: Transaction,
  call: ContractCall,
  block: BlockContext,
): Promise<Acted> {
  switch (call.kind) {
    case 'TransferContract':
      return { vm: undefined, contractFee: transfer(world, call.value, block), bill: NO_ENERGY };
    case 'FreezeBalanceV2Contract':
      freeze(world, call.value);
      return { vm: undefined, contractFee: 0n, bill: NO_ENERGY };
    case 'UpdateSettingContract':
      updateSetting(world, call.value);
      return { vm: undefined, contractFee: 0n, bill: NO_ENERGY };
    case 'CreateSmartContract':
    case 'TriggerSmartContract':
      return runContract(world, transaction, call, block);
  }
}

/** Free or staked bandwidth, or burned TRX; creating an account has its own price. */
function consumeBandwidth(
  world: WritableWorld,
  transaction: Transaction,
  call: ContractCall,
  block: BlockContext,
): { readonly usage: bigint; readonly fee: bigint } {
  const owner = call.value.owner_address;
  const account = requireAccount(world, owner);
  const slot = slotOf(block.headTimeMs);
  const bytes = BigInt(transaction.sizeBytes + RESULT_BYTES);
  const { netLeft, freeNetLeft } = resourcesOf(world, account, slot);
  const latestOperationMs = block.headTimeMs;
  const useStaked = (): { usage: bigint; fee: bigint } => {
    world.update(owner, (a) => ({
      netUsage: recoverUsage(a.netUsage, bytes, a.netSlot, slot),
      netSlot: slot,
      latestOperationMs,
    }));
    return { usage: bytes, fee: 0n };
  };
  const burn = (fee: bigint): { usage: bigint; fee: bigint } => {
    if (account.balance < fee) throw insufficientResources();
    world.burn(owner, fee);
    world.update(owner, () => ({ latestOperationMs }));
    return { usage: 0n, fee };
  };
  if (call.kind === 'TransferContract' && world.account(call.value.to_address) === undefined) {
    const unsignedBytes = transaction.sizeBytes - transaction.signatures.length * 67;
    if (unsignedBytes > CREATE_ACCOUNT_BYTES_MAX) {
      throw new Refusal(
        'TOO_BIG_TRANSACTION_ERROR',
        `Too big new account transaction, TxId ${transaction.txId}, the size is ${unsignedBytes} bytes, ` +
          `maxTxSize ${CREATE_ACCOUNT_BYTES_MAX}`,
      );
    }
    return bytes <= netLeft ? useStaked() : burn(CREATE_ACCOUNT_FEE_SUN);
  }
  if (bytes <= netLeft) return useStaked();
  if (bytes <= freeNetLeft) {
    world.update(owner, (a) => ({
      freeNetUsage: recoverUsage(a.freeNetUsage, bytes, a.freeNetSlot, slot),
      freeNetSlot: slot,
      latestOperationMs,
    }));
    return { usage: bytes, fee: 0n };
  }
  return burn(bytes * BANDWIDTH_FEE_SUN);
}

function consumeMemoFee(world: WritableWorld, transaction: Transaction, owner: string): bigint {
  if (transaction.raw.data === '') return 0n;
  if (requireAccount(world, owner).balance < MEMO_FEE_SUN) throw insufficientResources();
  world.burn(owner, MEMO_FEE_SUN);
  return MEMO_FEE_SUN;
}

type Value<K extends ContractCall['kind']> = Extract<ContractCall, { kind: K }>['value'];

/** Moves TRX. @returns the fee for activating the recipient. */
function transfer(world: WritableWorld, value: Value<'TransferContract'>, block: BlockContext): bigint {
  const { owner_address: from, to_address: to, amount } = value;
  if (!isAddress(from)) throw invalid('Invalid ownerAddress!');
  if (!isAddress(to)) throw invalid('Invalid toAddress!');
  if (from === to) throw invalid('Cannot transfer TRX to yourself.');
  const owner = world.account(from);
  if (owner === undefined) throw invalid('Validate TransferContract error, no OwnerAccount.');
  if (amount <= 0n) throw invalid('Amount must be greater than 0.');
  const fee = world.account(to) === undefined ? CREATE_ACCOUNT_IN_CONTRACT_FEE_SUN : 0n;
  if (owner.balance < amount + fee) {
    throw invalid('Validate TransferContract error, balance is not sufficient.');
  }
  if (fee > 0n) {
    world.putAccount(newAccount(to, { createdAtMs: block.headTimeMs, permissions: true }));
    world.burn(from, fee);
  }
  move(world, from, to, amount);
  return fee;
}

function freeze(world: WritableWorld, value: Value<'FreezeBalanceV2Contract'>): void {
  const { owner_address: owner, frozen_balance: sun, resource } = value;
  const account = requireAccount(world, owner);
  if (sun <= 0n) throw invalid('frozenBalance must be positive');
  if (sun < 1_000_000n) throw invalid('frozenBalance must be greater than or equal to 1 TRX');
  if (sun > account.balance) throw invalid('frozenBalance must be less than or equal to accountBalance');
  const before = resource === 'ENERGY' ? account.frozenForEnergy : account.frozenForBandwidth;
  if (resource === 'TRON_POWER') {
    throw invalid('ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]');
  }
  const weight = (before + sun) / 1_000_000n - before / 1_000_000n;
  world.update(owner, () => ({
    balance: account.balance - sun,
    ...(resource === 'ENERGY' ? { frozenForEnergy: before + sun } : { frozenForBandwidth: before + sun }),
  }));
  world.addToTotal(resource === 'ENERGY' ? 'energyWeight' : 'bandwidthWeight', weight);
}

function updateSetting(world: WritableWorld, value: Value<'UpdateSettingContract'>): void {
  const percent = value.consume_user_resource_percent;
  requireAccount(world, value.owner_address);
  if (percent < 0n || percent > 100n) throw invalid('percent not in [0, 100]');
  const contract = world.contract(value.contract_address);
  if (contract === undefined) throw invalid('Contract does not exist');
  if (contract.origin !== value.owner_address) {
    throw invalid(`Account[${value.owner_address}] is not the owner of the contract`);
  }
  world.putContract({ ...contract, consumeUserPercent: percent });
}

type VmCall = Extract<ContractCall, { kind: 'CreateSmartContract' | 'TriggerSmartContract' }>;

async function runContract(
  world: WritableWorld,
  transaction: Transaction,
  call: VmCall,
  block: BlockContext,
): Promise<Acted> {
  const feeLimit = transaction.raw.fee_limit;
  if (feeLimit < 0n || feeLimit > FEE_LIMIT_MAX_SUN) {
    throw invalid(`feeLimit must be >= 0 and <= ${FEE_LIMIT_MAX_SUN}`);
  }
  const plan =
    call.kind === 'CreateSmartContract'
      ? planDeployment(transaction, call.value)
      : planCall(world, call.value);
  const { owner, to, value } = plan;
  if (value < 0n) throw invalid('callValue must be >= 0');
  if (requireAccount(world, owner).balance < value) {
    throw invalid('Validate InternalTransfer error, balance is not sufficient.');
  }
  const slot = slotOf(block.headTimeMs);
  const shares = energyShares(world, owner, plan.deployment ? undefined : to, value, feeLimit, slot);
  world.overlay.checkpoint();
  if (plan.deployment) {
    if (world.account(to) !== undefined)
      throw invalid(`Trying to create a contract with existing contract address: ${toBase58(to)}`);
    prepareContract(world, call.value as Value<'CreateSmartContract'>, to);
  }
  const outcome = await runEvm(
    world,
    { ...block, txId: transaction.txId },
    {
      caller: owner,
      to,
      deployment: plan.deployment,
      value,
      dataHex: plan.dataHex,
      energyLimit: shares.limit,
    },
  );
  if (outcome.result === 'SUCCESS') {
    world.overlay.commit();
    if (plan.deployment) finishContract(world, to);
  } else {
    world.overlay.revert();
  }
  const bill = payEnergy(world, owner, shares, outcome.energyUsed, slot, block.headTimeMs);
  return { vm: { ...outcome, contractAddress: to }, contractFee: 0n, bill };
}

type VmPlan = {
  readonly owner: string;
  readonly to: string;
  readonly deployment: boolean;
  readonly value: bigint;
  readonly dataHex: string;
};

function planDeployment(transaction: Transaction, value: Value<'CreateSmartContract'>): VmPlan {
  const contract = value.new_contract;
  if (contract === undefined) throw invalid('Cannot get CreateSmartContract from transaction');
  const percent = contract.consume_user_resource_percent;
  if (contract.origin_address !== value.owner_address) {
    throw invalid('OwnerAddress is not equal OriginAddress');
  }
  if (Buffer.byteLength(contract.name) > 32) throw invalid("contractName's length cannot be greater than 32");
  if (percent < 0n || percent > 100n) throw invalid('percent must be >= 0 and <= 100');
  if (contract.origin_energy_limit <= 0n) throw invalid('The originEnergyLimit must be > 0');
  return {
    owner: value.owner_address,
    to: contractAddressOf(transaction.txId, value.owner_address),
    deployment: true,
    value: contract.call_value,
    dataHex: contract.bytecode,
  };
}

function planCall(world: WritableWorld, value: Value<'TriggerSmartContract'>): VmPlan {
  if (world.contract(value.contract_address) === undefined) {
    throw invalid('No contract or not a valid smart contract');
  }
  return {
    owner: value.owner_address,
    to: value.contract_address,
    deployment: false,
    value: value.call_value,
    dataHex: value.data,
  };
}

/** Records a contract before its constructor runs. The account itself is made by the EVM. */
function prepareContract(world: WritableWorld, value: Value<'CreateSmartContract'>, address: string): void {
  const contract = value.new_contract;
  if (contract === undefined) return;
  world.putContract({
    address,
    origin: value.owner_address,
    name: contract.name,
    messageHex: toHex(encode(SMART_CONTRACT, contract)),
    consumeUserPercent: contract.consume_user_resource_percent,
    originEnergyLimit: contract.origin_energy_limit,
    codeHash: '',
  });
}

function finishContract(world: WritableWorld, address: string): void {
  const contract = world.contract(address);
  if (contract === undefined) return;
  world.putContract({ ...contract, codeHash: keccakHex(fromHex(world.code(address))) });
  world.update(address, () => ({
    kind: 'Contract',
    nameHex: Buffer.from(contract.name).toString('hex'),
    createdAtMs: 0,
  }));
}

type EnergyShares = {
  readonly limit: bigint;
  /** Who deployed the contract, where that is somebody else who pays a part. */
  readonly origin: string | undefined;
  readonly originLimit: bigint;
  /** Part of the energy that the caller pays, in percent. */
  readonly userPercent: bigint;
};

/** How much energy a run may take: the caller's stake and balance within the fee limit, and the deployer's part. */
function energyShares(
  world: WritableWorld,
  caller: string,
  contractAddress: string | undefined,
  callValue: bigint,
  feeLimit: bigint,
  slot: number,
): EnergyShares {
  const account = requireAccount(world, caller);
  const affordable =
    resourcesOf(world, account, slot).energyLeft + (account.balance - callValue) / ENERGY_FEE_SUN;
  const userLimit = smaller(affordable, feeLimit / ENERGY_FEE_SUN);
  const contract = contractAddress === undefined ? undefined : world.contract(contractAddress);
  const origin = contract === undefined ? undefined : world.account(contract.origin);
  if (contract === undefined || origin === undefined || contract.origin === caller) {
    return { limit: userLimit, origin: undefined, originLimit: 0n, userPercent: 100n };
  }
  const userPercent = contract.consumeUserPercent;
  const originMost = smaller(resourcesOf(world, origin, slot).energyLeft, contract.originEnergyLimit);
  const originLimit =
    userPercent <= 0n
      ? originMost
      : userPercent >= 100n
        ? 0n
        : smaller((userLimit * (100n - userPercent)) / userPercent, originMost);
  return { limit: userLimit + originLimit, origin: contract.origin, originLimit: originMost, userPercent };
}

/** Takes the energy from stakes first, then burns TRX. */
function payEnergy(
  world: WritableWorld,
  caller: string,
  shares: EnergyShares,
  used: bigint,
  slot: number,
  headTimeMs: number,
): EnergyBill {
  let originEnergyUsage = 0n;
  if (shares.origin !== undefined) {
    originEnergyUsage = smaller((used * (100n - shares.userPercent)) / 100n, shares.originLimit);
    useEnergy(world, shares.origin, originEnergyUsage, slot, headTimeMs);
  }
  const own = used - originEnergyUsage;
  const staked = smaller(resourcesOf(world, requireAccount(world, caller), slot).energyLeft, own);
  useEnergy(world, caller, staked, slot, headTimeMs);
  const energyFee = (own - staked) * ENERGY_FEE_SUN;
  if (energyFee > 0n) {
    if (requireAccount(world, caller).balance < energyFee) throw insufficientResources();
    world.burn(caller, energyFee);
  }
  return { energyUsage: staked, originEnergyUsage, energyFee, energyUsageTotal: used };
}

function useEnergy(
  world: WritableWorld,
  address: string,
  amount: bigint,
  slot: number,
  headTimeMs: number,
): void {
  world.update(address, (account) => ({
    energyUsage: recoverUsage(account.energyUsage, amount, account.energySlot, slot),
    energySlot: slot,
    latestOperationMs: headTimeMs,
  }));
}

function move(world: WritableWorld, from: string, to: string, sun: bigint): void {
  world.update(from, ({ balance }) => ({ balance: balance - sun }));
  world.update(to, ({ balance }) => ({ balance: balance + sun }));
}

function requireAccount(world: WritableWorld, address: string): Account {
  const account = world.account(address);
  if (account !== undefined) return account;
  throw invalid(
    isAddress(address) ? `account [${toBase58(address)}] does not exist` : 'Invalid ownerAddress!',
  );
}

function isAddress(hex: string): boolean {
  return /^41[0-9a-f]{40}$/.test(hex);
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function invalid(reason: string): Refusal {
  return new Refusal('CONTRACT_VALIDATE_ERROR', `Contract validate error : ${reason}`);
}

function notSupported(transaction: Transaction): Refusal {
  return invalid(
    `${transaction.raw.contract[0]?.type ?? 'nothing'} is not executed by this development chain`,
  );
}

function insufficientResources(): Refusal {
  return new Refusal('BANDWITH_ERROR', 'Account resource insufficient error.');
}
