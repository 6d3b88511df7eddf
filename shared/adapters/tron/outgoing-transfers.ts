import { createHash } from 'node:crypto';
import type { Asset } from '../../domain/money.ts';
import type { OutgoingTransfer } from '../../domain/restore.ts';
import { addressFromHex, addressToHex, type TronAddress } from '../../domain/tron-address.ts';
import type { Account } from '../../ports/payment-network.ts';
import { array, object, text } from './node-answers.ts';
import type { JsonObject } from './node-client.ts';
import {
  bytesAt,
  bytesOf,
  type Fields,
  lengthDelimited,
  numberAt,
  readMessage,
  Unknown,
} from './protobuf.ts';
import { TRANSFER_SELECTOR } from './token-call.ts';

/**
 * Which of a block's transactions this service may have signed: a transfer of TRX, or the token's `transfer`, by the
 * wallet, and nothing beside it. Read from the raw bytes, which the block's id vouches for, not from the words in
 * which a node shows them. The numbers of the fields are java-tron's, in `core/Tron.proto`.
 */

/** All but the fee, which stands in the receipt. */
export type FoundTransfer = Omit<OutgoingTransfer, 'feeMicro'>;

const TRANSFER_CONTRACT = 1n;
const TRIGGER_SMART_CONTRACT = 31n;
/** The most that the ledger can count. */
const AMOUNT_MICRO_MAX = 2n ** 63n - 1n;

/** @param block as a node shows it, with its transactions */
export function findOutgoing(block: JsonObject, account: Account): FoundTransfer[] {
  const transactions = block.transactions === undefined ? [] : array(block.transactions, 'transactions');
  return transactions.flatMap((shown) => {
    const found = readTransfer(object(shown, 'transaction'), account);
    return found === null ? [] : [found];
  });
}

function readTransfer(shown: JsonObject, account: Account): FoundTransfer | null {
  const rawBytes = Buffer.from(text(shown.raw_data_hex, 'raw_data_hex'), 'hex');
  try {
    const raw = readMessage(rawBytes);
    const moved = readContract(raw, account);
    if (moved === null) return null;
    return {
      txId: createHash('sha256').update(rawBytes).digest('hex'),
      bytes: Buffer.concat([lengthDelimited(1, rawBytes), ...signaturesOf(shown)]),
      ...moved,
      succeeded: hasSucceeded(shown),
      feeLimitMicro: numberAt(raw, 18),
      signedAtMs: Number(numberAt(raw, 14)),
      expirationMs: Number(numberAt(raw, 8)),
    };
  } catch (error) {
    // Nothing that this service has signed.
    if (error instanceof Unknown) return null;
    throw error;
  }
}

function readContract(
  raw: Fields,
  { address, contract }: Account,
): { readonly asset: Asset; readonly amountMicro: bigint; readonly recipient: TronAddress } | null {
  const call = readMessage(bytesAt(raw, 11));
  const kind = numberAt(call, 1);
  if (kind !== TRANSFER_CONTRACT && kind !== TRIGGER_SMART_CONTRACT) return null;
  const value = readMessage(bytesAt(readMessage(bytesAt(call, 2)), 2));
  if (bytesAt(value, 1).toString('hex') !== addressToHex(address)) return null;
  if (kind === TRANSFER_CONTRACT) {
    return moved('TRX', bytesAt(value, 2).toString('hex'), numberAt(value, 3));
  }
  const data = bytesAt(value, 4).toString('hex');
  if (bytesAt(value, 2).toString('hex') !== addressToHex(contract)) return null;
  if (!data.startsWith(TRANSFER_SELECTOR) || data.length < TRANSFER_SELECTOR.length + 128) return null;
  const [recipient, amount] = [data.slice(8, 72), data.slice(72, 136)];
  return moved('USDT', `41${recipient.slice(24)}`, BigInt(`0x${amount}`));
}

function moved(asset: Asset, recipientHex: string, amountMicro: bigint) {
  const recipient = addressFromHex(recipientHex);
  if (recipient === undefined || amountMicro <= 0n || amountMicro > AMOUNT_MICRO_MAX) return null;
  return { asset, amountMicro, recipient };
}

function signaturesOf(shown: JsonObject): Buffer[] {
  const signatures = shown.signature === undefined ? [] : array(shown.signature, 'signature');
  return signatures.map((signature) => lengthDelimited(2, bytesOf(signature)));
}

/** Only where the block says otherwise has no money moved. */
function hasSucceeded(shown: JsonObject): boolean {
  const [result] = shown.ret === undefined ? [] : array(shown.ret, 'ret');
  const contractRet = result === undefined ? undefined : object(result, 'ret').contractRet;
  return contractRet === undefined || contractRet === 'SUCCESS';
}
