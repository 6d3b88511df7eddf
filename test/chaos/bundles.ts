import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { buildFunctions } from '../../esbuild.config.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const BUNDLES = join(ROOT, '.local/chaos/bundles');

export const CHAOS_FUNCTIONS = ['pay', 'settle'] as const;
export type ChaosFunction = (typeof CHAOS_FUNCTIONS)[number];

/** Where the programs are that every function's instances begin in. */
export interface NurseryPrograms {
  readonly nursery: string;
  /** `fork()` as an addon of Node. */
  readonly fork: string;
}

/** Where all built programs are. */
export interface Bundles extends NurseryPrograms {
  readonly folders: Readonly<Record<ChaosFunction, string>>;
}

/** What handlers import, and what chaos gives them instead; that imports the true one itself. */
const REPLACED: readonly (readonly [RegExp, string])[] = [
  [/\/composition\/compose-engine\.ts$/, 'mortal-engine.ts'],
  [/\/runtime\/lambda\.ts$/, 'deferred-lambda.ts'],
];

const chaosModules: Plugin = {
  name: 'chaos-modules',
  setup({ onResolve }) {
    for (const [filter, module] of REPLACED) {
      onResolve({ filter }, ({ importer }) =>
        importer.startsWith(join(ROOT, 'functions'))
          ? { path: join(import.meta.dirname, module) }
          : undefined,
      );
    }
  },
};

/** Builds pay and settle as they are built for production, with ports that can kill their process. */
export async function buildBundles(): Promise<Bundles> {
  const [programs] = await Promise.all([
    buildNursery(BUNDLES),
    buildFunctions({ names: CHAOS_FUNCTIONS, outDir: BUNDLES, plugins: [chaosModules] }),
  ]);
  return { ...programs, folders: { pay: join(BUNDLES, 'pay'), settle: join(BUNDLES, 'settle') } };
}

export async function buildNursery(outDir: string): Promise<NurseryPrograms> {
  const nursery = join(outDir, 'nursery.mjs');
  const fork = join(outDir, 'fork.node');
  await build({
    entryPoints: [join(import.meta.dirname, 'nursery.ts')],
    outfile: nursery,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    logLevel: 'warning',
  });
  const source = join(import.meta.dirname, 'fork.c');
  const warnings = ['-Wall', '-Wextra', '-Werror'];
  execFileSync(process.env.CC ?? 'gcc', ['-shared', '-fPIC', '-O1', ...warnings, '-o', fork, source]);
  return { nursery, fork };
}
