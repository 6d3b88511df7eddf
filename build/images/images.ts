/** The images of the planes: what each is made of and what it starts. */
import { LAUNCHER_CLASS, LAUNCHER_JVM_FLAGS } from '../../deploy/local/database/build-launcher.ts';
import type { ImageSettings } from './archive.ts';
import { CA_BUNDLE, KEEPER_PATH } from './base-layer.ts';
import { TASK_CACHE_DIR, TASK_DIR } from './function-layer.ts';
import { CLASS_PATH, DATABASE_FILE, javaPath } from './java-layer.ts';
import { RUNTIME_DIR } from './lambda-layer.ts';
import { NODE_PATH } from './node-layer.ts';
import { TOR_CONFIG, TOR_DEFAULTS, TOR_PATH } from './tor-layer.ts';

/** `function:NAME` is made from `functions/NAME`, `program:NAME:ENTRY` from that main module. */
export type LayerName =
  | 'base'
  | 'node'
  | 'lambda'
  | 'tor'
  | 'tor-relay'
  | 'java'
  | 'database'
  | `function:${string}`
  | `program:${string}:${string}`;

export type ImageDefinition = {
  readonly name: string;
  readonly description: string;
  readonly layers: readonly LayerName[];
  readonly settings: ImageSettings;
  /** What the service writes to, besides what is mounted. */
  readonly dataFolders?: readonly string[];
  readonly isFunction?: boolean;
};

const ENVIRONMENT = { PATH: '/usr/local/bin:/nodejs/bin:/usr/bin', SSL_CERT_FILE: CA_BUNDLE };
const NODE_ENVIRONMENT = { ...ENVIRONMENT, NODE_ENV: 'production' };

/** As Lambda runs a function: under RIE and on AWS alike, but the planes put RIE before it. */
function functionImage(name: string, description: string): ImageDefinition {
  return {
    name,
    description,
    layers: ['base', 'node', 'lambda', `function:${name}`],
    settings: {
      entrypoint: [NODE_PATH, `${RUNTIME_DIR}/index.mjs`],
      command: ['handler.handler'],
      workingDir: TASK_DIR,
      environment: {
        ...NODE_ENVIRONMENT,
        LAMBDA_TASK_ROOT: TASK_DIR,
        LAMBDA_RUNTIME_DIR: RUNTIME_DIR,
        NODE_COMPILE_CACHE: TASK_CACHE_DIR,
        TZ: ':UTC',
      },
      ports: [8080],
    },
    isFunction: true,
  };
}

interface Program {
  readonly name: string;
  readonly entry: string;
}

/** @param others what can be started in it besides, by another entrypoint */
function programImage(
  name: string,
  description: string,
  program: Program,
  settings: Partial<ImageSettings> = {},
  others: readonly Program[] = [],
): ImageDefinition {
  return {
    name,
    description,
    layers: [
      'base',
      'node',
      ...[program, ...others].map(({ name, entry }) => `program:${name}:${entry}` as const),
    ],
    settings: {
      entrypoint: [NODE_PATH, `/app/${program.name}.mjs`],
      workingDir: '/app',
      environment: NODE_ENVIRONMENT,
      ...settings,
    },
  };
}

export const IMAGES: readonly ImageDefinition[] = [
  functionImage('pay', 'Takes payments, quotes and rulings, and pays'),
  functionImage('settle', 'Drives unfinished payments to their end'),
  functionImage('health', 'Tells how database, nodes, Tor and wallet are'),
  functionImage('stats', 'Counts payments and limits, for people and for Prometheus'),
  programImage(
    'beta-sidecar',
    'The only door between the ops plane and the functions',
    { name: 'sidecar', entry: 'deploy/sidecar/main.ts' },
    { ports: [8080, 8090] },
  ),
  programImage(
    'database-init',
    'Prepares the payments database, as often as it is run; makes backups, puts them back, and re-encrypts',
    { name: 'init', entry: 'deploy/planes/database/init.ts' },
    {},
    [
      { name: 'backup', entry: 'deploy/planes/database/backup.ts' },
      { name: 'restore', entry: 'deploy/planes/database/restore.ts' },
      { name: 'reencrypt', entry: 'deploy/cli/reencrypt.ts' },
    ],
  ),
  programImage('ops-client', 'Calls the functions from the ops plane, for operators, development and tests', {
    name: 'ops-client',
    entry: 'deploy/planes/ops-client.ts',
  }),
  {
    name: 'tor-proxy',
    description: "Debian's tor, configured from outside",
    layers: ['base', 'tor'],
    settings: {
      entrypoint: [TOR_PATH, '--defaults-torrc', TOR_DEFAULTS, '-f', TOR_CONFIG],
      environment: ENVIRONMENT,
      ports: [9050],
    },
    dataFolders: ['/var/lib/tor'],
  },
  {
    name: 'tor-relay',
    description: 'Tor and the maker of its authority keys, for a private network of development and tests',
    layers: ['base', 'tor-relay'],
    settings: {
      entrypoint: [TOR_PATH, '--defaults-torrc', TOR_DEFAULTS, '-f', TOR_CONFIG],
      environment: ENVIRONMENT,
    },
    dataFolders: ['/var/lib/tor'],
  },
  {
    name: 'mongo-stand-in',
    description:
      'mongo-java-server in place of MongoDB, for machines that cannot pull it: one node, no authentication',
    layers: ['base', 'java', 'database'],
    settings: {
      entrypoint: [
        ...[KEEPER_PATH, 'run', '--liveness', 'mongo://127.0.0.1:27017', '--'],
        javaPath(),
        ...LAUNCHER_JVM_FLAGS,
        // It would write to /tmp what only a monitor on the same machine reads.
        '-XX:-UsePerfData',
        '-classpath',
        CLASS_PATH,
        LAUNCHER_CLASS,
      ],
      command: ['--address', '0.0.0.0', '--port', '27017', '--file', DATABASE_FILE],
      environment: ENVIRONMENT,
      ports: [27017],
      labels: { 'com.lucid.stand-in-for': 'mongo:7.0' },
    },
    dataFolders: ['/data/db'],
  },
  {
    ...programImage(
      'devchain',
      'A TRON chain for development and tests; its keys are known to everyone',
      { name: 'devchain', entry: 'deploy/devchain/main.ts' },
      {
        command: ['--host', '0.0.0.0', '--port', '9090', '--faults-port', '9091', '--data', '/data/chain'],
        ports: [9090, 9091],
      },
    ),
    dataFolders: ['/data'],
  },
];
