import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChainState, StateOverlay, type StateReader } from '../../../../deploy/devchain/state.ts';

const KEYS = ['a', 'b', 'c', 'd'];
const change = fc.tuple(
  fc.constantFrom(...KEYS),
  fc.option(fc.bigInt({ min: 0n, max: 9n }), { nil: undefined }),
);
const block = fc.array(change, { maxLength: 6 });

function snapshot(state: StateReader): unknown {
  return KEYS.map((key) => state.get(key));
}

function apply(state: ChainState, changes: readonly (readonly [string, bigint | undefined])[]): void {
  const overlay = new StateOverlay(state);
  for (const [key, value] of changes) overlay.set(key, value);
  state.apply(overlay.changes());
}

describe('the chain state', () => {
  it('shows every earlier block as it was, and goes back to it', () => {
    fc.assert(
      fc.property(fc.array(block, { minLength: 1, maxLength: 8 }), (blocks) => {
        const state = new ChainState();
        const history = [snapshot(state)];
        for (const changes of blocks) {
          apply(state, changes);
          history.push(snapshot(state));
        }
        for (let back = 0; back <= blocks.length; back++) {
          expect(snapshot(state.before(back))).toEqual(history[blocks.length - back]);
        }
        for (let number = blocks.length; number > 0; number--) {
          expect(snapshot(state)).toEqual(history[number]);
          state.revertBlock();
        }
        expect(snapshot(state)).toEqual(history[0]);
      }),
    );
  });

  it('refuses to go back further than it remembers', () => {
    const state = new ChainState();
    for (let i = 0n; i < 3n; i++) apply(state, [['a', i]]);
    state.keepUndo(1);
    expect(state.before(1).get('a')).toBe(1n);
    expect(() => state.before(2)).toThrow();
    state.revertBlock();
    expect(() => state.revertBlock()).toThrow();
  });
});

describe('an overlay', () => {
  it('changes nothing below it, and undoes what was written since a checkpoint', () => {
    fc.assert(
      fc.property(block, block, block, (base, kept, undone) => {
        const state = new ChainState();
        apply(state, base);
        const before = snapshot(state);
        const overlay = new StateOverlay(state);
        for (const [key, value] of kept) overlay.set(key, value);
        const expected = snapshot(overlay);
        overlay.checkpoint();
        for (const [key, value] of undone) overlay.set(key, value);
        overlay.revert();
        expect(snapshot(overlay)).toEqual(expected);
        expect(snapshot(state)).toEqual(before);
      }),
    );
  });
});
