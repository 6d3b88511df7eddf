import { expect, it } from 'vitest';
import { BATCH_ITEMS_MAX, isBatchId, itemKey } from '../../../../shared/domain/batch.ts';

it('the payments of a batch have keys of their own, which no caller can send', () => {
  const keys = Array.from({ length: BATCH_ITEMS_MAX }, (_, index) => itemKey('bat_1', index));
  expect(new Set(keys).size).toBe(BATCH_ITEMS_MAX);
  expect(keys.every((key) => key.startsWith('bat_1 '))).toBe(true);
});

it('a batch is told from a payment by its id', () => {
  expect(isBatchId('bat_0199')).toBe(true);
  expect(isBatchId('pay_bat_0199')).toBe(false);
  expect(isBatchId('')).toBe(false);
});
