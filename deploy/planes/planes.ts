/** The planes as a whole: which files and variables describe them, and how they are brought up and taken down. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import { devAccounts, usdtAddress } from '../devchain/accounts.ts';
import { DEFAULT_SEED } from '../devchain/dev-chain.ts';
import { genesisBlock } from '../devchain/genesis.ts';
import { isPortFree } from '../local/ports.ts';
import { type Container, listContainers, listRunning } from './containers.ts';
import { Engine, hasStartInterval, type RunOptions } from './engine.ts';
import { ensurePrivateTor, introduceRelays } from './private-tor.ts';
import {
  ensureDevelopmentSecrets,
  findRotations,
  judgeProductionSecrets,
  type RotatedSecret,
} from './secrets.ts';
import { readSettings, type Settings } from './settings.ts';
import {
  developmentFolders,
  folderVariables,
  makeFolders,
  type Owner,
  ownerHere,
  type PlanesFolders,
  productionFolders,
} from './state.ts';

const HERE = import.meta.dirname;
const OFFICIAL_MONGO = 'mongo:7.0';
/** A busy machine that makes a private Tor network anew takes minutes; what cannot start fails at once. */
const UP_PATIENCE_SECONDS = 420;
/** As compose.yaml names them. */
const PROJECT = 'lucid-payments';
const DATABASE_VOLUME = 'lucid_mongo_payments_data';
const DEVELOPMENT_FILE = 'compose.dev.yaml';
/** As compose.dev.yaml has them: the function URLs, and the sidecar's own health. */
const PUBLISHED_PORTS = [
  ['LUCID_PORT', 8090],
  ['LUCID_OPS_PORT', 8080],
] as const;

export const FUNCTIONS = ['pay', 'settle', 'health', 'stats'] as const;
export type FunctionName = (typeof FUNCTIONS)[number];

export interface PlanesOptions {
  readonly isProduction: boolean;
  /** Development: where secrets, data and logs are. */
  readonly stateDir: string;
  /** Which images; the version of package.json where nothing else is said. */
  readonly version?: string | undefined;
  /** No door on loopback either. */
  readonly isTest?: boolean | undefined;
  /** The database: the official image, or the stand-in; whichever is there where nothing is said. */
  readonly mongo?: 'official' | 'stand-in' | undefined;
  /** Variables of the compose files, such as a limit, for development and tests. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Why the planes cannot be started as they are asked for: each reason a line. */
export class NotReady extends Error {
  constructor(reasons: readonly string[]) {
    super(reasons.join('\n'));
    this.name = 'NotReady';
  }
}

export class Planes {
  readonly engine: Engine;
  readonly folders: PlanesFolders;
  readonly owner: Owner;
  readonly hasStandIn: boolean;
  /** The secrets that are being changed: what starts now reads a second one of each, too. */
  readonly rotations: readonly RotatedSecret[];
  /** What the operator has set. */
  readonly settings: Settings;
  readonly #options: PlanesOptions;

  private constructor(
    engine: Engine,
    folders: PlanesFolders,
    owner: Owner,
    hasStandIn: boolean,
    rotations: readonly RotatedSecret[],
    settings: Settings,
    options: PlanesOptions,
  ) {
    this.engine = engine;
    this.folders = folders;
    this.owner = owner;
    this.hasStandIn = hasStandIn;
    this.rotations = rotations;
    this.settings = settings;
    this.#options = options;
  }

  /**
   * Finds the engine and says what it shall run; starts nothing.
   * @throws NoEngine; Error with one line where it cannot be used, or the planes of another kind are on it
   */
  static async open(asked: PlanesOptions, log: (line: string) => void): Promise<Planes> {
    const options = asked.isProduction ? asked : { ...asked, ...recall(asked.stateDir), ...definedOf(asked) };
    const settings = readSettings(HERE, process.env);
    const owner = ownerHere();
    const folders = options.isProduction ? productionFolders(settings) : developmentFolders(options.stateDir);
    const bare = await Engine.find([], {}, log);
    await refuseOtherKind(bare, options);
    const hasStandIn = !options.isProduction && (await choosesStandIn(bare, options.mongo, log));
    const variables = {
      ...folderVariables(folders, owner),
      LUCID_VERSION: versionOf(options, settings),
      ...(options.isProduction ? {} : developmentVariables()),
      ...options.settings,
    };
    const rotations = findRotations(folders.secrets);
    const files = filesOf(options, {
      hasStandIn,
      hasStartInterval: hasStartInterval(bare.apiVersion),
      rotations,
    });
    const engine = bare.with(variables, files);
    return new Planes(engine, folders, owner, hasStandIn, rotations, settings, options);
  }

