import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { FunctionName } from './config.ts';
import type { DrainState, FunctionPool } from './pool.ts';

/**
 * How instances are taken out before they are removed. Whoever removes them writes `draining.json` into the sidecar's
 * state folder; the sidecar leases none of these addresses any more and writes into `drained.json` how far each is.
 * A file, because the folder is the host's alone: nothing that can reach the sidecar over a network can take its
 * instances away.
 */
export const DRAINING_FILE = 'draining.json';
export const DRAINED_FILE = 'drained.json';

/** What is asked for. The id comes back in the answer, so that an old one is not taken for it. */
export interface DrainOrder {
  readonly id: string;
  /** `ip:port`, as the sidecar invokes them. */
  readonly addresses: readonly string[];
  /**
   * Unix time in milliseconds, from which on the order holds no more: whoever gave it may have died, and the addresses
   * would be left out for ever, whatever came to be there.
   */
  readonly endsAtMs: number;
}

export interface DrainReport {
  readonly id: string;
  readonly states: Readonly<Record<string, DrainState>>;
}

const POLL_MS = 200;

/** Follows the orders until the answered function is called. */
export function followDraining(
  stateDir: string,
  { pools, logger }: { readonly pools: ReadonlyMap<FunctionName, FunctionPool>; readonly logger: Logger },
): () => void {
  const orderFile = join(stateDir, DRAINING_FILE);
  const reportFile = join(stateDir, DRAINED_FILE);
  let orderText: string | undefined;
  let order: DrainOrder | undefined;
  let reportText: string | undefined;

  const takeOrder = (): void => {
    const text = readIfThere(orderFile);
    if (text !== orderText) {
      orderText = text;
      follow(text === undefined ? undefined : parseOrder(text));
      if (text !== undefined && order === undefined) {
        logger.error({ file: orderFile }, 'the order to drain cannot be read: nothing is drained');
      } else {
        logger.info({ addresses: order?.addresses ?? [] }, 'instances that are not leased');
      }
    }
    if (order !== undefined && order.endsAtMs <= Date.now()) {
      logger.warn(
        { addresses: order.addresses },
        'the order to drain has ended, its instances are leased again',
      );
      follow(undefined);
    }
  };
  const follow = (next: DrainOrder | undefined): void => {
    order = next;
    const leaving = new Set(next?.addresses);
    for (const pool of pools.values()) pool.setLeaving(leaving);
  };
  const report = (): void => {
    if (order === undefined) {
      if (reportText !== undefined) rmSync(reportFile, { force: true });
      reportText = undefined;
      return;
    }
    const states = order.addresses.map((address) => [address, stateOf(address, pools)] as const);
    const text = JSON.stringify({ id: order.id, states: Object.fromEntries(states) } satisfies DrainReport);
    if (text === reportText) return;
    writeFileSync(`${reportFile}.new`, text);
    renameSync(`${reportFile}.new`, reportFile);
    reportText = text;
  };

  const timer = setInterval(() => {
    try {
      takeOrder();
      report();
    } catch (error) {
      logger.error({ reason: String(error) }, 'draining cannot be followed');
    }
  }, POLL_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** An address belongs to one pool at most. */
function stateOf(address: string, pools: ReadonlyMap<FunctionName, FunctionPool>): DrainState {
  const states = [...pools.values()].map((pool) => pool.drainState(address));
  return states.find((state) => state !== 'gone') ?? 'gone';
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function parseOrder(text: string): DrainOrder | undefined {
  try {
    const { id, addresses, endsAtMs } = JSON.parse(text) as Partial<DrainOrder>;
    if (typeof id !== 'string' || typeof endsAtMs !== 'number' || !Array.isArray(addresses)) return undefined;
    return addresses.every((address) => typeof address === 'string')
      ? { id, addresses, endsAtMs }
      : undefined;
  } catch {
    return undefined;
  }
}
