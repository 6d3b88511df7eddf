import type { CollectionName, Document } from '../../shared/adapters/mongo/document-store.ts';
import { BREAKER_ID, breakerDocument } from '../../shared/adapters/mongo/documents.ts';
import { NEW_BREAKER } from '../../shared/domain/breaker.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { type Chain, timeOf } from './chain.ts';
import { isBreaker, type Shelf, type Stored } from './shelf.ts';

/** All that outlives the processes: the stored documents, the chain, and the time. */
export interface World {
  readonly tick: number;
  /** Numbers on the shelf: the breaker's first, then the payments' and batches' by their ids. */
  readonly documents: readonly number[];
  readonly chain: Chain;
}

/** The store in memory, set to any world's documents, one after the other. */
export class Desk {
  readonly shelf: Shelf;
  readonly store: MemoryStore;
  #tick = 0;

  constructor(shelf: Shelf) {
    this.shelf = shelf;
    this.store = new MemoryStore(() => timeOf(this.#tick));
  }

  /** A world in which nothing has happened yet. */
  emptyWorld(): World {
    const breaker = this.shelf.numberOf(breakerDocument(NEW_BREAKER));
    return { tick: 0, documents: [breaker], chain: [] };
  }

  lay({ tick, documents }: World): MemoryStore {
    const { breaker, payments } = this.store.collections;
    this.#tick = tick;
    payments.clear();
    for (const number of documents) {
      const document = this.shelf.at(number);
      (isBreaker(document) ? breaker : payments).set(document._id, fieldsOf(document));
    }
    return this.store;
  }

  /** The numbers of the documents as they lie there now. */
  take(): number[] {
    const { breaker, payments } = this.store.collections;
    const held = [...payments.values()].sort((a, b) => (String(a._id) < String(b._id) ? -1 : 1));
    return [breaker.get(BREAKER_ID), ...held].map((document) => this.shelf.numberOf(document ?? {}));
  }
}

export function documentsOf(shelf: Shelf, world: World): Stored[] {
  return world.documents.map((number) => shelf.at(number));
}

export type { CollectionName, Document };

function fieldsOf(document: Stored): Readonly<Record<string, unknown>> {
  return document as unknown as Readonly<Record<string, unknown>>;
}
