import { describe, expect, it } from 'vitest';
import type { Payment } from '../../../../shared/domain/payment.ts';
import type {
  NodeTestimony,
  SolidBlock,
  SolidTransactionInfo,
} from '../../../../shared/domain/transfer-evidence.ts';
import { payOut } from '../../../../shared/usecases/pay-out.ts';
import type { PaymentRules } from '../../../../shared/usecases/payment-rules.ts';
import type { NodeView } from '../../../support/simulated-chain.ts';
import { World } from '../../../support/test-engine.ts';
import { expectTruth, request, settleOnce, settleToTheEnd } from '../../../support/world-life.ts';

/**
 * Nodes that err, lag and lie. Whatever they say, the amount stays reserved until the end is certain, and once they
 * tell the truth the payment ends as the chain has it.
 */

const AMOUNT_MICRO = 25_000_000n;
const OTHER = 'cd'.repeat(32);

const as =
  (node: string): NodeView =>
  (truth) => ({ ...truth, node });

/** Holds nothing, as of the solid head that it shows. */
const lacking =
  (node: string): NodeView =>
  (truth) => ({
    ...truth,
    node,
    headNumber: truth.solidHead.number,
    transaction: null,
    info: null,
    block: null,
  });

const showing =
  (change: (truth: NodeTestimony) => Partial<NodeTestimony>): NodeView =>
  (truth) => ({ ...truth, ...change(truth) });

const withInfo = (change: (info: SolidTransactionInfo) => Partial<SolidTransactionInfo>): NodeView =>
  showing(({ info }) => ({ info: info === null ? null : { ...info, ...change(info) } }));

/** Another solid head, some time and blocks away from the true one. */
const withHead = (view: NodeView, seconds: number): NodeView =>
  showing((truth) => {
    const { number, timestampMs, blockId } = truth.solidHead;
    const solidHead = { number: number + seconds, blockId, timestampMs: timestampMs + seconds * 1_000 };
    return { ...view({ ...truth, solidHead }) };
  });

async function paying(rules: Partial<PaymentRules> = {}, change: (world: World) => void = () => {}) {
  const world = new World(rules);
  change(world);
  const { payment } = await payOut(world.engine(), request(AMOUNT_MICRO));
  const now = (): Payment | undefined => world.ledger.payments.get(payment.id);
  const reserved = () => world.ledger.breaker.books.USDT.outstandingMicro;
  return { world, now, reserved };
}

describe('a transfer that is on the chain, as nodes tell of it', () => {
  it.each<[string, NodeView[], Payment['status']]>([
    ['one node that tells the truth', [as('a')], 'confirmed'],
    ['two nodes that agree', [as('a'), as('b')], 'confirmed'],
    ['one that lags behind its block and lacks it', [as('a'), withHead(lacking('b'), -6)], 'confirmed'],
    ['one that does not answer', [as('a'), () => null], 'confirmed'],
    ['nobody that answers', [() => null], 'broadcast'],
    ['one that is past its block and lacks it', [as('a'), lacking('b')], 'broadcast'],
    ['only the transaction', [showing(() => ({ info: null, block: null }))], 'broadcast'],
    ['only its info', [showing(() => ({ transaction: null }))], 'broadcast'],
    ['no block where the info says', [showing(() => ({ block: null }))], 'broadcast'],
    [
      'no result yet',
      [showing(({ transaction }) => ({ transaction: transaction && { ...transaction, contractRet: null } }))],
      'broadcast',
    ],
    ['a solid head from the future', [withHead(as('a'), 3_600)], 'broadcast'],
    [
      'a block ahead of the solid head',
      [withInfo((info) => ({ blockNumber: info.blockNumber + 1_000 }))],
      'broadcast',
    ],
    [
      'another transaction',
      [showing(({ transaction }) => ({ transaction: transaction && { ...transaction, txId: OTHER } }))],
      'needs_review',
    ],
    ['the info of another transaction', [withInfo(() => ({ txId: OTHER }))], 'needs_review'],
    [
      'the log of another contract',
      [withInfo((info) => ({ logs: info.logs.map((log) => ({ ...log, address: '00'.repeat(20) })) }))],
      'needs_review',
    ],
    [
      'a log of another amount',
      [withInfo((info) => ({ logs: info.logs.map((log) => ({ ...log, data: 'ff'.repeat(32) })) }))],
      'needs_review',
    ],
    ['no log', [withInfo(() => ({ logs: [] }))], 'needs_review'],
    ['a receipt that failed', [withInfo(() => ({ result: 'FAILED' }))], 'needs_review'],
    [
      'a block from the future',
      [withInfo((info) => ({ blockTimeMs: info.blockTimeMs + 3_600_000 }))],
      'needs_review',
    ],
    [
      'a block that does not hold it',
      [showing(({ block }) => ({ block: block && { ...block, txIds: [] } }))],
      'needs_review',
    ],
    [
      'different blocks',
      [as('a'), showing(({ block }) => ({ block: block && { ...block, blockId: OTHER } }))],
      'needs_review',
    ],
    ['a fee of a billion TRX', [withInfo(() => ({ feeMicro: 10n ** 15n }))], 'needs_review'],
    ['different fees', [as('a'), withInfo(() => ({ feeMicro: 1n }))], 'needs_review'],
  ])('%s', async (_, nodes, status) => {
    const { world, now, reserved } = await paying();
    world.pass(10);
    world.chain.nodes = nodes;
    await settleOnce(world);
    expect(now()?.status).toBe(status);
    expect(reserved()).toBe(status === 'confirmed' ? 0n : AMOUNT_MICRO);
    if (status !== 'broadcast') return;
    world.chain.nodes = [as('a'), as('b')];
    await settleToTheEnd(world);
    expect(now()).toMatchObject({ status: 'confirmed', attempts: [{ outcome: 'paid' }] });
    expectTruth(world);
  });

  it('is no deeper than the solid head allows, whatever height a node claims', async () => {
    const { world, now } = await paying({ confirmationsRequired: 40 });
    world.chain.nodes = [showing(() => ({ headNumber: Number.MAX_SAFE_INTEGER }))];
    world.pass(10);
    await settleOnce(world);
    expect(now()?.status).toBe('broadcast');
    world.pass(10);
    await settleOnce(world);
    expect(now()?.status).toBe('confirmed');
  });
});

