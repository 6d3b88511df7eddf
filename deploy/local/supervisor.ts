/**
 * Keeps the parts of a stack alive: starts them, notices when one dies, says so, starts it again after a
 * growing pause, and gives up when it keeps dying. Stops them in a given order, within a bound.
 *
 * It knows nothing of what the parts are; `stack.ts` does.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeExit, type RunningPart } from './part.ts';
import type { PartLog } from './part-log.ts';
import { signal } from './processes.ts';

/** How to start a part, the first time and every time after it died. */
export type PartSpec<Part extends RunningPart = RunningPart> = {
  readonly name: string;
  /** Parts with the lowest number stop first, those with the same number together. */
  readonly drainOrder: number;
  /** How long `stop` may take before the process is killed. */
  readonly stopTimeoutMs: number;
  readonly log: PartLog;
  /** What a person should know when it runs again. */
  readonly restartNote?: string;
  /** Must take the same ports and the same data each time. Rejects with a reason in words. */
  readonly start: () => Promise<Part>;
};

/** What the supervisor has to tell. */
export type SupervisorEvent =
  | { readonly type: 'died'; readonly part: string; readonly reason: string; readonly log: PartLog }
  | { readonly type: 'restarting'; readonly part: string; readonly afterMs: number; readonly attempt: number }
  | { readonly type: 'restarted'; readonly part: string; readonly note: string | undefined }
  | { readonly type: 'gave-up'; readonly part: string; readonly deaths: number; readonly withinMs: number };

export type RestartPolicy = {
  /** The pause before the first restart; it doubles with each further death inside the window. */
  readonly pauseMsMin: number;
  readonly pauseMsMax: number;
  /** With more deaths than this inside the window, the supervisor gives up. */
  readonly deathsMax: number;
  readonly windowMs: number;
};

export const RESTART_POLICY: RestartPolicy = {
  pauseMsMin: 200,
  pauseMsMax: 5_000,
  deathsMax: 6,
  windowMs: 60_000,
};

/** The part that could not be started, or kept dying. */
export class PartFailure extends Error {
  readonly part: string;
  readonly log: PartLog;

  constructor(part: string, reason: string, log: PartLog, cause?: unknown) {
    super(`${part} ${reason}`, { cause });
    this.name = 'PartFailure';
    this.part = part;
    this.log = log;
  }
}

type Supervised<Part extends RunningPart = RunningPart> = {
  readonly spec: PartSpec<Part>;
  running: RunningPart | undefined;
  /** When it died, on the monotonic clock, the oldest first. */
  deathsAtMs: number[];
};

export type SupervisorOptions = {
  readonly onEvent: (event: SupervisorEvent) => void;
  readonly policy?: RestartPolicy;
};

