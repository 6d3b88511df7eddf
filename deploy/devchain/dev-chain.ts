import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { lockFile } from '../local/file-lock.ts';
import { type DevAccount, devAccounts, usdtAddress } from './accounts.ts';
import type { Block } from './block.ts';
import { Chain, type ForkTransactions } from './chain.ts';
import { FaultBoard } from './faults.ts';
import { startFaultsServer } from './faults-server.ts';
import type { Listening } from './http-server.ts';
import { type LedgerEntry, readLedger } from './ledger.ts';
import { startNodeServer } from './node-server.ts';
import { WalletApi } from './wallet-api.ts';

export type DevChainOptions = {
  /** Folder of the stored blocks; it is made where it is missing. */
  readonly dataFolder: string;
  /** Deletes the stored blocks first. */
  readonly fresh?: boolean;
  /** Which accounts, which USDT, which genesis block. `development` by default. */
  readonly seed?: string;
  /** Milliseconds between blocks, 3,000 by default; null leaves it to {@link DevChain.produceBlock}. */
  readonly intervalMs?: number | null;
  /** Blocks between the head and the solid head, 2 by default. */
  readonly solidLag?: number;
  /** Added to the clock: the chain's own idea of time. */
  readonly clockOffsetMs?: number;
  readonly host?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  readonly faultsPort?: number;
  /** The wall clock in milliseconds, for tests. */
  readonly nowMs?: () => number;
  /** Called when no block can be made any more (the disk is full); by default the process ends by it. */
  readonly onFatal?: (error: unknown) => void;
};

export type DevChain = {
  /** Where tronweb and others find the node. */
  readonly url: string;
  readonly faultsUrl: string;
  readonly seed: string;
  /** Base58. */
  readonly usdtAddress: string;
  readonly genesisBlockId: string;
  /** The well-known accounts; the first is the wallet. */
  readonly accounts: readonly DevAccount[];
  /** The chain itself, for tests that look inside. */
  readonly chain: Chain;
  readonly faults: FaultBoard;
  /** Makes one block now. */
  produceBlock(): Promise<Block>;
  /** Replaces the newest unsolid blocks by those of another branch. */
  fork(blocks: number, transactions?: ForkTransactions): Promise<{ readonly dropped: readonly string[] }>;
  ledger(): readonly LedgerEntry[];
  /** Finishes the block under way and closes ports and file. */
  close(): Promise<void>;
};

export const DEFAULT_SEED = 'development';
export const DEFAULT_INTERVAL_MS = 3_000;
export const DEFAULT_SOLID_LAG = 2;

