/**
 * One instance for `npm run bench -- breaker`: a process with connections of its own that admits payments, one at a
 * time, when its parent says so. Its environment is that of `pay`.
 */
import type { Db } from 'mongodb';
import { composePayments, openConnections } from '../../shared/composition/compose-engine.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import type { Payment } from '../../shared/domain/payment.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { closeAccounts } from '../../shared/usecases/reserve-and-close.ts';
import {
  type Contender,
  type ContenderName,
  contender,
  insertConfirmed,
  insertPayments,
  type RollingLimit,
} from './admissions.ts';
import { ENGINE_NEEDS } from './engine-environment.ts';

/** What the parent asks for: to make ready, then to go; each is answered once. */
export type Order =
  | { readonly kind: 'prepare'; readonly work: Work; readonly payments: number }
  | { readonly kind: 'go'; readonly durationMs: number };

export type Work =
  | {
      readonly kind: 'admit';
      readonly contender: ContenderName;
      readonly limit?: RollingLimit;
      /** Ends each payment at once, where payments have ends. */
      readonly confirms?: boolean;
    }
  /** Commits confirmed payments, as a run of `settle` does. */
  | { readonly kind: 'settle' };

/** What came of it. */
export interface Outcome {
  readonly durationsMs: readonly number[];
  /** When each was admitted, milliseconds since 1970. */
  readonly admittedAtMs: readonly number[];
  readonly refused: number;
  readonly elapsedMs: number;
}

/** As many as the engine announces together. */
const CLOSED_TOGETHER = 32;
/** Who is refused asks again a little later. */
const REFUSED_WAIT_MS = 20;

const config = readConfig(process.env, { needs: ENGINE_NEEDS });
const connections = openConnections(config);
const { db } = connections;
const engine = withoutChain(composePayments(config, undefined, connections).engine);
const contenders = new Map<string, Contender>();
let work: Work = { kind: 'settle' };
let payments: Payment[] = [];

process.on('message', (order: Order) => {
  void (order.kind === 'prepare' ? prepare(order) : go(order.durationMs)).then((answer) =>
    process.send?.(answer),
  );
});
process.on('disconnect', () => process.exit());
await db.command({ ping: 1 });
process.send?.('up');

async function prepare(order: Extract<Order, { kind: 'prepare' }>): Promise<'ready'> {
  ({ work } = order);
  const insert = work.kind === 'settle' ? insertConfirmed : insertPayments;
  payments = await insert(db, engine, order.payments);
  return 'ready';
}

async function go(durationMs: number): Promise<Outcome> {
  const outcome = { durationsMs: [] as number[], admittedAtMs: [] as number[], refused: 0 };
  const startedMs = performance.now();
  const settles = work.kind === 'settle';
  const admits = work.kind === 'admit' ? contenderOf(work, db) : undefined;
  while (payments.length > 0 && performance.now() - startedMs < durationMs) {
    const beginMs = performance.now();
    if (settles) {
      const some = payments.splice(0, CLOSED_TOGETHER);
      await closeAccounts(engine, ...some.map(({ id }) => id));
      outcome.durationsMs.push(...some.map(() => (performance.now() - beginMs) / some.length));
      continue;
    }
    const payment = payments.pop();
    if (payment === undefined || admits === undefined) break;
    if (!(await admits.admit(payment))) {
      outcome.refused += 1;
      payments.push(payment);
      await new Promise((resolve) => setTimeout(resolve, REFUSED_WAIT_MS));
      continue;
    }
    outcome.durationsMs.push(performance.now() - beginMs);
    outcome.admittedAtMs.push(Date.now());
    if (work.kind === 'admit' && work.confirms === true) await admits.confirm?.(payment);
  }
  return { ...outcome, elapsedMs: performance.now() - startedMs };
}

function contenderOf({ contender: name, limit }: Extract<Work, { kind: 'admit' }>, database: Db): Contender {
  const key = `${name} ${JSON.stringify(limit)}`;
  const made = contenders.get(key) ?? contender(name, engine, database, limit);
  contenders.set(key, made);
  return made;
}

/** Nothing here asks a chain; the parent moves the solid head along. */
function withoutChain(composed: Engine): Engine {
  const readSolidHead = async (): Promise<never> => {
    throw new ServiceError('chain_unavailable', 'there is no chain here');
  };
  return { ...composed, network: { ...composed.network, readSolidHead } };
}
