import { CONNECTIONS, DATAGRAMS, LOOKUPS } from '../support/ways-out.ts';

/** By which port or name a captured leak tells the way that it took. */

const WAYS = [...Object.keys(CONNECTIONS), ...Object.keys(DATAGRAMS), ...Object.keys(LOOKUPS)];

export function portOf(way: string): number {
  return 20_000 + WAYS.indexOf(way);
}

export function nameOf(way: string): string {
  return `way-${WAYS.indexOf(way)}.leak.test`;
}
