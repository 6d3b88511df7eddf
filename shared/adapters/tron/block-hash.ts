import { createHash } from 'node:crypto';
import type { JsonObject } from './node-client.ts';
import { bytesField, bytesOf, integerField, lengthDelimited, Unknown } from './protobuf.ts';

/**
 * What binds a block together. A block's id is its number and the SHA-256 of its header; the header names the
 * parent's id, the time, and the root of a hash tree over the transactions with their signatures and results. So
 * where both are computed again from what a node shows, nothing in the block was left out, added or changed, and
 * an id that two nodes agree on fixes every block before it.
 *
 * The representatives' signatures are not checked: which keys may sign changes by vote and by permission, and
 * following that takes a light client. A node that lies alone can therefore make up a whole chain of its own;
 * what finds it out is a second node.
 */

/**
 * Whether the block's id follows from all that it shows. False, rather than an error, where it does not: a newer
 * java-tron may put into a block what is not known here, and that is no reason to believe nothing of it.
 */
export function isBoundById(block: JsonObject): boolean {
  try {
    const header = fieldsOf(fieldsOf(block.block_header).raw_data);
    const transactions = block.transactions === undefined ? [] : listOf(block.transactions);
    return blockIdOf(header) === block.blockID && merkleRoot(transactions) === header.txTrieRoot;
  } catch (error) {
    if (error instanceof Unknown) return false;
    throw error;
  }
}

const NO_TRANSACTIONS = '00'.repeat(32);

/** `Transaction.Result.contractResult`, by its numbers. */
const CONTRACT_RESULTS = [
  'DEFAULT',
  'SUCCESS',
  'REVERT',
  'BAD_JUMP_DESTINATION',
  'OUT_OF_MEMORY',
  'PRECOMPILED_CONTRACT',
  'STACK_TOO_SMALL',
  'STACK_TOO_LARGE',
  'ILLEGAL_OPERATION',
  'STACK_OVERFLOW',
  'OUT_OF_ENERGY',
  'OUT_OF_TIME',
  'JVM_STACK_OVER_FLOW',
  'UNKNOWN',
  'TRANSFER_FAILED',
  'INVALID_CODE',
];

/** @param header `block_header.raw_data`: the id is its number, and its hash from the ninth byte on */
export function blockIdOf(header: JsonObject): string {
  const hash = sha256([
    integerField(1, header.timestamp),
    bytesField(2, header.txTrieRoot),
    bytesField(3, header.parentHash),
    integerField(7, header.number),
    integerField(8, header.witness_id),
    bytesField(9, header.witness_address),
    integerField(10, header.version),
    bytesField(11, header.accountStateRoot),
  ]);
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(Number(header.number ?? 0)));
  return Buffer.concat([number, hash.subarray(8)]).toString('hex');
}

/** Pairs are hashed level by level; an odd one goes up as it is. */
export function merkleRoot(transactions: readonly unknown[]): string {
  let level = transactions.map((transaction) => hashTransaction(fieldsOf(transaction)));
  while (level.length > 1) {
    const below = level;
    level = [];
    for (let left = 0; left < below.length; left += 2) {
      const pair = below.slice(left, left + 2);
      level.push(pair.length === 2 ? sha256(pair) : (pair[0] ?? Buffer.alloc(0)));
    }
  }
  return level[0]?.toString('hex') ?? NO_TRANSACTIONS;
}

function hashTransaction(transaction: JsonObject): Buffer {
  const signatures = transaction.signature === undefined ? [] : listOf(transaction.signature);
  const results = transaction.ret === undefined ? [] : listOf(transaction.ret);
  return sha256([
    lengthDelimited(1, bytesOf(transaction.raw_data_hex)),
    ...signatures.map((signature) => lengthDelimited(2, bytesOf(signature))),
    ...results.map((result) => lengthDelimited(5, encodeResult(fieldsOf(result)))),
  ]);
}

function encodeResult(result: JsonObject): Buffer {
  const contractRet = CONTRACT_RESULTS.indexOf(String(result.contractRet ?? 'DEFAULT'));
  if (contractRet < 0) throw new Unknown('a result that is not known');
  return Buffer.concat([integerField(1, result.fee), integerField(3, contractRet)]);
}

function sha256(parts: readonly Buffer[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function fieldsOf(value: unknown): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Unknown('no object');
  return value as JsonObject;
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Unknown('no list');
  return value;
}
