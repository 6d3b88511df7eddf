import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { genesisSupplySun } from '../../../deploy/devchain/genesis.ts';
import type { World } from '../../../deploy/devchain/world.ts';
import { startTestChain, type TestChain } from './test-chain.ts';

let chain: TestChain;

beforeEach(async () => {
  chain = await startTestChain();
  await chain.produce(3);
});
afterEach(() => chain.dispose());

async function callUsdt(
  method: string,
  types: string[],
  values: unknown[],
  feeLimit = 100_000_000,
): Promise<string> {
  const { transaction } = await chain.tronWeb.transactionBuilder.triggerSmartContract(
    chain.usdtAddress,
    method,
    { feeLimit, txLocal: true },
    types.map((type, i) => ({ type, value: values[i] })),
    chain.wallet.address,
  );
  const signed = await chain.tronWeb.trx.sign(transaction);
  const { result } = await chain.tronWeb.trx.sendRawTransaction(signed);
  expect(result).toBe(true);
  return signed.txID;
}

describe('unmodified tronweb on the development chain', () => {
  it('pays TRX, and reads the balance from the solid chain only once it is solid', async () => {
    const before = await chain.tronWeb.trx.getBalance(chain.alice.address);
    const { txid } = await chain.tronWeb.trx.sendTransaction(chain.alice.address, 5_000_000);
    await chain.produce(2);
    expect(await chain.tronWeb.trx.getTransactionInfo(txid)).toEqual({});
    expect(await chain.tronWeb.trx.getBalance(chain.alice.address)).toBe(before);
    expect(await chain.tronWeb.trx.getUnconfirmedBalance(chain.alice.address)).toBe(before + 5_000_000);
    await chain.produce(1);
    expect(await chain.tronWeb.trx.getTransactionInfo(txid)).toMatchObject({
      id: txid,
      receipt: { net_usage: 268 },
    });
    expect(await chain.tronWeb.trx.getBalance(chain.alice.address)).toBe(before + 5_000_000);
  });

  it('pays USDT, and the log says so', async () => {
    const txId = await callUsdt(
      'transfer(address,uint256)',
      ['address', 'uint256'],
      [chain.alice.address, 25_000_000],
    );
    await chain.produce(3);
    const info = await chain.tronWeb.trx.getTransactionInfo(txId);
    expect(info.receipt.result).toBe('SUCCESS');
    const usdt = chain.tronWeb.contract(USDT_ABI, chain.usdtAddress);
    expect(await usdt.methods.balanceOf?.(chain.alice.address).call()).toBe(25_000_000n);
    expect(chain.ledger()).toEqual([
      {
        txId,
        asset: 'USDT',
        blockNumber: 4,
        blockTimeMs: info.blockTimeStamp,
        from: chain.wallet.address,
        to: chain.alice.address,
        amountMicro: '25000000',
        solid: true,
      },
    ]);
  });

  it('is told of a blacklisted sender by the simulation, and pays for the failure when it sends all the same', async () => {
    await callUsdt('addBlackList(address)', ['address'], [chain.wallet.address]);
    await chain.produce(1);
    const usdt = chain.tronWeb.contract(USDT_ABI, chain.usdtAddress);
    expect(await usdt.methods.isBlackListed?.(chain.wallet.address).call()).toBe(true);
    const txId = await callUsdt(
      'transfer(address,uint256)',
      ['address', 'uint256'],
      [chain.alice.address, 1],
    );
    await chain.produce(3);
    const info = await chain.tronWeb.trx.getTransactionInfo(txId);
    expect(info).toMatchObject({ result: 'FAILED', receipt: { result: 'REVERT' } });
    expect(Buffer.from(info.contractResult[0] ?? '', 'hex').toString('latin1')).toContain(
      'sender is blacklisted',
    );
    expect(chain.ledger()).toEqual([]);
  });

  it('pays 1 TRX more for a memo', async () => {
    const { head } = chain.chain;
    const plain = await chain.tronWeb.transactionBuilder.sendTrx(
      chain.alice.address,
      1,
      chain.wallet.address,
      {
        blockHeader: {
          ref_block_bytes: head.id.slice(12, 16),
          ref_block_hash: head.id.slice(16, 32),
          expiration: head.timestampMs + 60_000,
          timestamp: head.timestampMs,
        },
      },
    );
    const noted = await chain.tronWeb.transactionBuilder.addUpdateData(plain, 'for coffee', 'utf8', {
      txLocal: true,
    });
    const signed = await chain.tronWeb.trx.sign(noted);
    await chain.tronWeb.trx.sendRawTransaction(signed);
    await chain.produce(3);
    const info = await chain.tronWeb.trx.getTransactionInfo(signed.txID);
    expect(info.fee).toBe(1_000_000);
    expect(info.receipt.net_fee).toBeUndefined();
  });

  it('deploys a contract and finds it where it said', async () => {
    const transaction = await chain.tronWeb.transactionBuilder.createSmartContract(
      {
        abi: [],
        // Returns 42 to every call.
        bytecode: '600a600c600039600a6000f3602a60005260206000f3',
        feeLimit: 100_000_000,
        name: 'Answer',
      },
      chain.wallet.address,
    );
    const signed = await chain.tronWeb.trx.sign(transaction);
    await chain.tronWeb.trx.sendRawTransaction(signed);
    await chain.produce(3);
    const info = await chain.tronWeb.trx.getTransactionInfo(signed.txID);
    expect(info.contract_address).toBe(transaction.contract_address);
    const answer = await chain.post('/wallet/triggerconstantcontract', {
      owner_address: chain.wallet.addressHex,
      contract_address: info.contract_address,
      data: '00',
    });
    expect(answer).toMatchObject({ constant_result: [(42).toString(16).padStart(64, '0')] });
  });

  it('ends code that never ends', async () => {
    const transaction = await chain.tronWeb.transactionBuilder.createSmartContract(
      { abi: [], bytecode: '5b600056', feeLimit: 15_000_000_000, name: 'Loop' },
      chain.wallet.address,
    );
    const signed = await chain.tronWeb.trx.sign(transaction);
    await chain.tronWeb.trx.sendRawTransaction(signed);
    await chain.produce(3);
    const info = await chain.tronWeb.trx.getTransactionInfo(signed.txID);
    expect(info).toMatchObject({ result: 'FAILED', receipt: { result: 'OUT_OF_TIME' } });
  });
});

