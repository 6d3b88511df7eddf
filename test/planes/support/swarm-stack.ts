/**
 * The stack of deploy/swarm on a swarm of one node, for tests: the stand-in database, the development chain behind a
 * private Tor network, and a gateway on the ops plane. No network that anything could leave by.
 */
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PaymentClient } from '../../../deploy/cli/payment-client.ts';
import { authorize, createClient, type StackAccess } from '../../../deploy/cli/running-stack.ts';
import { devAccounts, usdtAddress } from '../../../deploy/devchain/accounts.ts';
import { DEFAULT_SEED } from '../../../deploy/devchain/dev-chain.ts';
import { genesisBlock } from '../../../deploy/devchain/genesis.ts';
import type { LedgerEntry } from '../../../deploy/devchain/ledger.ts';
import { Engine } from '../../../deploy/planes/engine.ts';
import { ensurePrivateTor } from '../../../deploy/planes/private-tor.ts';
import { ensureDevelopmentSecrets, SECRETS } from '../../../deploy/planes/secrets.ts';
import { developmentFolders, folderVariables, makeFolders, ownerHere } from '../../../deploy/planes/state.ts';
import packageJson from '../../../package.json' with { type: 'json' };
import { waitUntil } from '../../support/wait-until.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const STACK = 'lucid-swarm';
/** From where this process reaches the gateway: overlays have no end on the machine itself. */
const DOOR = `${STACK}_door`;
const OUTSIDE = ['devchain', 'tor-relay-1', 'tor-relay-2', 'tor-relay-3'];
const STACK_FILES = ['stack.yaml', 'mongo-stand-in.yaml', 'stack.dev.yaml'];
const NODE = '/nodejs/bin/node';
const ATTACH_PATIENCE_MS = 300_000;
const POLL_MS = 250;
/** Passes connections on to the name by which a gateway knows the service. */
const RELAY = `require('net').createServer((caller) => {
  const service = require('net').connect(8090, 'tron-payment-service');
  caller.pipe(service).pipe(caller);
  caller.on('error', () => service.destroy());
  service.on('error', () => caller.destroy());
}).listen(8090)`;

export interface Task {
  readonly id: string;
  readonly image: string;
  readonly desired: string;
  readonly state: string;
  readonly error: string;
}

export class SwarmStack {
  readonly engine: Engine;
  readonly access: StackAccess;
  readonly client: PaymentClient;

  private constructor(engine: Engine, access: StackAccess) {
    this.engine = engine;
    this.access = access;
    this.client = createClient(access);
  }