describe('a transfer that never landed', () => {
  /** The attempt's time is over, and the margin. */
  const OVER_SECONDS = 70;
  const dropping = (world: World) => {
    world.chain.dropsBroadcasts = true;
  };
  const noWalk = (world: World) => {
    dropping(world);
    world.chain.walkView = () => [];
  };

  async function expectOpen(nodes: NodeView[], change = noWalk, seconds = OVER_SECONDS) {
    const { world, now, reserved } = await paying({}, change);
    world.pass(seconds);
    world.chain.nodes = nodes;
    await settleOnce(world);
    expect(now()).toMatchObject({ status: 'broadcast', attempts: [{ outcome: 'live' }] });
    expect(reserved()).toBe(AMOUNT_MICRO);
    // Once the nodes tell all, another attempt pays, and pays once.
    world.chain.nodes = [as('a'), as('b')];
    world.chain.walkView = (truth) => truth;
    world.chain.dropsBroadcasts = false;
    await settleToTheEnd(world);
    expect(now()).toMatchObject({
      status: 'confirmed',
      attempts: [{ outcome: 'expired' }, { outcome: 'paid' }],
    });
    expectTruth(world);
  }

  it.each<[string, NodeView[], (world: World) => void]>([
    ['two nodes that lack it, past its time and the margin', [as('a'), as('b')], noWalk],
    ['a walk of one node’s blocks', [as('a')], dropping],
  ])('expires by %s', async (_, nodes, change) => {
    const { world, now, reserved } = await paying({}, change);
    world.pass(OVER_SECONDS);
    world.chain.nodes = nodes;
    await settleOnce(world);
    expect(now()).toMatchObject({ attempts: [{ outcome: 'expired' }, { outcome: 'live' }] });
    expect(reserved()).toBe(AMOUNT_MICRO);
    world.chain.dropsBroadcasts = false;
    await settleToTheEnd(world);
    expect(now()?.status).toBe('confirmed');
    expectTruth(world);
  });

  it.each<[string, NodeView[]]>([
    ['one node', [as('a')]],
    ['one node that is asked at two ports', [as('a.example:8090'), as('a.example:8091')]],
    ['two nodes, one within the margin', [as('a'), withHead(as('b'), -6)]],
    ['two nodes, one of them from the future', [as('a'), withHead(as('b'), 3_600)]],
    ['two nodes, one of them away', [as('a'), () => null]],
    ['nobody', []],
  ])('does not expire by the word of %s', (_, nodes) => expectOpen(nodes));

  it('does not expire by solid heads that run ahead of the server’s clock', async () => {
    await expectOpen([withHead(as('a'), 120), withHead(as('b'), 120)], noWalk, 40);
    await expectOpen([withHead(as('a'), 120)], dropping, 40);
  });

  it('is not given up where it is there when the nodes are asked a second time', async () => {
    const { world, now } = await paying({}, (fresh) => {
      fresh.chain.walkView = () => [];
    });
    world.pass(OVER_SECONDS);
    // The backend that answers first lags behind the head that was shown.
    let asked = 0;
    const balanced =
      (node: string): NodeView =>
      (truth) => {
        asked += 1;
        return (asked <= 2 ? lacking(node) : as(node))(truth);
      };
    world.chain.nodes = [balanced('a'), balanced('b')];
    await settleOnce(world);
    expect(asked).toBe(4);
    expect(now()).toMatchObject({ status: 'broadcast', attempts: [{ outcome: 'live' }] });
    await settleToTheEnd(world);
    expect(now()).toMatchObject({ status: 'confirmed', attempts: [{ outcome: 'paid' }] });
    expectTruth(world);
  });

  const change = (blocks: SolidBlock[], index: number, over: Partial<SolidBlock>) =>
    blocks.map((block, at) =>
      at === (index < 0 ? blocks.length + index : index) ? { ...block, ...over } : block,
    );

  it.each<[string, (truth: SolidBlock[]) => SolidBlock[]]>([
    ['from another block', (truth) => truth.slice(1)],
    ['that stops short of its time', (truth) => truth.slice(0, -1)],
    ['with a gap', (truth) => truth.filter(({ number }) => number !== 20)],
    ['over another chain', (truth) => change(truth, 20, { parentId: OTHER })],
    ['with a block that is not bound by its id', (truth) => change(truth, 20, { isBound: false })],
    [
      'whose last block lies in the future',
      (truth) => change(truth, -1, { timestampMs: Number.MAX_SAFE_INTEGER }),
    ],
  ])('does not expire by a walk %s', (_, walkView) =>
    expectOpen([as('a')], (world) => {
      dropping(world);
      world.chain.walkView = walkView;
    }),
  );

  it('is not expired by a walk that meets it', async () => {
    const { world, now } = await paying();
    world.pass(OVER_SECONDS);
    world.chain.nodes = [lacking('a')];
    await settleOnce(world);
    expect(now()).toMatchObject({ status: 'broadcast', attempts: [{ outcome: 'live' }] });
    world.chain.nodes = [as('a')];
    await settleToTheEnd(world);
    expect(now()?.status).toBe('confirmed');
    expectTruth(world);
  });
});

