import { defineConfig } from 'vitest/config';

/** On the engine of the planes too, but without the compose planes. */
const BEYOND_COMPOSE = ['test/planes/swarm.test.ts', 'test/planes/aws.test.ts'];

/**
 * `npm test` runs three projects: `unit` (pure code and fakes), `integration` (one real part on loopback:
 * a database, a chain, the sidecar) and `function` (the bundles under the real RIE, through the sidecar).
 * `npm run test:planes` runs `planes`, the containers on a Docker engine, and `beyond`, the same images elsewhere.
 * `npm run test:slow` runs `slow`: real processes again, killed at every port call, or replaced one by one.
 * `npm run test:tor` runs `tor`, in a network namespace of its own: payments through a private Tor network.
 */
export default defineConfig({
  test: {
    // Two cores: more workers only make the parts that really run wait for each other.
    maxWorkers: 2,
    reporters: ['default', './test/support/plain-summary.ts'],
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'function',
          include: ['test/function/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 180_000,
          // One stack of real processes at a time.
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'slow',
          include: ['test/slow/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'planes',
          include: ['test/planes/**/*.test.ts'],
          exclude: BEYOND_COMPOSE,
          globalSetup: ['test/planes/support/global-setup.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          // One engine, and one set of networks on it.
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'beyond',
          include: BEYOND_COMPOSE,
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'tor',
          include: ['test/tor/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