  /** Brings all of it up, in a swarm of its own; each service has its tasks running once this resolves. */
  static async start(settings: Readonly<Record<string, string>>): Promise<SwarmStack> {
    refuseOtherEngines();
    const folders = developmentFolders(join(ROOT, '.local/swarm-test'));
    const owner = ownerHere();
    const env = {
      ...folderVariables(folders, owner),
      LUCID_STACK: STACK,
      LUCID_VERSION: packageJson.version,
      TRON_WALLET_ADDRESS: devAccounts(DEFAULT_SEED)[0]?.address ?? '',
      TRON_CONTRACT_ADDRESS: usdtAddress(DEFAULT_SEED),
      TRON_GENESIS_BLOCK_ID: genesisBlock(DEFAULT_SEED).id,
      MONGO_USERNAME: '',
      MONGO_STATS_USERNAME: '',
      ...settings,
    };
    const composeFiles = [
      join(ROOT, 'deploy/planes/compose.yaml'),
      join(ROOT, 'deploy/planes/compose.dev.yaml'),
      join(ROOT, 'deploy/swarm/compose.outside.yaml'),
    ];
    const engine = await Engine.find(composeFiles, { ...env, COMPOSE_PROJECT_NAME: STACK }, console.log);
    ensureDevelopmentSecrets(folders.secrets, owner);
    await ensurePrivateTor(engine, { folder: folders.tor, image: image('tor-relay'), owner });
    makeFolders(folders, owner);

    const address = ['--advertise-addr', '127.0.0.1', '--listen-addr', '127.0.0.1'];
    await engine.docker(['swarm', 'init', ...address]);
    const nodeId = (await engine.docker(['info', '--format', '{{.Swarm.NodeID}}'])).trim();
    await engine.docker(['node', 'update', '--label-add', 'lucid.data=true', nodeId]);
    for (const path of Object.keys(SECRETS)) {
      const name = `lucid_${path.split('/').at(-1)}_1`;
      await engine.docker(['secret', 'create', name, join(folders.secrets, path)]);
    }
    const files = STACK_FILES.flatMap((file) => ['--compose-file', join(ROOT, 'deploy/swarm', file)]);
    await engine.docker(['stack', 'deploy', '--resolve-image', 'never', ...files, STACK], { env });
    await poll(() => isConverged(engine), 400_000);
    await persist(() => engine.compose(['up', '--detach', '--no-deps', ...OUTSIDE]));
    const door = await startGateway(engine);
    const secret = (name: string) => join(folders.secrets, name);
    return new SwarmStack(engine, {
      url: `http://${door}:8090`,
      audience: 'tron-payment-service',
      callerSecretFiles: { gateway: secret('internal_auth_secret'), operator: secret('operator_secret') },
    });
  }

  /** Takes everything down, the swarm itself included. */
  static async stop(): Promise<void> {
    refuseOtherEngines();
    const engine = await Engine.find([], {}, () => {});
    const quietly = (args: readonly string[]) => engine.docker(args).catch(() => '');
    await quietly(['stack', 'rm', STACK]);
    const ours = await quietly([
      'ps',
      '--all',
      '--quiet',
      '--filter',
      `label=com.docker.compose.project=${STACK}`,
    ]);
    await quietly(['rm', '--force', `${STACK}_gateway`, ...ours.split('\n').filter((id) => id !== '')]);
    await poll(async () => (await quietly(['ps', '--quiet', '--filter', `name=${STACK}_`])) === '', 300_000);
    await quietly(['swarm', 'leave', '--force']);
    await quietly(['network', 'rm', DOOR]);
  }

  /** Of a service, those that run and those that ran, newest first. */
  async tasks(service: string): Promise<readonly Task[]> {
    const format = '{{.ID}}\t{{.Image}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}';
    const text = await this.engine.docker([
      'service',
      'ps',
      '--no-trunc',
      '--format',
      format,
      nameOf(service),
    ]);
    return lines(text).map((line) => {
      const [id = '', from = '', desired = '', state = '', error = ''] = line.split('\t');
      return { id, image: from, desired, state: state.split(' ')[0] ?? '', error };
    });
  }

  async running(service: string): Promise<readonly Task[]> {
    const tasks = await this.tasks(service);
    return tasks.filter(({ desired, state }) => desired === 'Running' && state === 'Running');
  }

  /** A container of the service. */
  async container(service: string): Promise<string> {
    const filter = ['--filter', `label=com.docker.swarm.service.name=${nameOf(service)}`];
    const [id] = lines(await this.engine.docker(['ps', '--quiet', '--no-trunc', ...filter]));
    if (id === undefined) throw new Error(`${service} runs in no container`);
    return id;
  }

  /** Asks a swarm to update a service, and does not wait for it. */
  async update(service: string, toImage: string): Promise<void> {
    const flags = ['--detach', '--no-resolve-image', '--image', toImage];
    await this.engine.docker(['service', 'update', ...flags, nameOf(service)]);
  }

  /** `updating`, `completed`, `rollback_completed`, …; empty before the first update. */
  async updateState(service: string): Promise<string> {
    const format = '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}';
    return (await this.engine.docker(['service', 'inspect', '--format', format, nameOf(service)])).trim();
  }

