/**
 * One instance of a function: AWS's Runtime Interface Emulator (RIE) with the Node runtime client and the bundle,
 * as Lambda runs it, one invocation at a time.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileCacheVariables } from '../../build/prime-compile-cache.ts';
import { leash } from './leash.ts';
import { describeExit, type PartExit, type RunningPart } from './part.ts';

const RUNTIME_CLIENT = resolve(import.meta.dirname, '../../node_modules/aws-lambda-ric/index.mjs');

const READY_TIMEOUT_MS = 60_000;
/** RIE ends its runtime and itself within milliseconds of a SIGTERM. */
const STOP_TIMEOUT_MS = 10_000;

export type RieInstanceOptions = {
  /** Name of the function, as it stands in its environment and in RIE's log lines. */
  readonly name: string;
  /** From `ensureRie()`, called before each start so that its checksum has just been compared. */
  readonly riePath: string;
  /** Absolute path of the Node that runs the bundle. */
  readonly nodePath: string;
  /** Folder that holds `handler.mjs`. */
  readonly taskRoot: string;
  /** Loopback port on which RIE is invoked. */
  readonly port: number;
  /** Loopback port on which RIE talks to the runtime client; different for each instance. */
  readonly runtimePort: number;
  /** All that the function sees besides Lambda's own variables; nothing of this process's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** RIE ends an invocation after that; whole seconds, because it dies of anything else. */
  readonly timeoutSeconds: number;
  readonly memoryMb: number;
  /** Each line of the function and of RIE. */
  readonly log: (line: string) => void;
};

export type RieInstance = RunningPart & {
  readonly name: string;
  /** `POST` here invokes the function. */
  readonly invokeUrl: string;
  /** `GET` here tells that RIE lives, without invoking. */
  readonly pingUrl: string;
};

/**
 * Starts an instance and waits until RIE takes invocations. The function itself is loaded by the first of them, as
 * RIE does it. `stop` cuts off an invocation under way; drain at the sidecar before.
 *
 * @throws Error with one line: why RIE ended, or that it was not ready in time.
 */
export async function startRieInstance(options: RieInstanceOptions): Promise<RieInstance> {
  if (!Number.isInteger(options.timeoutSeconds) || options.timeoutSeconds < 1) {
    throw new TypeError(
      `timeoutSeconds of ${options.name} must be a whole number, not ${options.timeoutSeconds}`,
    );
  }
  // Both addresses, always: by default RIE listens on every interface of the machine.
  const { command, args } = leash(options.riePath, [
    '--runtime-interface-emulator-address',
    `127.0.0.1:${options.port}`,
    '--runtime-api-address',
    `127.0.0.1:${options.runtimePort}`,
    options.nodePath,
    RUNTIME_CLIENT,
    'handler.handler',
  ]);
  const child = spawn(command, args, {
    cwd: options.taskRoot,
    env: { ...options.env, ...lambdaVariables(options) },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A session of its own: what RIE leaves behind is found by it (see endSession), and Ctrl-C does not reach it.
    detached: true,
  });
  const exited = watchExit(child, options);
  const emulatorUrl = `http://127.0.0.1:${options.port}/`;
  const pingUrl = `http://127.0.0.1:${options.runtimePort}/2018-06-01/ping`;
  const stop = () => endInstance(child, exited);
  try {
    await untilReady([pingUrl, emulatorUrl], exited);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name: options.name,
    pid: child.pid,
    invokeUrl: `${emulatorUrl}2015-03-31/functions/function/invocations`,
    pingUrl,
    exited,
    stop,
  };
}

/** What Lambda sets for every function, and the compile cache that the build has filled. */
function lambdaVariables(options: RieInstanceOptions): Record<string, string> {
  return {
    AWS_LAMBDA_FUNCTION_NAME: options.name,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(options.memoryMb),
    AWS_LAMBDA_FUNCTION_TIMEOUT: String(options.timeoutSeconds),
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${options.name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: `local/${options.port}`,
    LAMBDA_TASK_ROOT: options.taskRoot,
    ...compileCacheVariables(options.taskRoot),
    TZ: ':UTC',
    _HANDLER: 'handler.handler',
  };
}

/** Tells the end of RIE only once nothing of its session is left, so that a restart finds the ports free. */
function watchExit(child: ChildProcess, options: RieInstanceOptions): Promise<PartExit> {
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) createInterface({ input: stream }).on('line', options.log);
  }
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, reason: error.message }));
    child.once('exit', (code, signal) => {
      if (child.pid !== undefined) endSession(child.pid);
      resolve({ code, signal });
    });
  });
}

/** Both of RIE's servers answer. Its path for invocations must not be asked: RIE invokes on a `GET` as well. */
async function untilReady(urls: readonly string[], exited: Promise<PartExit>): Promise<void> {
  let exit: PartExit | undefined;
  void exited.then((how) => {
    exit = how;
  });
  const deadlineMs = Date.now() + READY_TIMEOUT_MS;
  while (exit === undefined) {
    const answers = urls.map((url) => fetch(url, { signal: AbortSignal.timeout(1_000) }));
    const isUp = (await Promise.allSettled(answers)).every(({ status }) => status === 'fulfilled');
    if (isUp) return;
    if (Date.now() > deadlineMs) throw new Error(`RIE was not ready after ${READY_TIMEOUT_MS / 1000} s`);
    await Promise.race([sleep(20), exited]);
  }
  throw new Error(`RIE ${describeExit(exit)} before it was ready`);
}

async function endInstance(child: ChildProcess, exited: Promise<PartExit>): Promise<void> {
  if (child.pid === undefined) return;
  child.kill('SIGTERM');
  const forced = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(forced);
}

/**
 * Kills every process of a session. RIE puts the runtime into a process group of its own, so killing RIE's group
 * misses it, and it lives on for seconds; but nothing of ours leaves the session.
 */
function endSession(sessionId: number): void {
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (Number.isInteger(pid) && readSessionId(pid) === sessionId) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself in between.
      }
    }
  }
}

/** Field 6 of proc(5)'s stat; the name before it stands in parentheses and may hold spaces and parentheses. */
function readSessionId(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]);
  } catch {
    return undefined;
  }
}
