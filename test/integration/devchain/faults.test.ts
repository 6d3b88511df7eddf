import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseJson } from '../../../deploy/devchain/encoding.ts';
import { transactionFromJson, transactionToHex } from '../../../deploy/devchain/transaction.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { startTestChain, type TestChain } from './test-chain.ts';

let chain: TestChain;

beforeEach(async () => {
  chain = await startTestChain();
  await chain.produce(5);
});
afterEach(() => chain.dispose());

async function order(fault: unknown): Promise<{ status: number; json: Record<string, unknown> }> {
  const response = await fetch(`${chain.faultsUrl}/faults`, { method: 'POST', body: JSON.stringify(fault) });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

function ask(path: string, signal?: AbortSignal): Promise<Response> {
  return fetch(chain.url + path, { method: 'POST', body: '{}', ...(signal === undefined ? {} : { signal }) });
}

async function look(path: string): Promise<Record<string, unknown>> {
  return (await (await fetch(chain.faultsUrl + path)).json()) as Record<string, unknown>;
}

describe('the faults port', () => {
  it('drops a broadcast after a friendly answer', async () => {
    await order({ kind: 'drop', count: 1 });
    const transaction = await chain.signTransfer(1);
    const answer = await chain.post('/wallet/broadcasttransaction', transaction);
    expect(answer).toEqual({ result: true, txid: transaction.txID });
    await chain.produce(3);
    expect(await chain.post('/wallet/gettransactionbyid', { value: transaction.txID })).toEqual({});
    expect(await chain.post('/wallet/broadcasttransaction', transaction)).toHaveProperty('result', true);
    await chain.produce(1);
    expect(await chain.post('/wallet/gettransactionbyid', { value: transaction.txID })).toHaveProperty('ret');
  });

  it('drops a broadcast by hex just so', async () => {
    await order({ kind: 'drop', count: 1 });
    const transaction = await chain.signTransfer(1);
    const parsed = transactionFromJson(parseJson(JSON.stringify(transaction)));
    if (parsed === undefined) throw new Error('not read');
    const hex = transactionToHex(parsed);
    expect(await chain.post('/wallet/broadcasthex', { transaction: hex })).toMatchObject({
      result: true,
      txid: transaction.txID,
    });
    await chain.produce(1);
    expect(chain.chain.head.transactions).toHaveLength(0);
  });

  it('delays', async () => {
    await order({ kind: 'delay', ms: 150, count: 1 });
    const begin = performance.now();
    expect((await ask('/wallet/getnowblock')).status).toBe(200);
    expect(performance.now() - begin).toBeGreaterThanOrEqual(145);
  });

  it.each([403, 429, 503])('answers %i', async (status) => {
    await order({ kind: 'status', status, count: 1 });
    expect((await ask('/wallet/getnowblock')).status).toBe(status);
    expect((await ask('/wallet/getnowblock')).status).toBe(200);
  });

  it('answers an error with HTTP 200, as a node`s limiter does', async () => {
    await order({ kind: 'error200', path: '/walletsolidity', count: 1 });
    expect(await (await ask('/wallet/getnowblock')).json()).toHaveProperty('blockID');
    const response = await ask('/walletsolidity/getnowblock');
    expect(response.status).toBe(200);
    expect(Object.keys((await response.json()) as object)).toEqual(['Error']);
  });

  it('takes a broadcast and never says so', async () => {
    await order({ kind: 'accept-then-timeout', ms: 50, count: 1 });
    const transaction = await chain.signTransfer(1);
    await expect(chain.post('/wallet/broadcasttransaction', transaction)).rejects.toThrow();
    await chain.produce(1);
    expect(await chain.post('/wallet/gettransactionbyid', { value: transaction.txID })).toHaveProperty('ret');
  });

  it('hangs until the client gives up', async () => {
    await order({ kind: 'hang', count: 1 });
    const patience = new AbortController();
    const hanging = ask('/wallet/getnowblock', patience.signal);
    // It was asked, and the one fault is used up: from here on nothing but the client ends this.
    await waitUntil(() => chain.faults.list().length === 0);
    patience.abort();
    await expect(hanging).rejects.toThrow(/aborted/i);
    expect((await ask('/wallet/getnowblock')).status).toBe(200);
  });

  it('stalls the solid head, which catches up afterwards', async () => {
    await order({ kind: 'stall-solid' });
    const before = chain.chain.solidNumber;
    await chain.produce(10);
    expect(chain.chain.solidNumber).toBe(before);
    expect(await look('/chain')).toMatchObject({
      solidHead: { number: before },
      head: { number: before + 12 },
    });
    await fetch(`${chain.faultsUrl}/faults`, { method: 'DELETE' });
    await chain.produce(1);
    expect(chain.chain.solidNumber).toBe(chain.chain.head.number - 2);
  });

  it('forks: the newest blocks are others, what was in them is gone or comes again, as ordered', async () => {
    const transaction = await chain.signTransfer(7);
    await chain.post('/wallet/broadcasttransaction', transaction);
    await chain.produce(1);
    const { number, id } = chain.chain.head;
    const { json } = await order({ kind: 'fork', blocks: 1 });
    expect(json).toEqual({ dropped: [transaction.txID] });
    expect(chain.chain.head.number).toBe(number);
    expect(chain.chain.head.id).not.toBe(id);
    expect(await chain.post('/wallet/gettransactioninfobyid', { value: transaction.txID })).toEqual({});
    expect(chain.ledger()).toEqual([]);

    await chain.post('/wallet/broadcasttransaction', transaction);
    await chain.produce(1);
    await order({ kind: 'fork', blocks: 2, transactions: 'readmit' });
    expect(chain.chain.pendingIds).toEqual([transaction.txID]);
    await chain.produce(1);
    expect(chain.ledger()).toHaveLength(1);
    let child = chain.chain.head;
    while (child.number > 0) {
      const parent = chain.chain.block(child.number - 1);
      expect(child.parentId).toBe(parent?.id);
      if (parent === undefined) break;
      child = parent;
    }
  });

  it('keeps the branch it forked to over a restart', async () => {
    await chain.post('/wallet/broadcasttransaction', await chain.signTransfer(7));
    await chain.produce(1);
    await chain.fork(2);
    const { id, number } = chain.chain.head;
    const balance = await chain.tronWeb.trx.getUnconfirmedBalance(chain.alice.address);
    chain = await chain.restart();
    expect(chain.chain.head).toMatchObject({ id, number });
    expect(chain.ledger()).toEqual([]);
    expect(await chain.tronWeb.trx.getUnconfirmedBalance(chain.alice.address)).toBe(balance);
  });

  it('refuses to replace what is solid', async () => {
    expect(await order({ kind: 'fork', blocks: 3 })).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining('1 to 2 blocks') },
    });
  });

  it('refuses an order that it does not know, with a reason', async () => {
    expect(await order({ kind: 'meteor' })).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining('kind must be one of') },
    });
  });

  it('tells who is who and what is in force', async () => {
    await order({ kind: 'delay', ms: 5, path: '/walletsolidity' });
    expect(await look('/faults')).toMatchObject([{ kind: 'delay', ms: 5, path: '/walletsolidity' }]);
    expect(await look('/chain')).toMatchObject({
      genesisBlockId: chain.genesisBlockId,
      usdtAddress: chain.usdtAddress,
      accounts: chain.accounts,
      solidLag: 2,
      clockOffset: 0,
    });
  });
});

describe('a chain on an interval', () => {
  it('makes no block while block production is stalled', async () => {
    const running = await startTestChain({ intervalMs: 50, nowMs: Date.now });
    try {
      await waitUntil(() => running.chain.head.number > 4);
      running.faults.set({ kind: 'stall-blocks', count: 4 });
      const { number } = running.chain.head;
      await waitUntil(() => running.faults.list().length === 0);
      expect(running.chain.head.number).toBeLessThanOrEqual(number + 1);
      await waitUntil(() => running.chain.head.number > number + 2);
    } finally {
      await running.dispose();
    }
  });
});
