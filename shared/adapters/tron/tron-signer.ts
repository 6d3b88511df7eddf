import { createECDH, createHash } from 'node:crypto';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { ServiceError } from '../../domain/errors.ts';
import type { Transfer } from '../../domain/transfer-evidence.ts';
import { addressFromHex, addressToHex, addressToWord, type TronAddress } from '../../domain/tron-address.ts';
import type { SignedTransaction, Signer, TransferPlan } from '../../ports/payment-network.ts';
import { TRANSFER_SELECTOR } from './token-call.ts';

/** The address that a private key pays from, or undefined where it is no secp256k1 key (64 hex characters). */
export function addressOfKey(privateKeyHex: string): TronAddress | undefined {
  if (!/^[0-9a-fA-F]{64}$/.test(privateKeyHex)) return undefined;
  const curve = createECDH('secp256k1');
  try {
    curve.setPrivateKey(privateKeyHex, 'hex');
  } catch {
    return undefined;
  }
  const publicKey = curve.getPublicKey().subarray(1);
  const tail = Buffer.from(keccak_256(publicKey)).subarray(-20).toString('hex');
  return addressFromHex(`41${tail}`);
}

/**
 * Signs with tronweb, from given values alone: a full block header is passed in, so that tronweb dials nobody
 * (and a provider that refuses to makes sure of it). What comes out is decoded again and compared with what was
 * asked for before it is signed.
 * @param wallet the configured wallet; the key must be its key, or nothing is signed
 */
export function tronSigner(wallet: TronAddress, revealKey: () => string): Signer {
  // Loading tronweb takes longer than all else together; only an invocation that signs needs it.
  const load = onceAsync(async () => {
    if (addressOfKey(revealKey()) !== wallet) {
      throw new ServiceError('internal', 'The key to sign with is not the key of the wallet.');
    }
    const { providers, TronWeb, utils } = await import('tronweb');
    class NoProvider extends providers.HttpProvider {
      override request<T>(): Promise<T> {
        return Promise.reject(new Error('the signer dials nobody'));
      }
    }
    const nobody = new NoProvider('http://127.0.0.1:9');
    return { tronWeb: new TronWeb({ fullNode: nobody, solidityNode: nobody, eventServer: nobody }), utils };
  });

  return {
    wallet,
    async sign(transfer, plan, { timestampMs, expirationMs }): Promise<SignedTransaction> {
      const { tronWeb, utils } = await load();
      const { transactionBuilder } = tronWeb;
      const blockHeader = {
        // Two bytes of the block's number and eight of its id: how a transaction names the chain it is for.
        ref_block_bytes: plan.referenceBlock.blockId.slice(12, 16),
        ref_block_hash: plan.referenceBlock.blockId.slice(16, 32),
        expiration: expirationMs,
        timestamp: timestampMs,
      };
      const unsigned =
        transfer.asset === 'TRX'
          ? await transactionBuilder.sendTrx(transfer.recipient, toSafeNumber(transfer.amountMicro), wallet, {
              blockHeader,
            })
          : (
              await transactionBuilder.triggerSmartContract(
                transfer.contract,
                'transfer(address,uint256)',
                { txLocal: true, feeLimit: toSafeNumber(plan.feeLimitMicro), blockHeader },
                [
                  { type: 'address', value: transfer.recipient },
                  { type: 'uint256', value: transfer.amountMicro.toString() },
                ],
                wallet,
              )
            ).transaction;
      const message = utils.transaction.txJsonToPb(unsigned);
      const rawBytes = Buffer.from(message.getRawData().serializeBinary());
      const txId = createHash('sha256').update(rawBytes).digest('hex');
      const kind = transfer.asset === 'TRX' ? 'TransferContract' : 'TriggerSmartContract';
      const decoded: DecodedTransaction = utils.deserializeTx.deserializeTransaction(
        kind,
        rawBytes.toString('hex'),
      );
      if (txId !== unsigned.txID || !isTransfer(decoded, transfer, plan, blockHeader)) {
        throw new ServiceError(
          'internal',
          'The transaction that was built is not the transfer that was asked for.',
        );
      }
      // Not by `trx.sign`, which works out the key's address anew each time: half of its work.
      const { hexStr2byteArray } = utils.code;
      const signature = utils.crypto.ECKeySign(hexStr2byteArray(txId), hexStr2byteArray(revealKey()));
      message.addSignature(Buffer.from(signature, 'hex'));
      return { txId, bytes: message.serializeBinary() };
    },
  };
}

/** tronweb takes these as numbers; beyond 2^53 they would be rounded. */
function toSafeNumber(micro: bigint): number {
  const asNumber = Number(micro);
  if (!Number.isSafeInteger(asNumber))
    throw new ServiceError('amount_invalid', 'The amount is too large.', { field: 'amount' });
  return asNumber;
}

/** What tronweb's decoder shows of raw bytes; its hex is upper case. */
interface DecodedTransaction {
  readonly contract: readonly { readonly parameter: { readonly value: Readonly<Record<string, unknown>> } }[];
  readonly data: unknown;
  readonly fee_limit: unknown;
  readonly expiration: unknown;
  readonly timestamp: unknown;
  readonly ref_block_bytes: unknown;
  readonly ref_block_hash: unknown;
}

/** Whether decoded bytes are this transfer and nothing beside it. */
function isTransfer(
  decoded: DecodedTransaction,
  transfer: Transfer,
  plan: Pick<TransferPlan, 'referenceBlock' | 'feeLimitMicro'>,
  header: {
    readonly ref_block_bytes: string;
    readonly ref_block_hash: string;
    readonly expiration: number;
    readonly timestamp: number;
  },
): boolean {
  const [contract, ...others] = decoded.contract;
  if (contract === undefined || others.length > 0) return false;
  const { value } = contract.parameter;
  const headerHolds =
    lower(decoded.ref_block_bytes) === header.ref_block_bytes &&
    lower(decoded.ref_block_hash) === header.ref_block_hash &&
    decoded.expiration === header.expiration &&
    decoded.timestamp === header.timestamp;
  if (!headerHolds || decoded.data !== '' || lower(value.owner_address) !== addressToHex(transfer.sender))
    return false;
  if (transfer.asset === 'TRX') {
    return (
      lower(value.to_address) === addressToHex(transfer.recipient) &&
      value.amount === Number(transfer.amountMicro)
    );
  }
  const argument = transfer.amountMicro.toString(16).padStart(64, '0');
  return (
    lower(value.contract_address) === addressToHex(transfer.contract) &&
    lower(value.data) === TRANSFER_SELECTOR + addressToWord(transfer.recipient) + argument &&
    value.call_value === 0 &&
    value.call_token_value === 0 &&
    decoded.fee_limit === Number(plan.feeLimitMicro)
  );
}

function lower(value: unknown): unknown {
  return typeof value === 'string' ? value.toLowerCase() : value;
}

function onceAsync<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
