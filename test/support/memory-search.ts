import type { PaymentSearch } from '../../shared/ports/payment-search.ts';
import type { MemoryStore } from './memory-store.ts';

/** The search for payments, over a store in memory. */
export function memorySearch(store: MemoryStore): PaymentSearch {
  return {
    async *find({ fromMs = 0, toMs = Number.POSITIVE_INFINITY, ...equal }, after, countMax) {
      const isBehind = ({ createdAtMs, id }: { createdAtMs: number; id: string }) =>
        after === null ||
        createdAtMs < after.createdAtMs ||
        (createdAtMs === after.createdAtMs && id < after.id);
      yield* store
        .payments()
        .filter((payment) => payment.createdAtMs >= fromMs && payment.createdAtMs < toMs && isBehind(payment))
        .filter((payment) =>
          Object.entries(equal).every(([field, value]) => payment[field as keyof typeof equal] === value),
        )
        .sort((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1))
        .slice(0, countMax);
    },
  };
}
