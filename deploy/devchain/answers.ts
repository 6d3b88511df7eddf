import { witnessAccount } from './accounts.ts';
import type { Block, Executed } from './block.ts';
import type { Chain, Side } from './chain.ts';
import { fromHex, toBase58 } from './encoding.ts';
import type { Receipt } from './execution.ts';
import {
  BLOCK_REWARD_SUN,
  BLOCK_VERSION,
  FREE_BANDWIDTH,
  RECOVERY_WINDOW_SLOTS,
  SLOT_MS,
  TOTAL_BANDWIDTH,
  TOTAL_ENERGY,
} from './parameters.ts';
import { decode } from './protobuf.ts';
import { resourcesOf, slotOf } from './resources.ts';
import { messageToJson, transactionToJson } from './transaction.ts';
import { SMART_CONTRACT } from './tron-messages.ts';
import type { Account } from './world.ts';

/** The JSON in which nodes show things. A field that is zero, empty or false is left out, as protobuf does. */
type Json = Record<string, unknown>;

/** Operations that the default active permission allows, as java-tron writes them. */
const ACTIVE_OPERATIONS = '7fff1fc0033e0108000000000000000000000000000000000000000000000000';
const WINDOW_MS = Number(RECOVERY_WINDOW_SLOTS) * 1_000;

/** Leaves out what is zero, empty, false or undefined. */
function sparse(fields: Json): Json {
  return Object.fromEntries(
    Object.entries(fields).filter(
      ([, value]) => value !== undefined && value !== 0 && value !== 0n && value !== '' && value !== false,
    ),
  );
}

function showAddress(addressHex: string, visible: boolean): string {
  return visible ? toBase58(addressHex) : addressHex;
}

/** A block; with `detail` its transactions as well. */
export function blockAnswer(block: Block, detail: boolean, visible: boolean): Json {
  const genesisMotto = block.number === 0;
  return {
    blockID: block.id,
    block_header: sparse({
      raw_data: sparse({
        number: block.number,
        txTrieRoot: block.txTrieRoot,
        witness_address: genesisMotto ? block.witness : showAddress(block.witness, visible),
        parentHash: block.parentId,
        version: genesisMotto ? 0 : BLOCK_VERSION,
        timestamp: block.timestampMs,
      }),
      witness_signature: block.signature,
    }),
    ...(detail && block.transactions.length > 0
      ? {
          transactions: block.transactions.map((executed) =>
            transactionAnswer(executed, block.number, visible),
          ),
        }
      : {}),
  };
}

/** A transaction in a block (or in the pool, where it shows a result just the same). */
export function transactionAnswer(
  executed: Executed,
  blockNumber: number | undefined,
  visible: boolean,
): Json {
  const { transaction, receipt } = executed;
  // Those of the genesis block were never executed.
  return transactionToJson(transaction, visible, blockNumber === 0 ? undefined : receipt.contractRet);
}

/** What a transaction in a block did. */
export function infoAnswer(executed: Executed, block: Block, visible: boolean): Json {
  const { transaction, receipt } = executed;
  const { vm } = receipt;
  const failed = vm !== undefined && vm.result !== 'SUCCESS';
  return sparse({
    id: transaction.txId,
    fee: receipt.fee,
    blockNumber: block.number,
    blockTimeStamp: block.timestampMs,
    contractResult: [vm?.returnHex ?? ''],
    contract_address: vm === undefined ? undefined : showAddress(vm.contractAddress, visible),
    receipt: receiptAnswer(receipt),
    log:
      vm === undefined || vm.logs.length === 0 || failed
        ? undefined
        : vm.logs.map(({ address, topics, data }) =>
            sparse({ address: visible ? toBase58(`41${address}`) : address, topics, data }),
          ),
    result: failed ? 'FAILED' : undefined,
    resMessage: failed ? Buffer.from(vm.message).toString('hex') : undefined,
    internal_transactions:
      vm === undefined || vm.internalCalls.length === 0
        ? undefined
        : vm.internalCalls.map((call) =>
            sparse({
              hash: call.hash,
              caller_address: showAddress(call.caller, visible),
              transferTo_address: call.to === '' ? '' : showAddress(call.to, visible),
              callValueInfo: [sparse({ callValue: call.value })],
              note: Buffer.from(call.note).toString('hex'),
              rejected: call.rejected,
            }),
          ),
  });
}

