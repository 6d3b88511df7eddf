import { fromHex, sha256Hex, toHex } from './encoding.ts';
import type { Receipt } from './execution.ts';
import { signHash } from './keys.ts';
import { BLOCK_VERSION } from './parameters.ts';
import { encode } from './protobuf.ts';
import { makeTransaction, type Transaction, transactionFromBytes, transactionToHex } from './transaction.ts';
import { BLOCK_RAW, CONTRACTS, TRANSACTION } from './tron-messages.ts';

/** A transaction in a block, with what it did. */
export type Executed = { readonly transaction: Transaction; readonly receipt: Receipt };

export type Block = {
  /** Number in the first 8 bytes, then the rest of the header's hash. */
  readonly id: string;
  readonly number: number;
  readonly timestampMs: number;
  readonly parentId: string;
  readonly txTrieRoot: string;
  readonly witness: string;
  readonly signature: string;
  readonly transactions: readonly Executed[];
};

/** Who produces blocks. */
export type Witness = { readonly addressHex: string; readonly privateKey: string };

const NO_HASH = '00'.repeat(32);

/** Builds and signs a block. */
export function makeBlock(
  parent: { readonly id: string; readonly number: number },
  timestampMs: number,
  witness: Witness,
  transactions: readonly Executed[],
): Block {
  const number = parent.number + 1;
  const txTrieRoot = merkleRoot(transactions);
  const hash = headerHash({
    number,
    timestampMs,
    parentId: parent.id,
    txTrieRoot,
    witness: witness.addressHex,
  });
  return {
    id: blockId(number, hash),
    number,
    timestampMs,
    parentId: parent.id,
    txTrieRoot,
    witness: witness.addressHex,
    signature: signHash(hash, witness.privateKey),
    transactions,
  };
}

/**
 * The genesis block. Its witness field carries the sentence that java-tron's genesis carries; its transactions
 * hold the first balances, so that its id follows from the seed alone.
 */
export function makeGenesisBlock(
  balances: readonly { readonly address: string; readonly sun: bigint }[],
): Block {
  const transactions = balances.map(({ address, sun }) => genesisTransfer(address, sun));
  const header = {
    number: 0,
    timestampMs: 0,
    parentId: NO_HASH,
    txTrieRoot: merkleRoot(transactions),
    witness: `41${Buffer.from(GENESIS_MOTTO).toString('hex')}`,
  };
  return { ...header, id: blockId(0, headerHash(header)), signature: '', transactions };
}

const GENESIS_MOTTO =
  ' new system must allow existing systems to be linked together without requiring any central control or coordination';

/** A block as it is stored. */
export type StoredBlock = Omit<Block, 'transactions'> & {
  readonly transactions: readonly { readonly hex: string; readonly receipt: Receipt }[];
};

export function storeBlock(block: Block): StoredBlock {
  return {
    ...block,
    transactions: block.transactions.map(({ transaction, receipt }) => ({
      hex: transactionToHex(transaction),
      receipt,
    })),
  };
}

export function restoreBlock(stored: StoredBlock): Block {
  return {
    ...stored,
    transactions: stored.transactions.map(({ hex, receipt }) => ({
      transaction: transactionFromBytes(fromHex(hex)),
      // A result outside the EVM has no such field in the file.
      receipt: { ...receipt, vm: receipt.vm },
    })),
  };
}

function headerHash(
  header: Pick<Block, 'number' | 'timestampMs' | 'parentId' | 'txTrieRoot' | 'witness'>,
): string {
  return sha256Hex(
    encode(BLOCK_RAW, {
      timestamp: BigInt(header.timestampMs),
      txTrieRoot: header.txTrieRoot,
      parentHash: header.parentId,
      number: BigInt(header.number),
      witness_address: header.witness,
      version: header.number === 0 ? 0 : BLOCK_VERSION,
    }),
  );
}

function blockId(number: number, hash: string): string {
  return number.toString(16).padStart(16, '0') + hash.slice(16);
}

/** SHA-256 tree over the transactions with their results; an odd one goes up a level as it is. */
function merkleRoot(transactions: readonly Executed[]): string {
  let level = transactions.map(({ transaction, receipt }) =>
    sha256Hex(
      encode(TRANSACTION, {
        raw_data: transaction.raw,
        signature: transaction.signatures,
        ret: [{ contractRet: receipt.contractRet }],
      }),
    ),
  );
  if (level.length === 0) return NO_HASH;
  while (level.length > 1) {
    const above: string[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const left = level[i] ?? '';
      const right = level[i + 1];
      above.push(right === undefined ? left : sha256Hex(fromHex(left + right)));
    }
    level = above;
  }
  return level[0] ?? NO_HASH;
}

function genesisTransfer(address: string, sun: bigint): Executed {
  const value = {
    owner_address: Buffer.from('0x000000000000000000000').toString('hex'),
    to_address: address,
    amount: sun,
  };
  const transaction = makeTransaction(
    {
      contract: [
        {
          type: 'TransferContract',
          parameter: {
            type_url: 'type.googleapis.com/protocol.TransferContract',
            value: toHex(encode(CONTRACTS.TransferContract, value)),
          },
        },
      ],
    },
    [],
  );
  return { transaction, receipt: GENESIS_RECEIPT };
}

const GENESIS_RECEIPT: Receipt = {
  contractRet: 'SUCCESS',
  fee: 0n,
  netUsage: 0n,
  netFee: 0n,
  energyUsage: 0n,
  originEnergyUsage: 0n,
  energyFee: 0n,
  energyUsageTotal: 0n,
  vm: undefined,
};
