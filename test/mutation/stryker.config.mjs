/**
 * `npm run mutation`: changes shared/domain in one small way after the other, and sees whether a test notices.
 * `RESULTS.md` beside this file tells what no test can notice, and why.
 */
export default {
  mutate: ['shared/domain/**/*.ts'],
  testRunner: 'vitest',
  plugins: ['@stryker-mutator/vitest-runner'],
  vitest: { configFile: 'test/mutation/vitest.config.ts' },
  // Each mutant meets only the tests that reach it.
  coverageAnalysis: 'perTest',
  concurrency: 2,
  // Stryker would rewrite tsconfig.json through TypeScript's old API, which TypeScript 7 no longer has; types are
  // stripped here, so there is nothing in it to rewrite.
  tsconfigFile: 'none',
  thresholds: { high: 95, low: 90, break: 90 },
  // A mutant that loops for ever is noticed by the clock.
  timeoutMS: 10_000,
  dryRunTimeoutMinutes: 2,
  reporters: [process.stdout.isTTY ? 'progress' : 'progress-append-only', 'clear-text', 'json'],
  clearTextReporter: { logTests: false, reportTests: false, allowEmojis: false },
  jsonReporter: { fileName: '.cache/mutation/report.json' },
  // `npm run mutation -- --incremental` takes up where the last such run ended.
  incrementalFile: '.cache/mutation/incremental.json',
  tempDirName: '.cache/mutation/sandbox',
  ignorePatterns: ['.cache', '.local', 'dist', 'coverage', 'deploy/devchain', 'test/chaos', 'test/bench'],
};
