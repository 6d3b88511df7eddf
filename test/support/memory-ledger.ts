import { documentLedger } from '../../shared/adapters/mongo/ledger.ts';
import type { Breaker } from '../../shared/domain/breaker.ts';
import type { Payment } from '../../shared/domain/payment.ts';
import type { Ledger } from '../../shared/ports/ledger.ts';
import { MemoryStore } from './memory-store.ts';

/** The real ledger on a store in memory, with a look inside for tests. */
export interface MemoryLedger extends Ledger {
  readonly store: MemoryStore;
  breaker: Breaker;
  /** Every payment as it stands now, by id. */
  readonly payments: ReadonlyMap<string, Payment>;
  /** Every change that took effect but for audits, by the method's name: what a request costs in writes. */
  readonly writes: readonly string[];
}

export function memoryLedger(nowMs: () => number): MemoryLedger {
  const store = new MemoryStore(nowMs);
  const ledger = documentLedger(store);
  const writes: string[] = [];
  const inside = {
    store,
    writes,
    get breaker() {
      return store.breaker;
    },
    set breaker(breaker: Breaker) {
      store.breaker = breaker;
    },
    get payments() {
      return new Map(store.payments().map((payment) => [payment.id, payment]));
    },
  };
  const noted = Object.fromEntries(
    Object.entries(ledger).map(([name, method]: [string, (...args: unknown[]) => Promise<unknown>]) => [
      name,
      async (...args: unknown[]) => {
        const before = store.writes;
        const result = await method(...args);
        const isOfPayments = !/^find|^read|Audit$/.test(name);
        if (isOfPayments && store.writes > before) writes.push(name);
        return result;
      },
    ]),
  ) as unknown as Ledger;
  return Object.defineProperties(inside, Object.getOwnPropertyDescriptors(noted)) as unknown as MemoryLedger;
}
