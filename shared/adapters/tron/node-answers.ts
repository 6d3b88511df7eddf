import { createHash } from 'node:crypto';
import type { SolidHead } from '../../domain/breaker.ts';
import { ServiceError } from '../../domain/errors.ts';
import type {
  EventLog,
  SolidBlock,
  SolidTransaction,
  SolidTransactionInfo,
} from '../../domain/transfer-evidence.ts';
import type { TronAddress } from '../../domain/tron-address.ts';
import { isBoundById } from './block-hash.ts';
import type { JsonObject } from './node-client.ts';

/**
 * Reading what nodes answer. Nothing is believed by its shape: a missing field that java-tron omits when zero
 * is zero, anything else that is not as the API defines it is a nonsensical answer (`chain_unavailable`), never
 * "not found" and never a default.
 */

/** java-tron answers `{}` for whatever it does not have. */
export function isAbsent(answer: JsonObject): boolean {
  return Object.keys(answer).length === 0;
}

export function readHead(answer: JsonObject): SolidHead {
  const { number, blockId, timestampMs } = readBlockHeader(answer);
  return { number, blockId, timestampMs };
}

/** A whole block, with its transactions' ids computed from their bytes. */
export function readBlock(answer: JsonObject): SolidBlock {
  const transactions = answer.transactions === undefined ? [] : array(answer.transactions, 'transactions');
  return {
    ...readBlockHeader(answer),
    txIds: transactions.map((transaction) => rawTxId(object(transaction, 'transaction'))),
    isBound: isBoundById(answer),
  };
}

function readBlockHeader(answer: JsonObject) {
  const blockId = hex(answer.blockID, 'blockID', 64);
  const raw = object(object(answer.block_header, 'block_header').raw_data, 'raw_data');
  // The genesis block shows neither number nor timestamp: both are zero.
  const number = integerOr(0, raw.number, 'number');
  if (BigInt(`0x${blockId.slice(0, 16)}`) !== BigInt(number)) {
    throw nonsense('a block whose id does not begin with its number');
  }
  return {
    number,
    blockId,
    parentId: hex(raw.parentHash, 'parentHash', 64),
    timestampMs: integerOr(0, raw.timestamp, 'timestamp'),
  };
}

export function readTransaction(answer: JsonObject): SolidTransaction | null {
  if (isAbsent(answer)) return null;
  const [result] = answer.ret === undefined ? [] : array(answer.ret, 'ret');
  const contractRet = result === undefined ? undefined : object(result, 'ret').contractRet;
  return {
    txId: rawTxId(answer),
    contractRet: contractRet === undefined ? null : word(contractRet, 'contractRet'),
  };
}

export function readTransactionInfo(answer: JsonObject): SolidTransactionInfo | null {
  if (isAbsent(answer)) return null;
  const receipt = answer.receipt === undefined ? {} : object(answer.receipt, 'receipt');
  return {
    txId: hex(answer.id, 'id', 64),
    blockNumber: integer(answer.blockNumber, 'blockNumber'),
    blockTimeMs: integer(answer.blockTimeStamp, 'blockTimeStamp'),
    feeMicro: BigInt(integerOr(0, answer.fee, 'fee')),
    receiptResult: receipt.result === undefined ? null : word(receipt.result, 'receipt.result'),
    result: answer.result === undefined ? null : word(answer.result, 'result'),
    logs: answer.log === undefined ? [] : array(answer.log, 'log').map(readLog),
  };
}

/**
 * An account's TRX, in sun, or null where the account does not exist. It must name itself (it is asked for in
 * its visible form), so that some other object is not taken for an account without money.
 */
export function readAccountBalance(answer: JsonObject, address: TronAddress): bigint | null {
  if (isAbsent(answer)) return null;
  if (answer.address !== address) throw nonsense('another account than the one asked for');
  return BigInt(integerOr(0, answer.balance, 'balance'));
}

/** What is at an address: nothing yet, an account that a key holds, or a contract. */
export type AccountKind = 'none' | 'key' | 'contract';

export function readAccountKind(answer: JsonObject, address: TronAddress): AccountKind {
  if (readAccountBalance(answer, address) === null) return 'none';
  return answer.type === 'Contract' ? 'contract' : 'key';
}

function readLog(value: unknown): EventLog {
  const log = object(value, 'log');
  return {
    address: text(log.address, 'log.address'),
    topics: log.topics === undefined ? [] : array(log.topics, 'topics').map((topic) => text(topic, 'topic')),
    data: log.data === undefined ? '' : text(log.data, 'log.data'),
  };
}

/** The id that the raw bytes have, whatever id the node gives them. */
function rawTxId(transaction: JsonObject): string {
  const raw = text(transaction.raw_data_hex, 'raw_data_hex');
  // Node's own decoder stops without a word at the first character that is not hexadecimal.
  if (!/^(?:[0-9a-fA-F]{2})+$/.test(raw)) throw nonsense('no hexadecimal raw_data_hex');
  return createHash('sha256').update(Buffer.from(raw, 'hex')).digest('hex');
}

export function object(value: unknown, name: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw nonsense(`no object ${name}`);
  return value as JsonObject;
}

export function array(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw nonsense(`no list ${name}`);
  return value;
}

export function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw nonsense(`no text ${name}`);
  return value;
}

/** How something ended, by java-tron's names. What else a node may write there must not end up in a payment's history. */
function word(value: unknown, name: string): string {
  const found = text(value, name);
  if (!/^\w{1,64}$/.test(found)) throw nonsense(`no word ${name}`);
  return found;
}

export function integer(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw nonsense(`no number ${name}`);
  return value;
}

/** For the fields that java-tron leaves out when they are zero. */
export function integerOr(fallback: number, value: unknown, name: string): number {
  return value === undefined ? fallback : integer(value, name);
}

function hex(value: unknown, name: string, length: number): string {
  const found = text(value, name);
  if (found.length !== length || !/^[0-9a-f]*$/.test(found)) throw nonsense(`no hexadecimal ${name}`);
  return found;
}

export function nonsense(what: string): ServiceError {
  return new ServiceError('chain_unavailable', `a TRON node gave a senseless answer: ${what}`, {
    retryAfterSeconds: 10,
  });
}
