import type { Breaker, BreakerAction } from '../domain/breaker.ts';
import { resetCircuit } from '../domain/circuit.ts';
import { ServiceError } from '../domain/errors.ts';
import type { Engine } from './engine.ts';
import { refuseOutdated } from './order-age.ts';
import { trip } from './trip.ts';

/** More lost races for the circuit than this in a row mean that something else is wrong. */
const RACES_MAX = 20;

export interface BreakerOrder {
  readonly by: string;
  readonly reason: string;
  /** By the clock of who gave it; left out where no order can come twice. */
  readonly orderedAtMs?: number;
}

/**
 * Does what an operator orders. What stands already is answered as done.
 * @throws ServiceError `order_outdated` where it would lift a pause or a trip that is younger than the order;
 *   `too_busy` where rivals for the circuit never let the change through
 */
export async function operateBreaker(
  { ledger }: Pick<Engine, 'ledger'>,
  action: BreakerAction,
  { by, reason, orderedAtMs }: BreakerOrder,
): Promise<Breaker> {
  switch (action) {
    case 'trip':
      if (!(await trip({ ledger }, `tripped by ${by}: ${reason}`))) throw busy();
      break;
    case 'reset':
      await reset({ ledger }, orderedAtMs);
      break;
    case 'pause':
      await ledger.readBreaker();
      await ledger.setPause({ by, reason, atMs: await ledger.serverTimeMs() });
      break;
    case 'resume':
      await resume({ ledger }, orderedAtMs);
      break;
  }
  await ledger.recordOrder({ action, by, reason, atMs: await ledger.serverTimeMs() });
  return ledger.readBreaker();
}

async function resume({ ledger }: Pick<Engine, 'ledger'>, orderedAtMs: number | undefined): Promise<void> {
  const { pause } = await ledger.readBreaker();
  // A pause that comes from here on is not the one that is to be lifted.
  if (pause === null) return;
  refuseOutdated(orderedAtMs, pause.atMs);
  await ledger.setPause(null);
}

async function reset({ ledger }: Pick<Engine, 'ledger'>, orderedAtMs: number | undefined): Promise<void> {
  for (let race = 0; race < RACES_MAX; race += 1) {
    const { circuit } = await ledger.readBreaker();
    if (circuit.kind === 'closed' && circuit.failures === 0) return;
    if (circuit.kind === 'open') refuseOutdated(orderedAtMs, circuit.openedAtMs);
    if (await ledger.replaceCircuit(circuit, resetCircuit(circuit))) return;
  }
  throw busy();
}

function busy(): ServiceError {
  return new ServiceError('too_busy', 'The breaker is changing too fast; try again.', {
    retryAfterSeconds: 1,
  });
}
