import { describe, expect, it } from 'vitest';
import { findLosses } from '../../../../deploy/planes/scripts/test-restart.ts';

describe('a crash', () => {
  it('has lost nothing where all payments are there, and those that had ended are as they were', () => {
    const before = [
      { id: 'pay_1', status: 'confirmed' },
      { id: 'pay_2', status: 'signed' },
    ] as const;
    const after = [
      { id: 'pay_3', status: 'accepted' },
      { id: 'pay_2', status: 'confirmed' },
      { id: 'pay_1', status: 'confirmed' },
    ] as const;
    expect(findLosses(before, after)).toEqual([]);
  });

  it('has lost what is there no more, or had ended and is something else', () => {
    const before = [
      { id: 'pay_1', status: 'confirmed' },
      { id: 'pay_2', status: 'failed' },
    ] as const;
    expect(findLosses(before, [{ id: 'pay_2', status: 'confirmed' }])).toEqual([
      'pay_1 is lost; it was confirmed',
      'pay_2 was failed, and is confirmed',
    ]);
  });
});
