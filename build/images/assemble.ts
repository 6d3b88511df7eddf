/** Puts images together from their definitions; each layer is made once, whoever shares it. */
import { type ImageArchive, type PackedLayer, packImage, packLayer } from './archive.ts';
import { makeBaseLayer } from './base-layer.ts';
import { debianArchitecture } from './debian-lock.ts';
import { type FileTree, mergeTrees, NONROOT } from './file-tree.ts';
import { makeFunctionLayer } from './function-layer.ts';
import type { ImageDefinition, LayerName } from './images.ts';
import { makeDatabaseLayer, makeJavaLayer } from './java-layer.ts';
import { makeLambdaLayer } from './lambda-layer.ts';
import type { Layer } from './layer.ts';
import { makeNodeLayer } from './node-layer.ts';
import { makeProgramLayer } from './program-layer.ts';
import { checkImage } from './rules.ts';
import { writeBill } from './sbom.ts';
import { KEY_MAKER_PATH, makeTorLayer, TOR_PATH } from './tor-layer.ts';

/** What all images of one build have in common. */
export type Release = {
  /** `pickme/lucid`, say. */
  readonly repository: string;
  readonly version: string;
  /** The commit that it is made from. */
  readonly revision: string;
  /** That commit's time, not the build's: the same sources give the same image. */
  readonly createdAt: Date;
};

export type AssembledImage = ImageArchive & {
  readonly name: string;
  readonly reference: string;
  readonly layers: readonly PackedLayer[];
  /** As a container sees it. */
  readonly tree: FileTree;
  readonly isFunction: boolean;
  /** CycloneDX, as text. */
  readonly bill: string;
};

export type AssembleOptions = {
  readonly withCompileCache: boolean;
  readonly log: (line: string) => void;
};

export function referenceOf(
  { repository, version }: Pick<Release, 'repository' | 'version'>,
  name: string,
): string {
  return `${repository}:${name}-${version}`;
}

/** @throws Error that names every file by which an image must not be shipped. */
export async function* assembleImages(
  definitions: readonly ImageDefinition[],
  release: Release,
  options: AssembleOptions,
): AsyncGenerator<AssembledImage> {
  const made = new Map<LayerName, Promise<Layer>>();
  const layerOf = (name: LayerName): Promise<Layer> => {
    const layer = made.get(name) ?? makeLayer(name, () => layerOf('base'), options);
    made.set(name, layer);
    return layer;
  };
  const packed = new Map<Layer, PackedLayer>();
  for (const definition of definitions) {
    const layers = await Promise.all(definition.layers.map(layerOf));
    const top = layers.at(-1);
    // The top layer is the image's own, so that no other gets its folders.
    for (const folder of definition.dataFolders ?? []) top?.tree.addFolder(folder, 0o700, NONROOT);
    for (const layer of layers) if (!packed.has(layer)) packed.set(layer, packLayer(layer));
    yield assemble(
      definition,
      release,
      layers.flatMap((layer) => packed.get(layer) ?? []),
    );
  }
}

function assemble(
  { name, description, settings, dataFolders = [], isFunction = false }: ImageDefinition,
  release: Release,
  layers: readonly PackedLayer[],
): AssembledImage {
  const tree = mergeTrees(layers.map(({ layer }) => layer.tree));
  const faults = checkImage(tree, dataFolders);
  if (faults.length > 0) throw new Error(faults.map((fault) => `${name}: ${fault}`).join('\n'));

  const reference = referenceOf(release, name);
  const { version, revision, createdAt } = release;
  const labels = {
    'org.opencontainers.image.title': name,
    'org.opencontainers.image.description': description,
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.revision': revision,
    'org.opencontainers.image.created': createdAt.toISOString(),
    'org.opencontainers.image.base.name': 'scratch',
    ...settings.labels,
  };
  const image = packImage({
    reference,
    layers,
    settings: { ...settings, labels },
    architecture: debianArchitecture(),
    user: `${NONROOT.uid}:${NONROOT.gid}`,
    createdAt,
  });
  const components = layers.flatMap(({ layer }) => layer.components);
  const bill = writeBill({ image: name, version, reference, createdAt, components });
  return { ...image, name, reference, layers, tree, isFunction, bill };
}

async function makeLayer(
  name: LayerName,
  base: () => Promise<Layer>,
  { withCompileCache, log }: AssembleOptions,
): Promise<Layer> {
  const [kind, subject = '', entry = ''] = name.split(':');
  switch (kind) {
    case 'base':
      return makeBaseLayer();
    case 'node':
      return makeNodeLayer();
    case 'lambda':
      return makeLambdaLayer(log);
    case 'tor':
      return makeTorLayer((await base()).tree, [TOR_PATH]);
    case 'tor-relay':
      return makeTorLayer((await base()).tree, [TOR_PATH, KEY_MAKER_PATH]);
    case 'java':
      return makeJavaLayer((await base()).tree);
    case 'database':
      return makeDatabaseLayer(log);
    case 'function':
      return makeFunctionLayer(subject, { withCompileCache });
    case 'program':
      return makeProgramLayer(subject, entry);
    default:
      throw new Error(`there is no layer ${name}`);
  }
}
