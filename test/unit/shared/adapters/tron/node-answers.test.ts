import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isAbsent,
  readAccountBalance,
  readBlock,
  readHead,
  readTransaction,
  readTransactionInfo,
} from '../../../../../shared/adapters/tron/node-answers.ts';
import { ServiceError } from '../../../../../shared/domain/errors.ts';
import { judgeTestimony, type Transfer } from '../../../../../shared/domain/transfer-evidence.ts';
import { addressFromHex } from '../../../../../shared/domain/tron-address.ts';
import { altered, type RecordedName, recordedAnswer } from '../recorded-answers.ts';

const TRX_TX = '99b96c4a8f3d881e67714670b3b8453a163ce1b6eb24475e294124ce80194c14';
const TOKEN_TX = '6566ce9532c86ab9ec5da7b137fc57ebdc55264db67768f53995259fe663cdbd';

function address(hex: string) {
  const found = addressFromHex(hex);
  if (found === undefined) throw new Error(`no address: ${hex}`);
  return found;
}

const alice = address('41cf703cc905054463a9e31a6f36d20845ef8bf8be');

const tokenTransfer: Transfer = {
  asset: 'USDT',
  amountMicro: 1_500_000n,
  sender: alice,
  recipient: address('411c115bd3f3383083ff6db6ff51157590e254c2f0'),
  contract: address('41a2620d757b1e17514dc5a0cdb7af67a4e1e34433'),
};

/** What is judged from a recorded transaction and info, seen from far above their block. */
function judge(transfer: Transfer, txId: string, transaction: RecordedName, info: RecordedName) {
  const receipt = readTransactionInfo(recordedAnswer(info));
  const solidHead = { number: 1_000, blockId: '', timestampMs: 1_795_460_000_000 };
  const testimony = {
    node: 'recorded',
    solidHead,
    headNumber: 1_020,
    transaction: readTransaction(recordedAnswer(transaction)),
    info: receipt,
    // Not every block was recorded; what matters of it is put together here.
    block:
      receipt === null
        ? null
        : {
            number: receipt.blockNumber,
            blockId: 'recorded',
            parentId: '',
            timestampMs: receipt.blockTimeMs,
            txIds: [txId],
            isBound: true,
          },
  };
  return judgeTestimony(transfer, txId, testimony, 19);
}

function expectNonsense(read: () => unknown) {
  expect(read).toThrow(ServiceError);
  expect(read).toThrow(expect.objectContaining({ code: 'chain_unavailable' }));
}

describe('blocks', () => {
  it('reads an empty solid block', () => {
    expect(readBlock(recordedAnswer('sol-getblockbynum'))).toEqual({
      number: 45,
      blockId: '000000000000002d2fea2af0dea37eb48c0a31de26f8b4819e49a2b7d5085523',
      parentId: '000000000000002c01a04adb61792c71dbcc407d54348599c7f11be191388258',
      timestampMs: 1_795_453_980_000,
      txIds: [],
      isBound: true,
    });
  });

  it('reads the genesis block, which shows neither number nor time', () => {
    expect(readHead(recordedAnswer('fn-getblockbynum-nobody'))).toEqual({
      number: 0,
      blockId: '000000000000000028abe75774ee914aff7a484ad9371f72acbf2e978b0791cb',
      timestampMs: 0,
    });
  });

  it('computes the ids of the transactions in a block from their bytes', () => {
    expect(readBlock(recordedAnswer('fn-getnowblock-with-tx')).txIds).toEqual([TRX_TX]);
    const genesis = recordedAnswer('fn-getblockbynum-nobody');
    const named = (genesis.transactions as { txID: string }[]).map(({ txID }) => txID);
    expect(readBlock(genesis).txIds).toEqual(named);
  });

  it('does not believe the id that a block gives to a transaction', () => {
    const block = recordedAnswer('fn-getnowblock-with-tx');
    const [transaction] = block.transactions as Record<string, unknown>[];
    const renamed = altered(block, { transactions: [{ ...transaction, txID: '00'.repeat(32) }] });
    expect(readBlock(renamed).txIds).toEqual([TRX_TX]);
  });

  it.each([
    ['cut short', (hex: string) => hex.slice(0, -1)],
    ['with other characters behind', (hex: string) => `${hex}zz`],
    ['empty', () => ''],
  ])('refuses a transaction whose bytes are %s', (_, change) => {
    const block = recordedAnswer('fn-getnowblock-with-tx');
    const [transaction] = block.transactions as { raw_data_hex: string }[];
    const raw = change(transaction?.raw_data_hex ?? '');
    expectNonsense(() => readBlock(altered(block, { transactions: [{ raw_data_hex: raw }] })));
  });

  it.each([
    ['lacks its id', { blockID: undefined }],
    ['has the id of another height', { blockID: `000000000000002e${'ab'.repeat(24)}` }],
    ['has an id in capitals', { blockID: `000000000000002D${'AB'.repeat(24)}` }],
    ['lacks its header', { block_header: undefined }],
    ['has transactions that are no list', { transactions: {} }],
    ['has a transaction without bytes', { transactions: [{ txID: TRX_TX }] }],
    ['has null for a transaction', { transactions: [null] }],
  ])('refuses a block that %s', (_, change) => {
    expectNonsense(() => readBlock(altered(recordedAnswer('sol-getblockbynum'), change)));
  });

  it.each([-1, 0.5, '45', 2 ** 53, Number.NaN, null])('refuses %s for a number', (number) => {
    const block = recordedAnswer('sol-getblockbynum');
    const { raw_data } = block.block_header as { raw_data: object };
    expectNonsense(() => readHead(altered(block, { block_header: { raw_data: { ...raw_data, number } } })));
  });

  it('reads a block that is not there as absent, never as a block', () => {
    expect(isAbsent(recordedAnswer('fn-getblockbynum-absent'))).toBe(true);
    expectNonsense(() => readHead(recordedAnswer('fn-getblockbynum-absent')));
    expectNonsense(() => readBlock(recordedAnswer('fn-getblockbynum-absent')));
  });
});

