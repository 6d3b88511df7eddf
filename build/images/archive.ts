/**
 * Container images as `docker load` takes them: a tar of layers, a configuration, and a `manifest.json` that names
 * both. Every engine reads this form; the same layers and settings give the same bytes and the same image id.
 */
import { createHash } from 'node:crypto';
import type { Layer } from './layer.ts';
import { tarFiles, writeTar } from './tar.ts';

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
  readonly archive: Buffer;
};

export function packLayer(layer: Layer): PackedLayer {
  const archive = writeTar(layer.tree);
  return { layer, archive, id: digest(archive) };
}

export function packImage(content: ImageContent): ImageArchive {
  const configuration = Buffer.from(JSON.stringify(configurationOf(content)));
  const id = digest(configuration);
  const files = new Map<string, Buffer>([[`/${bare(id)}.json`, configuration]]);
  for (const { id, archive } of content.layers) files.set(`/${bare(id)}.tar`, archive);
  const manifest = [
    {
      Config: `${bare(id)}.json`,
      RepoTags: [content.reference],
      Layers: content.layers.map((layer) => `${bare(layer.id)}.tar`),
    },
  ];
  files.set('/manifest.json', Buffer.from(JSON.stringify(manifest)));
  return { id, archive: tarFiles(files) };
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

export function digest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function bare(id: string): string {
  return id.slice('sha256:'.length);
}
