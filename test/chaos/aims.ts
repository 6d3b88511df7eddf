import type { Random } from '../support/random.ts';

/**
 * Where the doomed of a run have died so far, by the places of port calls: so that more are sent where few have died,
 * and no place is spared only because the load seldom comes by.
 */
export class Aims {
  readonly #kills = new Map<string, number>();

  /** @param place `before storeSigned` */
  count(place: string): void {
    this.#kills.set(place, this.killsAt(place) + 1);
  }

  killsAt(place: string): number {
    return this.#kills.get(place) ?? 0;
  }

  /**
   * Of each call the side, before or after it, at which fewer have died, and of those the ones with the fewest: who is
   * in wait before a call never comes to wait after it. Chance decides between equals, and is drawn the same number of
   * times whatever has been counted.
   */
  leastKilled(calls: readonly string[], count: number, random: Random): string[] {
    const draw = (place: string) => ({ place, kills: this.killsAt(place), lot: random.below(2 ** 32) });
    return calls
      .flatMap((call) => placesOf([call]).map(draw).sort(byKills).slice(0, 1))
      .sort(byKills)
      .slice(0, count)
      .map(({ place }) => place);
  }
}

interface Drawn {
  readonly kills: number;
  readonly lot: number;
}

function byKills(one: Drawn, other: Drawn): number {
  return one.kills - other.kills || one.lot - other.lot;
}

/** A process can die just before each call, and just after it. */
export function placesOf(calls: readonly string[]): string[] {
  return calls.flatMap((call) => [`before ${call}`, `after ${call}`]);
}
