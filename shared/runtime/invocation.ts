import { AsyncLocalStorage } from 'node:async_hooks';

/** What is known of the invocation under way; one log line tells it at the end. */
export interface Invocation {
  readonly requestId: string;
  method?: string;
  /** The pattern, not the path: `/pay/:id`. */
  route?: string;
  status?: number;
  caller?: string;
  paymentId?: string;
  /** The code of the refusal or failure, where there was one. */
  code?: string;
  /** Why a health check is not good, by its name; every probe that failed tells it. */
  unhealthy?: Readonly<Record<string, string>>;
  /** What was thrown, where it is worth telling. */
  error?: unknown;
}

const invocations = new AsyncLocalStorage<Invocation>();

/** Runs a function with a record of its own that everything beneath it can add to. */
export function runInvocation<T>(invocation: Invocation, run: () => T): T {
  return invocations.run(invocation, run);
}

export function currentInvocation(): Invocation | undefined {
  return invocations.getStore();
}

/** Adds to the log line of the invocation under way; outside of one it does nothing. */
export function noteInvocation(notes: Partial<Omit<Invocation, 'requestId'>>): void {
  const invocation = invocations.getStore();
  if (invocation !== undefined) Object.assign(invocation, notes);
}
