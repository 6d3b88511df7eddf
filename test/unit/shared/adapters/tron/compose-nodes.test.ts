import { describe, expect, it } from 'vitest';
import { isTronGrid } from '../../../../../shared/adapters/tron/compose-nodes.ts';

describe('the TronGrid key', () => {
  it.each([
    'https://api.trongrid.io',
    'https://trongrid.io',
    'https://API.TRONGRID.IO/',
    'https://nile.trongrid.io:443',
  ])('is shown to %s', (url) => {
    expect(isTronGrid(url)).toBe(true);
  });

  it.each([
    'http://api.trongrid.io',
    'https://trongrid.io.example.com',
    'https://eviltrongrid.io',
    'https://api.trongrid.io@example.com',
    'https://example.com/trongrid.io',
    'https://example.com#.trongrid.io',
    'http://127.0.0.1:8090',
  ])('is not shown to %s', (url) => {
    expect(isTronGrid(url)).toBe(false);
  });
});
