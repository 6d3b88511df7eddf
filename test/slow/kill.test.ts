import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DevChain, startDevChain } from '../../deploy/devchain/dev-chain.ts';
import { createAccount } from '../../deploy/local/accounts.ts';
import { type Database, startDatabase } from '../../deploy/local/database/start-database.ts';
import { composeEngine } from '../../shared/composition/compose-engine.ts';
import { isSettled, type Payment } from '../../shared/domain/payment.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { payOut } from '../../shared/usecases/pay-out.ts';
import { settle } from '../../shared/usecases/settle.ts';
import { address } from '../support/test-engine.ts';
import { waitUntil } from '../support/wait-until.ts';

/**
 * SIGKILL of a process that holds real sockets, once between any two port calls of a payment and of a settler:
 * the real database process, the real development chain, real signatures. What the chain holds is the judge.
 */

const WORKER = resolve(import.meta.dirname, '../support/mortal-worker.ts');
const AMOUNT_MICRO = 1_000_000n;
/** Two cores: more workers only make each other late. */
const WORKERS_MAX = 4;
const ATTEMPTS_MAX = 5;

let folder: string;
let database: Database;
let chain: DevChain;
let environment: Record<string, string>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tpf-kill-'));
  [database, chain] = await Promise.all([
    startDatabase({ memory: true }),
    startDevChain({ dataFolder: join(folder, 'chain'), intervalMs: 300, solidLag: 2 }),
  ]);
  const [wallet] = chain.accounts;
  if (wallet === undefined) throw new Error('the chain has no wallet');
  const secret = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  environment = {
    LUCID_ENV: 'test',
    CONFIG_DIR: folder,
    MONGO_URL: database.url,
    TRON_NETWORK: 'private',
    TRON_NODE_URL: chain.url,
    TRON_GENESIS_BLOCK_ID: chain.genesisBlockId,
    TRON_CONTRACT_ADDRESS: chain.usdtAddress,
    TRON_WALLET_ADDRESS: wallet.address,
    TRON_CONFIRMATIONS_REQUIRED: '2',
    // Short lives: a claim is left to its taker for the network's timeout and five seconds more.
    TRON_TIMEOUT_SECONDS: '6',
    PAYMENT_REVISIT_SECONDS: '1',
    TOR_ONLY: 'false',
    TRON_PRIVATE_KEY_FILE: secret('wallet-key', wallet.privateKey),
    ENCRYPTION_KEY_FILE: secret('encryption-key', randomBytes(32).toString('hex')),
  };
  await waitUntil(() => chain.chain.solidNumber > 0);
});

