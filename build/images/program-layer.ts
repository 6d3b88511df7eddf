/** A program of our own as one file, with all that it imports: `/app/<name>.mjs`. */
import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { NODE_BUNDLE } from '../../esbuild.config.ts';
import { FileTree } from './file-tree.ts';
import type { Layer } from './layer.ts';
import { npmPackagesOf } from './npm-packages.ts';

const ROOT_DIR = resolve(import.meta.dirname, '../..');

/** @param entry the main module, relative to the repository. */
export async function makeProgramLayer(name: string, entry: string): Promise<Layer> {
  const entryPath = join(ROOT_DIR, entry);
  const { outputFiles, metafile } = await build({
    ...NODE_BUNDLE,
    entryPoints: { [name]: entryPath },
    outdir: join(ROOT_DIR, 'dist/images'),
    outExtension: { '.js': '.mjs' },
    plugins: [onlyTheEntryIsMain(entryPath)],
    write: false,
  });
  const tree = new FileTree();
  for (const { path, contents } of outputFiles) tree.addFile(`/app/${basename(path)}`, Buffer.from(contents));
  return { title: name, tree, components: await npmPackagesOf(Object.keys(metafile.inputs)) };
}

/** In one file every module would take itself for the main one. */
function onlyTheEntryIsMain(entryPath: string): Plugin {
  return {
    name: 'only-the-entry-is-main',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        if (path === entryPath) return undefined;
        const source = await readFile(path, 'utf8');
        return source.includes('import.meta.main')
          ? { contents: source.replaceAll('import.meta.main', 'false'), loader: 'ts' }
          : undefined;
      });
    },
  };
}
