import { utils } from 'tronweb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseJson } from '../../../deploy/devchain/encoding.ts';
import { signHash } from '../../../deploy/devchain/keys.ts';
import {
  makeTransaction,
  transactionFromJson,
  transactionToHex,
} from '../../../deploy/devchain/transaction.ts';
import { type SignedTransfer, startTestChain, type TestChain } from './test-chain.ts';

/**
 * A node checks a transaction in a fixed order, and clients conclude from its answer: each case breaks the checks
 * from one on, and must hear of the first.
 */
describe('a broadcast that is wrong in several ways hears of the first in java-tron`s order', () => {
  let chain: TestChain;
  let landed: SignedTransfer;

  beforeAll(async () => {
    chain = await startTestChain();
    await chain.produce(3);
    landed = await chain.signTransfer(1_000_000);
    await chain.post('/wallet/broadcasttransaction', landed);
    await chain.produce(1);
  });
  afterAll(() => chain.dispose());

  async function codeOf(transaction: unknown): Promise<unknown> {
    return (await chain.post('/wallet/broadcasttransaction', transaction)).code;
  }

  it('no contract before expiry', async () => {
    const transaction = await chain.signTransfer(1, undefined, { expirationMs: 1 });
    const raw_data = { ...transaction.raw_data, contract: [] };
    expect(await codeOf({ ...transaction, raw_data })).toBe('CONTRACT_VALIDATE_ERROR');
  });

  it('expiry before the signature', async () => {
    const transaction = await chain.signTransfer(1, undefined, {
      expirationMs: chain.chain.head.timestampMs,
    });
    expect(await codeOf({ ...transaction, signature: [] })).toBe('TRANSACTION_EXPIRATION_ERROR');
  });

  it('the signature before the reference block', async () => {
    const transaction = await chain.signTransfer(1);
    const raw_data = { ...transaction.raw_data, ref_block_hash: '00'.repeat(8) };
    expect(await codeOf({ ...transaction, raw_data })).toBe('SIGERROR');
  });

  it('several contracts before the reference block', async () => {
    const [contract] = (await chain.signTransfer(1)).raw_data.contract;
    const { head } = chain.chain;
    const transaction = {
      visible: false,
      txID: '',
      raw_data: {
        contract: [contract, contract],
        ref_block_bytes: 'ffff',
        ref_block_hash: '00'.repeat(8),
        expiration: head.timestampMs + 60_000,
      },
    };
    const txID = transactionFromJson(parseJson(JSON.stringify(transaction)))?.txId;
    const signed = utils.crypto.signTransaction(chain.wallet.privateKey, { ...transaction, txID });
    expect(await codeOf(signed)).toBe('OTHER_ERROR');
  });

  it('a kind that this chain does not execute is refused by name, its signature checked', async () => {
    const known = transactionFromJson(parseJson(JSON.stringify(await chain.signTransfer(1))));
    if (known === undefined) throw new Error('not read');
    const [contract] = known.raw.contract;
    const other = { ...known.raw, contract: [{ ...contract, type: 'WithdrawBalanceContract' }] };
    const { txId } = makeTransaction(other, []);
    const send = async (key: string): Promise<unknown> =>
      chain.post('/wallet/broadcasthex', {
        transaction: transactionToHex(makeTransaction(other, [signHash(txId, key)])),
      });
    expect(await send(chain.alice.privateKey)).toMatchObject({ code: 'SIGERROR' });
    expect(await send(chain.wallet.privateKey)).toMatchObject({
      code: 'CONTRACT_VALIDATE_ERROR',
      message: expect.stringContaining('WithdrawBalanceContract is not executed'),
    });
  });

  it('the reference block before an expiration too far ahead', async () => {
    const far = chain.chain.head.timestampMs + 90_000_000;
    const good = await chain.signTransfer(1, undefined, { expirationMs: far });
    expect(await codeOf(good)).toBe('TRANSACTION_EXPIRATION_ERROR');
    const bad = await chain.tronWeb.transactionBuilder.sendTrx(chain.alice.address, 1, chain.wallet.address, {
      blockHeader: { ref_block_bytes: '0001', ref_block_hash: '00'.repeat(8), expiration: far, timestamp: 1 },
    });
    expect(await codeOf(await chain.tronWeb.trx.sign(bad))).toBe('TAPOS_ERROR');
  });

  it('a duplicate before the balance, whether pending or in a block', async () => {
    expect(await codeOf(landed)).toBe('DUP_TRANSACTION_ERROR');
    const everything = await chain.signTransfer(999_000_000_000);
    expect(await codeOf(everything)).toBeUndefined();
    expect(await codeOf(everything)).toBe('DUP_TRANSACTION_ERROR');
  });

  it('what waits already spends: the same money is not taken twice into the pool', async () => {
    expect(await codeOf(await chain.signTransfer(999_000_000_000))).toBe('CONTRACT_VALIDATE_ERROR');
  });

  it('a transaction that landed long ago is called expired, not a duplicate', async () => {
    chain.passMs(120_000);
    await chain.produce(1);
    expect(await codeOf(landed)).toBe('TRANSACTION_EXPIRATION_ERROR');
  });
});
