import { describe, expect, it } from 'vitest';
import {
  credible,
  doubtFee,
  type Evidence,
  joinEvidence,
  judgeTestimony,
  type NodeTestimony,
  operatorOf,
  provesAbsenceByTwoNodes,
  provesAbsenceByWalk,
  type SolidBlock,
  type SolidTransactionInfo,
  type Transfer,
} from '../../../../shared/domain/transfer-evidence.ts';
import { addressToHex, addressToWord } from '../../../../shared/domain/tron-address.ts';
import { CONTRACT, RECIPIENT, WALLET } from '../../../support/test-engine.ts';

const TX = 'ab'.repeat(32);
const TRANSFER: Transfer = {
  asset: 'USDT',
  amountMicro: 25_000_000n,
  sender: WALLET,
  recipient: RECIPIENT,
  contract: CONTRACT,
};
const LOG = {
  address: addressToHex(CONTRACT).slice(2),
  topics: [
    'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef',
    addressToWord(WALLET),
    addressToWord(RECIPIENT),
  ],
  data: 25_000_000n.toString(16).padStart(64, '0'),
};
const INFO: SolidTransactionInfo = {
  txId: TX,
  blockNumber: 100,
  blockTimeMs: 300_000,
  feeMicro: 345_000n,
  receiptResult: 'SUCCESS',
  result: null,
  logs: [LOG],
};
const HEAD = { number: 120, blockId: '00', timestampMs: 360_000 };
const BLOCK: SolidBlock = {
  number: 100,
  blockId: 'block-100',
  parentId: 'block-99',
  timestampMs: 300_000,
  txIds: ['other', TX],
  isBound: true,
};

function testimony(over: Partial<NodeTestimony> = {}): NodeTestimony {
  return {
    node: 'node-a',
    solidHead: HEAD,
    headNumber: 139,
    transaction: { txId: TX, contractRet: 'SUCCESS' },
    info: INFO,
    block: BLOCK,
    ...over,
  };
}

const judge = (over: Partial<NodeTestimony> = {}, transfer = TRANSFER) =>
  judgeTestimony(transfer, TX, testimony(over), 19);
const withInfo = (over: Partial<SolidTransactionInfo>) => judge({ info: { ...INFO, ...over } });

/** People read why: a reason says something. */
const IN_WORDS = expect.stringMatching(/\w+ \w+/);

