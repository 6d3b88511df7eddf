import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { playSchedule } from '../../simulate/schedule.ts';

/** `SIMULATE_SEED=…` plays the schedules of a failed run again. */
const SEED = Number(process.env.SIMULATE_SEED ?? randomInt(2 ** 32));
const SCHEDULES = 200;

describe(`simulated schedules from the seed ${SEED} on`, () => {
  it('keep every promise', async () => {
    for (let seed = SEED; seed < SEED + SCHEDULES; seed += 1) {
      const { violations } = await playSchedule(seed);
      expect(violations, `seed ${seed}`).toEqual([]);
    }
  });

  it('are the same whenever they are played again, step by step', async () => {
    for (let seed = SEED; seed < SEED + 10; seed += 1) {
      const [first, second] = [await traceOf(seed), await traceOf(seed)];
      expect(first.length).toBeGreaterThan(20);
      expect(second).toEqual(first);
    }
  });

  it('differ from seed to seed', async () => {
    expect(await traceOf(SEED)).not.toEqual(await traceOf(SEED + 1));
  });
});

async function traceOf(seed: number): Promise<string[]> {
  const lines: string[] = [];
  await playSchedule(seed, { trace: (line) => lines.push(line) });
  return lines;
}
