/** How each part of the stack is started: the same ports and the same data, the first time and after a death. */
import { join, resolve } from 'node:path';
import { ensureRie } from '../../build/rie.ts';
import { startChildPart } from './child-part.ts';
import { type Database, startDatabase } from './database/start-database.ts';
import type { FunctionName } from './environment.ts';
import type { ChainOptions } from './options.ts';
import type { RunningPart } from './part.ts';
import type { PartLog } from './part-log.ts';
import { LOOPBACK } from './ports.ts';
import { startRieInstance } from './rie-instance.ts';
import type { PartSpec } from './supervisor.ts';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const ACL_POLICY_FILE = join(REPOSITORY, 'deploy/planes/configs/beta-sidecar/wallet_plane.acl');
/** Loading a program's modules is most of its start; the second time they come compiled. */
const COMPILE_CACHE = join(REPOSITORY, '.cache/compile');

/** Also what the sidecar waits for after an unclean end of its own. */
const FUNCTION_TIMEOUT_SECONDS = 30;
const FUNCTION_MEMORY_MB = 512;
const READY_TIMEOUT_MS = 60_000;

const DRAIN_ORDER = { sidecar: 0, function: 1, chain: 2, database: 3 } as const;
const STOP_TIMEOUT_MS = {
  // Invocations under way end first; each of them is bounded by the function's timeout.
  sidecar: (FUNCTION_TIMEOUT_SECONDS + 10) * 1_000,
  function: 5_000,
  chain: 10_000,
  database: 15_000,
} as const;

/** What every child process of ours gets; nothing else of this process's environment reaches it. */
export type BaseEnvironment = Readonly<Record<string, string>>;

export function databasePart(
  log: PartLog,
  options: {
    /** Undefined keeps the data in memory. */
    readonly dataDir: string | undefined;
    readonly port: number;
    readonly progress: (detail: string) => void;
  },
): PartSpec<Database> {
  const { dataDir, port, progress } = options;
  let isFirst = true;
  return {
    name: 'database',
    drainOrder: DRAIN_ORDER.database,
    stopTimeoutMs: STOP_TIMEOUT_MS.database,
    log,
    start: async () => {
      const database = await startDatabase({
        ...(dataDir === undefined ? { memory: true } : { dataDir }),
        port,
        log: (line) => {
          log.write(line);
          if (isFirst) progress(line);
        },
      });
      isFirst = false;
      return database;
    },
  };
}

/** What the development chain says of itself once it answers. */
export type ChainReady = {
  readonly url: string;
  readonly faultsUrl: string;
  readonly usdtAddress: string;
  readonly genesisBlockId: string;
};

export type ChainPart = RunningPart & { readonly ready: ChainReady };

export function chainPart(
  log: PartLog,
  options: {
    readonly chain: Extract<ChainOptions, { kind: 'development' }>;
    readonly dataDir: string;
    readonly env: BaseEnvironment;
  },
): PartSpec<ChainPart> {
  const { chain, dataDir, env } = options;
  const flags = {
    '--port': chain.port,
    '--faults-port': chain.faultsPort,
    '--data': dataDir,
    '--interval': chain.intervalSeconds,
    '--solid-lag': chain.solidLag,
    '--seed': chain.seed,
  };
  const args = Object.entries(flags).flatMap(([flag, value]) =>
    value === undefined ? [] : [flag, String(value)],
  );
  return {
    name: 'chain',
    drainOrder: DRAIN_ORDER.chain,
    stopTimeoutMs: STOP_TIMEOUT_MS.chain,
    log,
    start: () =>
      startChildPart({
        command: process.execPath,
        args: [join(REPOSITORY, 'deploy/devchain/main.ts'), ...args],
        env: { ...env, NODE_COMPILE_CACHE: COMPILE_CACHE },
        log: (line) => log.write(line),
        readReady: (line) =>
          line.startsWith('READY ') ? (JSON.parse(line.slice('READY '.length)) as ChainReady) : undefined,
        readyTimeoutMs: READY_TIMEOUT_MS,
        stopTimeoutMs: STOP_TIMEOUT_MS.chain,
      }),
  };
}

/** One instance of a function. */
export type InstancePlan = {
  /** `pay-1`: the part's name. */
  readonly part: string;
  readonly function: FunctionName;
  readonly port: number;
  readonly runtimePort: number;
};

export function functionPart(
  log: PartLog,
  plan: InstancePlan,
  environment: Readonly<Record<string, string>>,
): PartSpec {
  return {
    name: plan.part,
    drainOrder: DRAIN_ORDER.function,
    stopTimeoutMs: STOP_TIMEOUT_MS.function,
    log,
    start: async () => {
      // Its checksum is compared before every start, not only before the first.
      const rie = await ensureRie();
      return startRieInstance({
        name: plan.function,
        riePath: rie.path,
        nodePath: process.execPath,
        taskRoot: join(REPOSITORY, 'dist', plan.function),
        port: plan.port,
        runtimePort: plan.runtimePort,
        env: environment,
        timeoutSeconds: FUNCTION_TIMEOUT_SECONDS,
        memoryMb: FUNCTION_MEMORY_MB,
        log: (line) => log.write(line),
      });
    },
  };
}

export function sidecarPart(
  log: PartLog,
  options: {
    readonly port: number;
    readonly opsPort: number;
    readonly instances: readonly InstancePlan[];
    readonly settleIntervalMs: number;
    readonly stateDir: string;
    readonly env: BaseEnvironment;
  },
): PartSpec {
  const addressesOf = (name: FunctionName) =>
    options.instances
      .filter((instance) => instance.function === name)
      .map(({ port }) => `${LOOPBACK}:${port}`)
      .join(',');
  return {
    name: 'sidecar',
    drainOrder: DRAIN_ORDER.sidecar,
    stopTimeoutMs: STOP_TIMEOUT_MS.sidecar,
    restartNote: `it invokes again within ${FUNCTION_TIMEOUT_SECONDS} s: what the one before invoked may still run`,
    log,
    start: () =>
      startChildPart({
        command: process.execPath,
        args: [join(REPOSITORY, 'deploy/sidecar/main.ts')],
        env: {
          ...options.env,
          NODE_COMPILE_CACHE: COMPILE_CACHE,
          SERVICE_NAME: 'tron-payment-service',
          BIND_ADDRESS: LOOPBACK,
          SERVICE_PORT: String(options.port),
          OPS_PORT: String(options.opsPort),
          FUNCTION_PAY: addressesOf('pay'),
          FUNCTION_SETTLE: addressesOf('settle'),
          FUNCTION_HEALTH: addressesOf('health'),
          FUNCTION_STATS: addressesOf('stats'),
          FUNCTION_TIMEOUT_SECONDS: String(FUNCTION_TIMEOUT_SECONDS),
          ACL_POLICY_FILE,
          SETTLE_INTERVAL_MS: String(options.settleIntervalMs),
          STATE_DIR: options.stateDir,
        },
        log: (line) => log.write(line),
        readReady: readListening,
        readyTimeoutMs: READY_TIMEOUT_MS,
        stopTimeoutMs: STOP_TIMEOUT_MS.sidecar,
      }),
  };
}

/** The sidecar logs JSON; one of its lines has the message "listening". */
function readListening(line: string): true | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return (JSON.parse(line) as { readonly msg?: unknown }).msg === 'listening' ? true : undefined;
  } catch {
    return undefined;
  }
}
