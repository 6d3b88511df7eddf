/**
 * The stack of one machine: which parts there are, in which order they start, and how all of it ends.
 *
 *     database ─┐
 *     chain ────┼─▶ pay-1 pay-2 settle health stats ─▶ sidecar        (stops from right to left)
 *     bundles ──┘
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureRie, type Rie } from '../../build/rie.ts';
import { buildFunctions } from '../../esbuild.config.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import type { StackAccess } from '../cli/running-stack.ts';
import { devAccounts } from '../devchain/accounts.ts';
import { forgetRun } from '../sidecar/run-mark.ts';
import { accountOf } from './accounts.ts';
import type { Console } from './console.ts';
import {
  AUTH_AUDIENCE,
  composeEnvironment,
  FUNCTION_NAMES,
  FUNCTION_NEEDS,
  type FunctionName,
  type NetworkFacts,
} from './environment.ts';
import { Guard } from './guard.ts';
import { inspectNode, untilSolidNow } from './network.ts';
import type { ChainOptions } from './options.ts';
import { PartLog } from './part-log.ts';
import {
  type BaseEnvironment,
  chainPart,
  databasePart,
  functionPart,
  type InstancePlan,
  sidecarPart,
} from './parts.ts';
import { findFreePort, isPortFree, LOOPBACK, PortBusy } from './ports.ts';
import { endMarked, isOfFolder, isOfStart, type MarkedProcess, STACK_ID_VARIABLE } from './processes.ts';
import { ensureDevelopmentSecrets, putSecret, readProductionSecrets, type SecretFiles } from './secrets.ts';
import {
  lockState,
  pathsOf,
  removeStackFile,
  type StateLock,
  type StatePaths,
  stateDirOfNode,
  wipe,
  writeStackFile,
} from './state.ts';
import { Supervisor, type SupervisorEvent } from './supervisor.ts';

/** Where nobody says otherwise. */
const PAY_INSTANCES = 2;
/** What a killed start left behind has had its chance to end in good order: its guard gave it one. */
const LEFTOVER_GRACE_MS = 2_000;
/** How long a chain may take from its start to a solid head of now, whichever is longer. */
const CHAIN_PATIENCE_MS = 60_000;
const CHAIN_PATIENCE_BLOCKS = 60;

export type StackOptions = {
  readonly stateDir: string;
  readonly port: number;
  readonly opsPort: number;
  readonly chain: ChainOptions;
  readonly fresh: boolean;
  readonly settleIntervalMs: number;
  /** Keeps payments in memory only. For tests. */
  readonly memoryDatabase?: boolean;
  /** Instances of `pay`. */
  readonly payInstances?: number | undefined;
  /** Settings of the functions that the stack does not decide itself, by their keys. */
  readonly settings: Readonly<Record<string, string>>;
  /** Sees every line that a part logs. */
  readonly onLogLine?: (part: string, line: string) => void;
};

/** What runs, for those who use it. */
export type StackInfo = {
  readonly access: StackAccess;
  readonly opsUrl: string;
  /** The development chain's faults endpoint; undefined with another node. */
  readonly faultsUrl: string | undefined;
  readonly facts: NetworkFacts;
  readonly secrets: SecretFiles;
  readonly paths: StatePaths;
};

type Network = Pick<StackInfo, 'facts' | 'faultsUrl'>;
type DevelopmentChain = Extract<ChainOptions, { readonly kind: 'development' }>;

export class LocalStack {
  readonly supervisor: Supervisor;
  readonly #options: StackOptions;
  readonly #console: Console;
  readonly #logs: PartLog[] = [];
  readonly #ports = new Set<number>();
  readonly #unguarded = Promise.withResolvers<Error>();
  #paths: StatePaths;
  #lock: StateLock | undefined;
  #guard: Guard | undefined;
  #ended: Promise<readonly MarkedProcess[]> | undefined;

  constructor(options: StackOptions, console: Console, onEvent: (event: SupervisorEvent) => void) {
    this.#options = options;
    this.#console = console;
    this.#paths = pathsOf(options.stateDir);
    this.supervisor = new Supervisor({ onEvent });
  }

