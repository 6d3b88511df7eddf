import { expect, test } from 'vitest';
import { readOptions } from '../../../../build/images/options.ts';

const DEFAULTS = { version: '0.1.0', outDir: '/repo/dist/images', known: ['pay', 'tor-proxy'] };

test('without a word, all images of this version are made and loaded', () => {
  expect(readOptions([], {}, DEFAULTS)).toEqual({
    action: 'build',
    architecture: undefined,
    names: [],
    repository: 'pickme/lucid',
    version: '0.1.0',
    outDir: '/repo/dist/images',
    load: true,
    withCompileCache: true,
  });
});

test('the environment names repository and version, and a version on the command line wins', () => {
  const env = { LUCID_IMAGES: 'registry.example/lucid', LUCID_VERSION: '0.2.0' };

  expect(readOptions([], env, DEFAULTS)).toMatchObject({
    repository: 'registry.example/lucid',
    version: '0.2.0',
  });
  expect(readOptions(['--version', '0.3.0'], env, DEFAULTS).version).toBe('0.3.0');
});

test('an empty variable is as good as none: compose passes those', () => {
  expect(readOptions([], { LUCID_IMAGES: '', LUCID_VERSION: '' }, DEFAULTS)).toMatchObject({
    repository: 'pickme/lucid',
    version: '0.1.0',
  });
});

test.each([
  [['mongo'], 'there is no image mongo; there are pay, tor-proxy'],
  [['--version', 'a b'], 'not a version for a tag: "a b"'],
  [['--no-load', '--load-only'], '--no-load and --load-only leave nothing to do'],
  [['--push'], "Unknown option '--push'"],
  [['--relock', '--architecture', 'x64'], '--architecture takes amd64 or arm64, and goes with --relock'],
  [['--architecture', 'arm64'], '--architecture takes amd64 or arm64, and goes with --relock'],
])('%j is refused', (args, why) => {
  expect(() => readOptions(args, {}, DEFAULTS)).toThrow(why);
});
