/** `npm run images`: see `options.ts` for what it takes. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { writeArchive } from './archive.ts';
import { type AssembledImage, assembleImages, type Release, referenceOf } from './assemble.ts';
import { debianArchitecture, nodeArchitecture, relock } from './debian-lock.ts';
import { loadImage, whyNoEngine } from './engine.ts';
import { IMAGES, type ImageDefinition } from './images.ts';
import { relockNode } from './node-layer.ts';
import { type ImagesOptions, readOptions, USAGE } from './options.ts';
import { checkSizes, formatSizes, formatTable } from './sizes.ts';

const run = promisify(execFile);

const ROOT_DIR = resolve(import.meta.dirname, '../..');
/** Beside the archives. */
const NOTES_FILE = 'images.json';

/** One line of `images.json`, which stands beside the archives. Paths are relative to it. */
type ImageRecord = {
  readonly name: string;
  readonly reference: string;
  readonly id: string;
  readonly archive: string;
  readonly archiveSha256: string;
  readonly billOfMaterials: string;
  readonly layers: readonly { readonly title: string; readonly id: string; readonly bytes: number }[];
};

async function main(): Promise<void> {
  const manifest = JSON.parse(await readFile(join(ROOT_DIR, 'package.json'), 'utf8')) as { version: string };
  const options = readOptions(process.argv.slice(2), process.env, {
    version: manifest.version,
    outDir: join(ROOT_DIR, 'dist/images'),
    known: IMAGES.map(({ name }) => name),
  });
  const chosen = IMAGES.filter(({ name }) => options.names.length === 0 || options.names.includes(name));
  switch (options.action) {
    case 'help':
      process.stdout.write(USAGE);
      return;
    case 'list':
      console.log(listImages(chosen, await readRelease(options)));
      return;
    case 'relock':
      await relock(options.architecture ?? debianArchitecture(), console.log);
      await relockNode(nodeArchitecture(options.architecture ?? debianArchitecture()));
      return;
    case 'load-only':
      console.log(await loadMade(chosen, options));
      return;
    case 'build':
      await buildImages(chosen, options);
  }
}

async function buildImages(chosen: readonly ImageDefinition[], options: ImagesOptions): Promise<void> {
  const startedMs = performance.now();
  const release = await readRelease(options);
  const images: AssembledImage[] = [];
  for await (const image of assembleImages(chosen, release, { ...options, log: console.error })) {
    images.push(image);
  }
  console.log(formatSizes(images));
  const faults = checkSizes(images);
  if (faults.length > 0) throw new Error(faults.join('\n'));

  await mkdir(options.outDir, { recursive: true });
  const records: ImageRecord[] = [];
  for (const image of images) records.push(await writeImage(image, release, options.outDir));
  await noteImages(records, options.outDir);
  console.log(
    `\n${formatTable(records.map(({ reference, id, billOfMaterials }) => [reference, id, billOfMaterials]))}`,
  );
  console.log(`\nmade in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  const reason = options.load ? await whyNoEngine() : 'not asked to';
  console.log(
    reason === undefined
      ? await loadImages(records, options)
      : `not loaded into an engine (${reason}); docker load takes each of ${archivesIn(options)}`,
  );
}

async function writeImage(image: AssembledImage, { version }: Release, outDir: string): Promise<ImageRecord> {
  const archive = `${image.name}-${version}.tar`;
  const billOfMaterials = `${image.name}-${version}.cdx.json`;
  const archiveSha256 = await writeArchive(image, join(outDir, archive));
  await writeFile(join(outDir, billOfMaterials), image.bill);
  return {
    name: image.name,
    reference: image.reference,
    id: image.id,
    archive,
    archiveSha256,
    billOfMaterials,
    layers: image.layers.map(({ layer, id, archive }) => ({ title: layer.title, id, bytes: archive.length })),
  };
}

/** What was made before under other names stays known. */
async function noteImages(records: readonly ImageRecord[], outDir: string): Promise<void> {
  const before = await readNotes(outDir);
  const byReference = new Map([...before, ...records].map((record) => [record.reference, record]));
  await writeFile(join(outDir, NOTES_FILE), `${JSON.stringify([...byReference.values()], undefined, 2)}\n`);
}

async function readNotes(outDir: string): Promise<readonly ImageRecord[]> {
  return JSON.parse(await readFile(join(outDir, NOTES_FILE), 'utf8').catch(() => '[]')) as ImageRecord[];
}

/** @throws Error with one line where one of them was not made yet, or no engine answers. */
async function loadMade(chosen: readonly ImageDefinition[], options: ImagesOptions): Promise<string> {
  const made = await readNotes(options.outDir);
  const records = chosen.map(({ name }) => {
    const reference = referenceOf(options, name);
    const record = made.find((one) => one.reference === reference);
    if (record === undefined) throw new Error(`${reference} was not made yet: npm run images -- ${name}`);
    return record;
  });
  const reason = await whyNoEngine();
  if (reason !== undefined) throw new Error(`not loaded into an engine: ${reason}`);
  return loadImages(records, options);
}

/** @returns one line that says where the images are now. */
async function loadImages(records: readonly ImageRecord[], options: ImagesOptions): Promise<string> {
  let loaded = 0;
  for (const { reference, id, archive } of records) {
    if (await loadImage(reference, id, join(options.outDir, archive))) loaded += 1;
  }
  return `${loaded} loaded into the engine, ${records.length - loaded} were there; the archives are ${archivesIn(options)}`;
}

function archivesIn({ outDir }: ImagesOptions): string {
  return join(relative(process.cwd(), outDir) || '.', '*.tar');
}

async function readRelease({ repository, version }: ImagesOptions): Promise<Release> {
  const git = async (...args: string[]): Promise<string> =>
    await run('git', args, { cwd: ROOT_DIR }).then(
      ({ stdout }) => stdout.trim(),
      () => '',
    );
  const commit = await git('rev-parse', 'HEAD');
  const isChanged = (await git('status', '--porcelain')) !== '';
  const epochSeconds = Number(process.env.SOURCE_DATE_EPOCH ?? (await git('log', '-1', '--format=%ct')));
  return {
    repository,
    version,
    revision: commit === '' ? 'unknown' : `${commit}${isChanged ? '-changed' : ''}`,
    createdAt: new Date(epochSeconds * 1000),
  };
}

function listImages(definitions: readonly ImageDefinition[], release: Release): string {
  const rows = definitions.map(({ name, description, settings }) => [
    referenceOf(release, name),
    description,
    [...settings.entrypoint, ...(settings.command ?? [])].join(' '),
  ]);
  return rows.map((row) => row.join('\n    ')).join('\n');
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
