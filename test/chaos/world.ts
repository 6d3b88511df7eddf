import { closeSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import type { StackAccess } from '../../deploy/cli/running-stack.ts';
import { devAccounts } from '../../deploy/devchain/accounts.ts';
import { accountOf } from '../../deploy/local/accounts.ts';
import {
  AUTH_AUDIENCE,
  composeEnvironment,
  FUNCTION_NEEDS,
  MONGO_DATABASE,
  type NetworkFacts,
} from '../../deploy/local/environment.ts';
import { inspectNode, untilSolidNow } from '../../deploy/local/network.ts';
import type { RunningPart } from '../../deploy/local/part.ts';
import { PartLog } from '../../deploy/local/part-log.ts';
import { chainPart, databasePart, sidecarPart } from '../../deploy/local/parts.ts';
import { findFreePort } from '../../deploy/local/ports.ts';
import { signal } from '../../deploy/local/processes.ts';
import { ensureDevelopmentSecrets, putSecret } from '../../deploy/local/secrets.ts';
import type { PartSpec } from '../../deploy/local/supervisor.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import type { Random } from '../support/random.ts';
import type { Aims } from './aims.ts';
import { type Bundles, CHAOS_FUNCTIONS, type ChaosFunction } from './bundles.ts';
import { type Death, Fleet } from './fleet.ts';
import { LyingNodes } from './lying-nodes.ts';
import { markedEnvironment } from './marked-processes.ts';
import type { OtherNode } from './options.ts';

/** Where money moves, and what it is called there. */
export interface ChaosNetwork extends NetworkFacts {
  /** Undefined where the chain is not ours to break. */
  readonly faultsUrl: string | undefined;
}

export interface WorldOptions {
  readonly folder: string;
  readonly bundles: Bundles;
  /** Instances of pay; of settle there are a quarter as many, at least one. */
  readonly instances: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly otherNode: OtherNode | undefined;
  readonly random: Random;
  readonly aims: Aims;
  /** Decides what nodes between the functions and the chain deny; undefined where the chain is asked itself. */
  readonly lies: Random | undefined;
  readonly onDeath: (death: Death) => void;
}

/** Parts that chaos kills and brings back, each with the port and the data that it had. */
export type Victim = 'database' | 'chain' | 'sidecar';

const SETTLE_INTERVAL_MS = 200;
const BLOCK_SECONDS = 0.3;
const PORTS_AN_INSTANCE = 5;
const CHAIN_PATIENCE_MS = 60_000;
/** Of all worlds of a run: an instance's port is free for others to find while nobody lives there. */
const TAKEN_PORTS = new Set<number>();

/** Everything that a round runs on: real processes, on ports and folders of their own. */
export class World {
  readonly network: ChaosNetwork;
  readonly mongo: MongoClient;
  readonly access: StackAccess;
  readonly lyingNodes: LyingNodes | undefined;
  readonly #denyFile: string;
  readonly #logs: PartLog[];
  readonly #specs: Map<Victim, PartSpec>;
  readonly #parts: Map<Victim, RunningPart>;
  readonly #fleets: Fleet[];
  readonly #logFd: number;

  private constructor(parts: {
    readonly network: ChaosNetwork;
    readonly mongo: MongoClient;
    readonly access: StackAccess;
    readonly lyingNodes: LyingNodes | undefined;
    readonly denyFile: string;
    readonly logs: PartLog[];
    readonly specs: Map<Victim, PartSpec>;
    readonly parts: Map<Victim, RunningPart>;
    readonly fleets: Fleet[];
    readonly logFd: number;
  }) {
    this.network = parts.network;
    this.mongo = parts.mongo;
    this.access = parts.access;
    this.lyingNodes = parts.lyingNodes;
    this.#denyFile = parts.denyFile;
    this.#logs = parts.logs;
    this.#specs = parts.specs;
    this.#parts = parts.parts;
    this.#fleets = parts.fleets;
    this.#logFd = parts.logFd;
  }

  /** @throws Error where a part does not start; what did start ends with the run. */
  static async start(options: WorldOptions): Promise<World> {
    const { folder, otherNode } = options;
    mkdirSync(folder, { recursive: true });
    const base = markedEnvironment();
    const taken = TAKEN_PORTS;
    const logs: PartLog[] = [];
    const openLog = (name: string): PartLog => {
      const log = new PartLog(join(folder, 'logs', `${name}.log`));
      logs.push(log);
      return log;
    };
    const specs = new Map<Victim, PartSpec>();
    const parts = new Map<Victim, RunningPart>();
    const start = async <Part extends RunningPart>(name: Victim, spec: PartSpec<Part>): Promise<Part> => {
      const part = await spec.start();
      specs.set(name, spec);
      parts.set(name, part);
      return part;
    };
    const secretsFolder = join(folder, 'secrets');
    const secrets = ensureDevelopmentSecrets(secretsFolder);
    const [database, network] = await Promise.all([
      start(
        'database',
        databasePart(openLog('database'), {
          dataDir: join(folder, 'database'),
          port: await findFreePort(taken),
          progress: () => {},
        }),
      ),
      otherNode === undefined
        ? startChain({
            secretsFolder,
            taken,
            start,
            log: openLog('chain'),
            dataDir: join(folder, 'chain'),
            base,
          })
        : inspectNode({ kind: 'node', torProxy: undefined, ...otherNode }, false).then((facts) => ({
            ...facts,
            faultsUrl: undefined,
          })),
    ]);
    const lyingNodes =
      options.lies === undefined
        ? undefined
        : await LyingNodes.start({
            nodeUrl: network.nodeUrl,
            ports: [await findFreePort(taken), await findFreePort(taken)],
            random: options.lies,
          });
    const configDir = join(folder, 'config');
    mkdirSync(configDir, { recursive: true });
    const denyFile = join(configDir, 'denied-recipients');
    writeFileSync(denyFile, '');
    const [nodeUrl, ...fallbackUrls] = lyingNodes?.urls ?? [network.nodeUrl];
    const environmentOf = (name: ChaosFunction) =>
      composeEnvironment(name, {
        ...network,
        nodeUrl: nodeUrl ?? network.nodeUrl,
        lucidEnv: 'test',
        configDir,
        secrets,
        mongoUrl: database.url,
        settings: {
          ...options.settings,
          RECIPIENT_DENY_FILE: denyFile,
          ...(fallbackUrls.length === 0 ? {} : { TRON_FALLBACK_NODE_URLS: fallbackUrls.join() }),
        },
      });
    for (const name of CHAOS_FUNCTIONS) readConfig(environmentOf(name), { needs: FUNCTION_NEEDS[name] });

    const sizes = { pay: options.instances, settle: Math.max(1, Math.floor(options.instances / 4)) };
    const ports = { pay: [] as number[], settle: [] as number[] };
    for (const name of CHAOS_FUNCTIONS) {
      while (ports[name].length < sizes[name] * PORTS_AN_INSTANCE)
        ports[name].push(await findFreePort(taken));
    }
    const servicePort = await findFreePort(taken);
    // Nobody listens where health and stats would be: chaos asks the chain and the database itself.
    const absent = { health: [await findFreePort(taken)], stats: [await findFreePort(taken)] };
    await start(
      'sidecar',
      sidecarPart(openLog('sidecar'), {
        port: servicePort,
        opsPort: await findFreePort(taken),
        instances: Object.entries({ ...ports, ...absent }).flatMap(([name, all]) =>
          all.map((port, index) => ({
            part: `${name}-${index}`,
            function: name as ChaosFunction,
            port,
            runtimePort: 0,
          })),
        ),
        settleIntervalMs: SETTLE_INTERVAL_MS,
        stateDir: join(folder, 'sidecar'),
        env: base,
      }),
    );
    const logFd = openSync(join(folder, 'logs', 'functions.log'), 'a');
    const fleets = CHAOS_FUNCTIONS.map(
      (name) =>
        new Fleet({
          function: name,
          size: sizes[name],
          ports: ports[name],
          bundles: options.bundles,
          environment: { ...base, ...environmentOf(name) },
          logFd,
          random: options.random,
          aims: options.aims,
          onDeath: options.onDeath,
        }),
    );
    const mongo = new MongoClient(database.url, { serverSelectionTimeoutMS: 5_000, useBigInt64: true });
    return new World({
      network,
      mongo,
      access: {
        url: `http://127.0.0.1:${servicePort}`,
        audience: AUTH_AUDIENCE,
        callerSecretFiles: secrets.callers,
      },
      lyingNodes,
      denyFile,
      logs,
      specs,
      parts,
      fleets,
      logFd,
    });
  }

  /** The payments' database, as the functions see it. */
  get database() {
    return this.mongo.db(MONGO_DATABASE);
  }

  /** Kills a part by SIGKILL, leaves it dead for a while, and starts it again. */
  async killAndRestart(victim: Victim, deadForMs: number): Promise<void> {
    const part = this.#parts.get(victim);
    const spec = this.#specs.get(victim);
    if (part?.pid === undefined || spec === undefined) return;
    process.kill(part.pid, 'SIGKILL');
    await part.exited;
    await sleep(deadForMs);
    this.#parts.set(victim, await spec.start());
  }

  /** Puts these recipients, and nobody else, on the operator's list of those who are not paid. */
  denyRecipients(recipients: readonly string[]): void {
    // Replaced whole: a list that is read half would stop all payments.
    writeFileSync(`${this.#denyFile}.next`, recipients.map((recipient) => `${recipient}\n`).join(''));
    renameSync(`${this.#denyFile}.next`, this.#denyFile);
  }

  /** No process dies from now on. */
  calm(): void {
    for (const fleet of this.#fleets) fleet.calm();
  }

  /** Ends every process of the world, whatever state it is in. */
  async stop(): Promise<void> {
    await Promise.all(this.#fleets.map((fleet) => fleet.stop()));
    this.lyingNodes?.stop();
    await this.mongo.close().catch(() => {});
    for (const { pid, exited } of this.#parts.values()) {
      if (pid === undefined) continue;
      signal(pid, 'SIGKILL');
      await exited;
    }
    for (const log of this.#logs) log.close();
    closeSync(this.#logFd);
  }
}

async function startChain(options: {
  readonly secretsFolder: string;
  readonly taken: Set<number>;
  readonly start: <Part extends RunningPart>(name: Victim, spec: PartSpec<Part>) => Promise<Part>;
  readonly log: PartLog;
  readonly dataDir: string;
  readonly base: Readonly<Record<string, string>>;
}): Promise<ChaosNetwork> {
  const { secretsFolder, taken, start, log, dataDir, base } = options;
  const seed = 'chaos';
  const part = await start(
    'chain',
    chainPart(log, {
      chain: {
        kind: 'development',
        intervalSeconds: BLOCK_SECONDS,
        solidLag: 2,
        seed,
        port: await findFreePort(taken),
        faultsPort: await findFreePort(taken),
      },
      dataDir,
      env: base,
    }),
  );
  const { url, faultsUrl, genesisBlockId, usdtAddress } = part.ready;
  await untilSolidNow(url, AbortSignal.timeout(CHAIN_PATIENCE_MS));
  const wallet = accountOf(devAccounts(seed)[0]?.privateKey ?? '');
  return {
    network: 'private',
    nodeUrl: url,
    genesisBlockId,
    usdtAddress,
    walletAddress: wallet.address,
    walletKeyFile: putSecret(secretsFolder, 'tron_private_key', wallet.privateKey),
    torProxy: undefined,
    faultsUrl,
  };
}