describe('one node about one transaction', () => {
  it('shows it paid by a solid success with the Transfer event of this payment', () => {
    expect(judge()).toEqual({
      kind: 'paid',
      blockId: 'block-100',
      blockNumber: 100,
      blockTimeMs: 300_000,
      feeMicro: 345_000n,
    });
  });

  it('shows TRX paid without a receipt result or an event', () => {
    const transfer: Transfer = { ...TRANSFER, asset: 'TRX' };
    expect(judge({ info: { ...INFO, receiptResult: null, logs: [] } }, transfer).kind).toBe('paid');
  });

  it('shows it paid in the very block that is its solid head', () => {
    const block = { ...BLOCK, timestampMs: HEAD.timestampMs };
    const evidence = judge({ info: { ...INFO, blockTimeMs: HEAD.timestampMs }, block });
    expect(evidence.kind).toBe('paid');
  });

  it('names what the receipt says', () => {
    expect(withInfo({ receiptResult: 'REVERT' })).toMatchObject({
      reason: 'the receipt says REVERT, not SUCCESS',
    });
    expect(withInfo({ receiptResult: null })).toMatchObject({
      reason: 'the receipt says nothing, not SUCCESS',
    });
  });

  it('shows it absent when it holds neither half', () => {
    expect(judge({ transaction: null, info: null, block: null })).toEqual({
      kind: 'absent',
      headNumber: 120,
    });
  });

  it.each<[string, Partial<NodeTestimony>]>([
    ['only the transaction is there', { info: null }],
    ['only the info is there', { transaction: null }],
    ['the block is ahead of the solid head', { solidHead: { ...HEAD, number: 99 } }],
    ['the block is not deep enough', { headNumber: 118, solidHead: { ...HEAD, number: 118 } }],
    ['the block itself is not there', { block: null }],
    ['the transaction has no result yet', { transaction: { txId: TX, contractRet: null } }],
  ])('tells nothing when %s', (_, over) => {
    expect(judge(over)).toEqual({ kind: 'unknown', reason: IN_WORDS });
  });

  it.each([['REVERT'], ['OUT_OF_ENERGY'], ['ILLEGAL_OPERATION']])(
    'shows it failed by %s, with nothing moved',
    (contractRet) => {
      const info = { ...INFO, result: 'FAILED', receiptResult: contractRet, logs: [] };
      expect(judge({ transaction: { txId: TX, contractRet }, info })).toMatchObject({
        kind: 'reverted',
        reason: contractRet,
      });
    },
  );

  it.each<[string, Evidence]>([
    ['another transaction id', judge({ transaction: { txId: 'cd'.repeat(32), contractRet: 'SUCCESS' } })],
    ['the info of another transaction', withInfo({ txId: 'cd'.repeat(32) })],
    ['a block from the future', withInfo({ blockTimeMs: HEAD.timestampMs + 1 })],
    [
      'a block from the future, which it shows',
      judge({
        info: { ...INFO, blockTimeMs: HEAD.timestampMs + 1 },
        block: { ...BLOCK, timestampMs: HEAD.timestampMs + 1 },
      }),
    ],
    ['no receipt result', withInfo({ receiptResult: null })],
    ['an event of one topic too many', withInfo({ logs: [{ ...LOG, topics: [...LOG.topics, '00'] }] })],
    ['a block of another height', judge({ block: { ...BLOCK, number: 101 } })],
    ['a block of another time', judge({ block: { ...BLOCK, timestampMs: 300_001 } })],
    ['a block that does not hold it', judge({ block: { ...BLOCK, txIds: ['other'] } })],
    ['success with a failed receipt', withInfo({ result: 'FAILED' })],
    ['success with a receipt of REVERT', withInfo({ receiptResult: 'REVERT' })],
    ['failure without a failed receipt', judge({ transaction: { txId: TX, contractRet: 'REVERT' } })],
    [
      'failure with the Transfer event',
      judge({ transaction: { txId: TX, contractRet: 'REVERT' }, info: { ...INFO, result: 'FAILED' } }),
    ],
    ['no event', withInfo({ logs: [] })],
    ["another contract's event", withInfo({ logs: [{ ...LOG, address: '00'.repeat(20) }] })],
    ['an event of another amount', withInfo({ logs: [{ ...LOG, data: '1'.padStart(64, '0') }] })],
    [
      'an event to another recipient',
      withInfo({ logs: [{ ...LOG, topics: [...LOG.topics.slice(0, 2), addressToWord(WALLET)] }] }),
    ],
    [
      'an event from another sender',
      withInfo({
        logs: [{ ...LOG, topics: [LOG.topics[0] ?? '', addressToWord(RECIPIENT), LOG.topics[2] ?? ''] }],
      }),
    ],
    [
      'an Approval event',
      withInfo({ logs: [{ ...LOG, topics: ['00'.repeat(32), ...LOG.topics.slice(1)] }] }),
    ],
  ])('contradicts itself with %s', (_, evidence) => {
    expect(evidence).toEqual({ kind: 'contradictory', reason: IN_WORDS });
  });
});

describe('how deep a block lies', () => {
  const depth = (headNumber: number, solidNumber: number, required: number) =>
    judgeTestimony(
      TRANSFER,
      TX,
      testimony({ headNumber, solidHead: { ...HEAD, number: solidNumber } }),
      required,
    ).kind;

  it('counts what lies above the solid head too, as far as a healthy chain has it', () => {
    expect(depth(119, 100, 19)).toBe('paid');
    expect(depth(118, 100, 19)).toBe('unknown');
    expect(depth(127, 100, 27)).toBe('paid');
  });

  it('is not made up by a head number out of all proportion', () => {
    expect(depth(Number.MAX_SAFE_INTEGER, 100, 28)).toBe('unknown');
    expect(depth(Number.MAX_SAFE_INTEGER, 101, 28)).toBe('paid');
  });

  it('counts from the solid head where the newest block lags behind it', () => {
    expect(depth(3, 119, 19)).toBe('paid');
  });
});

