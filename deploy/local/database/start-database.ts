import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { MongoClient, MongoServerError } from 'mongodb';
import { leash } from '../leash.ts';
import { describeExit, type PartExit, type RunningPart } from '../part.ts';
import { findFreePort } from '../ports.ts';
import { buildLauncher, jdkTool, LAUNCHER_CLASS, LAUNCHER_JVM_FLAGS, NO_JDK } from './build-launcher.ts';

/** `stop` ends it after the command under way; it does nothing to a configured database, which never exits. */
export type Database = RunningPart & {
  /** Connection string, without a database's name. */
  readonly url: string;
  readonly kind: 'configured' | 'mongod' | 'emulator';
  /** What was chosen, why, and what it does not promise: one line for a person. */
  readonly description: string;
};

export type StartDatabaseOptions = {
  /** Folder that keeps the data between runs. */
  readonly dataDir?: string;
  /** Nothing outlives the process; for tests. Exactly one of `dataDir` and `memory` is given. */
  readonly memory?: boolean;
  /** Loopback port; a free one where absent. */
  readonly port?: number;
  /** Takes one line a step that can last, and what the database itself complains about. */
  readonly log?: (line: string) => void;
  /** Default: `process.env`. `MONGO_URL` and PATH are read. */
  readonly env?: NodeJS.ProcessEnv;
};

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

/**
 * Starts, or finds, a database for one machine; the first that is there of: `MONGO_URL`, a `mongod` on PATH as a
 * replica set of one, mongo-java-server behind our launcher. All listen on loopback only, and end with the
 * process that called this.
 *
 * @throws Error with one line: what is missing, or which port is taken.
 */
export async function startDatabase(options: StartDatabaseOptions): Promise<Database> {
  const env = options.env ?? process.env;
  if ((options.dataDir === undefined) !== (options.memory === true)) {
    throw new TypeError('startDatabase needs either dataDir or memory');
  }
  const configured = env.MONGO_URL;
  if (configured !== undefined && configured !== '') return useConfigured(configured);

  const mongod = await findOnPath('mongod', env);
  return mongod === undefined ? startEmulator(options) : startMongod(mongod, options);
}

function useConfigured(url: string): Database {
  return {
    url,
    kind: 'configured',
    description: `the database that MONGO_URL names (${hostsOf(url)})`,
    pid: undefined,
    stop: async () => {},
    exited: new Promise(() => {}),
  };
}

async function startEmulator(options: StartDatabaseOptions): Promise<Database> {
  const log = options.log ?? (() => {});
  const { classesDir, libDir } = await buildLauncher(log);
  const classPath = [classesDir, join(libDir, '*')].join(delimiter);
  const args = ['--port', String(options.port ?? 0), '--exit-with-stdin'];
  if (options.dataDir !== undefined) {
    await mkdir(options.dataDir, { recursive: true });
    args.push('--file', join(options.dataDir, 'database.mv'));
  }
  const java = [...LAUNCHER_JVM_FLAGS, '-classpath', classPath, LAUNCHER_CLASS, ...args];
  const running = startProcess({
    name: 'mongo-java-server',
    command: jdkTool('java'),
    args: java,
    ifAbsent: NO_JDK,
    log,
  });
  const port = await untilReady(running, async () => {
    for await (const line of running.output) {
      const listening = /^listening (\d+)$/.exec(line);
      if (listening) return Number(listening[1]);
    }
    return undefined;
  });
  return {
    url: `mongodb://127.0.0.1:${port}/?directConnection=true`,
    kind: 'emulator',
    description:
      'mongo-java-server, because MONGO_URL is not set and no mongod is on PATH; a single-node emulator: ' +
      'it promises no replication, no fail-over and no authentication',
    pid: running.child.pid,
    stop: () => end(running),
    exited: running.exited,
  };
}

