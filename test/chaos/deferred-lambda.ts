/**
 * Stands in for `shared/runtime/lambda.ts` in the bundles that chaos runs: the same cold start, made when it is asked
 * for instead of when the bundle is loaded, so that a process can be forked off in between.
 */

import type { Need } from '../../shared/runtime/config.ts';
import {
  type FunctionDefinition,
  type Handler,
  startFunction as start,
} from '../../shared/runtime/lambda.ts';

export interface DeferredHandler {
  /** Loads what the handler would load at its first use. */
  loadAll(): Promise<void>;
  coldStart(): Promise<Handler>;
}

export async function startFunction<const N extends Need>(
  definition: FunctionDefinition<N>,
): Promise<DeferredHandler> {
  return {
    async loadAll() {
      await import('tronweb');
    },
    coldStart: () => start(definition),
  };
}
