import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findFreePort } from '../../../deploy/local/ports.ts';
import { LyingNodes } from '../../chaos/lying-nodes.ts';
import { Random } from '../../support/random.ts';

describe('nodes that agree on a lie', () => {
  let honest: Server;
  let nodes: LyingNodes;

  beforeEach(async () => {
    // Takes what it is sent, and shows it.
    honest = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request.setEncoding('utf8')) text += chunk;
      const { transaction, value } = JSON.parse(text) as { transaction?: string; value?: string };
      const isBroadcast = request.url === '/wallet/broadcasthex';
      response.end(JSON.stringify(isBroadcast ? { result: true, txid: transaction } : { txID: value }));
    }).listen(0, '127.0.0.1');
    await once(honest, 'listening');
    const taken = new Set<number>();
    nodes = await LyingNodes.start({
      nodeUrl: `http://127.0.0.1:${(honest.address() as AddressInfo).port}`,
      ports: [await findFreePort(taken), await findFreePort(taken)],
      random: new Random('lies'),
    });
  });
  afterEach(() => {
    nodes.stop();
    honest.close();
    honest.closeAllConnections();
  });

  async function ask(path: string, body: object): Promise<unknown[]> {
    const answers = await Promise.all(
      nodes.urls.map((url) => fetch(url + path, { method: 'POST', body: JSON.stringify(body) })),
    );
    return Promise.all(answers.map((answer) => answer.json()));
  }
  const find = (txId: string) => ask('/walletsolidity/gettransactionbyid', { value: txId });
  const send = (txId: string) => ask('/wallet/broadcasthex', { transaction: txId });

  it('take every transaction, deny some with one voice, and show one once they are told to', async () => {
    const sent = Array.from({ length: 30 }, (_, index) => `tx${index}`);
    for (const txId of sent) {
      const taken = { result: true, txid: txId };
      expect(await send(txId)).toEqual([taken, taken]);
    }
    const { denied } = nodes;
    expect(denied.length).toBeGreaterThan(0);
    expect(denied.length).toBeLessThan(sent.length);
    for (const txId of sent) {
      const shown = denied.includes(txId) ? {} : { txID: txId };
      expect(await find(txId)).toEqual([shown, shown]);
    }
    for (const txId of denied) nodes.admit(txId);
    for (const txId of denied) expect(await find(txId)).toEqual([{ txID: txId }, { txID: txId }]);
  });

  it('deny nothing new once they have had enough, and go on with what they deny', async () => {
    for (let index = 0; nodes.denied.length === 0; index += 1) await send(`tx${index}`);
    const before = nodes.denied;
    nodes.denyNoMore();
    for (let index = 0; index < 20; index += 1) await send(`later${index}`);
    expect(nodes.denied).toEqual(before);
  });

  it('hang up where the chain behind them is dead', async () => {
    honest.close();
    honest.closeAllConnections();
    await expect(find('tx1')).rejects.toThrow();
  });
});
