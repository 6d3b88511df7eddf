import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { directDialer } from '../../../shared/adapters/tron/dialer.ts';
import { nodeClient } from '../../../shared/adapters/tron/node-client.ts';
import { tronNetwork } from '../../../shared/adapters/tron/tron-network.ts';
import { payOut } from '../../../shared/usecases/pay-out.ts';
import { type Answer, Reply } from '../../support/fake-node.ts';
import { type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.ts';
import { World } from '../../support/test-engine.ts';
import { expectTruth, request, settleOnce, settleToTheEnd } from '../../support/world-life.ts';

/**
 * Every answer that a node can give to a broadcast, over HTTP and through the whole engine, each where the
 * transaction lands all the same and where it vanishes. No answer is an outcome: the amount stays reserved until
 * the chain has spoken, and in the end one transfer is there, never two.
 */

const AMOUNT_MICRO = 25_000_000n;
const TIMEOUT_MS = 20_000;

let world: World;
let simulated: SimulatedNode;

beforeEach(async () => {
  world = new World();
  simulated = await startSimulatedNode(world.chain);
});

afterEach(() => simulated.node.close());

/** Reaches the simulated chain over HTTP, but for what no answer here is about. */
function overHttp(broadcastMs = TIMEOUT_MS) {
  const { url } = simulated.node;
  const waiting = (timeoutMs: number) =>
    tronNetwork({
      nodes: [nodeClient({ url, dialer: directDialer(), purpose: 'test', timeoutMs })],
      genesisBlockId: simulated.genesisBlockId,
      feeLimitMaxMicro: 100_000_000n,
      clock: { nowMs: () => world.nowMs, sleep: async () => {} },
    });
  const network = { ...waiting(TIMEOUT_MS), broadcast: waiting(broadcastMs).broadcast };
  const { prepareTransfer, readHoldings } = world.chain.network;
  world.network = {
    ...network,
    readHoldings,
    prepareTransfer: async (transfer, inFlight) => ({
      ...(await prepareTransfer(transfer, inFlight)),
      referenceBlock: await network.readSolidHead(),
    }),
  };
}

const refusal = (code: string) => (txId: string) => ({ code, txid: txId, message: 'any', result: false });
const plainly = (answer: Answer) => () => answer;
const silence = () => () => new Promise(() => {});
const reset = () => () => Promise.reject(new Error('the connection is cut'));

/** The form of an answer, and the state in which it leaves the payment. */
const FORMS: [string, (txId: string) => Answer, 'broadcast' | 'signed'][] = [
  ['acceptance', (txId) => ({ result: true, code: 'SUCCESS', txid: txId, message: '' }), 'broadcast'],
  ['acceptance without a code', (txId) => ({ result: true, txid: txId }), 'broadcast'],
  ['DUP_TRANSACTION_ERROR', refusal('DUP_TRANSACTION_ERROR'), 'broadcast'],
  ['TRANSACTION_EXPIRATION_ERROR', refusal('TRANSACTION_EXPIRATION_ERROR'), 'broadcast'],
  ['SERVER_BUSY', refusal('SERVER_BUSY'), 'broadcast'],
  ['NO_CONNECTION', refusal('NO_CONNECTION'), 'broadcast'],
  ['NOT_ENOUGH_EFFECTIVE_CONNECTION', refusal('NOT_ENOUGH_EFFECTIVE_CONNECTION'), 'broadcast'],
  ['BLOCK_UNSOLIDIFIED', refusal('BLOCK_UNSOLIDIFIED'), 'broadcast'],
  ['OTHER_ERROR', refusal('OTHER_ERROR'), 'broadcast'],
  ['TAPOS_ERROR', refusal('TAPOS_ERROR'), 'signed'],
  ['SIGERROR', refusal('SIGERROR'), 'signed'],
  ['CONTRACT_VALIDATE_ERROR', refusal('CONTRACT_VALIDATE_ERROR'), 'signed'],
  ['CONTRACT_EXE_ERROR', refusal('CONTRACT_EXE_ERROR'), 'signed'],
  ['BANDWITH_ERROR', refusal('BANDWITH_ERROR'), 'signed'],
  ['TOO_BIG_TRANSACTION_ERROR', refusal('TOO_BIG_TRANSACTION_ERROR'), 'signed'],
  ['acceptance of another transaction', plainly({ result: true, txid: '00'.repeat(32) }), 'broadcast'],
  ['acceptance and refusal in one', (txId) => ({ ...refusal('SIGERROR')(txId), result: true }), 'broadcast'],
  ['{}', plainly({}), 'broadcast'],
  ['a list', plainly([]), 'broadcast'],
  [
    '{"Error"} with status 200',
    plainly({ Error: 'class java.lang.NullPointerException : null' }),
    'broadcast',
  ],
  ['403', plainly(new Reply(403, '{}')), 'broadcast'],
  ['405 with a page', plainly(new Reply(405, '<html>405</html>')), 'broadcast'],
  ['429', plainly(new Reply(429, '{"Error":"rate limit"}')), 'broadcast'],
  ['503', plainly(new Reply(503, '')), 'broadcast'],
  ['a page with status 200', plainly(new Reply(200, '<html>')), 'broadcast'],
  ['JSON that is cut short', plainly(new Reply(200, '{"result": tr')), 'broadcast'],
  ['a cut connection', reset, 'broadcast'],
  ['silence until the deadline', silence, 'broadcast'],
];

async function payWith(form: (txId: string) => Answer, takes: boolean) {
  overHttp(form === silence ? 200 : undefined);
  let first: string | undefined;
  simulated.onBroadcast = (txId) => {
    first ??= txId;
    // A later attempt meets a node in good health.
    if (txId !== first) return { answer: { result: true, code: 'SUCCESS', txid: txId }, takes: true };
    return { answer: form(txId), takes };
  };
  const { payment } = await payOut(world.engine(), request(AMOUNT_MICRO));
  return {
    now: () => world.ledger.payments.get(payment.id),
    reserved: () => world.ledger.breaker.books.USDT.outstandingMicro,
  };
}

describe.each(FORMS)('%s', (_, form, status) => {
  it('confirms what has landed all the same', async () => {
    const { now, reserved } = await payWith(form, true);
    expect(now()).toMatchObject({ status, attempts: [{ outcome: 'live' }] });
    expect(reserved()).toBe(AMOUNT_MICRO);
    // In a block, yet not in a solid one.
    world.pass(1);
    await settleOnce(world);
    expect(now()?.status).toMatch(/^(?:signed|broadcast)$/);
    expect(reserved()).toBe(AMOUNT_MICRO);
    await settleToTheEnd(world);
    expect(now()).toMatchObject({ status: 'confirmed', attempts: [{ outcome: 'paid' }] });
    expectTruth(world);
  });

  it('sends what has vanished again, and signs anew only once it cannot land any more', async () => {
    const { now, reserved } = await payWith(form, false);
    for (let second = 0; second < 60; second += 10) {
      expect(now()).toMatchObject({ attempts: [{ outcome: 'live' }] });
      expect(reserved()).toBe(AMOUNT_MICRO);
      world.pass(10);
      await settleOnce(world);
    }
    const sent = simulated.node.asked
      .filter(({ path }) => path === '/wallet/broadcasthex')
      .map(({ body }) => body.transaction);
    expect(sent.length).toBeGreaterThan(2);
    expect(new Set(sent).size).toBe(1);
    await settleToTheEnd(world);
    expect(now()).toMatchObject({
      status: 'confirmed',
      attempts: [{ outcome: 'expired' }, { outcome: 'paid' }],
    });
    expectTruth(world);
  });
});

describe('one answer after the other', () => {
  it('DUP at first, absent when its time is over: another attempt pays', async () => {
    const { now } = await payWith(refusal('DUP_TRANSACTION_ERROR'), false);
    world.pass(70);
    await settleOnce(world);
    expect(now()).toMatchObject({ attempts: [{ outcome: 'expired' }, { outcome: 'live' }] });
    await settleToTheEnd(world);
    expectTruth(world);
  });

  it('the last broadcast before its time is over is the one that lands', async () => {
    let sent = 0;
    overHttp();
    simulated.onBroadcast = (txId) => {
      sent += 1;
      const takes = sent === 3;
      return { answer: refusal(takes ? 'TRANSACTION_EXPIRATION_ERROR' : 'SERVER_BUSY')(txId), takes };
    };
    const { payment } = await payOut(world.engine(), request(AMOUNT_MICRO));
    await settleToTheEnd(world);
    expect(world.ledger.payments.get(payment.id)).toMatchObject({
      status: 'confirmed',
      attempts: [{ outcome: 'paid' }],
    });
    expect(sent).toBeGreaterThanOrEqual(3);
    expectTruth(world);
  });

  it('a revert ends the payment as failed, with nothing moved', async () => {
    world.chain.reverts = true;
    const { now, reserved } = await payWith((txId) => ({ result: true, code: 'SUCCESS', txid: txId }), true);
    await settleToTheEnd(world);
    expect(now()).toMatchObject({ status: 'failed', attempts: [{ outcome: 'reverted' }] });
    expect(reserved()).toBe(0n);
    expectTruth(world);
  });

  it('a pending transaction that the node shows already is not paid by that', async () => {
    const { now } = await payWith((txId) => ({ result: true, code: 'SUCCESS', txid: txId }), false);
    const txId = now()?.attempts[0]?.txId ?? '';
    // java-tron: `wallet/` shows the pool too, `walletsolidity/` never does.
    simulated.node.table['/wallet/gettransactionbyid'] = { txID: txId, ret: [{ contractRet: 'SUCCESS' }] };
    world.pass(10);
    await settleOnce(world);
    expect(now()?.status).toBe('broadcast');
    expect(simulated.node.asked.map(({ path }) => path)).not.toContain('/wallet/gettransactionbyid');
  });
});
