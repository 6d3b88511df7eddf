import { describe, expect, it } from 'vitest';
import { compileTetherToken, readTetherToken } from '../../../../deploy/devchain/contracts/compile.ts';

describe('the committed USDT contract', () => {
  it('is what its source compiles to', () => {
    expect(readTetherToken()).toEqual(compileTetherToken());
  });
});
