import { describe, expect, it } from 'vitest';
import { blockIdOf } from '../../../../../shared/adapters/tron/block-hash.ts';
import type { JsonObject, NodeClient } from '../../../../../shared/adapters/tron/node-client.ts';
import { SolidBlocks } from '../../../../../shared/adapters/tron/solid-blocks.ts';

const NONE = '00'.repeat(32);

function block(number: number): JsonObject {
  const raw_data = { number, timestamp: number * 3_000, parentHash: NONE, txTrieRoot: NONE };
  return { blockID: blockIdOf(raw_data), block_header: { raw_data } };
}

function node(show: (number: number) => JsonObject = block) {
  const asked: number[] = [];
  const client: NodeClient = {
    host: 'a',
    post: async (_, { num }) => {
      asked.push(Number(num));
      return show(Number(num));
    },
  };
  return { client, asked };
}

describe('solid blocks', () => {
  it('are asked for once, of each node', async () => {
    const blocks = new SolidBlocks();
    const [first, second] = [node(), node()];
    for (const { client } of [first, first, second]) {
      expect(await blocks.read(client, 7)).toMatchObject({ number: 7, isBound: true });
    }
    expect([first.asked, second.asked]).toEqual([[7], [7]]);
  });

  it('are asked for again where they were not there, or not bound by their id', async () => {
    const blocks = new SolidBlocks();
    let shown: JsonObject = {};
    const { client, asked } = node(() => shown);
    expect(await blocks.read(client, 7)).toBeNull();
    shown = { ...block(7), transactions: [{ raw_data_hex: '00' }] };
    expect(await blocks.read(client, 7)).toMatchObject({ isBound: false });
    shown = block(7);
    expect(await blocks.read(client, 7)).toMatchObject({ isBound: true });
    await blocks.read(client, 7);
    expect(asked).toEqual([7, 7, 7]);
  });

  it('are refused where another one comes than the one asked for', async () => {
    const { client } = node(() => block(8));
    await expect(new SolidBlocks().read(client, 7)).rejects.toMatchObject({ code: 'chain_unavailable' });
  });

  it('are forgotten when the node is, and the oldest ones when there are too many', async () => {
    const blocks = new SolidBlocks();
    const { client, asked } = node();
    await blocks.read(client, 1);
    blocks.forget(client);
    for (let number = 1; number <= 1_301; number += 1) await blocks.read(client, number);
    expect(asked).toHaveLength(1_302);
    await blocks.read(client, 2);
    expect(asked).toHaveLength(1_302);
    await blocks.read(client, 1);
    expect(asked).toHaveLength(1_303);
  });
});
