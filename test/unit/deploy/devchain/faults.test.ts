import { describe, expect, it } from 'vitest';
import { FaultBoard, readFaultOrder } from '../../../../deploy/devchain/faults.ts';

describe('the fault board', () => {
  it('counts strikes down and forgets what is used up', () => {
    const board = new FaultBoard(() => 0);
    board.set({ kind: 'status', status: 503, count: 2 });
    expect(board.strike('POST', '/wallet/getblock')).toHaveLength(1);
    expect(board.strike('POST', '/wallet/getblock')).toHaveLength(1);
    expect(board.strike('POST', '/wallet/getblock')).toHaveLength(0);
    expect(board.list()).toHaveLength(0);
  });

  it('strikes only the path and method it was set for', () => {
    const board = new FaultBoard(() => 0);
    board.set({ kind: 'delay', ms: 1, path: '/wallet/getblock', method: 'POST', count: 1 });
    expect(board.strike('POST', '/walletsolidity/getblock')).toHaveLength(0);
    expect(board.strike('GET', '/wallet/getblock')).toHaveLength(0);
    expect(board.strike('POST', '/wallet/getblock')).toHaveLength(1);
  });

  it('ends with its time', () => {
    let now = 0;
    const board = new FaultBoard(() => now);
    board.set({ kind: 'stall-solid', untilMs: 100 });
    expect(board.holds('stall-solid')).toBe(true);
    now = 100;
    expect(board.holds('stall-solid')).toBe(false);
  });

  it('puts a new fault in place of the same kind on the same path', () => {
    const board = new FaultBoard(() => 0);
    board.set({ kind: 'delay', ms: 1 });
    board.set({ kind: 'delay', ms: 2 });
    board.set({ kind: 'delay', ms: 3, path: '/wallet/getblock' });
    expect(board.list().map(({ ms }) => ms)).toEqual([2, 3]);
  });
});

describe('an order for a fault', () => {
  it.each([
    [{ kind: 'nonsense' }, /kind must be one of drop, .*fork/],
    [{ kind: 'delay', ms: -1 }, /ms must be a number/],
    [{ kind: 'status', status: 200 }, /status must be one of/],
    [{ kind: 'delay', seconds: 1 }, /seconds is no property/],
    [{ kind: 'fork', transactions: 'keep' }, /transactions must be/],
  ])('that reads %j is refused with the reason', (json, reason) => {
    expect(() => readFaultOrder(json, 0)).toThrow(reason);
  });

  it('drops broadcasts and nothing else unless a path is given', () => {
    expect(readFaultOrder({ kind: 'drop', count: 1 }, 0)).toEqual({
      fault: { kind: 'drop', path: '/wallet/broadcast', count: 1 },
    });
  });
});
