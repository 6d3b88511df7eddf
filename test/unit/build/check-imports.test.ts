import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findImports, findViolations } from '../../../build/check-imports.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'imports-'));
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

/** Checks one file with one import, as a source would write it. */
function check(file: string, imports: string): string[] {
  const path = join(root, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `/** First line. */\nimport { x } from '${imports}';\n`);
  return findViolations(root).map(
    (found) => `${found.file}:${found.line} imports ${found.imports}: ${found.why}`,
  );
}

describe('the import rule', () => {
  it.each([
    ['shared/domain/a.ts', './b.ts'],
    ['shared/domain/a.ts', 'node:crypto'],
    ['shared/domain/a.ts', '@scure/base'],
    ['shared/ports/a.ts', '../domain/b.ts'],
    ['shared/usecases/a.ts', '../ports/b.ts'],
    ['shared/usecases/deep/a.ts', '../../domain/b.ts'],
    ['shared/runtime/a.ts', '../domain/b.ts'],
    ['shared/runtime/a.ts', 'pino'],
    ['shared/adapters/mongo/a.ts', '../system/b.ts'],
    ['shared/adapters/mongo/a.ts', '../../ports/b.ts'],
    ['shared/adapters/mongo/a.ts', 'mongodb'],
    ['functions/pay/app.ts', '../../shared/usecases/b.ts'],
    ['functions/pay/app.ts', './schema.ts'],
    ['functions/pay/handler.ts', '../../shared/adapters/mongo/b.ts'],
    ['functions/pay/handler.ts', './app.ts'],
  ])('lets %s import %s', (file, imports) => {
    expect(check(file, imports)).toEqual([]);
  });

  it.each([
    ['shared/domain/a.ts', '../ports/b.ts', 'shared/domain imports only itself'],
    ['shared/domain/a.ts', 'mongodb', 'only the packages node:crypto, @scure/base'],
    ['shared/domain/a.ts', 'node:fs', 'only the packages node:crypto, @scure/base'],
    ['shared/domain/a.ts', 'fs/promises', 'only the packages node:crypto, @scure/base'],
    ['shared/ports/a.ts', 'mongodb', 'shared/ports imports no package'],
    ['shared/ports/a.ts', '../runtime/b.ts', 'shared/ports imports only itself, shared/domain'],
    ['shared/usecases/a.ts', '../adapters/mongo/b.ts', 'named in functions/*/handler.ts only'],
    ['shared/usecases/a.ts', '../runtime/b.ts', 'shared/usecases imports only'],
    ['shared/runtime/a.ts', '../usecases/b.ts', 'shared/runtime imports only'],
    ['shared/runtime/a.ts', '../adapters/mongo/b.ts', 'named in functions/*/handler.ts only'],
    ['shared/adapters/mongo/a.ts', '../../usecases/b.ts', 'shared/adapters imports only'],
    ['shared/adapters/mongo/a.ts', '../../../functions/pay/app.ts', 'shared/adapters imports only'],
    ['functions/pay/app.ts', '../../shared/adapters/mongo/b.ts', 'named in functions/*/handler.ts only'],
    ['functions/pay/handler.ts', '../settle/app.ts', 'each function stands alone'],
    ['functions/pay/handler.ts', '../../deploy/local/b.ts', 'deploy/ is not'],
    ['functions/pay/app.ts', '../../build/b.ts', 'build/ is not'],
    ['shared/runtime/a.ts', '../../test/support/b.ts', 'test/ is not'],
    ['shared/helpers/a.ts', './b.ts', 'lies in no layer'],
  ])('refuses that %s imports %s', (file, imports, why) => {
    const violations = check(file, imports);
    expect(violations).toHaveLength(1);
    expect(violations[0]).toContain(why);
  });

  it('names the file, the line and the import', () => {
    expect(check('shared/domain/a.ts', '../ports/b.ts')).toEqual([
      'shared/domain/a.ts:2 imports ../ports/b.ts: shared/domain imports only itself',
    ]);
  });
});

describe('findImports', () => {
  const specifiers = (source: string) => findImports(source).map(({ specifier }) => specifier);

  it.each([
    ["import a from 'x';"],
    ["import * as a from 'x';"],
    ["import type { A } from 'x';"],
    ["import {\n  a,\n  type B,\n} from 'x';"],
    ["import 'x';"],
    ["export { a } from 'x';"],
    ["export * from 'x';"],
    ["const a = await import('x');"],
    ["type A = import('x').A;"],
    ["const a = require('x');"],
    ["const url = 'https://y'; import('x');"],
  ])('sees %j', (source) => {
    expect(specifiers(source)).toEqual(['x']);
  });

  it.each([
    ["// import a from 'x';"],
    ["/**\n * import a from 'x';\n */"],
    ["export const from = 'x';"],
    ["export function f() { return 'x'; }"],
    ["const a = important('x');"],
  ])('is not misled by %j', (source) => {
    expect(specifiers(source)).toEqual([]);
  });

  it('tells the line of the module name', () => {
    expect(findImports("import {\n  a,\n} from 'x';\n\nimport 'y';\n")).toEqual([
      { specifier: 'x', line: 3 },
      { specifier: 'y', line: 5 },
    ]);
  });
});