describe('a node’s solid head', () => {
  const late = testimony({ node: 'late' });
  const heads = (...changes: Partial<NodeTestimony['solidHead']>[]) =>
    changes.map((change) => testimony({ solidHead: { ...HEAD, ...change } }));

  it('takes the credit from all that the node says where it lies in the future', () => {
    const [ahead] = heads({ timestampMs: HEAD.timestampMs + 1 });
    if (ahead === undefined) throw new Error('no testimony');
    expect(credible([ahead, late], null, HEAD.timestampMs)).toEqual([late]);
    expect(credible([ahead], null, HEAD.timestampMs)).toEqual([]);
  });

  it('takes it also where its number runs away from the time since the last one seen', () => {
    const known = { ...HEAD, number: 20, timestampMs: HEAD.timestampMs - 5_000 };
    const told = heads({ number: 120 }, { number: 121 }, { number: Number.MAX_SAFE_INTEGER });
    expect(credible(told, known, HEAD.timestampMs)).toEqual(told.slice(0, 1));
    // Behind the one that was seen, a node may well be.
    expect(credible(heads({ number: 20, timestampMs: 0 }), known, HEAD.timestampMs)).toHaveLength(1);
  });
});

describe('several nodes', () => {
  const paid = { kind: 'paid', blockId: 'a', blockNumber: 5, blockTimeMs: 1, feeMicro: 0n } as const;
  const reverted: Evidence = { ...paid, kind: 'reverted', reason: 'REVERT' };
  const absent: Evidence = { kind: 'absent', headNumber: 4 };
  const pastIt: Evidence = { kind: 'absent', headNumber: 5 };
  const unknown: Evidence = { kind: 'unknown', reason: '' };
  const contradictory: Evidence = { kind: 'contradictory', reason: '' };

  it.each<[string, Evidence[], Evidence['kind']]>([
    ['solid evidence wins over a node that lags', [absent, paid], 'paid'],
    ['solid evidence wins over a node that is unsure', [unknown, reverted], 'reverted'],
    ['a node that is past the block and lacks it leaves all open', [paid, pastIt], 'unknown'],
    ['the same holds for a transfer that was reverted', [pastIt, reverted, absent], 'unknown'],
    ['two that show it in one block agree', [paid, paid, absent], 'paid'],
    ['two that show it in different blocks contradict', [paid, { ...paid, blockId: 'b' }], 'contradictory'],
    ['two that show different fees contradict', [paid, { ...paid, feeMicro: 1n }], 'contradictory'],
    ['one that shows it paid and one that shows it reverted contradict', [paid, reverted], 'contradictory'],
    ['a contradiction outweighs everything', [paid, contradictory], 'contradictory'],
    ['absence needs all of them', [absent, unknown], 'unknown'],
    ['all lack it', [absent, absent], 'absent'],
    ['nobody answered', [], 'unknown'],
  ])('%s', (_, evidences, kind) => {
    expect(joinEvidence(evidences).kind).toBe(kind);
  });

  it.each<[string, Evidence[]]>([
    ['nobody answered', []],
    ['one shows it paid and one reverted', [paid, reverted]],
    ['they show different blocks', [paid, { ...paid, blockId: 'b' }]],
    ['one is past the block and lacks it', [paid, pastIt]],
  ])('say in words that %s', (_, evidences) => {
    expect(joinEvidence(evidences)).toMatchObject({ reason: IN_WORDS });
  });
});

describe('a fee', () => {
  const paid: Evidence = { kind: 'paid', blockId: 'a', blockNumber: 5, blockTimeMs: 1, feeMicro: 1_000n };

  it('is believed up to ten times of what was reserved for it', () => {
    for (const evidence of [paid, { ...paid, kind: 'reverted', reason: 'REVERT' } as const]) {
      expect(doubtFee(evidence, 100n)).toBe(evidence);
      expect(doubtFee(evidence, 99n)).toEqual({ kind: 'contradictory', reason: IN_WORDS });
    }
  });

  it('is nobody’s concern where nothing was included', () => {
    for (const evidence of [
      { kind: 'absent', headNumber: 4 },
      { kind: 'unknown', reason: '' },
    ] as const) {
      expect(doubtFee(evidence, 0n)).toBe(evidence);
    }
  });
});

