import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { playSchedule } from '../../simulate/schedule.ts';
import { Instance, SimulatedWorld } from '../../simulate/world.ts';
import { Actor } from '../../support/actor.ts';
import { Crash } from '../../support/simulated-chain.ts';

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

describe('a simulated process', () => {
  it('makes no more calls once it is dead, though another has taken its place', async () => {
    const world = new SimulatedWorld(SEED, null, null);
    const instance = new Instance('process-1');
    const { ledger } = world.engine(instance);
    await instance.die();
    await expect(ledger.readBreaker()).rejects.toThrow(Crash);
    expect(instance.actor.waiting).toEqual([]);
  });

  it('goes on by itself as far as its leave allows', async () => {
    const { actor, made } = processOf(['a', 'b', 'c', 'd', 'e']);
    await actor.go({ calls: 2, stopsBefore: () => false, choose: () => 0 });
    expect(made).toEqual(['a', 'b']);
    await actor.go({ calls: 9, stopsBefore: (call) => call === 'd', choose: () => 0 });
    expect(made).toEqual(['a', 'b', 'c']);
    await actor.go({ calls: 9, stopsBefore: () => false, choose: () => 0 });
    expect(made).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('has it chosen which of its calls is made, where it has several under way', async () => {
    const { actor, made } = processOf(['a1', 'a2'], ['b1', 'b2']);
    await actor.go({ calls: 3, stopsBefore: () => false, choose: (count) => count - 1 });
    // What stands is in the order in which it came to stand: after b1, a1 is the older one, and b2 the last.
    expect(made).toEqual(['b1', 'b2', 'a1']);
  });
});

/** A process with some threads, each of which makes its calls one after the other. */
function processOf(...threads: readonly (readonly string[])[]) {
  const actor = new Actor();
  const made: string[] = [];
  for (const calls of threads) {
    void (async () => {
      for (const call of calls) await actor.call(call, () => made.push(call));
    })();
  }
  return { actor, made };
}

async function traceOf(seed: number): Promise<string[]> {
  const lines: string[] = [];
  await playSchedule(seed, { trace: (line) => lines.push(line) });
  return lines;
}