/** Not run where this was written: no mongod could be had there. */
async function startMongod(command: string, options: StartDatabaseOptions): Promise<Database> {
  const log = options.log ?? (() => {});
  const port = options.port ?? (await findFreePort(new Set()));
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'mongod-')));
  await mkdir(dataDir, { recursive: true });
  const args = ['--replSet', 'rs0', '--bind_ip', '127.0.0.1', '--port', String(port), '--dbpath', dataDir];
  const leashed = leash(command, [...args, '--quiet']);
  const running = startProcess({ name: 'mongod', ...leashed, ifAbsent: `${command} is gone`, log });
  // One JSON document a line, most of them no news; but nobody else tells why it ends.
  running.output.on('line', (line) => {
    if (/"s":"[EF]"/.test(line)) log(line);
  });
  const url = `mongodb://127.0.0.1:${port}/?directConnection=true`;
  await untilReady(running, async () => {
    await initiateReplicaSet(url, `127.0.0.1:${port}`);
    return true;
  });
  return {
    url,
    kind: 'mongod',
    description: `${command} as a replica set of one, because MONGO_URL is not set; it promises no fail-over`,
    pid: running.child.pid,
    stop: async () => {
      await end(running);
      if (options.memory) await rm(dataDir, { recursive: true, force: true });
    },
    exited: running.exited,
  };
}

/** Brings `rs0` to a writable primary from whatever it is: new, initiated before, or initiated on another port. */
async function initiateReplicaSet(url: string, host: string): Promise<void> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: START_TIMEOUT_MS });
  try {
    const admin = client.db('admin');
    const config = { _id: 'rs0', members: [{ _id: 0, host }] };
    try {
      const stored = (await admin.command({ replSetGetConfig: 1 })).config;
      if (stored.members[0].host !== host) {
        const moved = { ...stored, ...config, version: stored.version + 1 };
        await admin.command({ replSetReconfig: moved, force: true });
      }
    } catch (error) {
      const isNew = error instanceof MongoServerError && error.codeName === 'NotYetInitialized';
      if (!isNew) throw error;
      await admin.command({ replSetInitiate: config });
    }
    const deadlineMs = Date.now() + START_TIMEOUT_MS;
    while (!(await admin.command({ hello: 1 })).isWritablePrimary) {
      if (Date.now() > deadlineMs) throw new Error('the replica set rs0 elects no primary');
      await sleep(50);
    }
  } finally {
    await client.close();
  }
}

type Running = {
  readonly name: string;
  readonly child: ChildProcess;
  /** Standard output, line by line. */
  readonly output: Interface;
  readonly exited: Promise<PartExit>;
  /** How it ended, with the last line that it wrote to standard error. */
  readonly tellExit: (exit: PartExit) => string;
};

type ProcessOptions = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** What to say where there is no such program. */
  readonly ifAbsent: string;
  readonly log: (line: string) => void;
};

function startProcess({ name, command, args, ifAbsent, log }: ProcessOptions): Running {
  // In a process group of its own: Ctrl-C in a terminal reaches the supervisor alone, which ends us in its order.
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  let complaint = '';
  createInterface({ input: child.stderr }).on('line', (line) => {
    complaint = `: ${line}`;
    log(line);
  });
  const exited = new Promise<PartExit>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      resolve({ code: null, signal: null, reason: error.code === 'ENOENT' ? ifAbsent : error.message });
    });
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  const output = createInterface({ input: child.stdout });
  return {
    name,
    child,
    output,
    exited,
    tellExit: (exit) => exit.reason ?? `${name} ${describeExit(exit)}${complaint}`,
  };
}

/** What `ready` answers; else the reason why it never will, with the process ended. */
async function untilReady<T>(running: Running, ready: () => Promise<T | undefined>): Promise<T> {
  const gaveUp = new AbortController();
  try {
    const value = await Promise.race([
      // An output that closed means that the process ends: its exit tells the reason.
      ready().then(async (result) => {
        if (result === undefined) throw new Error(running.tellExit(await running.exited));
        return result;
      }),
      running.exited.then((exit) => {
        throw new Error(running.tellExit(exit));
      }),
      sleep(START_TIMEOUT_MS, undefined, { signal: gaveUp.signal, ref: false }).then(() => {
        throw new Error(`${running.name} did not start within ${START_TIMEOUT_MS / 1000} s`);
      }),
    ]);
    return value;
  } catch (error) {
    await end(running);
    throw error;
  } finally {
    gaveUp.abort();
  }
}

async function end(running: Running): Promise<void> {
  if (running.child.pid === undefined) return;
  running.child.kill('SIGTERM');
  const forced = setTimeout(() => running.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await running.exited;
  clearTimeout(forced);
}

async function findOnPath(name: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const folder of (env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name);
    const isExecutable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== '' && isExecutable) return path;
  }
  return undefined;
}

/** The hosts alone: the rest of a connection string may hold a password. */
function hostsOf(url: string): string {
  return /^mongodb(?:\+srv)?:\/\/(?:[^@/]*@)?([^/?]+)/.exec(url)?.[1] ?? 'unreadable';
}
