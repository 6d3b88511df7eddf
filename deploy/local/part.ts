/** What every part of a stack looks like to its supervisor. */

/** How a part's process ended. */
export type PartExit = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** In words, where code and signal do not tell: the program was not found. */
  readonly reason?: string;
};

/** A part that runs. */
export type RunningPart = {
  /** Undefined for a part that is not a process of ours, such as a database given by its address. */
  readonly pid: number | undefined;
  /** Resolves once, when the process has ended for whatever reason. Never rejects. */
  readonly exited: Promise<PartExit>;
  /** Asks the part to end in good order; resolves when it has ended. */
  readonly stop: () => Promise<void>;
};

/** In words: `ended with code 1`, `was killed by SIGKILL`, or why it could not start. */
export function describeExit(exit: PartExit): string {
  if (exit.reason !== undefined) return exit.reason;
  return exit.signal === null ? `ended with code ${exit.code}` : `was killed by ${exit.signal}`;
}
