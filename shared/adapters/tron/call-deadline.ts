import { AsyncLocalStorage } from 'node:async_hooks';
import type { PaymentNetwork } from '../../ports/payment-network.ts';

/** When the call under way is over, by this machine's clock; everything that is dialled for it asks. */
const deadlines = new AsyncLocalStorage<number>();

/**
 * Bounds each call of the network as a whole, however many nodes and rounds it takes: nothing is dialled for it
 * later than that. A circuit permit outlives a call only because of this.
 */
export function withCallDeadline(network: PaymentNetwork, callMs: number): PaymentNetwork {
  const bounded =
    <A extends unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R =>
      deadlines.run(Date.now() + callMs, () => call(...args));
  return {
    readSolidHead: bounded(network.readSolidHead),
    prepareTransfer: bounded(network.prepareTransfer),
    broadcast: bounded(network.broadcast),
    takeTestimony: bounded(network.takeTestimony),
    walkSolidBlocks: bounded(network.walkSolidBlocks),
    readHistory: bounded(network.readHistory),
    readHoldings: bounded(network.readHoldings),
  };
}

/** What is left of the call under way; without end outside of one. */
export function leftOfCallMs(): number {
  return (deadlines.getStore() ?? Number.POSITIVE_INFINITY) - Date.now();
}

/** Leaves the first of several that are asked in turn its part of what is left, so that all get to be asked. */
export function withPartOfCall<T>(parts: number, ask: () => T): T {
  return deadlines.run(Date.now() + leftOfCallMs() / parts, ask);
}
