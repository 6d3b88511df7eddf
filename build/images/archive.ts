/**
 * Container images as `docker load` takes them: a tar of layers, a configuration, and a `manifest.json` that names
 * both. Every engine reads this form; the same layers and settings give the same bytes and the same image id.
 */
import { createHash } from 'node:crypto';
import { open, rename } from 'node:fs/promises';
import { FileTree } from './file-tree.ts';
import type { Layer } from './layer.ts';
import { tarChunks, writeTar } from './tar.ts';

/** What a container of the image is, unless who starts it says otherwise. */
export type ImageSettings = {
  readonly entrypoint: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly workingDir?: string;
  /** TCP ports on which it answers; for people to read. */
  readonly ports?: readonly number[];
  readonly labels?: Readonly<Record<string, string>>;
};

export type PackedLayer = {
  readonly layer: Layer;
  readonly archive: Buffer;
  /** `sha256:…` of the archive. */
  readonly id: string;
};

export type ImageContent = {
  /** `repository:tag`. */
  readonly reference: string;
  /** From the lowest up. */
  readonly layers: readonly PackedLayer[];
  readonly settings: ImageSettings;
  /** Docker's name of the machine: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly user: string;
  readonly createdAt: Date;
};

export type ImageArchive = {
  /** `sha256:…` of the configuration, by which engines know the image. */
  readonly id: string;
  /** What the archive consists of; as a tree, so that images that share layers share their bytes in memory. */
  readonly contents: FileTree;
};

export function packLayer(layer: Layer): PackedLayer {
  const archive = writeTar(layer.tree);
  return { layer, archive, id: digest(archive) };
}

export function packImage(content: ImageContent): ImageArchive {
  const configuration = Buffer.from(JSON.stringify(configurationOf(content)));
  const id = digest(configuration);
  const contents = new FileTree().addFile(`/${bare(id)}.json`, configuration);
  for (const { id, archive } of content.layers) contents.addFile(`/${bare(id)}.tar`, archive);
  const manifest = {
    Config: `${bare(id)}.json`,
    RepoTags: [content.reference],
    Layers: content.layers.map((layer) => `${bare(layer.id)}.tar`),
  };
  contents.addFile('/manifest.json', JSON.stringify([manifest]));
  return { id, contents };
}

/**
 * Writes an image as `docker load` takes it; whole or not at all, for an engine may be loading the old one.
 *
 * @returns the archive's sha256.
 */
export async function writeArchive({ contents }: ImageArchive, path: string): Promise<string> {
  const hash = createHash('sha256');
  const beside = `${path}.new`;
  const file = await open(beside, 'w');
  try {
    for (const chunk of tarChunks(contents)) {
      hash.update(chunk);
      await file.writeFile(chunk);
    }
  } finally {
    await file.close();
  }
  await rename(beside, path);
  return hash.digest('hex');
}

/** The OCI image configuration. */
function configurationOf({ settings, layers, architecture, user, createdAt }: ImageContent): unknown {
  const created = createdAt.toISOString();
  const environment = Object.entries(settings.environment ?? {}).map(([name, value]) => `${name}=${value}`);
  return {
    architecture,
    os: 'linux',
    created,
    config: {
      User: user,
      Env: environment,
      Entrypoint: settings.entrypoint,
      ...(settings.command && { Cmd: settings.command }),
      WorkingDir: settings.workingDir ?? '/',
      ...(settings.ports && {
        ExposedPorts: Object.fromEntries(settings.ports.map((port) => [`${port}/tcp`, {}])),
      }),
      Labels: settings.labels ?? {},
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ id }) => id) },
    history: layers.map(({ layer }) => ({ created, created_by: layer.title })),
  };
}

function digest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function bare(id: string): string {
  return id.slice('sha256:'.length);
}
