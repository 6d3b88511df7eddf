/**
 * The state folder: what a stack keeps between two starts, who may use it now, and how others find the stack
 * that runs on it.
 *
 *     .local/lock           the supervisor that owns the folder
 *     .local/stack.json     where the running stack answers (removed when it stops)
 *     .local/secrets/       generated development secrets, for the owner's eyes alone
 *     .local/database/  .local/chain/      payments and blocks, which belong together
 *     .local/config/  .local/sidecar/  .local/logs/
 *     .local/nodes/<genesis>/              the same again for each other network (`--node`)
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isRunning, lockFile, type Owner, readText, thisProcess } from './file-lock.ts';
import { composeStackId } from './processes.ts';

export const DEFAULT_STATE_DIR = resolve(import.meta.dirname, '../../.local');

/** Where things lie in a state folder. */
export type StatePaths = {
  readonly root: string;
  readonly lock: string;
  readonly stackFile: string;
  readonly secrets: string;
  readonly database: string;
  readonly chain: string;
  readonly config: string;
  readonly sidecar: string;
  readonly logs: string;
};

export function pathsOf(stateDir: string): StatePaths {
  const root = resolve(stateDir);
  return {
    root,
    lock: join(root, 'lock'),
    stackFile: join(root, 'stack.json'),
    secrets: join(root, 'secrets'),
    database: join(root, 'database'),
    chain: join(root, 'chain'),
    config: join(root, 'config'),
    sidecar: join(root, 'sidecar'),
    logs: join(root, 'logs'),
  };
}

/** The folder for another network, so that its payments never meet those of the development chain. */
export function stateDirOfNode(stateDir: string, genesisBlockId: string): string {
  return join(stateDir, 'nodes', genesisBlockId.slice(-16));
}

/** Forgets payments and chain together: one without the other would contradict itself. */
export function wipe(paths: StatePaths): void {
  for (const folder of [paths.database, paths.chain, paths.sidecar]) {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Another stack runs on the state folder. */
export class StateInUse extends Error {
  constructor(root: string, pid: number) {
    super(
      `a stack already runs on ${root} (pid ${pid}); stop it first (kill ${pid}), or choose another folder with --state`,
    );
    this.name = 'StateInUse';
  }
}

export type StateLock = {
  /** Marks every process of this start; starts on the same folder share its first half. */
  readonly stackId: string;
  readonly release: () => void;
};

/**
 * Takes the state folder for this process. A lock whose owner is dead is taken over.
 *
 * @throws StateInUse
 */
export function lockState(paths: StatePaths): StateLock {
  mkdirSync(paths.root, { recursive: true });
  const lock = lockFile(paths.lock, (pid) => new StateInUse(paths.root, pid));
  return {
    stackId: composeStackId(keyOf(paths.root), randomBytes(6).toString('hex')),
    release: lock.release,
  };
}

/** Names the folder in the mark of its processes. */
function keyOf(root: string): string {
  return createHash('sha256').update(realpathSync(root)).digest('hex').slice(0, 16);
}

/** What `stack.json` says of a running stack. */
export type StackFile = {
  readonly url: string;
  readonly opsUrl: string;
  readonly nodeUrl: string;
  /** The development chain's faults endpoint; absent with another node. */
  readonly faultsUrl?: string;
  readonly walletAddress: string;
  readonly usdtAddress: string;
  readonly genesisBlockId: string;
  readonly audience: string;
  /** What `settle` sees as its environment: how to reach the database, and the files of its secrets. */
  readonly settleEnvironment: Readonly<Record<string, string>>;
  /** Caller name → the file that holds its secret. */
  readonly callerSecretFiles: Readonly<Record<string, string>>;
  readonly supervisor: Owner;
};

export function writeStackFile(paths: StatePaths, stack: Omit<StackFile, 'supervisor'>): void {
  const supervisor = thisProcess();
  const draft = `${paths.stackFile}.draft`;
  writeFileSync(draft, `${JSON.stringify({ ...stack, supervisor }, null, 2)}\n`, { mode: 0o600 });
  renameSync(draft, paths.stackFile);
}

export function removeStackFile(paths: StatePaths): void {
  rmSync(paths.stackFile, { force: true });
}

/**
 * The stacks that run now: on the state folder itself, and on those that it holds for other nodes. A file that
 * a killed stack left behind does not count.
 */
export function findRunningStacks(
  stateDir: string,
): { readonly stateDir: string; readonly stack: StackFile }[] {
  const nodes = join(stateDir, 'nodes');
  const others = existsSync(nodes) ? readdirSync(nodes).map((name) => join(nodes, name)) : [];
  return [stateDir, ...others].flatMap((folder) => {
    const text = readText(pathsOf(folder).stackFile);
    if (text === undefined) return [];
    // Written by `writeStackFile` alone, and whole: it is renamed into place.
    const stack = JSON.parse(text) as StackFile;
    return isRunning(stack.supervisor) ? [{ stateDir: folder, stack }] : [];
  });
}
