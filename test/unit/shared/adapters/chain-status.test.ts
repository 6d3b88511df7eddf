import { describe, expect, it } from 'vitest';
import { tronChainStatus } from '../../../../shared/adapters/tron/chain-status.ts';
import type { JsonObject, NodeClient } from '../../../../shared/adapters/tron/node-client.ts';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import type { TronAddress } from '../../../../shared/domain/tron-address.ts';

const GENESIS = `${'0'.repeat(16)}${'ab'.repeat(24)}`;
const WALLET = 'TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH' as TronAddress;
const CONTRACT = 'TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf' as TronAddress;

function block(number: number, blockId: string, timestamp: number): JsonObject {
  const rawData = { number, timestamp, parentHash: '00'.repeat(32) };
  return { blockID: blockId, block_header: { raw_data: rawData } };
}

const HEAD = `${(7).toString(16).padStart(16, '0')}${'cd'.repeat(24)}`;

function node(host: string, answers: Record<string, JsonObject | undefined> = {}) {
  const asked: string[] = [];
  const all: Record<string, JsonObject | undefined> = {
    '/wallet/getblockbynum': block(0, GENESIS, 0),
    '/walletsolidity/getblock': block(7, HEAD, 1_000),
    '/walletsolidity/getaccount': { address: WALLET, balance: 5_000_000 },
    '/walletsolidity/triggerconstantcontract': {
      result: { result: true },
      constant_result: [(12_500_000).toString(16).padStart(64, '0')],
    },
    ...answers,
  };
  const client: NodeClient = {
    host,
    post: async (path) => {
      asked.push(path);
      const answer = all[path];
      if (answer === undefined) throw new ServiceError('chain_unavailable', `${host} is away`);
      return answer;
    },
  };
  return { client, asked };
}

const statusOf = (...nodes: { client: NodeClient }[]) =>
  tronChainStatus({
    nodes: nodes.map(({ client }) => client),
    genesisBlockId: GENESIS,
    usdtContract: CONTRACT,
  });

const AWAY = {
  '/walletsolidity/getblock': undefined,
  '/walletsolidity/getaccount': undefined,
  '/walletsolidity/triggerconstantcontract': undefined,
};

describe('the state of the chain', () => {
  it('is read from solid blocks', async () => {
    const status = statusOf(node('a'));
    await expect(status.readSolidHead()).resolves.toEqual({ number: 7, blockId: HEAD, timestampMs: 1_000 });
    await expect(status.readTrxBalanceMicro(WALLET)).resolves.toBe(5_000_000n);
    await expect(status.readTokenBalanceMicro(WALLET)).resolves.toBe(12_500_000n);
  });

  it('is no TRX for an account that does not exist', async () => {
    const status = statusOf(node('a', { '/walletsolidity/getaccount': {} }));
    await expect(status.readTrxBalanceMicro(WALLET)).resolves.toBe(0n);
  });

  it('is asked of the next node where one is away', async () => {
    const [first, second] = [node('a', AWAY), node('b')];
    await expect(statusOf(first, second).readSolidHead()).resolves.toMatchObject({ number: 7 });
    expect(first.asked).toContain('/walletsolidity/getblock');
  });

  it('is never taken from a node of another network', async () => {
    const stranger = node('a', {
      '/wallet/getblockbynum': block(0, `${'0'.repeat(16)}${'ef'.repeat(24)}`, 0),
      '/walletsolidity/getaccount': { address: WALLET, balance: 999 },
    });
    await expect(statusOf(stranger).readTrxBalanceMicro(WALLET)).rejects.toMatchObject({
      code: 'chain_unavailable',
      message: 'a belongs to another network',
    });
    await expect(statusOf(stranger, node('b')).readTrxBalanceMicro(WALLET)).resolves.toBe(5_000_000n);
  });

  it('asks a node for its network once', async () => {
    const only = node('a');
    const status = statusOf(only);
    await status.readSolidHead();
    await status.readSolidHead();
    expect(only.asked.filter((path) => path === '/wallet/getblockbynum')).toHaveLength(1);
  });

  it('is chain_unavailable where no node answers', async () => {
    await expect(statusOf(node('a', AWAY), node('b', AWAY)).readSolidHead()).rejects.toMatchObject({
      code: 'chain_unavailable',
      message: 'b is away',
    });
    await expect(statusOf().readSolidHead()).rejects.toMatchObject({ code: 'chain_unavailable' });
  });
});
