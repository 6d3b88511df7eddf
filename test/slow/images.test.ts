/** The images of the planes as they are shipped, file by file. Debian's packages are fetched where the cache has none. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type AssembledImage, assembleImages, type Release } from '../../build/images/assemble.ts';
import { IMAGES } from '../../build/images/images.ts';
import { checkImage, topFolders } from '../../build/images/rules.ts';
import { BUDGET, checkSizes, weigh } from '../../build/images/sizes.ts';

const RELEASE: Release = {
  repository: 'pickme/lucid',
  version: '1.2.3',
  revision: '0123abc',
  createdAt: new Date('2026-01-02T03:04:05Z'),
};

const BASE_FOLDERS = ['/etc', '/home', '/lib', '/lib64', '/root', '/run', '/tmp', '/usr', '/var'];
const NODE_FOLDERS = [...BASE_FOLDERS, '/nodejs'];

/** All that is at the top of an image; what is new there is new for a reason. */
const TOP_FOLDERS: Readonly<Record<string, readonly string[]>> = {
  pay: NODE_FOLDERS,
  settle: NODE_FOLDERS,
  health: NODE_FOLDERS,
  stats: NODE_FOLDERS,
  'beta-sidecar': ['/app', ...NODE_FOLDERS],
  'database-init': ['/app', ...NODE_FOLDERS],
  'ops-client': ['/app', ...NODE_FOLDERS],
  'tor-proxy': BASE_FOLDERS,
  'tor-relay': BASE_FOLDERS,
  'mongo-stand-in': ['/app', '/data', ...BASE_FOLDERS],
  devchain: ['/app', '/data', ...NODE_FOLDERS],
};

/** Every program that can be started in an image, besides what is started. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  pay: ['/nodejs/bin/node', '/usr/local/bin/aws-lambda-rie', '/usr/local/bin/keeper'],
  'beta-sidecar': ['/nodejs/bin/node', '/usr/local/bin/keeper'],
  'tor-proxy': ['/usr/bin/tor', '/usr/local/bin/keeper'],
  'tor-relay': ['/usr/bin/tor', '/usr/bin/tor-gencert', '/usr/local/bin/keeper'],
};

let images: ReadonlyMap<string, AssembledImage>;

beforeAll(async () => {
  images = await assembleAll();
});

describe.each(IMAGES.map(({ name, dataFolders = [] }) => ({ name, dataFolders })))(
  '$name',
  ({ name, dataFolders }) => {
    test('holds nothing that must not be shipped or could be changed by its service, and every library it needs', () => {
      expect(checkImage(imageOf(name).tree, dataFolders)).toEqual([]);
    });

    test('has the folders at its top that it is known to have', () => {
      expect(topFolders(imageOf(name).tree)).toEqual([...(TOP_FOLDERS[name] ?? [])].sort());
    });

    test('has a bill of materials with a version for everything, and a checksum for every Debian package', () => {
      const bill = JSON.parse(imageOf(name).bill) as {
        components: { name: string; version: string; purl: string; hashes?: { content: string }[] }[];
      };

      const debian = bill.components.filter(({ purl }) => purl.startsWith('pkg:deb/'));
      expect(bill.components.filter(({ version }) => version === '')).toEqual([]);
      expect(debian.map((component) => component.name)).toContain('libc6');
      expect(debian.filter(({ hashes }) => !/^[0-9a-f]{64}$/.test(hashes?.[0]?.content ?? ''))).toEqual([]);
    });
  },
);

test.each(Object.entries(PROGRAMS))('%s has these programs and no others', (name, programs) => {
  const isProgram = (path: string) => /\/s?bin\/[^/]+$/.test(path);
  const found = imageOf(name)
    .tree.entries()
    .flatMap(([path, { type }]) => (type !== 'folder' && isProgram(path) ? [path] : []));

  expect(found).toEqual(programs);
});

test('a function holds its bundle, legal notices and compile cache, and nothing else of ours', () => {
  const task = imageOf('pay')
    .tree.entries()
    .flatMap(([path, { type }]) => (path.startsWith('/var/task/') && type === 'file' ? [path] : []));

  expect(task).toContain('/var/task/handler.mjs');
  expect(
    task.filter(
      (path) => !/^\/var\/task\/((chunks\/)?[\w-]+\.mjs(\.LEGAL\.txt)?|\.compile-cache\/.+)$/.test(path),
    ),
  ).toEqual([]);
});

test('sizes are within the budget', () => {
  const functions = [...images.values()].filter(({ isFunction }) => isFunction);

  expect(functions).toHaveLength(4);
  expect(checkSizes([...images.values()])).toEqual([]);
  expect(weigh(functions.flatMap(({ layers }) => layers))).toBeLessThan(BUDGET.functions);
});

test('two builds give the same images', async () => {
  const ids = (all: ReadonlyMap<string, AssembledImage>) => [...all].map(([name, { id }]) => [name, id]);

  expect(ids(await assembleAll())).toEqual(ids(images));
});

async function assembleAll(): Promise<Map<string, AssembledImage>> {
  const assembled = new Map<string, AssembledImage>();
  const options = { withCompileCache: true, log: () => {} };
  for await (const image of assembleImages(IMAGES, RELEASE, options)) assembled.set(image.name, image);
  return assembled;
}

function imageOf(name: string): AssembledImage {
  const image = images.get(name);
  if (image === undefined) throw new Error(`no image ${name} was made`);
  return image;
}
