/** A job that runs on an interval and on demand, never beside itself. */
export interface Schedule {
  /** Runs the job at once; during a run, once more right after it, however many kicks came. */
  kick(): void;
  /** No further runs; resolves when the one under way has ended. */
  stop(): Promise<void>;
}

export type RunReason = 'interval' | 'kick';

/** `run` reports its own failures; the next run comes anyway. */
export function startSchedule(intervalMs: number, run: (reason: RunReason) => Promise<void>): Schedule {
  let running: Promise<void> | undefined;
  let kicked = false;
  let stopped = false;

  const start = (reason: RunReason): void => {
    running = run(reason).finally(() => {
      running = undefined;
      if (!kicked || stopped) return;
      kicked = false;
      start('kick');
    });
  };
  const timer = setInterval(() => {
    if (running === undefined) start('interval');
  }, intervalMs);

  return {
    kick() {
      if (stopped) return;
      if (running === undefined) start('kick');
      else kicked = true;
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await running;
    },
  };
}
