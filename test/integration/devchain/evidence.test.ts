import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directDialer } from '../../../shared/adapters/tron/dialer.ts';
import { nodeClient } from '../../../shared/adapters/tron/node-client.ts';
import { tronNetwork } from '../../../shared/adapters/tron/tron-network.ts';
import { tronSigner } from '../../../shared/adapters/tron/tron-signer.ts';
import {
  judgeTestimony,
  provesAbsenceByWalk,
  type Transfer,
} from '../../../shared/domain/transfer-evidence.ts';
import { NOTHING_IN_FLIGHT, type PaymentNetwork } from '../../../shared/ports/payment-network.ts';
import { address } from '../../support/test-engine.ts';
import { startTestChain, type TestChain } from './test-chain.ts';

const LIFE_MS = 60_000;

let chain: TestChain;
let network: PaymentNetwork;

beforeAll(async () => {
  chain = await startTestChain();
  await chain.produce(5);
  const client = nodeClient({ url: chain.url, dialer: directDialer(), purpose: 'test', timeoutMs: 10_000 });
  network = tronNetwork({
    nodes: [client],
    genesisBlockId: chain.chain.block(0)?.id ?? '',
    feeLimitMaxMicro: 100_000_000n,
    clock: { nowMs: () => 0, sleep: async () => {} },
  });
});
afterAll(() => chain.dispose());

async function sign(asset: Transfer['asset']) {
  const transfer: Transfer = {
    asset,
    amountMicro: 2_500_000n,
    sender: address(chain.wallet.address),
    recipient: address(chain.alice.address),
    contract: address(chain.usdtAddress),
  };
  const plan = await network.prepareTransfer(transfer, NOTHING_IN_FLIGHT);
  const timestampMs = chain.chain.head.timestampMs;
  const expirationMs = timestampMs + LIFE_MS;
  const signer = tronSigner(transfer.sender, () => chain.wallet.privateKey);
  const { txId, bytes } = await signer.sign(transfer, plan, { timestampMs, expirationMs });
  const proven = async () => {
    const blocks = await network.walkSolidBlocks(
      plan.referenceBlock.number,
      expirationMs,
      plan.referenceBlock,
    );
    const attempt = { txId, expirationMs, referenceBlockId: plan.referenceBlock.blockId };
    return provesAbsenceByWalk(blocks, attempt, chain.chain.head.timestampMs);
  };
  const judged = async () => {
    const [testimony] = await network.takeTestimony(txId, plan.referenceBlock);
    return testimony === undefined ? undefined : judgeTestimony(transfer, txId, testimony, 2);
  };
  return { txId, bytes, proven, judged };
}

describe.each(['TRX', 'USDT'] as const)('%s on the development chain', (asset) => {
  it('is paid once its block is solid, and no walk passes over it', async () => {
    const { txId, bytes, proven, judged } = await sign(asset);
    expect(await network.broadcast(bytes, txId)).toMatchObject([{ kind: 'accepted' }]);
    expect(await network.broadcast(bytes, txId)).toMatchObject([{ kind: 'duplicate' }]);
    await chain.produce(1);
    expect(await judged()).toMatchObject({ kind: 'absent' });
    await chain.produce(3);
    expect(await judged()).toMatchObject({ kind: 'paid' });
    await chain.produce(LIFE_MS / 3_000);
    expect(await proven()).toBe(false);
  });

  it('is proven absent by a walk where it was never sent, once its time is over and not before', async () => {
    const { proven, judged } = await sign(asset);
    await chain.produce(LIFE_MS / 3_000);
    expect(await proven()).toBe(false);
    await chain.produce(3);
    expect(await judged()).toMatchObject({ kind: 'absent' });
    expect(await proven()).toBe(true);
  });
});