  /** Runs a script within a container, which has no program but Node; answers what it prints. */
  async evaluate(container: string, script: string): Promise<string> {
    return (
      await this.engine.docker(['exec', container, NODE, '--input-type=module', '--eval', script])
    ).trim();
  }

  /** The chain's own record of transfers to an address, asked beside Tor. */
  async transfersTo(address: string): Promise<number> {
    const [chain] = await this.engine.containers('devchain');
    const script = `console.log(await (await fetch('http://127.0.0.1:9091/ledger')).text())`;
    const ledger = JSON.parse(await this.evaluate(chain ?? '', script)) as readonly LedgerEntry[];
    return ledger.filter(({ to }) => to === address).length;
  }

  async get(path: string): Promise<Response> {
    const token = await authorize(this.access, { method: 'GET', path });
    return fetch(`${this.access.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
  }
}

/** The name of an image of ours, by what it is for. */
export function image(name: string, version: string = packageJson.version): string {
  return `${process.env.LUCID_IMAGES || 'pickme/lucid'}:${name}-${version}`;
}

/** Another version of an image: the same one with these files in it. */
export async function deriveImage(
  engine: Engine,
  options: { readonly from: string; readonly to: string; readonly files: Readonly<Record<string, string>> },
): Promise<void> {
  const id = (await engine.docker(['create', options.from])).trim();
  try {
    for (const [path, source] of Object.entries(options.files)) {
      await engine.docker(['cp', source, `${id}:${path}`]);
    }
    await engine.docker(['commit', '--change', `LABEL com.lucid.test=${options.to}`, id, options.to]);
  } finally {
    await engine.docker(['rm', id]);
  }
}

/** An engine may be in a swarm that somebody needs, and these tests end the one that they find. */
function refuseOtherEngines(): void {
  if (process.env.PLANES_INSIDE !== '1') {
    throw new Error(
      'these tests need an engine of their own: npm run test:planes -- test/planes/swarm.test.ts',
    );
  }
}

/** Whether each service has all its tasks running. */
async function isConverged(engine: Engine): Promise<boolean> {
  const text = await engine.docker(['stack', 'services', '--format', '{{.Name}} {{.Replicas}}', STACK]);
  // What makes the database ready has ended by then: none of it runs.
  return lines(text).every((line) => {
    const [, name, running, wanted] = /_(\S+) (\d+)\/(\d+)/.exec(line) ?? [];
    return running === (name === 'database-init' ? '0' : wanted);
  });
}

/** Waits until it is so; each question is a process of its own, so that it is not asked too often. */
export function poll(condition: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  return waitUntil(async () => (await condition()) || (await sleep(POLL_MS, false)), timeoutMs);
}

/** A busy manager may take longer to let a container in than the engine waits for it. */
async function persist(attach: () => Promise<unknown>): Promise<void> {
  const untilMs = performance.now() + ATTACH_PATIENCE_MS;
  for (;;) {
    try {
      await attach();
      return;
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await sleep(POLL_MS);
    }
  }
}

/** @returns where this machine reaches it. */
async function startGateway(engine: Engine): Promise<string> {
  const name = `${STACK}_gateway`;
  await engine.docker(['network', 'create', '--internal', '--subnet', '172.24.0.0/24', DOOR]);
  const rights = ['--network', DOOR, '--user', '65532:65532', '--cap-drop', 'ALL', '--read-only'];
  const command = ['--entrypoint', NODE, image('ops-client'), '--eval', RELAY];
  await engine.docker(['run', '--detach', '--name', name, ...rights, ...command]);
  await persist(() => engine.docker(['network', 'connect', `${STACK}_ops_plane`, name]));
  const format = `{{(index .NetworkSettings.Networks "${DOOR}").IPAddress}}`;
  return (await engine.docker(['inspect', '--format', format, name])).trim();
}

function nameOf(service: string): string {
  return `${STACK}_${service}`;
}

function lines(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '');
}
