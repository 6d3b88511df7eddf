import type {
  CollectionName,
  Document,
  DocumentFilter,
  DocumentStore,
  DocumentUpdate,
  FindOptions,
} from '../../shared/adapters/mongo/document-store.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import { type Actor, atOnce } from '../support/actor.ts';
import { MemoryStore } from '../support/memory-store.ts';

/** A write that the primary has made, whose writer waits for the majority. */
interface Unacknowledged {
  /** Its place among the writes that no majority holds yet, from 1. */
  position: number;
  outcome: 'waiting' | 'replicated' | 'rolled_back';
}

/** A primary that was cut off: it still answers those who are connected to it, from what was true then. */
interface FormerPrimary {
  readonly committed: MemoryStore;
  readonly local: MemoryStore;
  readonly clockOffsetMs: number;
}

/** What is told of each call, for those who read along; null where nobody does. */
export type Tell = ((line: string) => void) | null;

/**
 * A database of several servers. What a majority holds is never lost; what only the primary holds is seen by
 * nobody who reads at majority, and a fail-over rolls it back: its writer never got an acknowledgement.
 */
export class ReplicaSet {
  readonly #nowMs: () => number;
  /** What a majority of the servers holds. */
  committed: MemoryStore;
  /** What the primary holds: the same store while all servers are in step. */
  #primary: MemoryStore;
  /** The primary as it stood after each write that no majority holds yet. */
  #ahead: MemoryStore[] = [];
  #unacknowledged: Unacknowledged[] = [];
  former: FormerPrimary | null = null;
  /** While true, writes reach the primary only. */
  lags = false;
  /** How far the primary's clock is off. */
  clockOffsetMs = 0;
  /** The latest time that any server has told: what has expired by it has expired, whatever others tell later. */
  latestToldMs = 0;
  /** Writes that are under way although their writers have given them up. */
  readonly late: (() => unknown)[] = [];
  /** How many calls were made. */
  calls = 0;
  readonly #onCommit: () => void;

  /**
   * @param onCommit called after each change that a majority holds. An argument: a function that is assigned to a
   *   property is kept, with all that it can see, until the next full collection of garbage
   */
  constructor(nowMs: () => number, onCommit: () => void) {
    this.#nowMs = nowMs;
    this.#onCommit = onCommit;
    this.committed = new MemoryStore(() => this.serverTimeMs());
    this.#primary = this.committed;
  }

  get primary(): MemoryStore {
    return this.#primary;
  }

  /** How many writes only the primary holds. */
  get unreplicated(): number {
    return this.#ahead.length;
  }

  serverTimeMs(): number {
    return this.#nowMs() + this.clockOffsetMs;
  }

  formerTimeMs(): number {
    return this.#nowMs() + (this.former?.clockOffsetMs ?? 0);
  }

