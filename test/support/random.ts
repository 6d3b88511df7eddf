/**
 * Numbers that a seed decides: the same seed draws the same sequence on every machine (the sfc32 generator, seeded
 * by cyrb128-like mixing of a text). For choices in tests, never for keys.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** Different texts give independent sequences: `new Random('7/callers/2')`. */
  constructor(seed: string) {
    let a = 0x9e3779b9;
    let b = 0x243f6a88;
    let c = 0xb7e15162;
    for (const character of seed) {
      const code = character.codePointAt(0) ?? 0;
      a = Math.imul(a ^ code, 0x85ebca6b);
      b = Math.imul(b ^ code, 0xc2b2ae35) ^ (a >>> 13);
      c = Math.imul(c ^ code, 0x27d4eb2f) ^ (b >>> 16);
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    // The first draws still show how alike two seeds were.
    for (let round = 0; round < 15; round += 1) this.#next();
  }

  /** A whole number from 0 up to, not including, `bound`. */
  below(bound: number): number {
    return Math.floor((this.#next() / 2 ** 32) * bound);
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** True with the probability `share`, from 0 to 1. */
  chance(share: number): boolean {
    return this.#next() / 2 ** 32 < share;
  }

  /** @throws RangeError where there is nothing to pick from */
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('there is nothing to pick from');
    return item;
  }

  /** From `min` to `max` of what is drawn one after the other, each told its place from 0. */
  several<T>(min: number, max: number, draw: (index: number) => T): T[] {
    const drawn: T[] = [];
    const count = this.between(min, max);
    while (drawn.length < count) drawn.push(draw(drawn.length));
    return drawn;
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum >>> 0;
  }
}
