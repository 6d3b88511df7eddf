import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// Workers, and what they start, load what they import from compiled code instead of compiling it anew each time.
process.env.NODE_COMPILE_CACHE ??= resolve(import.meta.dirname, '.cache/compile');

/** On the engine of the planes too, but without the compose planes. */
const BEYOND_COMPOSE = ['test/planes/swarm.test.ts', 'test/planes/aws.test.ts'];

/** What `npm test` runs with small numbers, see test/support/thorough.ts. */
const THOROUGH = [
  'test/integration/database/durability.test.ts',
  'test/integration/planes/backup.test.ts',
  'test/unit/build/keeper.test.ts',
  'test/unit/deploy/planes/database/backup-file.test.ts',
  'test/unit/shared/usecases/reconcile.test.ts',
];

/** The same order on every machine, whatever took long there before or failed: project by project, large files first. */
class LargestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sized = files.map((file) => ({ file, bytes: statSync(file.moduleId).size }));
    return sized
      .sort(
        (a, b) =>
          a.file.project.name.localeCompare(b.file.project.name) ||
          b.bytes - a.bytes ||
          a.file.moduleId.localeCompare(b.file.moduleId),
      )
      .map(({ file }) => file);
  }
}

/**
 * `npm test` runs three projects: `unit` (pure code and fakes), `integration` (one real part on loopback:
 * a database, a chain, the sidecar) and `function` (the bundles under the real RIE, through the sidecar).
 * `npm run test:planes` runs `planes`, the containers on a Docker engine, and `beyond`, the same images elsewhere.
 * `npm run test:slow` runs `slow`: real processes again, killed at every port call, many at once, or replaced one by
 * one; and once more, with large numbers, what `npm test` tries with small ones.
 * `npm run test:tor` runs `tor`, in a network namespace of its own: payments through a private Tor network.
 *
 * The timeouts end what would never end. A machine that is slow, busy or stands still for seconds comes nowhere near.
 */
export default defineConfig({
  test: {
    // Two cores: more workers only make the parts that really run wait for each other.
    maxWorkers: 2,
    sequence: { sequencer: LargestFirst },
    reporters: ['default', './test/support/plain-summary.ts'],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'function',
          include: ['test/function/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          name: 'slow',
          include: ['test/slow/**/*.test.ts', ...THOROUGH],
          env: { TEST_THOROUGH: '1' },
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'planes',
          include: ['test/planes/**/*.test.ts'],
          exclude: BEYOND_COMPOSE,
          globalSetup: ['test/planes/support/global-setup.ts'],
          testTimeout: 600_000,
          hookTimeout: 900_000,
          // One engine, and one set of networks on it.
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'beyond',
          include: BEYOND_COMPOSE,
          testTimeout: 600_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'tor',
          include: ['test/tor/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