  /** Makes a change. Where no majority holds it yet, its writer waits for what becomes of it. */
  write<T>(change: (store: MemoryStore) => T): {
    readonly result: T;
    readonly pending: Unacknowledged | null;
  } {
    if (!this.lags && this.#ahead.length === 0) {
      const result = change(this.committed);
      this.#onCommit();
      return { result, pending: null };
    }
    if (this.#primary === this.committed) this.#primary = this.committed.copy();
    const result = change(this.#primary);
    this.#ahead.push(this.#primary.copy());
    // A write whose condition failed waits as well: what it saw may be rolled back.
    const pending: Unacknowledged = { position: this.#ahead.length, outcome: 'waiting' };
    this.#unacknowledged.push(pending);
    return { result, pending };
  }

  /** The majority takes over the oldest writes that only the primary holds. */
  replicate(count = this.#ahead.length): void {
    const reached = this.#ahead[count - 1];
    if (reached === undefined) return;
    const left = this.#ahead.slice(count);
    this.committed = left.length === 0 ? this.#primary : reached;
    this.#ahead = left;
    for (const write of this.#unacknowledged) {
      if (write.position <= count) write.outcome = 'replicated';
      write.position -= count;
    }
    this.#unacknowledged = this.#unacknowledged.filter(({ position }) => position > 0);
    this.#onCommit();
  }

  /**
   * Another server becomes primary; what no majority holds is rolled back.
   * @param keepsFormer the old primary does not know it yet, and goes on answering
   */
  failOver(keepsFormer: boolean, clockOffsetMs: number): void {
    this.former = keepsFormer
      ? { committed: this.committed.copy(), local: this.#primary.copy(), clockOffsetMs: this.clockOffsetMs }
      : null;
    this.#primary = this.committed;
    this.#ahead = [];
    for (const write of this.#unacknowledged) write.outcome = 'rolled_back';
    this.#unacknowledged = [];
    this.lags = false;
    this.clockOffsetMs = clockOffsetMs;
  }

  /** All servers are there and in step again. */
  heal(): void {
    this.lags = false;
    this.replicate();
    this.former = null;
    this.clockOffsetMs = 0;
  }
}

/** How the next write of a process fares: without an acknowledgement in each case but the first. */
export type WriteFate = 'acknowledged' | 'made' | 'made_late' | 'never_made';

/** What lies between a place where processes run and the database; it outlives them. */
export class Link {
  /** Nothing gets through. */
  isCut = false;
  /** Still leads to the server that was primary before. */
  isStale = false;
  nextWrite: WriteFate = 'acknowledged';
}

/** One process's connection to the database. Every call waits for its turn; a dead process makes no more of them. */
export class Connection implements DocumentStore {
  readonly #set: ReplicaSet;
  readonly #link: Link;
  readonly #actor: Actor | null;
  readonly #readConcern: 'majority' | 'local';
  readonly #tell: Tell;

  /** @param actor null for one whom nobody has to wait for */
  constructor(
    set: ReplicaSet,
    link: Link,
    actor: Actor | null,
    readConcern: 'majority' | 'local',
    tell: Tell,
  ) {
    this.#set = set;
    this.#link = link;
    this.#actor = actor;
    this.#readConcern = readConcern;
    this.#tell = tell;
  }

  serverTimeMs(): Promise<number> {
    return this.#call('serverTimeMs', () => {
      if (this.#link.isCut) throw away();
      const nowMs = this.#former() === null ? this.#set.serverTimeMs() : this.#set.formerTimeMs();
      this.#set.latestToldMs = Math.max(this.#set.latestToldMs, nowMs);
      return nowMs;
    });
  }

  findOne<T extends Document>(name: CollectionName, filter: DocumentFilter) {
    return this.#call('findOne', () => this.#storeToRead('findOne', name, filter).readOne<T>(name, filter));
  }

  find<T extends Document>(name: CollectionName, filter: DocumentFilter, options?: FindOptions) {
    return this.#call('find', () => this.#storeToRead('find', name, filter).read<T>(name, filter, options));
  }

  sum(name: CollectionName, filter: DocumentFilter, by: string, fields: readonly string[]) {
    return this.#call('sum', () => this.#storeToRead('sum', name, filter).addUp(name, filter, by, fields));
  }

  updateOne(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate) {
    return this.#write('updateOne', name, [filter, update], (store) => store.changeOne(name, filter, update));
  }

  updateMany(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate) {
    return this.#write('updateMany', name, [filter, update], (store) =>
      store.changeMany(name, filter, update),
    );
  }

  insertOne(name: CollectionName, document: Document) {
    return this.#write('insertOne', name, [document], (store) => store.insert(name, document));
  }

  /** @throws ServiceError `store_unavailable` where nothing gets through */
  #storeToRead(call: string, name: CollectionName, filter: DocumentFilter): MemoryStore {
    if (this.#link.isCut) {
      this.#tell?.(`${call} ${name}: the store is out of reach`);
      throw away();
    }
    const former = this.#former();
    this.#tell?.(`${call} ${name} ${show(filter)}${former === null ? '' : ' at the former primary'}`);
    if (this.#readConcern === 'local') return former === null ? this.#set.primary : former.local;
    return former === null ? this.#set.committed : former.committed;
  }

  #write<T>(
    call: string,
    name: CollectionName,
    what: readonly object[],
    change: (store: MemoryStore) => T,
  ): Promise<T> {
    return this.#call<T>(call, () => {
      const link = this.#link;
      const tell = this.#tell;
      const told = (outcome: unknown) => tell?.(`${call} ${name} ${what.map(show)}: ${outcome}`);
      if (link.isCut) {
        told('the store is out of reach');
        throw away();
      }
      const fate = link.nextWrite;
      link.nextWrite = 'acknowledged';
      const former = this.#former();
      if (former !== null) {
        // No majority will ever hold it; and whoever waits for one in vain looks for the new primary.
        change(former.local);
        link.isStale = false;
        told('made by the former primary alone');
        throw unknown();
      }
      if (fate !== 'acknowledged') {
        told(`not acknowledged, ${fate}`);
        // Who makes it has given it up: whether a majority takes it over is nothing to anybody.
        if (fate === 'made') this.#set.write(change);
        if (fate === 'made_late') this.#set.late.push(() => this.#set.write(change));
        throw unknown();
      }
      const { result, pending } = this.#set.write(change);
      if (pending === null) {
        told(result ?? 'done');
        return result;
      }
      told('waits for the majority');
      const acknowledge = () => {
        if (pending.outcome === 'rolled_back') throw unknown();
        told(result ?? 'done');
        return result;
      };
      return this.#call('acknowledgement', acknowledge, () => pending.outcome !== 'waiting');
    });
  }

  #former(): FormerPrimary | null {
    if (this.#set.former === null) this.#link.isStale = false;
    return this.#link.isStale ? this.#set.former : null;
  }

  #call<T>(name: string, make: () => T | Promise<T>, isReady?: () => boolean): Promise<T> {
    this.#set.calls += 1;
    return this.#actor === null ? atOnce(make) : this.#actor.call(name, make, isReady);
  }
}

export function show(value: unknown): string {
  return JSON.stringify(value, (_, field: unknown) => {
    if (typeof field === 'bigint') return Number(field);
    if (field instanceof Uint8Array || (field as { type?: string } | null)?.type === 'Buffer') return '…';
    return field;
  });
}

function away(): ServiceError {
  return new ServiceError('store_unavailable', 'The database is out of reach.');
}

function unknown(): ServiceError {
  return new ServiceError('outcome_unknown', 'The database did not acknowledge a change.');
}
