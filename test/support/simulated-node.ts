import { blockIdOf, merkleRoot } from '../../shared/adapters/tron/block-hash.ts';
import type { JsonObject } from '../../shared/adapters/tron/node-client.ts';
import { type Answer, type FakeNode, startFakeNode } from './fake-node.ts';
import type { SimulatedChain } from './simulated-chain.ts';

/** What a node answers to a broadcast, and whether it passes the transaction on all the same. */
export type OnBroadcast = (txId: string) => { readonly answer: Answer; readonly takes: boolean };

/** A node that shows a simulated chain in java-tron's words, over HTTP, with block ids that hold. */
export interface SimulatedNode {
  readonly node: FakeNode;
  readonly genesisBlockId: string;
  /** Makes the answers to broadcasts. */
  onBroadcast: OnBroadcast;
}

export async function startSimulatedNode(chain: SimulatedChain): Promise<SimulatedNode> {
  const { network } = chain;
  const shown: JsonObject[] = [];
  /** The raw bytes of what was broadcast, by transaction. */
  const rawBytes = new Map<string, string>();

  function show(number: number): JsonObject {
    const known = shown[number];
    if (known !== undefined) return known;
    const { txIds, timestampMs } = chain.blocks[number] ?? { txIds: [], timestampMs: 0 };
    const transactions = txIds.map(showTransaction);
    const raw_data = {
      number,
      timestamp: timestampMs,
      parentHash: number === 0 ? '00'.repeat(32) : String(show(number - 1).blockID),
      txTrieRoot: merkleRoot(transactions),
    };
    const block = {
      blockID: blockIdOf(raw_data),
      block_header: { raw_data },
      ...(transactions.length === 0 ? {} : { transactions }),
    };
    shown[number] = block;
    return block;
  }

  function showTransaction(txId: string): JsonObject {
    const contractRet = chain.included.get(txId)?.reverted ? 'REVERT' : 'SUCCESS';
    return { txID: txId, raw_data_hex: rawBytes.get(txId), ret: [{ contractRet }] };
  }

  async function findSolid(txId: string) {
    const [testimony] = await network.takeTestimony(txId, null);
    return testimony?.info ?? null;
  }

  const header = (number: number) => {
    const { blockID, block_header } = show(number);
    return { blockID, block_header };
  };
  const solid = ({ num = 0 }: { num?: number }) => (num > chain.solidHead.number ? {} : show(num));
  const simulated: SimulatedNode = {
    genesisBlockId: String(show(0).blockID),
    onBroadcast: (txId) => ({ answer: { result: true, code: 'SUCCESS', txid: txId }, takes: true }),
    node: await startFakeNode({
      '/wallet/getblockbynum': ({ num = 0 }: { num?: number }) => (num > chain.head.number ? {} : show(num)),
      '/wallet/getblock': () => header(chain.head.number),
      '/walletsolidity/getblock': ({ id_or_num = String(chain.solidHead.number) }: { id_or_num?: string }) =>
        Number(id_or_num) > chain.solidHead.number ? {} : header(Number(id_or_num)),
      '/walletsolidity/getblockbynum': solid,
      '/walletsolidity/gettransactionbyid': async ({ value = '' }: { value?: string }) =>
        (await findSolid(value)) === null ? {} : showTransaction(value),
      '/walletsolidity/gettransactioninfobyid': async ({ value = '' }: { value?: string }) => {
        const info = await findSolid(value);
        if (info === null) return {};
        return {
          id: info.txId,
          blockNumber: info.blockNumber,
          blockTimeStamp: info.blockTimeMs,
          fee: Number(info.feeMicro),
          receipt: info.receiptResult === null ? {} : { result: info.receiptResult },
          ...(info.result === null ? {} : { result: info.result }),
          log: info.logs,
        };
      },
      '/wallet/broadcasthex': async ({ transaction = '' }: { transaction?: string }) => {
        const bytes = Buffer.from(transaction, 'hex');
        const { txId, ...raw } = JSON.parse(bytes.toString('utf8')) as { txId: string };
        rawBytes.set(txId, Buffer.from(JSON.stringify(raw)).toString('hex'));
        const { answer, takes } = simulated.onBroadcast(txId);
        if (takes) await network.broadcast(bytes, txId);
        return typeof answer === 'function' ? answer({ transaction }) : answer;
      },
    }),
  };
  return simulated;
}
