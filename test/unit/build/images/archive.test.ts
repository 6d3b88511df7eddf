import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ImageContent, packImage, packLayer, writeArchive } from '../../../../build/images/archive.ts';
import { FileTree, NONROOT } from '../../../../build/images/file-tree.ts';
import { readTar } from '../../../../build/images/tar.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'image-archive-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

test('an image is the same to the byte, in whatever order its files were added', async () => {
  const one = await writeImage(
    new FileTree().addFile('/app/a.mjs', 'a').addLink('/lib', 'usr/lib').addFolder('/data', 0o700, NONROOT),
  );
  const other = await writeImage(
    new FileTree().addFolder('/data', 0o700, NONROOT).addLink('/lib', 'usr/lib').addFile('/app/a.mjs', 'a'),
  );

  expect(other).toEqual(one);
});

test('the id changes with a byte in a file, with its mode, and with a label', async () => {
  const ids = [
    await writeImage(new FileTree().addFile('/a', 'a')),
    await writeImage(new FileTree().addFile('/a', 'b')),
    await writeImage(new FileTree().addFile('/a', 'a', 0o755)),
    await writeImage(new FileTree().addFile('/a', 'a'), { labels: { version: '2' } }),
  ].map(({ id }) => id);

  expect(new Set(ids).size).toBe(4);
});

test('the manifest names the configuration and every layer, each under its own checksum', async () => {
  const { id, path } = await writeImage(new FileTree().addFile('/a', 'a'));
  const archive = await readTar(Readable.from(await readFile(path)));
  const read = (name: string) => archive.file(`/${name}`)?.content ?? Buffer.alloc(0);

  const [manifest] = JSON.parse(read('manifest.json').toString());
  expect(manifest.RepoTags).toEqual(['pickme/lucid:pay-1']);
  expect(`sha256:${sha256(read(manifest.Config))}`).toBe(id);
  const configuration = JSON.parse(read(manifest.Config).toString());
  expect(configuration.rootfs.diff_ids).toEqual(
    manifest.Layers.map((name: string) => `sha256:${sha256(read(name))}`),
  );
});

test('the configuration carries user, entrypoint, environment and labels, and the commit as its time', async () => {
  const { id, path } = await writeImage(new FileTree(), { labels: { version: '1' } });
  const archive = await readTar(Readable.from(await readFile(path)));

  const configuration = JSON.parse(archive.file(`/${id.slice(7)}.json`)?.content.toString() ?? '');
  expect(configuration).toMatchObject({
    architecture: 'amd64',
    os: 'linux',
    created: '2026-01-02T03:04:05.000Z',
    config: {
      User: '65532:65532',
      Entrypoint: ['/nodejs/bin/node'],
      Cmd: ['handler.handler'],
      Env: ['TZ=:UTC'],
      Labels: { version: '1' },
      ExposedPorts: { '8080/tcp': {} },
    },
  });
});

async function writeImage(
  tree: FileTree,
  settings: Partial<ImageContent['settings']> = {},
): Promise<{ id: string; sha256: string; path: string }> {
  const image = packImage({
    reference: 'pickme/lucid:pay-1',
    layers: [packLayer({ title: 'a layer', tree, components: [] })],
    settings: {
      entrypoint: ['/nodejs/bin/node'],
      command: ['handler.handler'],
      environment: { TZ: ':UTC' },
      ports: [8080],
      ...settings,
    },
    architecture: 'amd64',
    user: '65532:65532',
    createdAt: new Date('2026-01-02T03:04:05Z'),
  });
  const path = join(folder, 'image.tar');
  return { id: image.id, sha256: await writeArchive(image, path), path };
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
