/** Which npm packages a bundle is made of. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Component } from './layer.ts';

const ROOT_DIR = resolve(import.meta.dirname, '../..');

/** @param inputs the modules in the bundle, relative to the repository, as esbuild's metafile names them. */
export async function npmPackagesOf(inputs: readonly string[]): Promise<Component[]> {
  const folders = inputs.flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []);
  const components = await Promise.all([...new Set(folders)].map(readComponent));
  // One package may lie in several places in the same version.
  const byPurl = new Map(components.map((component) => [component.purl, component]));
  return [...byPurl.values()].sort((a, b) => (a.purl < b.purl ? -1 : 1));
}

async function readComponent(folder: string): Promise<Component> {
  const manifest = JSON.parse(await readFile(resolve(ROOT_DIR, folder, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
    license?: unknown;
  };
  const { name, version, license } = manifest;
  return {
    name,
    version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    ...(typeof license === 'string' && { license }),
  };
}