describe('TRX', () => {
  it('is never made and never lost: balances, stakes and burned fees sum to what there was at first', async () => {
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('send' as const),
        to: fc.nat(4),
        sun: fc.integer({ min: 1, max: 2_000_000_000 }),
      }),
      fc.record({ kind: fc.constant('new' as const), sun: fc.integer({ min: 1, max: 5_000_000 }) }),
      fc.record({
        kind: fc.constant('usdt' as const),
        to: fc.nat(4),
        micro: fc.integer({ min: 1, max: 10 ** 13 }),
      }),
      fc.record({ kind: fc.constant('stake' as const), trx: fc.integer({ min: 1, max: 1_000 }) }),
      fc.constant({ kind: 'block' as const }),
      fc.constant({ kind: 'fork' as const }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 25 }), async (actions) => {
        for (const act of actions) {
          if (act.kind === 'block') await chain.produce();
          else if (act.kind === 'fork') await chain.fork(1, 'readmit');
          else if (act.kind === 'stake') {
            const stake = await chain.tronWeb.transactionBuilder.freezeBalanceV2(
              act.trx * 1_000_000,
              'ENERGY',
            );
            await chain.post('/wallet/broadcasttransaction', await chain.tronWeb.trx.sign(stake));
          } else if (act.kind === 'usdt') {
            const to = chain.accounts[act.to]?.address ?? '';
            const { transaction } = await chain.tronWeb.transactionBuilder.triggerSmartContract(
              chain.usdtAddress,
              'transfer(address,uint256)',
              { txLocal: true },
              [
                { type: 'address', value: to },
                { type: 'uint256', value: act.micro },
              ],
            );
            await chain.post('/wallet/broadcasttransaction', await chain.tronWeb.trx.sign(transaction));
          } else {
            const to =
              act.kind === 'new'
                ? (await chain.tronWeb.createAccount()).address.base58
                : (chain.accounts[act.to + 1]?.address ?? '');
            await chain.post('/wallet/broadcasttransaction', await chain.signTransfer(act.sun, to));
          }
        }
        await chain.produce();
        expect(totalSun(chain)).toBe(genesisSupplySun(chain.seed));
        expect(await totalUsdt(chain)).toBe(1_000_000_000_000n);
      }),
      { numRuns: 12 },
    );
  });
});

function totalSun({ chain: inner }: TestChain): bigint {
  const world: World = inner.worldOf('head');
  return inner
    .accounts()
    .reduce(
      (sum, { balance, frozenForBandwidth, frozenForEnergy }) =>
        sum + balance + frozenForBandwidth + frozenForEnergy,
      world.total('burned'),
    );
}

async function totalUsdt({ chain: inner, post, usdtAddress, wallet }: TestChain): Promise<bigint> {
  let sum = 0n;
  for (const { address } of inner.accounts()) {
    const answer = await post('/wallet/triggerconstantcontract', {
      owner_address: wallet.address,
      contract_address: usdtAddress,
      function_selector: 'balanceOf(address)',
      parameter: address.slice(2).padStart(64, '0'),
      visible: true,
    });
    const [word] = answer.constant_result as string[];
    sum += BigInt(`0x${word}`);
  }
  return sum;
}

const USDT_ABI = [
  {
    name: 'balanceOf',
    type: 'function',
    stateMutability: 'view',
    inputs: [{ name: '', type: 'address' }],
    outputs: [{ name: '', type: 'uint256' }],
  },
  {
    name: 'isBlackListed',
    type: 'function',
    stateMutability: 'view',
    inputs: [{ name: '', type: 'address' }],
    outputs: [{ name: '', type: 'bool' }],
  },
] as const;