function receiptAnswer(receipt: Receipt): Json {
  return sparse({
    energy_usage: receipt.energyUsage,
    energy_fee: receipt.energyFee,
    origin_energy_usage: receipt.originEnergyUsage,
    energy_usage_total: receipt.energyUsageTotal,
    net_usage: receipt.netUsage,
    net_fee: receipt.netFee,
    result: receipt.vm?.result,
  });
}

/** An account as `getaccount` shows it. */
export function accountAnswer(chain: Chain, side: Side, account: Account, visible: boolean): Json {
  const height = chain.heightOf(side);
  const world = chain.worldOf(side);
  const resources = resourcesOf(world, account, slotOf(chain.block(height)?.timestampMs ?? 0));
  const address = showAddress(account.address, visible);
  const keys = [{ address, weight: 1 }];
  const isWitness = account.address === witnessAccount(chain.options.seed).addressHex;
  return sparse({
    account_name: visible ? Buffer.from(account.nameHex, 'hex').toString('utf8') : account.nameHex,
    type: account.kind === 'Normal' ? undefined : account.kind,
    address,
    balance: account.balance,
    net_usage: resources.netUsed,
    create_time: account.createdAtMs,
    latest_opration_time: account.latestOperationMs,
    // One account produces every block and never withdraws.
    allowance: isWitness ? BigInt(height) * BLOCK_REWARD_SUN : undefined,
    is_witness: account.isWitness,
    free_net_usage: resources.freeNetUsed,
    latest_consume_time: account.netSlot * SLOT_MS,
    latest_consume_free_time: account.freeNetSlot * SLOT_MS,
    net_window_size: WINDOW_MS,
    net_window_optimized: true,
    account_resource: sparse({
      energy_usage: resources.energyUsed,
      latest_consume_time_for_energy: account.energySlot * SLOT_MS,
      energy_window_size: WINDOW_MS,
      energy_window_optimized: true,
    }),
    owner_permission: account.permissions ? { permission_name: 'owner', threshold: 1, keys } : undefined,
    active_permission: account.permissions
      ? [
          {
            type: 'Active',
            id: 2,
            permission_name: 'active',
            threshold: 1,
            operations: ACTIVE_OPERATIONS,
            keys,
          },
        ]
      : undefined,
    frozenV2: [
      sparse({ amount: account.frozenForBandwidth }),
      sparse({ type: 'ENERGY', amount: account.frozenForEnergy }),
      { type: 'TRON_POWER' },
    ],
    old_tron_power: account.frozenForBandwidth + account.frozenForEnergy > 0n ? -1 : undefined,
    asset_optimized: account.kind !== 'Contract',
  });
}

/** What an account may use, as `getaccountresource` shows it; `bandwidthOnly` for `getaccountnet`. */
export function resourceAnswer(chain: Chain, account: Account, bandwidthOnly: boolean): Json {
  const world = chain.worldOf('head');
  const resources = resourcesOf(world, account, slotOf(chain.head.timestampMs));
  return sparse({
    freeNetUsed: resources.freeNetUsed,
    freeNetLimit: FREE_BANDWIDTH,
    NetUsed: resources.netUsed,
    NetLimit: resources.netLimit,
    TotalNetLimit: TOTAL_BANDWIDTH,
    TotalNetWeight: world.total('bandwidthWeight'),
    ...(bandwidthOnly
      ? {}
      : {
          EnergyUsed: resources.energyUsed,
          EnergyLimit: resources.energyLimit,
          TotalEnergyLimit: TOTAL_ENERGY,
          TotalEnergyWeight: world.total('energyWeight'),
        }),
  });
}

/** A contract as `getcontract` shows it, or undefined. */
export function contractAnswer(chain: Chain, address: string, visible: boolean): Json | undefined {
  const contract = chain.worldOf('head').contract(address);
  if (contract === undefined) return undefined;
  const message = decode(SMART_CONTRACT, fromHex(contract.messageHex));
  return {
    ...messageToJson(SMART_CONTRACT, message, visible),
    ...sparse({ consume_user_resource_percent: contract.consumeUserPercent }),
    contract_address: showAddress(address, visible),
    code_hash: contract.codeHash,
    version: 1,
  };
}
