import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isBoundById } from '../../../shared/adapters/tron/block-hash.ts';
import { startTestChain, type TestChain } from './test-chain.ts';

let chain: TestChain;

beforeAll(async () => {
  chain = await startTestChain();
  await chain.produce(3);
});
afterAll(() => chain.dispose());

async function send(transaction: object): Promise<void> {
  expect(await chain.post('/wallet/broadcasttransaction', transaction)).toMatchObject({ result: true });
}

/** Makes a block, and shows it as a node does. */
async function nextBlock(): Promise<Record<string, unknown>> {
  await chain.produce();
  return chain.post('/wallet/getblockbynum', { num: chain.chain.head.number });
}

describe('a block of the development chain', () => {
  it.each([0, 1, 2, 3, 5, 8])('is bound by its id with %d transactions', async (count) => {
    for (let sent = 0; sent < count; sent += 1) await send(await chain.signTransfer(1_000_000));
    const block = await nextBlock();
    expect((block.transactions as unknown[] | undefined)?.length ?? 0).toBe(count);
    expect(isBoundById(block)).toBe(true);
    if (count === 0) return;
    const less = (block.transactions as unknown[]).slice(1);
    expect(isBoundById({ ...block, transactions: less })).toBe(false);
  });

  it('is bound by its id with calls of a contract, those too that failed', async () => {
    for (const amount of [1_000_000, Number.MAX_SAFE_INTEGER]) {
      const { transaction } = await chain.tronWeb.transactionBuilder.triggerSmartContract(
        chain.usdtAddress,
        'transfer(address,uint256)',
        { feeLimit: 100_000_000, txLocal: true },
        [
          { type: 'address', value: chain.alice.address },
          { type: 'uint256', value: amount },
        ],
        chain.wallet.address,
      );
      await send(await chain.tronWeb.trx.sign(transaction));
    }
    const block = await nextBlock();
    const results = (block.transactions as { ret: { contractRet: string }[] }[]).map(({ ret }) => ret);
    expect(results).toEqual([[{ contractRet: 'SUCCESS' }], [{ contractRet: 'REVERT' }]]);
    expect(isBoundById(block)).toBe(true);
  });
});
