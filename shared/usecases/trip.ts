import { tripCircuit } from '../domain/circuit.ts';
import type { Engine } from './engine.ts';

/** More lost races for the circuit than this in a row mean that something else is wrong. */
const RACES_MAX = 20;

/**
 * Stops all new payments until a person resets the breaker; what is out is followed to its end.
 * @returns false where rivals for the circuit never let it through: say it again
 */
export async function trip({ ledger }: Pick<Engine, 'ledger'>, reason: string): Promise<boolean> {
  for (let race = 0; race < RACES_MAX; race += 1) {
    const { circuit } = await ledger.readCircuit();
    const tripped = tripCircuit(circuit, reason, await ledger.serverTimeMs());
    if (tripped === circuit || (await ledger.replaceCircuit(circuit, tripped))) return true;
  }
  return false;
}
