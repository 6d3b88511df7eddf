import { describe, expect, it } from 'vitest';
import { type RoundTrip, scoreOf } from '../../bench/round-trips.ts';

/** A call that was asked for by a method of this name. */
function trip(askedBy: string, startedMs: number, endedMs: number): RoundTrip {
  return {
    kind: 'read',
    what: 'find payments',
    askedBy,
    call: { to: 'database', command: {} },
    startedMs,
    endedMs,
  };
}

describe('the score of recorded payments', () => {
  it('lets a call wait for the calls that had always ended before it, and for the last of a row alone', () => {
    const take = [trip('claim', 0, 1), trip('reserve', 2, 3), trip('sign', 4, 5)];
    const { steps } = scoreOf([take, take]);
    expect(steps.map(({ askedBy, after }) => [askedBy, after])).toEqual([
      ['claim', []],
      ['reserve', [0]],
      ['sign', [1]],
    ]);
  });

  it('lets calls run side by side where one ended before the other by chance, in some takes only', () => {
    const usual = [trip('claim', 0, 1), trip('drop', 2, 9), trip('admit', 2, 3), trip('send', 4, 8)];
    const quickDrop = [trip('claim', 0, 1), trip('drop', 2, 3), trip('admit', 2, 3), trip('send', 4, 8)];
    const { steps } = scoreOf([usual, quickDrop]);
    expect(steps.map(({ after }) => after)).toEqual([[], [0], [0], [2]]);
  });

  it('tells calls of the same name apart by their order', () => {
    const take = [trip('readBreaker', 0, 1), trip('readBreaker', 2, 3)];
    expect(scoreOf([take, take]).steps.map(({ after }) => after)).toEqual([[], [0]]);
  });

  it('leaves out a payment that made other calls, and refuses where most did', () => {
    const take = [trip('claim', 0, 1)];
    const other = [trip('claim', 0, 1), trip('prices', 2, 3)];
    expect(scoreOf([take, other, take]).takes).toHaveLength(2);
    const third = [trip('genesis', 0, 1)];
    expect(() => scoreOf([take, other, third])).toThrow('too different');
  });
});
