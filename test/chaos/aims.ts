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
   * The places before and after these calls at which the fewest have died; chance decides between equals, and is drawn
   * the same number of times whatever has been counted.
   */
  leastKilled(calls: readonly string[], count: number, random: Random): string[] {
    return placesOf(calls)
      .map((place) => ({ place, kills: this.killsAt(place), lot: random.below(2 ** 32) }))
      .sort((one, other) => one.kills - other.kills || one.lot - other.lot)
      .slice(0, count)
      .map(({ place }) => place);
  }
}

/** A process can die just before each call, and just after it. */
export function placesOf(calls: readonly string[]): string[] {
  return calls.flatMap((call) => [`before ${call}`, `after ${call}`]);
}
