import { witnessAccount } from './accounts.ts';
import { type Block, type Executed, makeBlock, restoreBlock, storeBlock, type Witness } from './block.ts';
import { type BlockRecord, BlockStore } from './block-store.ts';
import { type EvmOutcome, runEvm } from './evm.ts';
import { type BlockContext, executeTransaction, type Receipt } from './execution.ts';
import { applyGenesis, chainIdOf, genesisBlock } from './genesis.ts';
import { EXPIRATION_AHEAD_MAX_MS, RESULT_BYTES, TAPOS_WINDOW, TRANSACTION_BYTES_MAX } from './parameters.ts';
import { Refusal } from './refusal.ts';
import { checkSignatures } from './signatures.ts';
import { ChainState, type StateChanges, StateOverlay, type StateValue } from './state.ts';
import type { Transaction } from './transaction.ts';
import { ACCOUNT_PREFIX, type Account, World, WritableWorld } from './world.ts';

export type ChainOptions = {
  readonly seed: string;
  readonly dataFolder: string;
  /** Milliseconds between blocks; null when blocks are made only on demand. */
  readonly intervalMs: number | null;
  /** Blocks by which the solid head follows the head. */
  readonly solidLag: number;
  readonly nowMs: () => number;
};

/** Which view of the chain a question asks for. */
export type Side = 'head' | 'solid';

export type ConstantCall = {
  readonly caller: string;
  readonly contract: string;
  /** Creation code is simulated when there is no contract. */
  readonly deployment: boolean;
  readonly value: bigint;
  readonly dataHex: string;
  readonly energyLimit: bigint;
};

/** What becomes of the transactions of the blocks that a fork drops. */
export type ForkTransactions = 'drop' | 'readmit';

type Pending = Executed & { readonly sinceMs: number };

/** A pending transaction that no block took vanishes after this long, as on java-tron. */
const PENDING_MAX_MS = 60_000;
const BLOCK_BYTES_MAX = 2_000_000;
/** Blocks kept in memory; older ones are read from the file. */
const RECENT_BLOCKS = 256;

/**
 * The chain: one canonical branch of blocks, the state after it, the pool of what waits. Everything that executes
 * goes one after another; reading is free at any time and sees whole blocks only.
 */
export class Chain {
  readonly genesis: Block;
  readonly options: ChainOptions;
  #store: BlockStore | undefined;
  readonly #state = new ChainState();
  readonly #offsets: number[] = [];
  readonly #recent = new Map<number, Block>();
  /** Bytes [8,16) of the ids of the last 65,536 blocks, by the low two bytes of their number. */
  readonly #references = new Map<number, string>();
  readonly #blockOfTransaction = new Map<string, number>();
  readonly #pool = new Map<string, Pending>();
  #pending: StateOverlay;
  #head: Block;
  #solidNumber = 0;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #witness: Witness;
  readonly #rival: Witness;
  /** While true the solid head stays where it is. */
  solidificationStalled = false;

  private constructor(options: ChainOptions) {
    this.options = options;
    this.genesis = genesisBlock(options.seed);
    this.#head = this.genesis;
    this.#pending = new StateOverlay(this.#state);
    this.#witness = witnessAccount(options.seed);
    // Blocks of another branch come from another representative, so that they differ even when empty.
    this.#rival = witnessAccount(`${options.seed}:rival`);
    this.#remember(this.genesis, -1);
  }

  /** Opens the chain of a folder, or begins it. @throws Error in one clear line when the folder holds another. */
  static async open(options: ChainOptions): Promise<Chain> {
    const chain = new Chain(options);
    await applyGenesis(chain.#state, options.seed, chain.genesis);
    chain.#store = BlockStore.open(
      options.dataFolder,
      { format: 1, seed: options.seed, genesisBlockId: chain.genesis.id },
      (record, offset) => chain.#replay(record, offset),
    );
    chain.#pending = new StateOverlay(chain.#state);
    return chain;
  }

  /** Waits for what is under way and closes the file. */
  async close(): Promise<void> {
    await this.#exclusively(async () => this.#store?.close());
  }

  get head(): Block {
    return this.#head;
  }

  get solidNumber(): number {
    return this.#solidNumber;
  }

  /** Number of the newest block that a side shows. */
  heightOf(side: Side): number {
    return side === 'head' ? this.#head.number : this.#solidNumber;
  }