  /** The same planes, of which what is started from now on is of another version. */
  at(version: string): Planes {
    const { engine, folders, owner, hasStandIn, rotations, settings } = this;
    const options = { ...this.#options, version };
    const other = engine.with({ LUCID_VERSION: version });
    return new Planes(other, folders, owner, hasStandIn, rotations, settings, options);
  }

  get isProduction(): boolean {
    return this.#options.isProduction;
  }

  /** Whether a container that starts is asked how it is more often than one that runs. */
  get hasStartInterval(): boolean {
    return hasStartInterval(this.engine.apiVersion);
  }

  /** Of the images that are started from now on. */
  get version(): string {
    return versionOf(this.#options, this.settings);
  }

  /** The name of an image of ours, by what it is for. */
  image(name: string): string {
    return `${this.settings.LUCID_IMAGES || 'pickme/lucid'}:${name}-${this.version}`;
  }

  /** The images that these planes need and the engine does not have. */
  async missingImages(): Promise<readonly string[]> {
    const needed = [
      ...[...FUNCTIONS, 'beta-sidecar', 'tor-proxy', 'database-init', 'ops-client'],
      ...(this.isProduction ? [] : ['devchain', 'tor-relay']),
      ...(this.hasStandIn ? ['mongo-stand-in'] : []),
    ];
    const there = await Promise.all(needed.map((name) => this.engine.hasImage(this.image(name))));
    return needed.filter((_, at) => there[at] === false);
  }

  /** Production: whether all is there that nobody but the operator can make. @throws NotReady */
  judge(): void {
    if (!this.isProduction) return;
    const problems = judgeProductionSecrets(this.folders.secrets, this.owner);
    if (!this.settings.TRON_WALLET_ADDRESS) {
      problems.push(
        `TRON_WALLET_ADDRESS is not set: the address of the wallet that pays, in the environment or in ${join(HERE, '.env')}`,
      );
    }
    if (problems.length > 0) throw new NotReady(problems);
  }

  /**
   * Folders, secrets and keys: development makes what is missing, production names it.
   * @throws NotReady
   */
  async prepare(): Promise<void> {
    const { folders, owner } = this;
    await this.refuseOtherFolders();
    this.judge();
    if (!this.isProduction) {
      await this.#judgePorts();
      ensureDevelopmentSecrets(folders.secrets, owner);
      await ensurePrivateTor(this.engine, { folder: folders.tor, image: this.image('tor-relay'), owner });
    }
    makeFolders(folders, owner);
  }

  /** The door of development is published on loopback, where `npm start` has the same port. @throws NotReady */
  async #judgePorts(): Promise<void> {
    if (this.#options.isTest === true || (await listRunning(this, 'beta-sidecar')).length > 0) return;
    const busy: string[] = [];
    for (const [setting, standard] of PUBLISHED_PORTS) {
      const port = Number(this.settings[setting] || standard);
      if (!(await isPortFree(port)))
        busy.push(`port ${port} is busy: another program listens on it; choose another with ${setting}=PORT`);
    }
    if (busy.length > 0) throw new NotReady(busy);
  }

  /** @returns the sidecar. @throws Error with one line where these planes do not run */
  async requireRunning(): Promise<Container> {
    const [sidecar] = await listRunning(this, 'beta-sidecar');
    if (sidecar === undefined)
      throw new Error(`the planes do not run; start them: ${commandOf(this.#options)}`);
    await this.refuseOtherFolders();
    return sidecar;
  }

  /**
   * An engine keeps the folder of a volume as long as it keeps the volume, whatever the compose files say later.
   * @throws NotReady where the database is in another folder than these planes would have it
   */
  async refuseOtherFolders(): Promise<void> {
    const query = ['volume', 'inspect', '--format', '{{.Options.device}}', DATABASE_VOLUME];
    const there = await this.engine.docker(query).then(
      (text) => text.trim(),
      () => '',
    );
    const asked = join(this.folders.data, 'mongo_payments');
    if (there === '' || there === asked) return;
    throw new NotReady([
      `the database of these planes is in ${there}, and not in ${asked}`,
      `name that folder, or end them first: ${commandOf(this.#options)} down`,
    ]);
  }

  /** Starts everything in the order of its dependencies, and waits until all of it is healthy. */
  async up({ isShown }: { readonly isShown: boolean }): Promise<void> {
    if (!this.isProduction) this.remember();
    const words = [
      'up',
      '--detach',
      '--wait',
      '--wait-timeout',
      String(UP_PATIENCE_SECONDS),
      '--remove-orphans',
    ];
    try {
      await this.engine.compose(words, { isShown });
    } catch (error) {
      const [tor] = await listContainers(this, 'tor-proxy');
      if (this.isProduction || tor?.health !== 'unhealthy') throw error;
      await introduceRelays(this.engine);
      await this.engine.compose(words, { isShown });
    }
  }

  /** Starts the database alone, and makes it ready. */
  async startDatabase(): Promise<void> {
    await this.engine.compose(['up', '--detach', '--wait', 'mongo']);
    await this.runOnce('database-init', []);
  }

  /** Runs a service once, to its end. Without its dependencies: they run, and must not be made anew for it. */
  async runOnce(service: string, words: readonly string[], options: RunOptions = {}): Promise<void> {
    await this.engine.compose(['run', '--rm', '--no-deps', '-T', service, ...words], options);
  }

  /** Development: commands that come later describe the same planes without being told again. */
  remember(): void {
    const { isTest, version } = this.#options;
    const choices: Choices = { isTest, version, mongo: this.hasStandIn ? 'stand-in' : 'official' };
    mkdirSync(this.#options.stateDir, { recursive: true });
    const path = join(this.#options.stateDir, CHOICES_FILE);
    writeFileSync(`${path}.new`, JSON.stringify(choices));
    renameSync(`${path}.new`, path);
  }

  /** Ends everything: the sidecar first, which finishes what is under way. Data, secrets and logs stay. */
  async down(options: { readonly isShown: boolean }): Promise<void> {
    await this.engine.compose(['stop', 'beta-sidecar'], options);
    await this.engine.compose(['down', '--remove-orphans', '--volumes'], options);
  }
}

type Choices = Pick<PlanesOptions, 'isTest' | 'version' | 'mongo'>;
const CHOICES_FILE = 'choices.json';

function recall(stateDir: string): Choices {
  const path = join(stateDir, CHOICES_FILE);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Choices) : {};
}

function definedOf(options: PlanesOptions): PlanesOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

function versionOf(options: PlanesOptions, settings: Settings): string {
  return options.version ?? (settings.LUCID_VERSION || packageJson.version);
}

/** As a person types it, up to what is asked for. */
export function commandOf({ isProduction }: Pick<PlanesOptions, 'isProduction'>): string {
  return `npm run planes --${isProduction ? ' --production' : ''}`;
}

/**
 * Production and development have the same names, so that one would be changed into the other: what pays with the
 * operator's key must not be replaced, scaled or ended by a command that has forgotten `--production`.
 */
async function refuseOtherKind(engine: Engine, { isProduction }: PlanesOptions): Promise<void> {
  const files = await engine.docker([
    ...['ps', '--all', '--filter', `label=com.docker.compose.project=${PROJECT}`],
    ...['--format', '{{.Label "com.docker.compose.project.config_files"}}'],
  ]);
  const isOther = (line: string) => line !== '' && line.includes(DEVELOPMENT_FILE) === isProduction;
  if (!files.split('\n').some(isOther)) return;
  throw new Error(
    isProduction
      ? `the planes of development are on this engine; end them first: ${commandOf({ isProduction: false })} down`
      : `the planes on this engine are production's; for them say ${commandOf({ isProduction: true })} …`,
  );
}

/** The Compose files of such planes, each laid over those before it. */
export function filesOf(
  { isProduction, isTest = false }: Pick<PlanesOptions, 'isProduction' | 'isTest'>,
  found: {
    readonly hasStandIn: boolean;
    readonly hasStartInterval: boolean;
    readonly rotations: readonly RotatedSecret[];
  },
): readonly string[] {
  return [
    'compose.yaml',
    ...(found.hasStartInterval ? ['compose.start-interval.yaml'] : []),
    ...found.rotations.map((name) => `compose.rotate-${name}.yaml`),
    ...(isProduction ? [] : [DEVELOPMENT_FILE]),
    ...(found.hasStandIn ? ['compose.mongo-stand-in.yaml'] : []),
    ...(isTest ? ['compose.test.yaml'] : []),
  ].map((file) => join(HERE, file));
}

/** The chain of the default seed is always the same one: its wallet, its contract, its first block. */
function developmentVariables(): Record<string, string> {
  const [wallet] = devAccounts(DEFAULT_SEED);
  return {
    TRON_WALLET_ADDRESS: wallet?.address ?? '',
    TRON_CONTRACT_ADDRESS: usdtAddress(DEFAULT_SEED),
    TRON_GENESIS_BLOCK_ID: genesisBlock(DEFAULT_SEED).id,
  };
}

async function choosesStandIn(
  engine: Engine,
  asked: PlanesOptions['mongo'],
  log: (line: string) => void,
): Promise<boolean> {
  if (asked !== undefined) return asked === 'stand-in';
  if (await engine.hasImage(OFFICIAL_MONGO)) return false;
  log(`pulling ${OFFICIAL_MONGO}`);
  return engine.docker(['pull', '--quiet', OFFICIAL_MONGO]).then(
    () => false,
    () => true,
  );
}