/** Starts a development chain in this process. @throws Error in one clear line (a busy port, foreign data). */
export async function startDevChain(options: DevChainOptions): Promise<DevChain> {
  const {
    dataFolder,
    seed = DEFAULT_SEED,
    intervalMs = DEFAULT_INTERVAL_MS,
    solidLag = DEFAULT_SOLID_LAG,
    clockOffsetMs = 0,
    host = '127.0.0.1',
    nowMs: wallMs = Date.now,
    onFatal = (error) => {
      throw error;
    },
  } = options;
  const nowMs = (): number => wallMs() + clockOffsetMs;
  // Faults last by the wall clock, whatever time the chain believes it is.
  const faults = new FaultBoard(wallMs);
  const started: { close(): Promise<void> }[] = [];
  const stopAll = async (): Promise<void> => {
    for (const part of started.toReversed()) await part.close();
  };
  try {
    // The ports come first: a second chain on the same ports must not touch the data.
    const gate = Promise.withResolvers<Chain>();
    gate.promise.catch(() => undefined);
    const api = gate.promise.then((chain) => new WalletApi(chain));
    api.catch(() => undefined);
    const lazyApi = {
      answer: async (...call: Parameters<WalletApi['answer']>) => (await api).answer(...call),
    };
    const node = await startNodeServer(host, options.port ?? 0, lazyApi, faults);
    started.push(node);
    let chain: Chain | undefined;
    const faultsServer: Listening = await startFaultsServer(host, options.faultsPort ?? 0, {
      faults,
      nowMs: wallMs,
      describe: () => (chain === undefined ? {} : describe(chain)),
      ledger: () => (chain === undefined ? [] : readLedger(chain)),
      fork: async (blocks, transactions) => (await gate.promise).fork(blocks, transactions),
    });
    started.push(faultsServer);
    // Beside the folder, not in it: `fresh` deletes the folder.
    await mkdir(dirname(dataFolder), { recursive: true });
    const lock = lockFile(
      `${dataFolder}.lock`,
      (pid) => new Error(`a chain already runs on ${dataFolder} (pid ${pid})`),
    );
    started.unshift({ close: async () => lock.release() });
    if (options.fresh === true) await rm(dataFolder, { recursive: true, force: true });
    const opened = await Chain.open({ seed, dataFolder, intervalMs, solidLag, nowMs }).catch(
      (error: unknown) => {
        gate.reject(error);
        throw error;
      },
    );
    if (intervalMs !== null) await makeFirstBlocks(opened, intervalMs);
    chain = opened;
    // Closed after what asks it, and before its folder is given up.
    started.splice(1, 0, opened);
    const producer = new Producer(opened, faults, nowMs, onFatal);
    started.push(producer);
    gate.resolve(opened);
    return {
      url: node.url,
      faultsUrl: faultsServer.url,
      seed,
      usdtAddress: usdtAddress(seed),
      genesisBlockId: opened.genesis.id,
      accounts: devAccounts(seed),
      chain: opened,
      faults,
      produceBlock: () => producer.produce(),
      fork: (blocks, transactions = 'drop') => opened.fork(blocks, transactions),
      ledger: () => readLedger(opened),
      close: stopAll,
    };
  } catch (error) {
    await stopAll();
    throw error;
  }

  function describe(chain: Chain): unknown {
    const solid = chain.block(chain.solidNumber) ?? chain.genesis;
    const show = ({ number, id, timestampMs }: Block): unknown => ({ number, id, timestampMs });
    return {
      genesisBlockId: chain.genesis.id,
      seed,
      usdtAddress: usdtAddress(seed),
      accounts: devAccounts(seed),
      head: show(chain.head),
      solidHead: show(solid),
      intervalMs,
      solidLag,
      clockOffset: clockOffsetMs / 1_000,
    };
  }
}

/**
 * A genesis block shows neither number nor time, and clients stumble over a solid head like that: a new chain
 * begins with as many blocks of the past as it takes for the solid head to be an ordinary block.
 */
async function makeFirstBlocks(chain: Chain, intervalMs: number): Promise<void> {
  const count = chain.options.solidLag + 1;
  for (let age = count; age > 0 && chain.head.number < count; age--)
    await chain.produceBlock(age * intervalMs);
}

/** Makes a block at each whole interval of the clock, unless a fault stalls it. */
class Producer {
  readonly #chain: Chain;
  readonly #faults: FaultBoard;
  readonly #nowMs: () => number;
  readonly #onFatal: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(chain: Chain, faults: FaultBoard, nowMs: () => number, onFatal: (error: unknown) => void) {
    this.#onFatal = onFatal;
    this.#chain = chain;
    this.#faults = faults;
    this.#nowMs = nowMs;
    this.#schedule();
  }

  /** One block, with the stall of the solid head as it is now. */
  async produce(): Promise<Block> {
    this.#chain.solidificationStalled = this.#faults.holds('stall-solid');
    const block = await this.#chain.produceBlock();
    if (this.#chain.solidificationStalled) this.#faults.spend('stall-solid');
    return block;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#working;
  }

  #schedule(): void {
    const { intervalMs } = this.#chain.options;
    if (intervalMs === null || this.#closed) return;
    const waitMs = intervalMs - (this.#nowMs() % intervalMs);
    this.#timer = setTimeout(() => {
      this.#working = this.#tick().then(() => this.#schedule(), this.#onFatal);
    }, waitMs);
  }

  async #tick(): Promise<void> {
    if (this.#faults.holds('stall-blocks')) {
      this.#faults.spend('stall-blocks');
      return;
    }
    // A disk that takes no block ends all: a chain must not go on without its file.
    await this.produce();
  }
}
