import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compileFor } from '../../../../build/images/compile-cache.ts';
import type { FileTree } from '../../../../build/images/file-tree.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'compile-test-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('the cache is the same to the byte, wherever the bundle was built', async () => {
  const one = await compileFor(writeBundle('one'), '/var/task', '/var/task/.compile-cache');
  const other = await compileFor(writeBundle('far/away'), '/var/task', '/var/task/.compile-cache');

  expect(filesOf(one)).toHaveLength(2);
  expect(other.entries()).toEqual(one.entries());
});

test('it holds the paths of the image, and none of the machine that built it', async () => {
  const tree = await compileFor(writeBundle('one'), '/var/task', '/var/task/.compile-cache');

  const text = filesOf(tree)
    .map((path) => tree.file(path)?.content.toString('latin1'))
    .join();
  expect(text).toContain('file:///var/task/');
  expect(text).not.toContain(folder);
});

test("Lambda's own user finds it as well as ours", async () => {
  const tree = await compileFor(writeBundle('one'), '/var/task', '/cache');

  const [ours] = tree
    .entries()
    .flatMap(([path, { type }]) => (/-65532$/.test(path) && type === 'folder' ? [path] : []));
  expect(tree.resolve(ours?.replace(/65532$/, '993') ?? '')).toBe(ours);
});

test('a bundle that cannot be loaded is refused with its reason', async () => {
  const bundle = writeBundle('one');
  writeFileSync(join(bundle, 'handler.mjs'), 'throw new Error("no configuration");');

  await expect(compileFor(bundle, '/var/task', '/cache')).rejects.toThrow('no configuration');
});

function writeBundle(name: string): string {
  const bundle = join(folder, name);
  mkdirSync(join(bundle, 'chunks'), { recursive: true });
  writeFileSync(
    join(bundle, 'handler.mjs'),
    'import { answer } from "./chunks/answer.mjs"; export const handler = () => [answer(), import.meta.url];',
  );
  writeFileSync(
    join(bundle, 'chunks/answer.mjs'),
    'export const answer = () => ({ a: 1, b: [2, "three"] });',
  );
  return bundle;
}

function filesOf(tree: FileTree): string[] {
  return tree.entries().flatMap(([path, { type }]) => (type === 'file' ? [path] : []));
}
