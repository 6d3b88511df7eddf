import { describe, expect, it } from 'vitest';
import { readNeeds, shuffle, startInOrder } from '../../deploy/planes/scripts/validate-startup-order.ts';
import { openPlanes } from './support/running-planes.ts';

describe('the start', () => {
  it.each(['all at once', 'in a random order'])(
    'of everything, asked for %s, waits for what is needed',
    async (how) => {
      const planes = await openPlanes();
      const services =
        how === 'all at once' ? [] : shuffle(Object.keys(await readNeeds(planes)), Math.random);
      const report = await startInOrder(planes, services);
      console.log(`${services.join(', ') || how}: ${JSON.stringify(report.startedAfterSeconds)}`);
      expect(report.violations).toEqual([]);
      expect(report.compared).toBeGreaterThan(15);
    },
  );
});