describe('transactions', () => {
  it.each([
    ['fn-gettransactionbyid-trx', TRX_TX, 'SUCCESS'],
    ['fn-gettransactionbyid-trc20', TOKEN_TX, 'SUCCESS'],
    ['fn-gettransactionbyid-memo', undefined, 'SUCCESS'],
    ['fn-gettransactionbyid-trc20-revert-custom', undefined, 'REVERT'],
    ['fn-gettransactionbyid-outofenergy', undefined, 'OUT_OF_ENERGY'],
  ] as const)('reads %s', (name, txId, contractRet) => {
    const answer = recordedAnswer(name);
    expect(readTransaction(answer)).toEqual({ txId: txId ?? answer.txID, contractRet });
  });

  it('reads {} as absent, for transactions and for infos', () => {
    expect(readTransaction(recordedAnswer('fn-gettransactionbyid-absent'))).toBeNull();
    expect(readTransactionInfo(recordedAnswer('fn-gettransactioninfobyid-absent'))).toBeNull();
  });

  it('computes the id from the bytes, whatever the node calls them', () => {
    const renamed = altered(recordedAnswer('fn-gettransactionbyid-trx'), { txID: TOKEN_TX });
    expect(readTransaction(renamed)?.txId).toBe(TRX_TX);
  });

  it('shows no result where the node shows none', () => {
    const answer = recordedAnswer('fn-gettransactionbyid-trx');
    for (const ret of [undefined, [], [{}]]) {
      expect(readTransaction(altered(answer, { ret }))?.contractRet).toBeNull();
    }
  });

  it('refuses a result that is not one word: it stands in the history of the payment', () => {
    const answer = recordedAnswer('fn-gettransactionbyid-trc20');
    for (const contractRet of [
      '',
      'REVERT: <b>pay again</b>',
      'REVERT\n',
      'R'.repeat(65),
      'x'.repeat(5_000_000),
    ]) {
      expectNonsense(() => readTransaction(altered(answer, { ret: [{ contractRet }] })));
    }
  });

  it('never reads an object of another kind as absent or found', () => {
    for (const answer of [{ error: 'busy' }, { message: '' }, { raw_data_hex: 1 }, { ret: [] }]) {
      expectNonsense(() => readTransaction(answer));
      expectNonsense(() => readTransactionInfo(answer));
    }
  });
});

