import { utils } from 'tronweb';
import { describe, expect, it } from 'vitest';
import { fromHex, parseJson, renderJson } from '../../../../deploy/devchain/encoding.ts';
import { recoverSigner } from '../../../../deploy/devchain/keys.ts';
import {
  contractAddressOf,
  ownerOf,
  readCall,
  transactionFromBytes,
  transactionFromJson,
  transactionToHex,
  transactionToJson,
} from '../../../../deploy/devchain/transaction.ts';
import { readRecording } from '../../../conformance/recording.ts';

type Shown = {
  txID: string;
  raw_data_hex: string;
  raw_data: object;
  signature: string[];
  contract_address?: string;
};

/** Transactions that a real node showed. */
const shown = readRecording()
  .filter(({ name }) => /^fn-gettransactionbyid-/.test(name))
  .map(({ name, answer }) => ({ name, shown: answer as Shown }))
  .filter(({ shown: { txID } }) => txID !== undefined);

describe('a transaction that a real node showed', () => {
  it.each(shown)('keeps its id and its bytes when it is encoded anew: $name', ({ name, shown: json }) => {
    const visible = name.endsWith('visible');
    const text = JSON.stringify({ visible, raw_data: json.raw_data, signature: json.signature });
    const transaction = transactionFromJson(parseJson(text));
    expect(transaction?.txId).toBe(json.txID);
    expect(transaction?.rawHex).toBe(json.raw_data_hex);
  });

  it.each(shown)('was signed by its owner: $name', ({ name, shown: json }) => {
    const visible = name.endsWith('visible');
    const text = JSON.stringify({ visible, raw_data: json.raw_data, signature: json.signature });
    const transaction = transactionFromJson(parseJson(text));
    if (transaction === undefined) throw new Error('not read');
    expect(recoverSigner(transaction.txId, transaction.signatures[0] ?? '')).toBe(ownerOf(transaction));
  });

  it('gets the recorded address when it deploys a contract', () => {
    const deployment = shown.find(({ name }) => name === 'fn-gettransactionbyid-deploy')?.shown;
    const transaction = transactionFromJson(parseJson(JSON.stringify(deployment)));
    if (transaction === undefined) throw new Error('not read');
    expect(contractAddressOf(transaction.txId, ownerOf(transaction))).toBe(deployment?.contract_address);
    expect(JSON.parse(renderJson(transactionToJson(transaction, false)))).toMatchObject({
      raw_data: deployment?.raw_data,
    });
  });
});

describe('a transaction that tronweb builds', () => {
  const json = {
    visible: false,
    txID: '',
    raw_data: {
      contract: [
        {
          parameter: {
            value: {
              owner_address: '41cf703cc905054463a9e31a6f36d20845ef8bf8be',
              to_address: '411c115bd3f3383083ff6db6ff51157590e254c2f0',
              amount: Number.MAX_SAFE_INTEGER,
            },
            type_url: 'type.googleapis.com/protocol.TransferContract',
          },
          type: 'TransferContract',
          Permission_id: 2,
        },
      ],
      ref_block_bytes: '0032',
      ref_block_hash: '6ef42d663c80b975',
      expiration: 1_795_454_061_000,
      timestamp: 1_795_454_003_722,
      data: 'c3a9',
    },
  };

  it('has the id that tronweb computes', () => {
    const transaction = transactionFromJson(parseJson(JSON.stringify(json)));
    const pb: unknown = utils.transaction.txJsonToPb(json);
    expect(`0x${transaction?.txId}`).toBe(utils.transaction.txPbToTxID(pb));
  });

  it('is the same by its bytes and by its JSON', () => {
    const signature = '11'.repeat(65);
    const byJson = transactionFromJson(parseJson(JSON.stringify({ ...json, signature: [signature] })));
    if (byJson === undefined) throw new Error('not read');
    expect(transactionFromBytes(fromHex(transactionToHex(byJson)))).toEqual(byJson);
    expect(readCall(byJson)).toMatchObject({
      kind: 'TransferContract',
      value: { amount: 9_007_199_254_740_991n },
    });
  });

  it.each([
    ['no raw data', { ...json, raw_data: undefined }],
    ['a signature that is no hex', { ...json, signature: ['zz'] }],
    ['an amount that is a text', withValue({ amount: 'much' })],
    ['an amount above 2^63', withValue({ amount: 2 ** 63 })],
    [
      'an address in base58 where hex is announced',
      withValue({ to_address: 'TCXciXvs4nv1xSJdU8uczG68bLwsVFjkuZ' }),
    ],
  ])('is not read with %s', (_what, broken) => {
    expect(transactionFromJson(parseJson(JSON.stringify(broken)))).toBeUndefined();
  });

  function withValue(changes: object): unknown {
    const copy = structuredClone(json);
    Object.assign(copy.raw_data.contract[0]?.parameter.value ?? {}, changes);
    return copy;
  }
});
