import { usdtAddressHex } from './accounts.ts';
import type { Block, Executed } from './block.ts';
import type { Chain } from './chain.ts';
import { toBase58 } from './encoding.ts';
import { readCall } from './transaction.ts';

/** One movement of money that is in the canonical chain. */
export type LedgerEntry = {
  readonly txId: string;
  readonly asset: 'TRX' | 'USDT';
  readonly blockNumber: number;
  readonly blockTimeMs: number;
  /** Base58. */
  readonly from: string;
  readonly to: string;
  /** Millionths, as a decimal string. */
  readonly amountMicro: string;
  readonly solid: boolean;
};

const TRANSFER_TOPIC = 'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';

/** Every transfer of TRX and every Transfer log of USDT since the genesis, oldest first, for a checker. */
export function readLedger(chain: Chain): readonly LedgerEntry[] {
  const usdt = usdtAddressHex(chain.options.seed).slice(2);
  return chain.blocksWithTransactions().flatMap((number) => {
    const block = chain.block(number);
    if (block === undefined) return [];
    const solid = number <= chain.solidNumber;
    return block.transactions.flatMap((executed) =>
      movementsOf(executed, usdt).map((movement) => entry(executed, block, solid, movement)),
    );
  });
}

type Movement = {
  readonly asset: LedgerEntry['asset'];
  readonly from: string;
  readonly to: string;
  readonly amount: bigint;
};

function movementsOf({ transaction, receipt }: Executed, usdt: string): readonly Movement[] {
  if (receipt.contractRet !== 'SUCCESS') return [];
  const call = readCall(transaction);
  const movements: Movement[] = [];
  const trx = (from: string, to: string, amount: bigint): void => {
    if (amount > 0n) movements.push({ asset: 'TRX', from, to, amount });
  };
  if (call?.kind === 'TransferContract') {
    trx(call.value.owner_address, call.value.to_address, call.value.amount);
  } else if (call?.kind === 'TriggerSmartContract') {
    trx(call.value.owner_address, call.value.contract_address, call.value.call_value);
  } else if (call?.kind === 'CreateSmartContract' && receipt.vm !== undefined) {
    trx(call.value.owner_address, receipt.vm.contractAddress, call.value.new_contract?.call_value ?? 0n);
  }
  for (const inner of receipt.vm?.internalCalls ?? []) {
    if (!inner.rejected && inner.note === 'call') trx(inner.caller, inner.to, inner.value);
  }
  for (const { address, topics, data } of receipt.vm?.logs ?? []) {
    const [topic, from, to] = topics;
    if (address !== usdt || topic !== TRANSFER_TOPIC || from === undefined || to === undefined) continue;
    movements.push({
      asset: 'USDT',
      from: `41${from.slice(24)}`,
      to: `41${to.slice(24)}`,
      amount: BigInt(`0x${data}`),
    });
  }
  return movements;
}

function entry(executed: Executed, block: Block, solid: boolean, movement: Movement): LedgerEntry {
  return {
    txId: executed.transaction.txId,
    asset: movement.asset,
    blockNumber: block.number,
    blockTimeMs: block.timestampMs,
    from: toBase58(movement.from),
    to: toBase58(movement.to),
    amountMicro: movement.amount.toString(),
    solid,
  };
}
