import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { createBase58check } from '@scure/base';
import type { ChainTransfer } from './evidence.ts';

/** What a walk of solid blocks found. */
export interface ChainWalk {
  readonly transfers: readonly ChainTransfer[];
  readonly lastBlock: number;
}

export interface WalkOptions {
  /** A node's address, of whatever make: only TRON's public HTTP interface is used. */
  readonly nodeUrl: string;
  /** Base58. */
  readonly wallet: string;
  readonly usdt: string;
  readonly fromBlock: number;
}

interface BlockJson {
  readonly blockID: string;
  readonly block_header: { readonly raw_data: { readonly number?: number; readonly timestamp?: number } };
  readonly transactions?: readonly TransactionJson[];
}

interface TransactionJson {
  readonly txID: string;
  readonly ret?: readonly { readonly contractRet?: string }[];
  readonly raw_data: {
    readonly contract: readonly {
      readonly type: string;
      readonly parameter: {
        readonly value: {
          readonly owner_address?: string;
          readonly to_address?: string;
          readonly amount?: number;
        };
      };
    }[];
  };
}

interface InfoJson {
  readonly id: string;
  readonly log?: readonly {
    readonly address: string;
    readonly topics?: readonly string[];
    readonly data?: string;
  }[];
}

const BLOCKS_AT_ONCE = 100;
const REQUEST_TIMEOUT_MS = 20_000;
/** Of `Transfer(address,address,uint256)`. */
const TRANSFER_TOPIC = 'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';
const base58check = createBase58check(sha256);

/** The number of the newest solid block. */
export async function readSolidNumber(nodeUrl: string): Promise<number> {
  const head = (await ask(nodeUrl, '/walletsolidity/getnowblock', {})) as BlockJson;
  return head.block_header.raw_data.number ?? 0;
}

/**
 * Reads every transfer out of the wallet from the node's solid blocks, one by one: TRX by its transactions, USDT by
 * the logs that its contract wrote.
 */
export async function walkChain({ nodeUrl, wallet, usdt, fromBlock }: WalkOptions): Promise<ChainWalk> {
  const lastBlock = await readSolidNumber(nodeUrl);
  const walletHex = hexOf(wallet);
  const usdtHex = hexOf(usdt).slice(2);
  const transfers: ChainTransfer[] = [];
  for (let start = fromBlock; start <= lastBlock; start += BLOCKS_AT_ONCE) {
    const end = Math.min(start + BLOCKS_AT_ONCE, lastBlock + 1);
    const range = { startNum: start, endNum: end };
    const { block: blocks = [] } = (await ask(nodeUrl, '/walletsolidity/getblockbylimitnext', range)) as {
      readonly block?: readonly BlockJson[];
    };
    if (blocks.length !== end - start)
      throw new Error(`the node gave ${blocks.length} blocks from ${start} to ${end}`);
    for (const block of blocks) {
      if (block.transactions === undefined || block.transactions.length === 0) continue;
      const { number = 0, timestamp = 0 } = block.block_header.raw_data;
      const place = { blockNumber: number, blockTimeMs: timestamp };
      transfers.push(
        ...trxTransfers(block.transactions, walletHex).map((transfer) => ({ ...transfer, ...place })),
      );
      const infos = (await ask(nodeUrl, '/walletsolidity/gettransactioninfobyblocknum', {
        num: number,
      })) as readonly InfoJson[];
      transfers.push(
        ...usdtTransfers(infos, walletHex.slice(2), usdtHex).map((transfer) => ({ ...transfer, ...place })),
      );
    }
  }
  return { transfers, lastBlock };
}

type Transfer = Omit<ChainTransfer, 'blockNumber' | 'blockTimeMs'>;

function trxTransfers(transactions: readonly TransactionJson[], walletHex: string): Transfer[] {
  return transactions.flatMap(({ txID, ret, raw_data }) => {
    const [contract] = raw_data.contract;
    if (contract?.type !== 'TransferContract' || ret?.[0]?.contractRet !== 'SUCCESS') return [];
    const { owner_address, to_address = '', amount = 0 } = contract.parameter.value;
    if (owner_address !== walletHex) return [];
    return [{ txId: txID, asset: 'TRX', to: base58Of(to_address), amountMicro: BigInt(amount) }];
  });
}

function usdtTransfers(infos: readonly InfoJson[], wallet: string, usdt: string): Transfer[] {
  return infos.flatMap(({ id, log = [] }) =>
    log.flatMap(({ address, topics: [topic, from = '', to = ''] = [], data = '' }) => {
      if (address !== usdt || topic !== TRANSFER_TOPIC || from.slice(24) !== wallet) return [];
      const transfer: Transfer = {
        txId: id,
        asset: 'USDT',
        to: base58Of(`41${to.slice(24)}`),
        amountMicro: BigInt(`0x${data}`),
      };
      return [transfer];
    }),
  );
}

async function ask(nodeUrl: string, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(new URL(path, nodeUrl), {
    method: 'POST',
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  return response.json();
}

function hexOf(address: string): string {
  return bytesToHex(base58check.decode(address));
}

function base58Of(hex: string): string {
  return base58check.encode(Buffer.from(hex, 'hex'));
}
