/**
 * Keeps the direction of imports: functions → usecases → ports → domain, adapters named in handlers alone.
 *
 *   npm run check:imports        prints each violation as `file:line imports X: why`, and fails
 */
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, relative, resolve } from 'node:path';

export type Violation = {
  readonly file: string;
  readonly line: number;
  readonly imports: string;
  readonly why: string;
};

type Layer =
  | 'domain'
  | 'ports'
  | 'usecases'
  | 'adapters'
  | 'runtime'
  | 'composition'
  | 'handlers'
  | 'functions';

/** What each layer of our own may import besides itself. A function's handler alone puts everything together. */
const ALLOWED: Record<Layer, { readonly layers: readonly Layer[]; readonly packages?: readonly string[] }> = {
  domain: { layers: [], packages: ['node:crypto', '@scure/base'] },
  ports: { layers: ['domain'], packages: [] },
  usecases: { layers: ['ports', 'domain'], packages: ['node:crypto'] },
  runtime: { layers: ['ports', 'domain'] },
  adapters: { layers: ['ports', 'domain', 'runtime'] },
  // What two handlers put together alike.
  composition: { layers: ['usecases', 'ports', 'domain', 'runtime', 'adapters'] },
  functions: { layers: ['usecases', 'ports', 'domain', 'runtime'] },
  handlers: {
    layers: ['functions', 'usecases', 'ports', 'domain', 'runtime', 'adapters', 'composition'],
  },
};

const LAYER_NAMES: Record<Layer, string> = {
  domain: 'shared/domain',
  ports: 'shared/ports',
  usecases: 'shared/usecases',
  runtime: 'shared/runtime',
  adapters: 'shared/adapters',
  composition: 'shared/composition',
  functions: 'functions',
  handlers: 'functions/*/handler.ts',
};

/** @param root the repository, or a folder of the same shape. */
export function findViolations(root: string): Violation[] {
  return ['shared', 'functions']
    .flatMap((folder) => listSources(join(root, folder)))
    .flatMap((path) => checkFile(root, path));
}

function checkFile(root: string, path: string): Violation[] {
  const file = relative(root, path);
  const layer = layerOf(file);
  if (layer === undefined) {
    return [
      { file, line: 1, imports: 'anything', why: 'it lies in no layer of shared/ (shared/runtime, …)' },
    ];
  }
  return findImports(readFileSync(path, 'utf8')).flatMap(({ specifier, line }) => {
    const why = specifier.startsWith('.')
      ? whyNotFile(layer, file, relative(root, resolve(path, '..', specifier)))
      : whyNotPackage(layer, specifier);
    return why === undefined ? [] : [{ file, line, imports: specifier, why }];
  });
}

function whyNotFile(layer: Layer, file: string, target: string): string | undefined {
  const targetLayer = layerOf(target);
  if (targetLayer === undefined) return `${LAYER_NAMES[layer]} is shipped, ${target.split('/')[0]}/ is not`;
  if (targetLayer === layer || ALLOWED[layer].layers.includes(targetLayer)) {
    return isOfAnotherFunction(file, target) ? 'each function stands alone; share it in shared/' : undefined;
  }
  if (targetLayer === 'adapters') return 'adapters are named in functions/*/handler.ts only';
  const allowed = ALLOWED[layer].layers.map((name) => LAYER_NAMES[name]);
  return `${LAYER_NAMES[layer]} imports only ${['itself', ...allowed].join(', ')}`;
}

function whyNotPackage(layer: Layer, specifier: string): string | undefined {
  const allowed = ALLOWED[layer].packages;
  if (allowed === undefined) return undefined;
  const name = isBuiltin(specifier) ? `node:${specifier.replace(/^node:/, '')}` : packageOf(specifier);
  if (allowed.includes(name)) return undefined;
  return `${LAYER_NAMES[layer]} imports ${allowed.length === 0 ? 'no package' : `only the packages ${allowed.join(', ')}`}`;
}

function isOfAnotherFunction(file: string, target: string): boolean {
  const [folder, name] = target.split('/');
  return folder === 'functions' && file.split('/')[1] !== name && file.startsWith('functions/');
}

function layerOf(file: string): Layer | undefined {
  const [top, second] = file.split('/');
  if (top === 'functions') return file.endsWith('/handler.ts') ? 'handlers' : 'functions';
  const layers: readonly Layer[] = ['domain', 'ports', 'usecases', 'adapters', 'runtime', 'composition'];
  return top === 'shared' ? layers.find((layer) => layer === second) : undefined;
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/**
 * Every module that a source names: static imports and re-exports (types as well: they bind layers just as much),
 * `import()` and `import('…')` types, `require()`. Comments are blanked first, so that what they tell is not read.
 */
export function findImports(source: string): { specifier: string; line: number }[] {
  const code = blankComments(source);
  const patterns = [
    /(?:^|[;}\s])(?:import|export)\b(?:[^'"`;()]*?\bfrom)?\s*(['"])(?<specifier>[^'"\n]+)\1/g,
    /\b(?:import|require)\s*\(\s*(['"`])(?<specifier>[^'"`\n]+)\1/g,
  ];
  return patterns
    .flatMap((pattern) => [...code.matchAll(pattern)])
    .map((match) => {
      const end = match.index + match[0].length;
      return { specifier: match.groups?.specifier ?? '', line: code.slice(0, end).split('\n').length };
    })
    .sort((a, b) => a.line - b.line);
}

/** Strings are stepped over, so that `'https://…'` does not look like a comment. Line breaks stay where they are. */
function blankComments(source: string): string {
  return source.replace(
    /(['"])(?:\\.|(?!\1)[^\\\n])*\1|`(?:\\.|[^\\`])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (token) => (token.startsWith('/') ? token.replace(/[^\n]/g, ' ') : token),
  );
}

function listSources(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.[cm]?[jt]s$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

if (import.meta.main) {
  const violations = findViolations(resolve(import.meta.dirname, '..'));
  for (const { file, line, imports, why } of violations) {
    console.error(`${file}:${line} imports ${imports}: ${why}`);
  }
  if (violations.length > 0) process.exitCode = 1;
}
