import { describe, expect, it } from 'vitest';
import { blockIdOf, isBoundById } from '../../../../../shared/adapters/tron/block-hash.ts';
import type { JsonObject } from '../../../../../shared/adapters/tron/node-client.ts';
import { readRecording } from '../../../../conformance/recording.ts';
import { altered, recordedAnswer } from '../recorded-answers.ts';

const EMPTY = recordedAnswer('sol-getblockbynum');
const FULL = recordedAnswer('fn-getnowblock-with-tx');
const GENESIS = recordedAnswer('fn-getblockbynum-nobody');

/** A block of the recording with something else in its header. */
function withHeader(block: JsonObject, change: JsonObject): JsonObject {
  const header = block.block_header as { raw_data: JsonObject };
  return altered(block, { block_header: { ...header, raw_data: altered(header.raw_data, change) } });
}

/** The recorded block that holds one transaction, with something else in that transaction. */
function withTransaction(change: JsonObject): JsonObject {
  const [transaction] = FULL.transactions as JsonObject[];
  return altered(FULL, { transactions: [altered(transaction ?? {}, change)] });
}

describe('a block’s id', () => {
  it('follows from what it shows, in every block that a real java-tron answered with', () => {
    const blocks = readRecording()
      .map(({ answer }) => answer)
      .filter(
        (answer): answer is JsonObject =>
          typeof answer === 'object' && answer !== null && 'block_header' in answer,
      );
    expect(blocks.length).toBeGreaterThan(10);
    for (const block of blocks) expect(isBoundById(block), String(block.blockID)).toBe(true);
  });

  it.each([
    ['its time', { timestamp: 1_795_453_980_001 }],
    ['its number', { number: 46 }],
    ['its parent', { parentHash: '00'.repeat(32) }],
    ['its representative', { witness_address: '41'.padEnd(42, '0') }],
    ['its version', { version: 31 }],
    ['a root of the accounts', { accountStateRoot: 'ab'.repeat(32) }],
  ])('does not follow where %s was changed', (_, change) => {
    expect(isBoundById(EMPTY)).toBe(true);
    expect(isBoundById(withHeader(EMPTY, change))).toBe(false);
  });

  it.each([
    ['were left out', altered(FULL, { transactions: undefined })],
    ['were put in', altered(EMPTY, { transactions: FULL.transactions })],
    ['came twice', altered(FULL, { transactions: [FULL.transactions, FULL.transactions].flat() })],
    ['have other bytes', withTransaction({ raw_data_hex: '0a02' })],
    ['have another signature', withTransaction({ signature: ['00'] })],
    ['have no signature', withTransaction({ signature: undefined })],
    ['have another result', withTransaction({ ret: [{ contractRet: 'REVERT' }] })],
    ['have another fee', withTransaction({ ret: [{ contractRet: 'SUCCESS', fee: 1 }] })],
    [
      'are out of order',
      altered(GENESIS, { transactions: (GENESIS.transactions as unknown[]).toReversed() }),
    ],
    [
      'lack the last one',
      altered(GENESIS, { transactions: (GENESIS.transactions as unknown[]).slice(0, -1) }),
    ],
  ])('does not follow where transactions %s', (_, block) => {
    expect(isBoundById(block)).toBe(false);
  });

  it('follows for headers of the main net', () => {
    // Public headers, without transactions: the root alone cannot be checked, so only the header's hash is.
    const header = {
      number: 66_987_565,
      txTrieRoot: 'faf8fe3858339ead25cc892461c82a59b84dca4a51c45b026676bf3f45a352a2',
      witness_address: '41b2f713d57dbcec679d93a8849fa0cd0e4db594ba',
      parentHash: '0000000003fe262c85cd6b02033f4c3e5c1efa35de256a17bd906dc61fb1aeed',
      version: 34,
      timestamp: 1_777_445_121_000,
    };
    expect(blockIdOf(header)).toBe('0000000003fe262d52bfa4b2814f816fd2e57af5b98a33d60d8630a03a908e0e');
  });

  it.each([
    ['nothing', {}],
    ['no header', { blockID: EMPTY.blockID }],
    ['a number that is text', withHeader(EMPTY, { number: '45' })],
    ['a time before all times', withHeader(EMPTY, { timestamp: -1 })],
    ['a parent that is no text', withHeader(EMPTY, { parentHash: 5 })],
    ['half a byte', withHeader(EMPTY, { parentHash: 'abc' })],
    ['transactions that are no list', altered(EMPTY, { transactions: {} })],
    ['a transaction that is no object', altered(EMPTY, { transactions: [null] })],
    ['a transaction without bytes', withTransaction({ raw_data_hex: undefined })],
    ['signatures that are no list', withTransaction({ signature: 'ab' })],
    ['a result that is not known', withTransaction({ ret: [{ contractRet: 'NEW_IN_5_0' }] })],
    ['a result that is no object', withTransaction({ ret: [[]] })],
  ])('does not follow from %s, which is no error', (_, block) => {
    expect(isBoundById(block as JsonObject)).toBe(false);
  });
});
