/**
 * Bundles each function alone, for Lambda and RIE: `dist/<name>/handler.mjs`, chunks that are loaded on demand,
 * source maps beside them, and V8's compile cache.
 *
 *   npm run build                 all functions; does nothing where nothing has changed
 *   npm run build -- pay health   these
 *   npm run build -- --force      also where nothing has changed
 */
import { mkdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';
import { builtinsByRequire } from './build/builtins-by-require.ts';
import { type BundleSize, formatSizes, measureBundle } from './build/bundle-size.ts';
import { isUnchanged, writeFingerprint } from './build/fingerprint.ts';
import { primeCompileCache } from './build/prime-compile-cache.ts';

export type FunctionBuild = {
  /** Most that the function may weigh, chunks included, source maps not; in bytes. */
  readonly sizeBudget: number;
  /** Packages that must not get into the bundle, not even into a chunk. */
  readonly forbidden?: readonly string[];
};

const ROOT = import.meta.dirname;

/** ES modules have no `require`, but the CommonJS packages inside the bundle call it for Node's own modules. */
const REQUIRE_BANNER =
  "import{createRequire as $require}from'node:module';const require=$require(import.meta.url);";

const kB = 1024;

/** Every function, with its limits. A budget leaves some percents of room, so that growth is a decision. */
export const FUNCTIONS: Readonly<Record<string, FunctionBuild>> = {
  pay: { sizeBudget: 4_200 * kB },
  settle: { sizeBudget: 4_200 * kB },
  health: { sizeBudget: 2_400 * kB, forbidden: ['tronweb', 'ethers'] },
  stats: { sizeBudget: 2_500 * kB, forbidden: ['tronweb', 'ethers'] },
};

/** How all that runs in an image is bundled, functions and other programs alike. */
export const NODE_BUNDLE = {
  absWorkingDir: ROOT,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  // Not the identifiers: with them shortened the bundle is a third smaller, but takes a quarter longer to load
  // (pay, compile cache warm: 107 instead of 85 ms). And logs keep the names of errors and functions.
  minifyWhitespace: true,
  minifySyntax: true,
  treeShaking: true,
  banner: { js: REQUIRE_BANNER },
  legalComments: 'external',
  metafile: true,
  logLevel: 'warning',
} as const;

export type BuildOptions = {
  /** Default: all of `functions`. */
  readonly names?: readonly string[];
  readonly functions?: Readonly<Record<string, FunctionBuild>>;
  /** Holds `<name>/handler.ts`. */
  readonly functionsDir?: string;
  readonly outDir?: string;
  /** Builds also where nothing has changed. */
  readonly force?: boolean;
  /** For test harnesses that put a module of theirs in the place of one of ours. */
  readonly plugins?: readonly Plugin[];
  readonly log?: (line: string) => void;
};

/**
 * Builds functions into `<outDir>/<name>`, each replaced as a whole once it is complete.
 *
 * @throws Error that names every bundle that is too large or holds what it must not; they are not put in place.
 */
export async function buildFunctions(options: BuildOptions = {}): Promise<BundleSize[]> {
  const functions = options.functions ?? FUNCTIONS;
  const log = options.log ?? (() => {});
  const names = options.names ?? Object.keys(functions);
  const sizes = await Promise.all(
    names.map((name) => {
      const definition = functions[name];
      if (definition === undefined) {
        throw new Error(`there is no function ${name}; there are ${Object.keys(functions).join(', ')}`);
      }
      return buildFunction(name, definition, options);
    }),
  );
  log(formatSizes(sizes));
  const faults = sizes.flatMap(({ faults }) => faults);
  if (faults.length > 0) throw new Error(faults.join('\n'));
  return sizes;
}

async function buildFunction(
  name: string,
  definition: FunctionBuild,
  options: BuildOptions,
): Promise<BundleSize> {
  const outDir = resolve(options.outDir ?? join(ROOT, 'dist'), name);
  if (!options.force) {
    const unchanged = await isUnchanged<BundleSize>(outDir, definition);
    if (unchanged !== undefined) return { ...unchanged, isFresh: false };
  }

  const workDir = `${outDir}.work`;
  await rm(workDir, { recursive: true, force: true });
  const entry = resolve(options.functionsDir ?? join(ROOT, 'functions'), name, 'handler.ts');
  const metafile = await bundle(entry, workDir, options.plugins ?? []);
  const size = await measureBundle(name, metafile, definition);
  if (size.faults.length > 0) {
    await rm(workDir, { recursive: true, force: true });
    return size;
  }
  // In place before the cache is filled: the cache knows its modules by their paths.
  await rm(outDir, { recursive: true, force: true });
  await mkdir(resolve(outDir, '..'), { recursive: true });
  await rename(workDir, outDir);
  await primeCompileCache(outDir);
  await writeFingerprint(outDir, definition, Object.keys(metafile.inputs), size);
  return size;
}

async function bundle(entry: string, outDir: string, plugins: readonly Plugin[]): Promise<Metafile> {
  const { metafile } = await build({
    ...NODE_BUNDLE,
    entryPoints: { handler: entry },
    outdir: outDir,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunks/[name]-[hash]',
    // What is imported on demand (tronweb) becomes a chunk of its own and costs no cold start.
    splitting: true,
    alias: { tr46: join(ROOT, 'build/trim/tr46.ts') },
    plugins: [...plugins, builtinsByRequire],
    sourcemap: 'linked',
    sourcesContent: false,
  });
  return metafile;
}

if (import.meta.main) {
  const names = process.argv.slice(2).filter((argument) => argument !== '--force');
  const startedMs = performance.now();
  try {
    await buildFunctions({
      ...(names.length > 0 && { names }),
      force: process.argv.includes('--force'),
      log: console.log,
    });
    console.log(`built in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
