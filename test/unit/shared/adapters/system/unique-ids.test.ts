import { expect, it } from 'vitest';
import { uniqueIds } from '../../../../../shared/adapters/system/unique-ids.ts';

it('ids differ, name themselves as UUIDs of version 7, and sort by their making', () => {
  const ids = Array.from({ length: 2_000 }, () => uniqueIds.next());
  expect(new Set(ids).size).toBe(ids.length);
  expect([...ids].sort()).toEqual(ids);
  for (const id of ids)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

it('chance lies in [0, 1) and is not always the same', () => {
  const drawn = Array.from({ length: 100 }, () => uniqueIds.random());
  expect(drawn.every((value) => value >= 0 && value < 1)).toBe(true);
  expect(new Set(drawn).size).toBeGreaterThan(1);
});