describe('absence by two nodes', () => {
  const lacking = (node: string, timestampMs: number) =>
    testimony({ node, transaction: null, info: null, block: null, solidHead: { ...HEAD, timestampMs } });

  it('is proven by two nodes that are both past the expiration and its margin', () => {
    expect(provesAbsenceByTwoNodes([lacking('a', 160), lacking('b', 161)], 100, 60)).toBe(true);
  });

  it('tells ports apart on this machine, where development chains run', () => {
    const nodes = [lacking('127.0.0.1:8090', 160), lacking('127.0.0.1:8091', 160)];
    expect(provesAbsenceByTwoNodes(nodes, 100, 60)).toBe(true);
    expect(
      ['localhost:1', '[::1]:1', '[2001:db8::1]:90', 'a.example', 'a.example:90'].map(operatorOf),
    ).toEqual(['localhost:1', '[::1]:1', '[2001:db8::1]', 'a.example', 'a.example']);
  });

  it.each([
    ['one node alone', [lacking('a', 160)]],
    ['one node asked twice', [lacking('a', 160), lacking('a', 161)]],
    ['two ports of one host', [lacking('a.example:8090', 160), lacking('a.example:8091', 160)]],
    [
      'two ports of a host that only looks like this machine',
      [lacking('a127.0:8090', 160), lacking('a127.0:8091', 160)],
    ],
    [
      'a node that holds one half',
      [{ ...lacking('a', 160), info: INFO }, lacking('b', 160), lacking('c', 160)],
    ],
    [
      'a node that holds the other half',
      [
        { ...lacking('a', 160), transaction: { txId: TX, contractRet: null } },
        lacking('b', 160),
        lacking('c', 160),
      ],
    ],
    ['a node that is not past the margin', [lacking('a', 160), lacking('b', 159)]],
    ['a node that holds it', [lacking('a', 160), lacking('b', 160), testimony({ node: 'c' })]],
    ['nobody', []],
  ])('is not proven by %s', (_, testimonies) => {
    expect(provesAbsenceByTwoNodes(testimonies, 100, 60)).toBe(false);
  });
});

describe('absence by a walk', () => {
  const chain = (...times: number[]): SolidBlock[] =>
    times.map((timestampMs, index) => ({
      number: 10 + index,
      blockId: `id-${index}`,
      parentId: `id-${index - 1}`,
      timestampMs,
      txIds: ['other'],
      isBound: true,
    }));
  const walk = chain(70, 80, 90, 100);
  const ATTEMPT = { txId: TX, referenceBlockId: 'id-0', expirationMs: 100 };
  const replaced = (index: number, over: Partial<SolidBlock>) =>
    walk.map((block, at) => (at === index ? { ...block, ...over } : block));

  it('is proven by linked blocks from the reference block to the first past the expiration', () => {
    expect(provesAbsenceByWalk(walk, ATTEMPT, 100)).toBe(true);
  });

  it.each<[string, SolidBlock[]]>([
    ['no blocks', []],
    ['a walk that ends before the expiration', walk.slice(0, 3)],
    ['a walk from another block', walk.slice(1)],
    ['a block that holds it', replaced(2, { txIds: ['other', TX] })],
    ['a last block that holds it', replaced(3, { txIds: [TX] })],
    ['a broken parent hash', replaced(2, { parentId: 'id-x' })],
    ['a gap', replaced(2, { number: 13 })],
    ['a block whose id is not bound to what it shows', replaced(1, { isBound: false })],
    ['a last block from the future', replaced(3, { timestampMs: 101 })],
  ])('is not proven by %s', (_, blocks) => {
    expect(provesAbsenceByWalk(blocks, ATTEMPT, 100)).toBe(false);
  });
});