describe('infos', () => {
  it('reads a TRX transfer on free bandwidth: no fee, no result, no log', () => {
    expect(readTransactionInfo(recordedAnswer('fn-gettransactioninfobyid-trx'))).toEqual({
      txId: TRX_TX,
      blockNumber: 51,
      blockTimeMs: 1_795_454_004_000,
      feeMicro: 0n,
      receiptResult: null,
      result: null,
      logs: [],
    });
  });

  it('reads the fee of a transfer that creates its recipient', () => {
    const info = readTransactionInfo(recordedAnswer('fn-gettransactioninfobyid-activation'));
    expect(info).toMatchObject({ feeMicro: 1_100_000n, receiptResult: null, result: null });
  });

  it('reads failures', () => {
    expect(readTransactionInfo(recordedAnswer('fn-gettransactioninfobyid-trc20-revert'))).toMatchObject({
      feeMicro: 410_900n,
      receiptResult: 'REVERT',
      result: 'FAILED',
      logs: [],
    });
    expect(readTransactionInfo(recordedAnswer('fn-gettransactioninfobyid-outofenergy'))).toMatchObject({
      feeMicro: 444_000n,
      receiptResult: 'OUT_OF_ENERGY',
      result: 'FAILED',
    });
  });

  it.each([
    ['fee', '12'],
    ['fee', -1],
    ['blockNumber', undefined],
    ['blockTimeStamp', undefined],
    ['id', 'abcd'],
    ['receipt', []],
    ['result', true],
    ['result', 'FAILED, so pay again'],
    ['receipt', { result: 'R'.repeat(65) }],
    ['log', {}],
    ['log', [{ address: 1 }]],
    ['log', [{ address: '', topics: [5] }]],
  ])('refuses an info whose %s is %j', (key, value) => {
    const answer = recordedAnswer('fn-gettransactioninfobyid-trc20');
    expectNonsense(() => readTransactionInfo(altered(answer, { [key]: value })));
  });

  it('reads whatever it is given, or refuses it as senseless: nothing else is ever thrown', () => {
    const readers = [readHead, readBlock, readTransaction, readTransactionInfo];
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(...readers), (answer, read) => {
        try {
          read(answer);
        } catch (error) {
          expect(error).toMatchObject({ code: 'chain_unavailable' });
        }
      }),
    );
  });
});

describe('what recorded answers prove', () => {
  it('a token transfer that was made is paid', () => {
    const evidence = judge(
      tokenTransfer,
      TOKEN_TX,
      'fn-gettransactionbyid-trc20',
      'fn-gettransactioninfobyid-trc20',
    );
    expect(evidence).toEqual({
      kind: 'paid',
      blockId: 'recorded',
      blockNumber: 66,
      blockTimeMs: 1_795_454_049_000,
      feeMicro: 3_141_000n,
    });
  });

  it('a TRX transfer that was made is paid', () => {
    const transfer: Transfer = { ...tokenTransfer, asset: 'TRX', amountMicro: 1_000_000n };
    const evidence = judge(transfer, TRX_TX, 'fn-gettransactionbyid-trx', 'fn-gettransactioninfobyid-trx');
    expect(evidence).toMatchObject({ kind: 'paid', feeMicro: 0n });
  });

  it('another amount than the log shows is not paid', () => {
    const transfer = { ...tokenTransfer, amountMicro: 1_500_001n };
    const names = ['fn-gettransactionbyid-trc20', 'fn-gettransactioninfobyid-trc20'] as const;
    expect(judge(transfer, TOKEN_TX, ...names)).toMatchObject({ kind: 'contradictory' });
  });

  it.each([
    ['fn-gettransactionbyid-trc20-revert-custom', 'fn-gettransactioninfobyid-trc20-revert-custom', 'REVERT'],
    ['fn-gettransactionbyid-outofenergy', 'fn-gettransactioninfobyid-outofenergy', 'OUT_OF_ENERGY'],
  ] as const)('%s is reverted', (transaction, info, reason) => {
    const txId = String(recordedAnswer(transaction).txID);
    expect(judge(tokenTransfer, txId, transaction, info)).toMatchObject({ kind: 'reverted', reason });
  });
});

describe('accounts', () => {
  it('reads the balance of an account that names itself', () => {
    expect(readAccountBalance(recordedAnswer('fn-getaccount-visible'), alice)).toBe(1_000_000_000_000n);
  });

  it('reads an account without TRX as zero, and an absent one as none', () => {
    const account = altered(recordedAnswer('fn-getaccount-visible'), { balance: undefined });
    expect(readAccountBalance(account, alice)).toBe(0n);
    expect(readAccountBalance(recordedAnswer('fn-getaccount-absent'), alice)).toBeNull();
  });

  it('refuses another account, and what is none', () => {
    const { recipient } = tokenTransfer;
    expectNonsense(() => readAccountBalance(recordedAnswer('fn-getaccount-visible'), recipient));
    expectNonsense(() => readAccountBalance({ error: 'too many requests' }, alice));
  });
});
