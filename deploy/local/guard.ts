/**
 * Watches over the supervisor from outside: a small process that holds the end of a pipe, and ends every
 * process of the stack when that pipe closes, whatever the reason (`kill -9` of the supervisor included).
 * `guard-main.ts` is that process; this file starts it, and starts it again should it die itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { STACK_ID_VARIABLE } from './processes.ts';

/** Written to the pipe before an orderly end: the guard then has nothing to report. */
export const FAREWELL = 'farewell\n';

export type GuardOptions = {
  readonly stackId: string;
  /** Told when the guard itself died and was started anew. */
  readonly onReplaced: (reason: string) => void;
  /** Told when it keeps dying, so that nothing watches over the stack any more. */
  readonly onLost: (reason: string) => void;
};

const DEATHS_MAX = 10;
const PAUSE_MS = 100;
const FAREWELL_TIMEOUT_MS = 5_000;

export class Guard {
  readonly #options: GuardOptions;
  #child: ChildProcess;
  #deaths = 0;
  #dismissed = false;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#child = this.#start();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Sends the guard away after an orderly end; it looks once more for what was left, and ends. */
  async dismiss(): Promise<void> {
    this.#dismissed = true;
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.stdin?.end(FAREWELL);
    const done = new AbortController();
    const late = sleep(FAREWELL_TIMEOUT_MS, true, { signal: done.signal }).catch(() => false);
    if (await Promise.race([ended.then(() => false), late])) child.kill('SIGKILL');
    done.abort();
  }

  #start(): ChildProcess {
    // Without the mark, or it would end itself; and in a session of its own, out of the reach of Ctrl-C.
    const { [STACK_ID_VARIABLE]: _, ...env } = process.env;
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname, 'guard-main.ts'), this.#options.stackId, String(process.pid)],
      { env, stdio: ['pipe', 'ignore', 'inherit'], detached: true },
    );
    child.stdin?.on('error', () => {});
    let reported = false;
    const died = (reason: string) => {
      if (reported) return;
      reported = true;
      void this.#replace(reason);
    };
    child.once('error', (error) => died(error.message));
    child.once('exit', (code, signal) =>
      died(signal === null ? `ended with code ${code}` : `was killed by ${signal}`),
    );
    return child;
  }

  async #replace(reason: string): Promise<void> {
    if (this.#dismissed) return;
    this.#deaths += 1;
    if (this.#deaths > DEATHS_MAX) {
      this.#options.onLost(reason);
      return;
    }
    // The first replacement comes at once: until it stands, nobody watches.
    if (this.#deaths > 1) await sleep(PAUSE_MS);
    if (this.#dismissed) return;
    this.#child = this.#start();
    this.#options.onReplaced(reason);
  }
}
