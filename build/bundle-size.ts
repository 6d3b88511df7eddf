/** What a bundle weighs, what of, and whether it may. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Metafile } from 'esbuild';

export type BundleSize = {
  readonly name: string;
  /** Bytes of what every cold start loads: the handler, and the chunks that it imports at once. */
  readonly coldBytes: number;
  /** Bytes of the chunks that are loaded on demand. */
  readonly lazyBytes: number;
  readonly gzipBytes: number;
  readonly sizeBudget: number;
  /** The packages that weigh most, in both together. */
  readonly largest: readonly { readonly source: string; readonly bytes: number }[];
  /** Why this bundle must not be used; one line each. */
  readonly faults: readonly string[];
  /** False where the bundle on disk was still right. */
  readonly isFresh: boolean;
};

export type BundleLimits = { readonly sizeBudget: number; readonly forbidden?: readonly string[] };

const LARGEST_SHOWN = 6;

export async function measureBundle(
  name: string,
  metafile: Metafile,
  limits: BundleLimits,
): Promise<BundleSize> {
  const modules = Object.entries(metafile.outputs).filter(([path]) => path.endsWith('.mjs'));
  const cold = findColdModules(metafile);
  const weigh = (paths: readonly [string, { bytes: number }][]) =>
    paths.reduce((sum, [, { bytes }]) => sum + bytes, 0);
  const contents = await Promise.all(
    modules.map(([path]) => readFile(resolve(import.meta.dirname, '..', path))),
  );
  const bytesBySource = sumBySource(metafile);
  const size = {
    name,
    coldBytes: weigh(modules.filter(([path]) => cold.has(path))),
    lazyBytes: weigh(modules.filter(([path]) => !cold.has(path))),
    gzipBytes: contents.reduce((sum, content) => sum + gzipSync(content).length, 0),
    sizeBudget: limits.sizeBudget,
    largest: [...bytesBySource]
      .map(([source, bytes]) => ({ source, bytes }))
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, LARGEST_SHOWN),
    isFresh: true,
  };
  return { ...size, faults: checkBundle(size, [...bytesBySource.keys()], limits) };
}

export function checkBundle(
  size: Pick<BundleSize, 'name' | 'coldBytes' | 'lazyBytes'>,
  sources: readonly string[],
  limits: BundleLimits,
): string[] {
  const total = size.coldBytes + size.lazyBytes;
  const faults = (limits.forbidden ?? [])
    .filter((source) => sources.includes(source))
    .map((source) => `${size.name} contains ${source}, which it must not need`);
  if (total > limits.sizeBudget) {
    faults.push(
      `${size.name} weighs ${kB(total)}, its budget is ${kB(limits.sizeBudget)} (esbuild.config.ts)`,
    );
  }
  return faults;
}

/** A table, and below it what each bundle consists of. */
export function formatSizes(sizes: readonly BundleSize[]): string {
  const rows = sizes.map((size) => [
    size.name,
    kB(size.coldBytes),
    kB(size.lazyBytes),
    kB(size.gzipBytes),
    `${kB(size.coldBytes + size.lazyBytes)} of ${kB(size.sizeBudget)}`,
    size.isFresh ? '' : 'unchanged',
  ]);
  const header = ['function', 'cold start', 'on demand', 'gzip', 'budget', ''];
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const align = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('   ')
      .trimEnd();
  const largest = sizes.map(
    ({ name, largest }) =>
      `${name}: ${largest.map(({ source, bytes }) => `${source} ${kB(bytes)}`).join(', ')}`,
  );
  return [align(header), ...rows.map(align), '', ...largest].join('\n');
}

/** The entry and every module that it reaches by static imports. */
function findColdModules(metafile: Metafile): Set<string> {
  const cold = new Set<string>();
  const visit = (path: string) => {
    const output = metafile.outputs[path];
    if (output === undefined || cold.has(path)) return;
    cold.add(path);
    for (const { path: imported, kind } of output.imports) if (kind === 'import-statement') visit(imported);
  };
  for (const [path, { entryPoint }] of Object.entries(metafile.outputs)) {
    if (entryPoint?.endsWith('handler.ts')) visit(path);
  }
  return cold;
}

/** Bytes in the output by package, our own code by its top folder. */
function sumBySource(metafile: Metafile): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [path, { inputs }] of Object.entries(metafile.outputs)) {
    if (!path.endsWith('.mjs')) continue;
    for (const [input, { bytesInOutput }] of Object.entries(inputs)) {
      if (bytesInOutput === 0) continue;
      const source = sourceOf(input);
      sums.set(source, (sums.get(source) ?? 0) + bytesInOutput);
    }
  }
  return sums;
}

function sourceOf(input: string): string {
  const inPackage = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input);
  return inPackage?.[1] ?? input.split('/')[0] ?? input;
}

function kB(bytes: number): string {
  return `${Math.round(bytes / 1024)} kB`;
}