afterAll(async () => {
  await chain?.close();
  await database?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A ledger of its own, on the chain that all share. */
class Ledger {
  readonly environment: Record<string, string>;
  readonly engine: Engine;
  readonly recipients = new Map<string, string>();

  constructor(name: string) {
    this.environment = { ...environment, MONGO_DATABASE: name };
    this.engine = composeEngine(readConfig(this.environment, { needs: ['walletKey', 'encryptionKey'] }));
  }

  recipientOf(key: string): string {
    const recipient = this.recipients.get(key) ?? createAccount().address;
    this.recipients.set(key, recipient);
    return recipient;
  }

  async pay(idempotencyKey: string): Promise<Payment> {
    const recipient = address(this.recipientOf(idempotencyKey));
    const { payment } = await payOut(this.engine, {
      order: { asset: 'USDT', amountMicro: AMOUNT_MICRO, recipient, reference: null },
      caller: 'gateway',
      idempotencyKey,
      respondAsync: false,
    });
    return payment;
  }

  /** @returns the calls it made where it lived, 'killed' where it died as it was told to */
  payAndDie(key: string, killAt: number): Promise<number | 'killed'> {
    return this.#work('pay', String(killAt), key, this.recipientOf(key), String(AMOUNT_MICRO));
  }

  settleAndDie(killAt: number): Promise<number | 'killed'> {
    return this.#work('settle', String(killAt));
  }

  async #work(...args: string[]): Promise<number | 'killed'> {
    const child = spawn(process.execPath, [WORKER, ...args], {
      env: { ...this.environment, PATH: process.env.PATH },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const signal = await new Promise<NodeJS.Signals | null>((ended) =>
      child.on('close', (_, by) => ended(by)),
    );
    if (signal === 'SIGKILL') return 'killed';
    const calls = /^calls (\d+)$/m.exec(output)?.[1];
    if (calls === undefined) throw new Error(`the worker failed: ${output}`);
    return Number(calls);
  }

  /** Settles until nothing is left to do. @returns the payments that there are */
  async settleToTheEnd(): Promise<Payment[]> {
    let payments: Payment[] = [];
    await waitUntil(async () => {
      await settle(this.engine, { deadlineMs: Date.now() + 60_000, paymentsMax: 1_000 }, (_, error) => {
        throw error;
      });
      const keys = [...this.recipients.keys()];
      const found = await Promise.all(keys.map((key) => this.engine.ledger.findByKey('gateway', key)));
      payments = found.flatMap((claimed) => (claimed?.kind === 'payment' ? [claimed.payment] : []));
      return payments.every((payment) => isSettled(payment) && payment.settleAtMs === null);
    });
    return payments;
  }

  /** The chain against the ledger: each payment paid once and confirmed, nothing counted that is over. */
  async expectPaidOnce(): Promise<void> {
    const payments = await this.settleToTheEnd();
    const moved = chain.ledger().filter(({ asset }) => asset === 'USDT');
    for (const payment of payments) {
      const landed = moved.filter(({ to }) => to === this.recipients.get(payment.idempotencyKey));
      expect(landed, `${payment.idempotencyKey} is ${payment.status}`).toHaveLength(1);
      expect(landed[0]).toMatchObject({
        amountMicro: String(AMOUNT_MICRO),
        txId: payment.attempts.at(-1)?.txId,
      });
      expect(payment.status).toBe('confirmed');
    }
    const breaker = await this.engine.ledger.readBreaker();
    expect(breaker.transitions).toEqual([]);
    expect(breaker.books.USDT.outstandingMicro).toBe(0n);
  }

  /** Waits until a settler would find the payment's end on the chain. */
  async untilConfirmable(payment: Payment): Promise<void> {
    const { ledger, network, rules } = this.engine;
    await waitUntil(async () => {
      const [testimony] = await network.takeTestimony(payment.attempts[0]?.txId ?? '', null);
      const isDue = (payment.settleAtMs ?? 0) <= (await ledger.serverTimeMs());
      if (testimony === undefined || testimony.info === null) return false;
      return isDue && testimony.headNumber - testimony.info.blockNumber >= rules.confirmationsRequired;
    }, 120_000);
  }
}

/**
 * A node that a busy machine lets answer too late ends a life before its usual last calls: then it is tried again.
 * Whoever made so many calls has died of it, or the test fails.
 */
async function untilKilled(
  killAt: number,
  live: (attempt: number) => Promise<number | 'killed'>,
): Promise<void> {
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const end = await live(attempt);
    if (end === 'killed') return;
    expect(end, `calls of a life that was to end at call ${killAt}`).toBeLessThan(killAt);
  }
  throw new Error(`nobody came to call ${killAt}`);
}

/** Runs the tasks a few at a time. */
async function each<T>(tasks: readonly T[], run: (task: T) => Promise<void>): Promise<void> {
  const waiting = [...tasks];
  const lane = async () => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) await run(task);
  };
  await Promise.all(Array.from({ length: WORKERS_MAX }, lane));
}

describe('SIGKILL at any port call', () => {
  it('of a payment leaves what settling ends rightly, and the same key pays once in all', async () => {
    const ledger = new Ledger('pay');
    const whole = await ledger.payAndDie('whole', 0);
    if (whole === 'killed') throw new Error('it was to live');
    expect(whole).toBeGreaterThan(20);

    await each(steps(whole), (killAt) =>
      untilKilled(killAt, (attempt) => ledger.payAndDie(`step-${killAt}-${attempt}`, killAt)),
    );
    await ledger.expectPaidOnce();

    // The callers, who got no answer, ask again with their keys.
    await each([...ledger.recipients.keys()], async (key) => void (await ledger.pay(key)));
    await ledger.expectPaidOnce();
    expect(await ledger.settleToTheEnd()).toHaveLength(ledger.recipients.size);
  });

  it('of a settler that confirms and commits is picked up by the next one', async () => {
    const untouched = new Ledger('settle-whole');
    await untouched.untilConfirmable(await untouched.pay('settled'));
    const whole = await untouched.settleAndDie(0);
    if (whole === 'killed') throw new Error('it was to live');
    expect(whole).toBeGreaterThan(20);
    await untouched.expectPaidOnce();

    await each(steps(whole), (killAt) =>
      untilKilled(killAt, async (attempt) => {
        const ledger = new Ledger(`settle-${killAt}-${attempt}`);
        await ledger.untilConfirmable(await ledger.pay('settled'));
        const end = await ledger.settleAndDie(killAt);
        await ledger.expectPaidOnce();
        return end;
      }),
    );
  });
});

function steps(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}
