/**
 * Starts a child process as a part of the stack: its output goes to the part's log line by line, one of those
 * lines tells that it is ready, and it stops on SIGTERM or, when it takes too long, on SIGKILL.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeExit, type PartExit, type RunningPart } from './part.ts';
import { signal } from './processes.ts';

export type ChildPartOptions<Ready> = {
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the child; nothing is added. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly log: (line: string) => void;
  /** Looks at each line of standard output; the first answer other than undefined means ready. */
  readonly readReady: (line: string) => Ready | undefined;
  readonly readyTimeoutMs: number;
  /** How long the child may drain after SIGTERM. */
  readonly stopTimeoutMs: number;
};

/**
 * Resolves when the child has said that it is ready.
 *
 * @throws Error when it ends before, or is not ready in time; by then it has been killed.
 */
export async function startChildPart<Ready>(
  options: ChildPartOptions<Ready>,
): Promise<RunningPart & { readonly ready: Ready }> {
  const child = spawn(options.command, [...options.args], {
    env: { ...options.env },
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own: Ctrl-C in a terminal reaches the supervisor alone, which then drains in order.
    detached: true,
  });

  const exited = new Promise<PartExit>((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, reason: error.message }));
    // Not 'close': a grandchild that holds the pipe open must not hide the end of the child.
    child.once('exit', (code, signalName) => resolve({ code, signal: signalName }));
  });
  const ready = new Promise<Ready>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      options.log(line);
      const answer = options.readReady(line);
      if (answer !== undefined) resolve(answer);
    });
    createInterface({ input: child.stderr }).on('line', options.log);
  });

  const timeout = new AbortController();
  const outcome = await Promise.race([
    ready.then((value) => ({ value })),
    exited.then((exit) => ({ exit })),
    sleep(options.readyTimeoutMs, undefined, { signal: timeout.signal }).catch(() => undefined),
  ]);
  timeout.abort();
  if (outcome === undefined || 'exit' in outcome) {
    if (child.pid !== undefined) signal(child.pid, 'SIGKILL');
    if (outcome === undefined) throw new Error(`was not ready after ${options.readyTimeoutMs / 1000} s`);
    throw new Error(`${describeExit(outcome.exit)} before it was ready`);
  }

  return {
    ready: outcome.value,
    pid: child.pid,
    exited,
    async stop() {
      const abort = new AbortController();
      child.kill('SIGTERM');
      const late = sleep(options.stopTimeoutMs, true, { signal: abort.signal }).catch(() => false);
      if (await Promise.race([exited.then(() => false), late])) child.kill('SIGKILL');
      abort.abort();
      await exited;
    },
  };
}
