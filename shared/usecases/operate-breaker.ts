import { acceptFindings } from '../domain/audit.ts';
import type { Breaker, BreakerAction } from '../domain/breaker.ts';
import { isTripped, resetCircuit } from '../domain/circuit.ts';
import { ServiceError } from '../domain/errors.ts';
import { obstacleToResume } from '../domain/restore.ts';
import { notReconciled } from './doubt.ts';
import type { Engine } from './engine.ts';
import { outdated, refuseOutdated } from './order-age.ts';
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
 *   `not_reconciled` where a restored system does not know yet what was paid since the backup;
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
  const { pause, restore, circuit } = await ledger.readBreaker();
  if (pause === null) return;
  refuseOutdated(orderedAtMs, pause.atMs);
  const obstacle = obstacleToResume(restore);
  if (obstacle !== null) {
    const tripped = circuit.kind === 'open' && isTripped(circuit) ? circuit.reason : null;
    throw notReconciled(
      tripped === null
        ? obstacle
        : `${obstacle}; the breaker, which has tripped (${tripped}), must be reset first`,
    );
  }
  if (await ledger.liftPause(pause)) return;
  // Lifted already; and a pause that has come since is not the one that was to be lifted.
  if ((await ledger.readBreaker()).pause !== null) throw outdated();
}

async function reset({ ledger }: Pick<Engine, 'ledger'>, orderedAtMs: number | undefined): Promise<void> {
  for (let race = 0; race < RACES_MAX; race += 1) {
    const { circuit } = await ledger.readBreaker();
    if (circuit.kind === 'closed' && circuit.failures === 0) return;
    if (circuit.kind === 'open') refuseOutdated(orderedAtMs, circuit.openedAtMs);
    if (isTripped(circuit)) await acceptAudit({ ledger });
    if (await ledger.replaceCircuit(circuit, resetCircuit(circuit))) return;
  }
  throw busy();
}

/** Who resets a tripped breaker has looked: what the audit has found is how things are from here on. */
async function acceptAudit({ ledger }: Pick<Engine, 'ledger'>): Promise<void> {
  // Taken from whoever is at it: what they are about to find is of before the reset.
  const owner = 'an operator';
  const nowMs = await ledger.serverTimeMs();
  const record = await ledger.claimAudit(owner, Number.MAX_SAFE_INTEGER, nowMs);
  if (record !== null) await ledger.storeAudit(owner, acceptFindings(record));
}

function busy(): ServiceError {
  return new ServiceError('too_busy', 'The breaker is changing too fast; try again.', {
    retryAfterSeconds: 1,
  });
}
