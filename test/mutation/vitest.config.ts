import { defineConfig } from 'vitest/config';

/** The tests that judge `shared/domain`: the only ones that a mutant of it is run against. */
export default defineConfig({
  test: {
    include: ['test/unit/shared/domain/**/*.test.ts'],
    isolate: false,
    setupFiles: ['test/mutation/setup.ts'],
    testTimeout: 20_000,
  },
});
