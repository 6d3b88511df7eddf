import { type Caller, type FunctionPool, type Lease, PoolRefusal, type PoolRefusalReason } from './pool.ts';
import { isMisdirected, type RieAnswer } from './response.ts';
import { InvokeError } from './rie-client.ts';

/** What became of an invoke. `lost` and `timed_out`: it may have run, or may be running still. */
export type InvokeOutcome =
  | { readonly kind: 'answered'; readonly answer: RieAnswer }
  | { readonly kind: 'refused'; readonly reason: PoolRefusalReason }
  | { readonly kind: 'lost' | 'timed_out'; readonly reason: string };

/**
 * Invokes a function once on a free instance. Another instance is tried only when the first could not be reached
 * at all, or was one of another function, so the function never runs twice for one request. The invoke goes on when
 * the caller leaves; only the waiting before it ends then.
 */
export async function invokeFunction(
  pool: FunctionPool,
  event: string,
  traceId: string,
  caller?: Caller,
): Promise<InvokeOutcome> {
  for (;;) {
    let lease: Lease;
    try {
      const granted = pool.lease(caller);
      lease = granted instanceof Promise ? await granted : granted;
    } catch (error) {
      if (error instanceof PoolRefusal) return { kind: 'refused', reason: error.reason };
      throw error;
    }
    try {
      const answer = await lease.client.invoke(event, traceId);
      if (isMisdirected(answer)) {
        // It is not leased again, so this ends when none is left.
        lease.release('foreign');
        continue;
      }
      lease.release('free');
      return { kind: 'answered', answer };
    } catch (error) {
      const unreached = error instanceof InvokeError && !error.sent;
      lease.release(unreached ? 'unreached' : 'unknown');
      // The unreached instance counts as dead now, so this ends when none is left.
      if (unreached) continue;
      const timedOut = error instanceof InvokeError && error.timedOut;
      return { kind: timedOut ? 'timed_out' : 'lost', reason: String(error) };
    }
  }
}
