import { BREAKER_ID, type BreakerDocument, restoredBreaker } from '../../shared/adapters/mongo/documents.ts';
import type { MemoryStore } from './memory-store.ts';

/** What a backup of a store in memory holds. */
export interface MemoryBackup {
  readonly store: MemoryStore;
  readonly takenAtMs: number;
}

export function backUp(store: MemoryStore): MemoryBackup {
  return { store: store.copy(), takenAtMs: store.nowMs() };
}

/** Puts a backup back in the place of all that is there, as the restore command does. */
export function putBack(store: MemoryStore, backup: MemoryBackup, isLoaded = true): void {
  for (const name of ['payments', 'breaker'] as const) {
    const [now, then] = [store.collections[name], backup.store.collections[name]];
    now.clear();
    for (const [id, document] of then) now.set(id, document);
  }
  const breaker = store.collections.breaker.get(BREAKER_ID) as unknown as BreakerDocument;
  const restored = restoredBreaker(breaker, {
    restoreId: `restore-${store.nowMs()}`,
    backupAtMs: backup.takenAtMs,
    restoredAtMs: store.nowMs(),
    isLoaded,
  });
  store.collections.breaker.set(BREAKER_ID, restored as unknown as Readonly<Record<string, unknown>>);
}
