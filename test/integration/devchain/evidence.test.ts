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

async function sign(asset: Transfer['asset'], amountMicro = 2_500_000n) {
  const transfer: Transfer = {
    asset,
    amountMicro,
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
  return { transfer, txId, bytes, expirationMs, proven, judged };
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

describe("the wallet's history on the development chain", () => {
  it('shows each transfer that the wallet signed, as it was sent, and nothing else', async () => {
    const before = await network.readSolidHead();
    const sent = [await sign('USDT'), await sign('TRX')];
    for (const { bytes, txId } of sent) await network.broadcast(bytes, txId);
    await chain.produce(1);
    // More than the wallet has left by the time that it is included.
    const all = await network.readHoldings(
      { address: address(chain.wallet.address), contract: address(chain.usdtAddress) },
      null,
    );
    const rest = await sign('USDT', (all[0]?.amounts.USDT ?? 0n) - 2_500_000n);
    const tooMuch = await sign('USDT', (all[0]?.amounts.USDT ?? 0n) - 2_500_001n);
    for (const { bytes, txId } of [rest, tooMuch]) await network.broadcast(bytes, txId);
    await chain.produce(4);

    const head = await network.readSolidHead();
    const account = { address: address(chain.wallet.address), contract: address(chain.usdtAddress) };
    const floor = { number: before.number + 1, timestampMs: 0 };
    const blocks = await network.readHistory(account, head, floor);
    expect(blocks.map(({ number }) => number)).toEqual(
      Array.from({ length: head.number - before.number }, (_, below) => head.number - below),
    );
    expect(blocks.at(-1)?.parentId).toBe(before.blockId);
    const found = blocks.toReversed().flatMap(({ transfers }) => transfers);
    expect(found.map(({ txId }) => txId).sort()).toEqual(
      [...sent, rest, tooMuch].map(({ txId }) => txId).sort(),
    );
    for (const { transfer, txId, bytes, expirationMs } of [...sent, rest, tooMuch]) {
      const shown = found.find((one) => one.txId === txId);
      expect(shown).toMatchObject({
        asset: transfer.asset,
        amountMicro: transfer.amountMicro,
        recipient: transfer.recipient,
        succeeded: txId !== tooMuch.txId,
        expirationMs,
      });
      expect(Buffer.from(shown?.bytes ?? [])).toEqual(Buffer.from(bytes));
    }
    const bystander = { ...account, address: address(chain.alice.address) };
    expect((await network.readHistory(bystander, head, floor)).flatMap(({ transfers }) => transfers)).toEqual(
      [],
    );
  });
});
