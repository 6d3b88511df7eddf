/**
 * Where the planes keep what is theirs, and what the compose files are told of it.
 *
 *     secrets/   one file each; made here for development, the operator's own in production
 *     data/      mongo_payments/ beta-sidecar/ tor/, and chain/ in development
 *     logs/      tron-payment/{pay,settle,health,stats}/ beta-sidecar/ tor-proxy/
 *     backups/   of the database, one file each
 *     tor/       development: keys of the private Tor network
 */
import { chownSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Settings } from './settings.ts';

const HERE = import.meta.dirname;
export const DEFAULT_PLANES_DIR = resolve(HERE, '../../.local/planes');

export interface PlanesFolders {
  readonly secrets: string;
  readonly data: string;
  readonly logs: string;
  readonly backups: string;
  readonly tor: string;
}

/** Who the containers run as: the user of the images, or a developer's own number, whose files those are. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const IMAGE_USER: Owner = { uid: 65_532, gid: 65_532 };

export function ownerHere(): Owner {
  const uid = process.getuid?.() ?? 0;
  return uid === 0 ? IMAGE_USER : { uid, gid: process.getgid?.() ?? uid };
}

export function developmentFolders(root: string): PlanesFolders {
  return {
    secrets: join(root, 'secrets'),
    data: join(root, 'data'),
    logs: join(root, 'logs'),
    backups: join(root, 'backups'),
    tor: join(root, 'tor'),
  };
}

/** In production folders are the seed's, or what the operator has set. */
export function productionFolders(settings: Settings): PlanesFolders {
  return {
    secrets: resolve(HERE, settings.LUCID_SECRETS || 'configs/secrets'),
    data: resolve(HERE, settings.LUCID_DATA || '/opt/lucid/data'),
    logs: resolve(HERE, settings.LUCID_LOGS || 'logs'),
    backups: resolve(HERE, settings.LUCID_BACKUPS || '/opt/lucid/backups'),
    tor: '',
  };
}

const WRITTEN_FOLDERS = {
  data: ['mongo_payments', 'beta-sidecar', 'tor', 'chain'],
  logs: [
    'tron-payment/pay',
    'tron-payment/settle',
    'tron-payment/health',
    'tron-payment/stats',
    'beta-sidecar',
    'tor-proxy',
  ],
  backups: ['.'],
} as const;

/** Makes the folders that containers write into; each belongs to their user alone. */
export function makeFolders(folders: PlanesFolders, owner: Owner): void {
  for (const kind of ['data', 'logs', 'backups'] as const) {
    for (const name of WRITTEN_FOLDERS[kind]) {
      const path = join(folders[kind], name);
      mkdirSync(path, { recursive: true, mode: 0o700 });
      own(path, owner);
    }
  }
}

/** Only root may give files away, and only root needs to. */
export function own(path: string, owner: Owner): void {
  if (process.getuid?.() === 0) chownSync(path, owner.uid, owner.gid);
}

/** The variables that say to the compose files where all of it is. */
export function folderVariables(folders: PlanesFolders, owner: Owner): Record<string, string> {
  return {
    LUCID_SECRETS: folders.secrets,
    LUCID_DATA: folders.data,
    LUCID_LOGS: folders.logs,
    LUCID_BACKUPS: folders.backups,
    LUCID_UID: String(owner.uid),
    LUCID_GID: String(owner.gid),
    ...(folders.tor === '' ? {} : { LUCID_TOR: folders.tor }),
  };
}
