/**
 * Loads every module of a bundle under paths where it does not lie, with Node's compile cache on:
 *
 *   node compile-program.ts BUNDLE_DIR AT CACHE_DIR
 */
import { readdirSync, readFileSync } from 'node:fs';
import { enableCompileCache, registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [bundleDir = '', at = '', cacheDir = ''] = process.argv.slice(2);
const atUrl = `${pathToFileURL(at).href}/`;

registerHooks({
  resolve(specifier, context, nextResolve) {
    const url = specifier.startsWith('.') ? new URL(specifier, context.parentURL).href : specifier;
    return url.startsWith(atUrl)
      ? { url, format: 'module', shortCircuit: true }
      : nextResolve(specifier, context);
  },
  load(url, context, nextLoad) {
    if (!url.startsWith(atUrl)) return nextLoad(url, context);
    const source = readFileSync(join(bundleDir, url.slice(atUrl.length)));
    return { format: 'module', source, shortCircuit: true };
  },
});

// Not before: this module is none of the bundle's.
enableCompileCache(cacheDir);
const modules = readdirSync(bundleDir, { recursive: true, encoding: 'utf8' })
  .filter((file) => /^(chunks\/)?[^./][^/]*\.mjs$/.test(file))
  .sort((a, b) => a.split('/').length - b.split('/').length || (a < b ? -1 : 1));
for (const file of modules) await import(`${atUrl}${file}`);
