import { join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { buildFunctions } from '../../esbuild.config.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const BUNDLES = join(ROOT, '.local/chaos/bundles');

export const CHAOS_FUNCTIONS = ['pay', 'settle'] as const;
export type ChaosFunction = (typeof CHAOS_FUNCTIONS)[number];

/** Where the built programs are. */
export interface Bundles {
  readonly instance: string;
  readonly folders: Readonly<Record<ChaosFunction, string>>;
}

/** Handlers alone get the mortal engine; it imports the true one itself. */
const mortalEngine: Plugin = {
  name: 'mortal-engine',
  setup({ onResolve }) {
    onResolve({ filter: /\/composition\/compose-engine\.ts$/ }, ({ importer }) =>
      importer.startsWith(join(ROOT, 'functions'))
        ? { path: join(import.meta.dirname, 'mortal-engine.ts') }
        : undefined,
    );
  },
};

/** Builds pay and settle as they are built for production, with ports that can kill their process. */
export async function buildBundles(): Promise<Bundles> {
  const instance = join(BUNDLES, 'instance.mjs');
  await Promise.all([
    buildFunctions({ names: CHAOS_FUNCTIONS, outDir: BUNDLES, plugins: [mortalEngine] }),
    build({
      entryPoints: [join(import.meta.dirname, 'instance.ts')],
      outfile: instance,
      format: 'esm',
      platform: 'node',
      target: 'node24',
      logLevel: 'warning',
    }),
  ]);
  return { instance, folders: { pay: join(BUNDLES, 'pay'), settle: join(BUNDLES, 'settle') } };
}
