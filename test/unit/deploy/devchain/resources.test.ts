import { describe, expect, it } from 'vitest';
import { recoverUsage, resourcesOf } from '../../../../deploy/devchain/resources.ts';
import { ChainState, StateOverlay } from '../../../../deploy/devchain/state.ts';
import { newAccount, WritableWorld } from '../../../../deploy/devchain/world.ts';

const DAY_SLOTS = 28_800;

describe('usage', () => {
  it('adds up and falls as a real node recorded it: twice 267 bytes are 533 a hundred seconds later', () => {
    const first = recoverUsage(0n, 267n, 0, 1_000);
    expect(first).toBe(267n);
    const second = recoverUsage(first, 267n, 1_000, 1_001);
    expect(second).toBe(534n);
    expect(recoverUsage(second, 0n, 1_001, 1_034)).toBe(533n);
  });

  it('falls by half in half a day and to nothing in a day', () => {
    expect(recoverUsage(600n, 0n, 0, DAY_SLOTS / 2)).toBe(300n);
    expect(recoverUsage(600n, 0n, 0, DAY_SLOTS)).toBe(0n);
    expect(recoverUsage(600n, 0n, 0, DAY_SLOTS * 5)).toBe(0n);
  });
});

describe('staked resources', () => {
  it('are shared by weight', () => {
    const world = new WritableWorld(new StateOverlay(new ChainState()));
    const [one, three] = [1_000_000_000n, 3_000_000_000n];
    world.addToTotal('energyWeight', 4_000n);
    const shareOf = (frozenForEnergy: bigint): bigint =>
      resourcesOf(world, newAccount('41', { frozenForEnergy }), 0).energyLimit;
    expect(shareOf(one)).toBe(45_000_000_000n);
    expect(shareOf(three)).toBe(135_000_000_000n);
  });
});