  /** Resolves with the reason when the stack cannot go on: a part keeps dying, or nothing guards it. */
  get failed(): Promise<Error> {
    return Promise.race([this.supervisor.failed, this.#unguarded.promise]);
  }

  /** The process of a part, or of the guard; undefined while there is none. */
  pidOf(part: string): number | undefined {
    return part === 'guard' ? this.#guard?.pid : this.supervisor.pidOf(part);
  }

  /**
   * Brings everything up; resolves when the sidecar answers. Where it rejects, `down` cleans up what there is.
   *
   * @throws StateInUse, PortBusy, PartFailure, or another Error of one line.
   */
  async up(): Promise<StackInfo> {
    const { port, opsPort } = this.#options;
    const isProduction = this.#options.chain.kind === 'node' && process.env.LUCID_ENV === 'production';
    const openNetwork = await this.#chooseNetwork(isProduction);
    const base = await this.#take();
    const secrets = isProduction
      ? readProductionSecrets(process.env)
      : ensureDevelopmentSecrets(this.#paths.secrets);

    const [mongoUrl, network] = await Promise.all([
      this.#startDatabase(),
      openNetwork(base),
      this.#prepareEmulator(),
      this.#buildBundles(),
    ]);

    const environmentOf = (name: FunctionName) =>
      composeEnvironment(name, {
        ...network.facts,
        lucidEnv: isProduction ? 'production' : 'development',
        configDir: this.#paths.config,
        secrets,
        otherEncryptionKeyFiles: process.env.ENCRYPTION_KEY_OTHER_FILES,
        mongoUrl,
        settings: this.#options.settings,
      });
    // An instance reads its configuration at its first invoke only; what is wrong shall stop the start.
    for (const name of FUNCTION_NAMES) readConfig(environmentOf(name), { needs: FUNCTION_NEEDS[name] });

    const instances = await this.#planInstances();
    await this.#console.step(
      'functions',
      () =>
        Promise.all(
          instances.map((plan) =>
            this.supervisor.start(
              functionPart(this.#openLog(plan.part), plan, { ...base, ...environmentOf(plan.function) }),
            ),
          ),
        ),
      () => instances.map(({ part }) => part).join(' '),
    );
    const url = `http://${LOOPBACK}:${port}`;
    // Every instance of an earlier start has ended: none can still be running what its sidecar invoked.
    forgetRun(this.#paths.sidecar);
    await this.#console.step(
      'sidecar',
      () =>
        this.supervisor.start(
          sidecarPart(this.#openLog('sidecar'), {
            port,
            opsPort,
            instances,
            settleIntervalMs: this.#options.settleIntervalMs,
            stateDir: this.#paths.sidecar,
            env: base,
          }),
        ),
      () => url,
    );
    const access = { url, audience: AUTH_AUDIENCE, callerSecretFiles: secrets.callers };
    const opsUrl = `http://${LOOPBACK}:${opsPort}`;
    const { nodeUrl, walletAddress, usdtAddress, genesisBlockId } = network.facts;
    writeStackFile(this.#paths, {
      ...access,
      settleEnvironment: environmentOf('settle'),
      opsUrl,
      nodeUrl,
      ...(network.faultsUrl === undefined ? {} : { faultsUrl: network.faultsUrl }),
      walletAddress,
      usdtAddress,
      genesisBlockId,
    });
    return { access, opsUrl, secrets, paths: this.#paths, ...network };
  }

  /**
   * Drains and ends everything, whatever state it is in: the parts in their order, what escaped them, the guard,
   * and at last the claim on the state folder. Never rejects; calling it again answers the same promise.
   *
   * @returns the processes that are left all the same: none, unless the kernel could not end them.
   */
  down(): Promise<readonly MarkedProcess[]> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  /** Ends everything at once. A `down` under way comes to its end by this. */
  kill(): void {
    this.supervisor.kill();
    if (this.#lock !== undefined) void endMarked(isOfStart(this.#lock.stackId), { graceMs: 0 });
  }

  /** Claims the state folder and the ports; answers what every process of this start has in its environment. */
  async #take(): Promise<BaseEnvironment> {
    const { chain, port, opsPort, fresh } = this.#options;
    this.#lock = lockState(this.#paths);
    const { stackId } = this.#lock;
    const { ended } = await endMarked(isOfFolder(stackId), { graceMs: LEFTOVER_GRACE_MS });
    if (ended.length > 0) {
      const list = ended.map(({ name, pid }) => `${name} ${pid}`).join(', ');
      this.#console.warn(`  an earlier start was killed; ended what it left: ${list}`);
    }
    if (fresh) wipe(this.#paths);
    // Every instance is new, so no invocation of a sidecar that was killed can still run: nothing to wait for.
    rmSync(this.#paths.sidecar, { recursive: true, force: true });
    for (const folder of [this.#paths.config, this.#paths.logs]) mkdirSync(folder, { recursive: true });

    await assertPortFree(port, 'function URLs', '--port');
    await assertPortFree(opsPort, "the sidecar's own", '--ops-port');
    if (chain.kind === 'development') {
      await assertPortFree(chain.port, 'the chain', '--chain-port');
      await assertPortFree(chain.faultsPort, "the chain's faults", '--faults-port');
    }

    this.#guard = new Guard({
      stackId,
      onReplaced: (reason) => this.#console.warn(`guard ${reason}; another one watches now`),
      onLost: (reason) =>
        this.#unguarded.resolve(new Error(`the guard keeps dying (${reason}); nothing would end the parts`)),
    });
    // Tools that are run for a start (Maven, pip, the database) inherit this process's own environment.
    process.env[STACK_ID_VARIABLE] = stackId;
    const { PATH = '', HOME = '' } = process.env;
    return { PATH, HOME, [STACK_ID_VARIABLE]: stackId };
  }

  async #startDatabase(): Promise<string> {
    const { memoryDatabase } = this.#options;
    const { url, description } = await this.#console.step(
      'database',
      async (progress) =>
        this.supervisor.start(
          databasePart(this.#openLog('database'), {
            dataDir: memoryDatabase === true ? undefined : this.#paths.database,
            port: await findFreePort(this.#ports),
            progress,
          }),
        ),
      (database) => (database.kind === 'emulator' ? 'mongo-java-server' : database.kind),
    );
    this.#console.dim(`    ${description}`);
    return url;
  }

  /** Before anything is claimed: which network it is decides on the state folder. Answers how to open it. */
  async #chooseNetwork(isProduction: boolean): Promise<(base: BaseEnvironment) => Promise<Network>> {
    const { chain, stateDir } = this.#options;
    if (chain.kind === 'development') return (base) => this.#startChain(base, chain);
    const facts = await inspectNode(chain, isProduction);
    this.#paths = pathsOf(stateDirOfNode(stateDir, facts.genesisBlockId));
    return async () => ({ facts, faultsUrl: undefined });
  }

  async #startChain(env: BaseEnvironment, chain: DevelopmentChain): Promise<Network> {
    const { ready } = await this.#console.step(
      'chain',
      async () => {
        const part = await this.supervisor.start(
          chainPart(this.#openLog('chain'), { chain, dataDir: this.#paths.chain, env }),
        );
        const patience = Math.max(CHAIN_PATIENCE_MS, CHAIN_PATIENCE_BLOCKS * chain.intervalSeconds * 1_000);
        await untilSolidNow(part.ready.url, AbortSignal.timeout(patience));
        return part;
      },
      (part) => `development chain on ${part.ready.url}, faults on ${part.ready.faultsUrl}`,
    );
    // Well known, like all accounts of a development chain; production refuses its address.
    const wallet = accountOf(devAccounts(chain.seed)[0]?.privateKey ?? '');
    return {
      faultsUrl: ready.faultsUrl,
      facts: {
        network: 'private',
        nodeUrl: ready.url,
        genesisBlockId: ready.genesisBlockId,
        usdtAddress: ready.usdtAddress,
        walletAddress: wallet.address,
        walletKeyFile: putSecret(this.#paths.secrets, 'tron_private_key', wallet.privateKey),
        torProxy: undefined,
      },
    };
  }

  #prepareEmulator(): Promise<Rie> {
    return this.#console.step(
      'emulator',
      (progress) => ensureRie({ log: progress }),
      ({ source }) => `AWS Lambda RIE from ${source}`,
    );
  }

  #buildBundles() {
    return this.#console.step(
      'bundles',
      () => buildFunctions(),
      (sizes) => sizes.map(({ name, coldBytes }) => `${name} ${Math.ceil(coldBytes / 1024)} kB`).join(', '),
    );
  }

  async #planInstances(): Promise<readonly InstancePlan[]> {
    const plans: InstancePlan[] = [];
    const { payInstances = PAY_INSTANCES } = this.#options;
    for (const name of FUNCTION_NAMES) {
      for (let number = 1; number <= (name === 'pay' ? payInstances : 1); number += 1) {
        plans.push({
          part: name === 'pay' ? `pay-${number}` : name,
          function: name,
          port: await findFreePort(this.#ports),
          runtimePort: await findFreePort(this.#ports),
        });
      }
    }
    return plans;
  }

  #openLog(part: string): PartLog {
    const { onLogLine } = this.#options;
    const log = new PartLog(join(this.#paths.logs, `${part}.log`), (line) => onLogLine?.(part, line));
    this.#logs.push(log);
    return log;
  }

  async #end(): Promise<readonly MarkedProcess[]> {
    await this.supervisor.stop();
    for (const log of this.#logs) log.close();
    if (this.#lock === undefined) return [];
    const { survivors } = await endMarked(isOfStart(this.#lock.stackId), { graceMs: LEFTOVER_GRACE_MS });
    await this.#guard?.dismiss();
    removeStackFile(this.#paths);
    this.#lock.release();
    delete process.env[STACK_ID_VARIABLE];
    return survivors;
  }
}

async function assertPortFree(port: number, use: string, flag: string): Promise<void> {
  if (!(await isPortFree(port))) throw new PortBusy(port, use, flag);
}
