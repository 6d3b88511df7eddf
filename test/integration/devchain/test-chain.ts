import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TronWeb, type Types } from 'tronweb';
import type { DevAccount } from '../../../deploy/devchain/accounts.ts';
import { type DevChain, type DevChainOptions, startDevChain } from '../../../deploy/devchain/dev-chain.ts';

/** A chain whose blocks come on demand, with a clock that the test holds. */
export type TestChain = DevChain & {
  readonly folder: string;
  readonly tronWeb: TronWeb;
  readonly wallet: DevAccount;
  readonly alice: DevAccount;
  /** Moves the chain's clock on. */
  passMs(ms: number): void;
  /** Lets 3 s pass and makes a block, this many times. */
  produce(blocks?: number): Promise<void>;
  post(path: string, body: unknown): Promise<Record<string, unknown>>;
  /** A signed transfer by tronweb; `changes` go into the raw data first. */
  signTransfer(amount: number, to?: string, options?: { expirationMs?: number }): Promise<SignedTransfer>;
  /** Closes the chain and starts it anew on its data. */
  restart(): Promise<TestChain>;
  dispose(): Promise<void>;
};

export type SignedTransfer = Types.SignedTransaction<Types.TransferContract>;

const BLOCK_MS = 3_000;

export async function startTestChain(options: Partial<DevChainOptions> = {}): Promise<TestChain> {
  const folder = options.dataFolder ?? (await mkdtemp(join(tmpdir(), 'devchain-')));
  let nowMs = Math.floor(Date.now() / BLOCK_MS) * BLOCK_MS;
  const settings = { intervalMs: null, solidLag: 2, nowMs: () => nowMs, ...options, dataFolder: folder };
  return wrap(await startDevChain(settings));

  function wrap(chain: DevChain): TestChain {
    const [wallet, alice] = chain.accounts;
    if (wallet === undefined || alice === undefined) throw new Error('a chain without accounts');
    const tronWeb = new TronWeb({ fullHost: chain.url, privateKey: wallet.privateKey });
    let unique = 0;
    return {
      ...chain,
      folder,
      tronWeb,
      wallet,
      alice,
      passMs: (ms) => {
        nowMs += ms;
      },
      produce: async (blocks = 1) => {
        for (let i = 0; i < blocks; i++) {
          nowMs += BLOCK_MS;
          await chain.produceBlock();
        }
      },
      post: async (path, body) => {
        const response = await fetch(chain.url + path, { method: 'POST', body: JSON.stringify(body) });
        return (await response.json()) as Record<string, unknown>;
      },
      signTransfer: async (amount, to = alice.address, { expirationMs } = {}) => {
        const { head } = chain.chain;
        const transaction = await tronWeb.transactionBuilder.sendTrx(to, amount, wallet.address, {
          blockHeader: {
            ref_block_bytes: head.id.slice(12, 16),
            ref_block_hash: head.id.slice(16, 32),
            expiration: expirationMs ?? head.timestampMs + 60_000,
            timestamp: nowMs + ++unique,
          },
        });
        return tronWeb.trx.sign(transaction);
      },
      restart: async () => {
        await chain.close();
        return wrap(await startDevChain(settings));
      },
      dispose: async () => {
        await chain.close();
        await rm(folder, { recursive: true, force: true });
      },
    };
  }
}