  /** The state that a side shows. Read it at once: it is void after the next block. */
  worldOf(side: Side): World {
    return new World(this.#state.before(this.#head.number - this.heightOf(side)));
  }

  /** A block of the canonical branch, or undefined. */
  block(number: number): Block | undefined {
    if (number < 0 || number > this.#head.number) return undefined;
    if (number === 0) return this.genesis;
    const recent = this.#recent.get(number);
    if (recent !== undefined) return recent;
    const offset = this.#offsets[number];
    if (offset === undefined || this.#store === undefined) return undefined;
    return restoreBlock(this.#store.read(offset).block);
  }

  blockById(id: string): Block | undefined {
    const number = Number.parseInt(id.slice(0, 16), 16);
    const block = this.block(number);
    return block?.id === id ? block : undefined;
  }

  /** A transaction in a block, and the block. */
  included(txId: string, side: Side): { readonly block: Block; readonly executed: Executed } | undefined {
    const number = this.#blockOfTransaction.get(txId);
    if (number === undefined || number > this.heightOf(side)) return undefined;
    const block = this.block(number);
    const executed = block?.transactions.find(({ transaction }) => transaction.txId === txId);
    return block === undefined || executed === undefined ? undefined : { block, executed };
  }

  pending(txId: string): Executed | undefined {
    return this.#pool.get(txId);
  }

  get pendingIds(): readonly string[] {
    return [...this.#pool.keys()];
  }

  /** Numbers of all blocks that hold transactions, ascending. */
  blocksWithTransactions(): readonly number[] {
    return [...new Set(this.#blockOfTransaction.values())].sort((a, b) => a - b);
  }

  accounts(): readonly Account[] {
    return [...this.#state.entries(ACCOUNT_PREFIX)].map(([, account]) => account as Account);
  }

  /** Checks a transaction as java-tron does, in its order, and takes it into the pool. @throws Refusal */
  broadcast(transaction: Transaction): Promise<void> {
    return this.#exclusively(() => this.#admit(transaction));
  }

  /** Runs code without leaving a trace; energy is unlimited by balance. */
  simulate(side: Side, call: ConstantCall, txId: string): Promise<EvmOutcome> {
    return this.#exclusively(async () => {
      const overlay = new StateOverlay(this.#state.before(this.#head.number - this.heightOf(side)));
      const at = this.block(this.heightOf(side)) ?? this.#head;
      return runEvm(
        new WritableWorld(overlay),
        { ...this.#context(at, at.number, at.timestampMs), txId },
        {
          caller: call.caller,
          to: call.contract,
          deployment: call.deployment,
          value: call.value,
          dataHex: call.dataHex,
          energyLimit: call.energyLimit,
        },
      );
    });
  }

  /**
   * Makes the next block of all that waits. It is on the disk before anyone sees it.
   * @param ageMs how far its time lies back: a new chain begins with a few blocks of the past.
   */
  produceBlock(ageMs = 0): Promise<Block> {
    return this.#exclusively(async () => {
      const timestampMs = this.#nextTimestampMs(ageMs);
      const overlay = new StateOverlay(this.#state);
      const executed = await this.#pack(overlay, timestampMs);
      const block = makeBlock(this.#head, timestampMs, this.#witness, executed);
      const changes = overlay.changes();
      const [offset] = await this.#save([{ block, changes }]);
      this.#advance(block, changes, offset ?? -1, this.#solidAfter(block.number));
      await this.#refreshPool(executed);
      return block;
    });
  }

  /**
   * Replaces the newest blocks by as many empty ones of another branch, at once, as a node does that learns of a
   * longer branch. @throws RangeError when that would touch solid blocks.
   */
  fork(blocks: number, transactions: ForkTransactions): Promise<{ readonly dropped: readonly string[] }> {
    return this.#exclusively(async () => {
      const unsolid = this.#head.number - this.#solidNumber;
      if (!Number.isInteger(blocks) || blocks < 1 || blocks > unsolid) {
        throw new RangeError(`a fork can replace 1 to ${unsolid} blocks now: the others are solid`);
      }
      const replacements: Block[] = [];
      let parent = this.block(this.#head.number - blocks);
      for (let number = this.#head.number - blocks + 1; number <= this.#head.number; number++) {
        const replaced = this.block(number);
        if (parent === undefined || replaced === undefined) throw new Error(`block ${number} is gone`);
        parent = makeBlock(parent, replaced.timestampMs, this.#rival, []);
        replacements.push(parent);
      }
      // First the file, then, without a pause in which anyone could look, the chain.
      const changes = new StateOverlay(this.#state).changes();
      const offsets = await this.#save(replacements.map((block) => ({ block, changes })));
      const removed: Block[] = [];
      for (let i = 0; i < blocks; i++) removed.unshift(this.#takeBack());
      const lost = removed.flatMap((block) => block.transactions);
      replacements.forEach((block, i) => {
        this.#advance(block, changes, offsets[i] ?? -1, this.#solidNumber);
      });
      await this.#refreshPool([]);
      if (transactions === 'readmit') {
        for (const { transaction } of lost) await this.#admit(transaction).catch(ignoreRefusal);
      }
      return { dropped: lost.map(({ transaction }) => transaction.txId) };
    });
  }

  async #admit(transaction: Transaction): Promise<void> {
    if (transaction.raw.contract.length === 0) {
      throw new Refusal('CONTRACT_VALIDATE_ERROR', 'Contract validate error : No contract!');
    }
    if (transaction.raw.expiration < BigInt(this.#head.timestampMs + (this.options.intervalMs ?? 1))) {
      throw expired();
    }
    checkSignatures(new World(this.#pending), transaction);
    const contracts = transaction.raw.contract.length;
    if (contracts !== 1) {
      throw new Refusal(
        'OTHER_ERROR',
        `Error: tx ${transaction.txId} contract size should be exactly 1, this is extend feature ,actual :${contracts}`,
      );
    }
    this.#checkReference(transaction);
    checkSize(transaction);
    this.#checkExpiration(transaction);
    if (this.#pool.has(transaction.txId) || this.#blockOfTransaction.has(transaction.txId)) {
      throw new Refusal('DUP_TRANSACTION_ERROR', 'Dup transaction.');
    }
    const overlay = new StateOverlay(this.#pending);
    const context = this.#context(this.#head, this.#head.number + 1, this.#nextTimestampMs());
    const receipt = await executeOrRefuse(new WritableWorld(overlay), transaction, context);
    this.#pending.merge(overlay.changes());
    this.#pool.set(transaction.txId, { transaction, receipt, sinceMs: this.options.nowMs() });
  }

  #checkReference(transaction: Transaction): void {
    const { ref_block_bytes: bytes, ref_block_hash: hash } = transaction.raw;
    const known = bytes.length === 4 ? this.#references.get(Number.parseInt(bytes, 16)) : undefined;
    if (known === undefined || known !== hash) throw new Refusal('TAPOS_ERROR', 'Tapos check error.');
  }

  #checkExpiration(transaction: Transaction): void {
    const expirationMs = Number(transaction.raw.expiration);
    const headMs = this.#head.timestampMs;
    if (expirationMs <= headMs || expirationMs > headMs + EXPIRATION_AHEAD_MAX_MS) throw expired();
  }

  /** Executes what waits, oldest first; what cannot go in any more leaves the pool. */
  async #pack(overlay: StateOverlay, timestampMs: number): Promise<Executed[]> {
    const context = this.#context(this.#head, this.#head.number + 1, timestampMs);
    const executed: Executed[] = [];
    let bytes = 0;
    for (const pending of [...this.#pool.values()]) {
      const { transaction } = pending;
      const tooOld = this.options.nowMs() - pending.sinceMs > PENDING_MAX_MS;
      if (tooOld || transaction.raw.expiration < BigInt(timestampMs)) {
        this.#pool.delete(transaction.txId);
        continue;
      }
      if (bytes + transaction.sizeBytes > BLOCK_BYTES_MAX) break;
      overlay.checkpoint();
      try {
        const receipt = await executeOrRefuse(new WritableWorld(overlay), transaction, context);
        overlay.commit();
        bytes += transaction.sizeBytes;
        executed.push({ transaction, receipt });
      } catch (error) {
        ignoreRefusal(error);
        overlay.revert();
        this.#pool.delete(transaction.txId);
      }
    }
    return executed;
  }

  /** The pool after a block: what is in it is gone, the rest is executed anew on top of it. */
  async #refreshPool(included: readonly Executed[]): Promise<void> {
    for (const { transaction } of included) this.#pool.delete(transaction.txId);
    this.#pending = new StateOverlay(this.#state);
    const rest = [...this.#pool.values()];
    this.#pool.clear();
    for (const { transaction, sinceMs } of rest) {
      await this.#admit(transaction).catch(ignoreRefusal);
      const again = this.#pool.get(transaction.txId);
      if (again !== undefined) this.#pool.set(transaction.txId, { ...again, sinceMs });
    }
  }

  #save(
    items: readonly { readonly block: Block; readonly changes: StateChanges }[],
  ): Promise<readonly number[]> {
    if (this.#store === undefined) throw new Error('the chain is not open');
    return this.#store.append(
      items.map(({ block, changes }) => ({
        block: storeBlock(block),
        changes: [...changes].map(([key, value]) => [key, value ?? null] as const),
        solidNumber: this.#solidAfter(block.number),
      })),
    );
  }

  #replay(record: BlockRecord, offset: number): void {
    while (this.#head.number >= record.block.number) this.#takeBack();
    const changes = new Map<string, StateValue | undefined>();
    for (const [key, value] of record.changes) changes.set(key, value ?? undefined);
    this.#advance(restoreBlock(record.block), changes, offset, record.solidNumber);
  }

  #advance(block: Block, changes: StateChanges, offset: number, solidNumber: number): void {
    this.#state.apply(changes);
    this.#head = block;
    this.#solidNumber = Math.max(this.#solidNumber, solidNumber);
    this.#remember(block, offset);
    for (const { transaction } of block.transactions)
      this.#blockOfTransaction.set(transaction.txId, block.number);
    this.#state.keepUndo(block.number - this.#solidNumber);
  }

  #remember(block: Block, offset: number): void {
    this.#offsets[block.number] = offset;
    this.#recent.set(block.number, block);
    this.#recent.delete(block.number - RECENT_BLOCKS);
    this.#references.set(block.number % TAPOS_WINDOW, block.id.slice(16, 32));
  }

  /** Undoes the head block. */
  #takeBack(): Block {
    const removed = this.#head;
    const parent = this.block(removed.number - 1);
    if (parent === undefined) throw new Error('the genesis block cannot be taken back');
    this.#state.revertBlock();
    for (const { transaction } of removed.transactions) this.#blockOfTransaction.delete(transaction.txId);
    this.#recent.delete(removed.number);
    this.#offsets.length = removed.number;
    const older = this.block(removed.number - TAPOS_WINDOW);
    if (older === undefined) this.#references.delete(removed.number % TAPOS_WINDOW);
    else this.#references.set(removed.number % TAPOS_WINDOW, older.id.slice(16, 32));
    this.#head = parent;
    return removed;
  }

  #solidAfter(number: number): number {
    if (this.solidificationStalled) return this.#solidNumber;
    return Math.max(this.#solidNumber, number - this.options.solidLag);
  }

  /** Blocks lie on whole intervals of the clock, as TRON's slots do, and always after their parent. */
  #nextTimestampMs(ageMs = 0): number {
    const interval = this.options.intervalMs ?? 1;
    const slot = Math.floor((this.options.nowMs() - ageMs) / interval) * interval;
    return Math.max(Math.round(slot), this.#head.timestampMs + Math.max(1, Math.round(interval)));
  }

  #context(head: Block, number: number, timestampMs: number): BlockContext {
    return {
      number,
      timestampMs,
      witness: this.#witness.addressHex,
      chainId: chainIdOf(this.genesis),
      headTimeMs: head.timestampMs,
    };
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

/** A transaction on which the machine itself fails is refused: it must not stop the chain. */
async function executeOrRefuse(...args: Parameters<typeof executeTransaction>): Promise<Receipt> {
  try {
    return await executeTransaction(...args);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal('OTHER_ERROR', `Error: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function checkSize(transaction: Transaction): void {
  const bytes = transaction.sizeBytes + 2 * RESULT_BYTES;
  if (bytes > TRANSACTION_BYTES_MAX) {
    throw new Refusal(
      'TOO_BIG_TRANSACTION_ERROR',
      `Too big transaction with result, TxId ${transaction.txId}, the size is ${bytes} bytes, ` +
        `maxTxSize ${TRANSACTION_BYTES_MAX}`,
    );
  }
}

function expired(): Refusal {
  return new Refusal('TRANSACTION_EXPIRATION_ERROR', 'Transaction expired');
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof Refusal)) throw error;
}
