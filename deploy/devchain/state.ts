/**
 * The chain's state is one map of immutable values. Three things are needed of it: a transaction that fails must
 * leave nothing behind (overlays), unsolid blocks may be taken back (undo per block), and `walletsolidity/` must
 * see the state as it was some blocks ago (a view through the undo records).
 */
export type StateValue = object | string | bigint;
export type StateChanges = ReadonlyMap<string, StateValue | undefined>;

export interface StateReader {
  get(key: string): StateValue | undefined;
}

/** Writes on top of another state, with nested checkpoints; nothing below changes until someone applies them. */
export class StateOverlay implements StateReader {
  readonly #base: StateReader;
  readonly #values = new Map<string, StateValue | undefined>();
  readonly #journal: {
    readonly key: string;
    readonly had: boolean;
    readonly value: StateValue | undefined;
  }[] = [];
  readonly #checkpoints: number[] = [];

  constructor(base: StateReader) {
    this.#base = base;
  }

  get(key: string): StateValue | undefined {
    return this.#values.has(key) ? this.#values.get(key) : this.#base.get(key);
  }

  /** Sets a value; undefined removes it. Values must not be changed afterwards. */
  set(key: string, value: StateValue | undefined): void {
    this.#journal.push({ key, had: this.#values.has(key), value: this.#values.get(key) });
    this.#values.set(key, value);
  }

  checkpoint(): void {
    this.#checkpoints.push(this.#journal.length);
  }

  commit(): void {
    this.#checkpoints.pop();
  }

  revert(): void {
    const length = this.#checkpoints.pop() ?? 0;
    while (this.#journal.length > length) {
      const entry = this.#journal.pop();
      if (entry === undefined) break;
      if (entry.had) this.#values.set(entry.key, entry.value);
      else this.#values.delete(entry.key);
    }
  }

  changes(): StateChanges {
    return this.#values;
  }

  /** Takes over the changes of an overlay on top of this one. */
  merge(changes: StateChanges): void {
    for (const [key, value] of changes) this.set(key, value);
  }
}

/** The state at the head of the chain, with the records to go back block by block. */
export class ChainState implements StateReader {
  readonly #values = new Map<string, StateValue>();
  /** What each of the latest blocks overwrote, oldest first. */
  readonly #undo: Map<string, StateValue | undefined>[] = [];

  get(key: string): StateValue | undefined {
    return this.#values.get(key);
  }

  /** Applies one block. */
  apply(changes: StateChanges): void {
    const undo = new Map<string, StateValue | undefined>();
    for (const [key, value] of changes) {
      undo.set(key, this.#values.get(key));
      this.#put(key, value);
    }
    this.#undo.push(undo);
  }

  /** Takes back the latest block. @throws Error when its record is gone: a solid block cannot be taken back. */
  revertBlock(): void {
    const undo = this.#undo.pop();
    if (undo === undefined) throw new Error('no block left that could be taken back');
    for (const [key, value] of undo) this.#put(key, value);
  }

  /** Forgets how to go back more than this many blocks. */
  keepUndo(blocks: number): void {
    if (this.#undo.length > blocks) this.#undo.splice(0, this.#undo.length - blocks);
  }

  /** The state as it was this many blocks ago; it must be read at once, before another block is applied. */
  before(blocks: number): StateReader {
    if (blocks === 0) return this;
    if (blocks > this.#undo.length) throw new Error(`the state of ${blocks} blocks ago is gone`);
    const records = this.#undo.slice(this.#undo.length - blocks);
    return {
      get: (key) => {
        // The oldest block that touched the key knows the value from before all of them.
        const record = records.find((undo) => undo.has(key));
        return record === undefined ? this.#values.get(key) : record.get(key);
      },
    };
  }

  *entries(prefix: string): Generator<readonly [key: string, value: StateValue]> {
    for (const entry of this.#values) if (entry[0].startsWith(prefix)) yield entry;
  }

  #put(key: string, value: StateValue | undefined): void {
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
  }
}