export class Supervisor {
  /** Resolves with the part that kept dying; pending while all goes well. */
  readonly failed: Promise<PartFailure>;
  readonly #parts = new Map<string, Supervised>();
  readonly #onEvent: (event: SupervisorEvent) => void;
  readonly #policy: RestartPolicy;
  readonly #stopping = new AbortController();
  readonly #reportFailure: (failure: PartFailure) => void;
  #stopped: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#onEvent = options.onEvent;
    this.#policy = options.policy ?? RESTART_POLICY;
    const { promise, resolve } = Promise.withResolvers<PartFailure>();
    this.failed = promise;
    this.#reportFailure = resolve;
  }

  /**
   * Starts a part for the first time and watches it from then on. Answers what its first start answered.
   *
   * @throws PartFailure when it does not start; a part that never ran is not tried again, since what is wrong
   * with it will most likely stay wrong.
   */
  async start<Part extends RunningPart>(spec: PartSpec<Part>): Promise<Part> {
    if (this.#stopping.signal.aborted) throw new PartFailure(spec.name, 'was not started', spec.log);
    const part: Supervised<Part> = { spec, running: undefined, deathsAtMs: [] };
    this.#parts.set(spec.name, part);
    try {
      return await this.#run(part);
    } catch (error) {
      throw new PartFailure(spec.name, `did not start: ${messageOf(error)}`, spec.log, error);
    }
  }

  /** The pid of a part that runs just now. */
  pidOf(name: string): number | undefined {
    return this.#parts.get(name)?.running?.pid;
  }

  /** The names of all parts, in the order in which they were started. */
  names(): readonly string[] {
    return [...this.#parts.keys()];
  }

  /**
   * Stops all parts by their drain order. A part that does not end in time is killed, so this resolves within
   * the sum of the stop timeouts. Calling it again answers the same promise.
   */
  stop(): Promise<void> {
    this.#stopping.abort();
    this.#stopped ??= this.#drain();
    return this.#stopped;
  }

  /** Kills what runs, at once and in no order; `stop` then has nothing left to wait for. */
  kill(): void {
    this.#stopping.abort();
    for (const { running } of this.#parts.values()) {
      if (running?.pid !== undefined) signal(running.pid, 'SIGKILL');
    }
  }

  async #drain(): Promise<void> {
    const parts = [...this.#parts.values()];
    const orders = [...new Set(parts.map(({ spec }) => spec.drainOrder))].sort((a, b) => a - b);
    for (const order of orders) {
      await Promise.all(parts.filter(({ spec }) => spec.drainOrder === order).map(stopWithin));
    }
  }

  async #run<Part extends RunningPart>(part: Supervised<Part>): Promise<Part> {
    const running = await part.spec.start();
    part.running = running;
    if (this.#stopping.signal.aborted) {
      // Stopped while it started: the drain has passed it by.
      await stopWithin(part);
      throw new Error('the stack is being stopped');
    }
    void running.exited.then((exit) => {
      part.running = undefined;
      if (!this.#stopping.signal.aborted) void this.#revive(part, describeExit(exit));
    });
    return running;
  }

  /** After a death: tell it, pause, start again; as often as the policy allows. */
  async #revive(part: Supervised, firstReason: string): Promise<void> {
    const { spec } = part;
    let reason = firstReason;
    while (!this.#stopping.signal.aborted) {
      const nowMs = performance.now();
      part.deathsAtMs = [...part.deathsAtMs.filter((atMs) => nowMs - atMs < this.#policy.windowMs), nowMs];
      const deaths = part.deathsAtMs.length;
      this.#onEvent({ type: 'died', part: spec.name, reason, log: spec.log });
      if (deaths > this.#policy.deathsMax) {
        this.#onEvent({ type: 'gave-up', part: spec.name, deaths, withinMs: this.#policy.windowMs });
        this.#reportFailure(new PartFailure(spec.name, reason, spec.log));
        return;
      }

      const afterMs = Math.min(this.#policy.pauseMsMin * 2 ** (deaths - 1), this.#policy.pauseMsMax);
      this.#onEvent({ type: 'restarting', part: spec.name, afterMs, attempt: deaths });
      const woken = await sleep(afterMs, true, { signal: this.#stopping.signal }).catch(() => false);
      if (!woken) return;
      try {
        await this.#run(part);
        this.#onEvent({ type: 'restarted', part: spec.name, note: spec.restartNote });
        return;
      } catch (error) {
        reason = `did not start again: ${messageOf(error)}`;
      }
    }
  }
}

async function stopWithin({ spec, running }: Supervised): Promise<void> {
  if (running === undefined) return;
  const done = new AbortController();
  const late = sleep(spec.stopTimeoutMs, undefined, { signal: done.signal }).catch(() => {});
  await Promise.race([running.stop().catch((error: unknown) => spec.log.write(messageOf(error))), late]);
  done.abort();
  if (running.pid === undefined) return;
  // A stop that came too late, or that failed, leaves the process; a process that has ended takes no signal.
  const ended = await Promise.race([running.exited.then(() => true), sleep(0, false)]);
  if (!ended) signal(running.pid, 'SIGKILL');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
