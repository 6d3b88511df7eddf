import { documentLedger } from '../../shared/adapters/mongo/ledger.ts';
import { systemClock } from '../../shared/adapters/system/system-clock.ts';
import { tronNetwork } from '../../shared/adapters/tron/tron-network.ts';
import { placesOf } from './aims.ts';

/** Every call that an engine makes of the world: a process can die just before it and just after it. */
const PORT_CALLS: readonly string[] = [
  ...Object.keys(documentLedger({} as never)),
  ...Object.keys(tronNetwork({ nodes: [], genesisBlockId: '', feeLimitMaxMicro: 0n, clock: systemClock })),
];

export interface Coverage {
  /** Places that a process can die at: two for each port call. */
  readonly places: number;
  /** Those at which none has died. */
  readonly spared: readonly string[];
}

/** @param killsByPlace as rounds count them: `pay before storeSigned`, `settle after noteClose` */
export function coverageOf(killsByPlace: readonly Readonly<Record<string, number>>[]): Coverage {
  const hit = new Set(killsByPlace.flatMap((kills) => Object.keys(kills).map(placeIn)));
  const places = placesOf(PORT_CALLS);
  return { places: places.length, spared: places.filter((place) => !hit.has(place)) };
}

/** @param counted as rounds count a kill: `pay before storeSigned`, `settle at random`, `database` */
export function placeIn(counted: string): string {
  return counted.slice(counted.indexOf(' ') + 1);
}
