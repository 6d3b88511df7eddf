import { Worker } from 'node:worker_threads';
import type { Violation } from '../chaos/checker.ts';

/** Schedules with seeds in a row, and the fault that is put into the engine for them, by its name. */
export interface Batch {
  readonly firstSeed: number;
  readonly schedules: number;
  readonly mutant: string | null;
}

export interface Failure {
  readonly seed: number;
  readonly violations: readonly Violation[];
}

/** What playing some schedules came to. */
export interface Tally {
  readonly schedules: number;
  readonly processes: number;
  readonly happenings: number;
  readonly calls: number;
  readonly payments: number;
  readonly transfers: number;
  /** Playing stops at the first one. */
  readonly failure: Failure | null;
}

/**
 * Plays batches on so many threads, each given its next one when it has done the last.
 * @param next the next batch, or null where there is nothing more to do
 */
export async function onWorkers(
  workers: number,
  next: () => Batch | null,
  done: (batch: Batch, tally: Tally) => void,
): Promise<void> {
  await Promise.all(Array.from({ length: workers }, () => run(next, done)));
}

function run(next: () => Batch | null, done: (batch: Batch, tally: Tally) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url));
    let batch: Batch | null = null;
    const give = (): void => {
      batch = next();
      if (batch === null) void worker.terminate().then(() => resolve(), reject);
      else worker.postMessage(batch);
    };
    worker.on('message', (tally: Tally) => {
      if (batch !== null) done(batch, tally);
      give();
    });
    worker.once('error', reject);
    give();
  });
}
