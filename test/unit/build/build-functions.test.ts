import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compileCacheVariables } from '../../../build/prime-compile-cache.ts';
import { buildFunctions, FUNCTIONS } from '../../../esbuild.config.ts';

const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname, '../../..');

let root: string;
let lines: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'bundles-'));
  await symlink(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  lines = [];
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function writeFunction(name: string, files: Record<string, string>): Promise<void> {
  const folder = join(root, 'functions', name);
  await mkdir(folder, { recursive: true });
  for (const [file, source] of Object.entries(files)) await writeFile(join(folder, file), source);
}

function build(functions: Parameters<typeof buildFunctions>[0] & object = {}) {
  return buildFunctions({
    functionsDir: join(root, 'functions'),
    outDir: join(root, 'dist'),
    functions: { echo: { sizeBudget: 1_000_000 } },
    log: (line) => lines.push(line),
    ...functions,
  });
}

const ECHO = {
  'handler.ts': `
    import { parse } from 'yaml';
    export class EchoError extends Error {}
    export const name = EchoError.name;
    export const handler = async (event: { text: string }) =>
      ({ parsed: parse(event.text), late: await (await import('./late.ts')).late() });`,
  'late.ts': `export const late = async () => 'loaded on demand';`,
};

/** Runs a bundle as Node does, away from this process and its module cache. */
async function load(program: string, env: Record<string, string> = {}): Promise<string> {
  const path = join(root, 'dist/echo/handler.mjs');
  const source = `import * as bundle from ${JSON.stringify(path)};\n${program}`;
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', source], { env });
  return (stdout + stderr).trim();
}

describe('a bundle', () => {
  it('runs alone, and keeps what is imported on demand in a chunk of its own', async () => {
    await writeFunction('echo', ECHO);
    await build();
    await rm(join(root, 'node_modules'));
    expect(await load(`console.log(JSON.stringify(await bundle.handler({ text: 'a: [1]' })))`)).toBe(
      '{"parsed":{"a":[1]},"late":"loaded on demand"}',
    );
    const handler = await readFile(join(root, 'dist/echo/handler.mjs'), 'utf8');
    expect(handler).not.toContain('loaded on demand');
    expect((await readdir(join(root, 'dist/echo/chunks'))).some((file) => file.startsWith('late-'))).toBe(
      true,
    );
  });

  it('is minified, and still names its classes', async () => {
    await writeFunction('echo', ECHO);
    await build();
    expect(await readFile(join(root, 'dist/echo/handler.mjs'), 'utf8')).not.toContain('\n    export');
    expect(await load('console.log(bundle.name)')).toBe('EchoError');
  });

  it('has its source maps beside it', async () => {
    await writeFunction('echo', ECHO);
    await build();
    const map = JSON.parse(await readFile(join(root, 'dist/echo/handler.mjs.map'), 'utf8'));
    expect(map.sources.some((source: string) => source.endsWith('functions/echo/handler.ts'))).toBe(true);
  });

  it('can use packages that call require', async () => {
    await writeFunction('echo', {
      'handler.ts': `import pino from 'pino'; export const handler = async () => typeof pino;`,
    });
    await build();
    expect(await load('console.log(await bundle.handler())')).toBe('function');
  });

  it("uses Node's own modules without loading undici for them", async () => {
    await writeFunction('echo', {
      'handler.ts': `import http, { STATUS_CODES } from 'node:http'; import * as os from 'os';
        export const handler = async () => [http.STATUS_CODES === STATUS_CODES, typeof os.cpus].join();`,
    });
    await build();
    expect(await load('console.log(await bundle.handler())')).toBe('true,function');
    expect(
      await load('console.log(process.moduleLoadList.filter((name) => name.includes("undici")).length)'),
    ).toBe('0');
    // What it is about: the same import, not bundled.
    expect(
      await load(
        'import "node:http"; console.log(process.moduleLoadList.some((name) => name.includes("undici")))',
      ),
    ).toBe('true');
  });

  it('has a compile cache that Node accepts, for the chunks too', async () => {
    await writeFunction('echo', ECHO);
    await build();
    const told = await load(`await bundle.handler({ text: '' })`, {
      ...compileCacheVariables(join(root, 'dist/echo')),
      NODE_DEBUG_NATIVE: 'COMPILE_CACHE',
    });
    expect(told).toMatch(/V8 code cache for ESM .*handler\.mjs was accepted/);
    expect(told).toMatch(/V8 code cache for ESM .*late-.*\.mjs was accepted/);
  });

  it('is loaded with TPF_PRIME_ONLY=1 when the cache is filled', async () => {
    const source = `if (process.env.TPF_PRIME_ONLY !== '1') throw new Error('TRON_NODE_URL is not set');
      export const handler = async () => 1;`;
    await writeFunction('echo', { 'handler.ts': source });
    await build();
    expect(existsSync(join(root, 'dist/echo/.compile-cache'))).toBe(true);
    await writeFunction('echo', { 'handler.ts': `throw new Error('TRON_NODE_URL is not set');` });
    await expect(build()).rejects.toThrow('TRON_NODE_URL is not set');
  });
});

describe('the build', () => {
  it('prints what each function weighs, and what of', async () => {
    await writeFunction('echo', ECHO);
    const [size] = await build();
    const [handler, ...chunks] = [
      'handler.mjs',
      ...(await readdir(join(root, 'dist/echo/chunks'))).map((file) => `chunks/${file}`),
    ]
      .filter((file) => file.endsWith('.mjs'))
      .map((file) => stat(join(root, 'dist/echo', file)));
    const total = (await Promise.all([handler, ...chunks])).reduce((sum, file) => sum + (file?.size ?? 0), 0);
    expect((size?.coldBytes ?? 0) + (size?.lazyBytes ?? 0)).toBe(total);
    expect(size?.lazyBytes).toBeGreaterThan(0);
    expect(lines.join('\n')).toMatch(/^function +cold start +on demand +gzip +budget\necho +\d+ kB/);
    expect(lines.join('\n')).toMatch(/^echo: yaml \d+ kB/m);
  });

  it('fails over the budget, and leaves the bundle before in its place', async () => {
    await writeFunction('echo', { 'handler.ts': `export const handler = async () => 1;` });
    await build();
    await writeFunction('echo', ECHO);
    await expect(build({ functions: { echo: { sizeBudget: 10_000 } } })).rejects.toThrow(
      /^echo weighs \d+ kB, its budget is 10 kB/,
    );
    expect(await load('console.log(await bundle.handler())')).toBe('1');
    expect(await readdir(join(root, 'dist'))).toEqual(['echo']);
  });

  it('fails where a bundle carries a package that it must not need, also in a chunk', async () => {
    await writeFunction('echo', {
      'handler.ts': `export const handler = async () => (await import('./late.ts')).late;`,
      'late.ts': `export { parse as late } from 'yaml';`,
    });
    await expect(
      build({ functions: { echo: { sizeBudget: 1_000_000, forbidden: ['yaml'] } } }),
    ).rejects.toThrow('echo contains yaml, which it must not need');
  });

  it('forbids tronweb where nothing is signed', () => {
    for (const name of ['health', 'stats']) expect(FUNCTIONS[name]?.forbidden).toEqual(['tronweb', 'ethers']);
  });

  it('does nothing where nothing has changed, and builds again when a source has', async () => {
    await writeFunction('echo', ECHO);
    expect((await build()).map(({ isFresh }) => isFresh)).toEqual([true]);
    expect((await build()).map(({ isFresh }) => isFresh)).toEqual([false]);
    expect((await build({ force: true })).map(({ isFresh }) => isFresh)).toEqual([true]);
    await writeFunction('echo', { 'late.ts': `export const late = async () => 'changed';` });
    expect((await build()).map(({ isFresh }) => isFresh)).toEqual([true]);
    expect(
      (await build({ functions: { echo: { sizeBudget: 900_000 } } })).map(({ isFresh }) => isFresh),
    ).toEqual([true]);
  });

  it('names the functions that there are when asked for another', async () => {
    await expect(build({ names: ['pya'] })).rejects.toThrow('there is no function pya; there are echo');
  });
});