describe('a solid head whose number runs away', () => {
  it('is not remembered, stops payments, and leaves the true chain its say', async () => {
    const { world, now, reserved } = await paying({ confirmationsRequired: 10 });
    world.pass(5);
    await settleOnce(world);
    const { network } = world;
    const lie = { ...world.chain.solidHead, number: 1_000_000 };
    world.network = { ...network, readSolidHead: async () => ({ ...lie, timestampMs: world.nowMs }) };
    world.chain.nodes = [showing(() => ({ solidHead: lie, transaction: null, info: null, block: null }))];
    world.pass(65);
    await settleOnce(world);
    expect(world.ledger.breaker).toMatchObject({
      circuit: { kind: 'open' },
      solidHead: { number: expect.toSatisfy((number: number) => number < 100) },
    });
    world.network = network;
    world.chain.nodes = [as('a')];
    await settleToTheEnd(world);
    expect(now()?.status).toBe('confirmed');
    expect(reserved()).toBe(0n);
    expectTruth(world);
  });
});

describe('a payment that has ended as expired', () => {
  it.each<[string, NodeView[]]>([
    ['one node', [as('a')]],
    ['one node of two, while the other lacks it', [as('a'), lacking('b')]],
  ])('stops everything where %s shows it on the chain after all', async (_, nodes) => {
    const { world, now } = await paying({ payByMs: 65_000 }, ({ chain }) => {
      chain.nodes = [lacking('a'), lacking('b')];
    });
    world.pass(70);
    await settleOnce(world);
    expect(now()?.status).toBe('expired');
    world.chain.nodes = nodes;
    world.pass(70);
    await settleOnce(world);
    expect(now()).toMatchObject({ status: 'needs_review', attempts: [{ outcome: 'paid' }] });
    expect(world.ledger.breaker.circuit).toMatchObject({ kind: 'open', until: 'reset' });
  });
});
