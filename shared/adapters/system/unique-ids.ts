import { v7 } from 'uuid';
import type { Ids } from '../../ports/ids.ts';

export const uniqueIds: Ids = {
  next: () => v7(),
  random: () => Math.random(),
};
