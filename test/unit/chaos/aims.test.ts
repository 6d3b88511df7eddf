import { describe, expect, it } from 'vitest';
import { Aims } from '../../chaos/aims.ts';
import { Random } from '../../support/random.ts';

const CALLS = ['reserve', 'sign', 'send'];

describe('the aims of chaos', () => {
  it('are the places where the fewest have died, of each call the side with fewer', () => {
    const aims = new Aims();
    for (const place of ['before reserve', 'after reserve', 'before sign', 'before send', 'after send']) {
      aims.count(place);
    }
    aims.count('before send');
    aims.count('after reserve');
    expect(aims.leastKilled(CALLS, 1, new Random('1'))).toEqual(['after sign']);
    const all = aims.leastKilled(CALLS, 9, new Random('1'));
    expect(all.toSorted()).toEqual(['after send', 'after sign', 'before reserve']);
  });

  it('are drawn by the seed among equals, the same again for the same seed', () => {
    const drawn = (seed: string) => new Aims().leastKilled(CALLS, 2, new Random(seed)).join();
    expect(drawn('1')).toBe(drawn('1'));
    const all = new Set(Array.from({ length: 40 }, (_, seed) => drawn(String(seed))));
    expect(all.size).toBeGreaterThan(5);
  });

  it('draw as often whatever has been counted, so that what follows stays the same', () => {
    const next = (aims: Aims) => {
      const random = new Random('7');
      aims.leastKilled(CALLS, 2, random);
      return random.below(1_000_000);
    };
    const counted = new Aims();
    counted.count('after sign');
    expect(next(counted)).toBe(next(new Aims()));
  });
});
