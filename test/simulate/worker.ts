import { parentPort } from 'node:worker_threads';
import { mutantNamed } from './mutants.ts';
import { playSchedule } from './schedule.ts';
import type { Batch, Failure, Tally } from './workers.ts';

// Errors are answers here, thrown by the thousand; nobody reads their stacks.
Error.stackTraceLimit = 0;

parentPort?.on('message', (batch: Batch) => {
  void play(batch).then((tally) => parentPort?.postMessage(tally));
});

async function play({ firstSeed, schedules, mutant }: Batch): Promise<Tally> {
  const sums = { schedules: 0, processes: 0, happenings: 0, calls: 0, payments: 0, transfers: 0 };
  let failure: Failure | null = null;
  for (let seed = firstSeed; seed < firstSeed + schedules && failure === null; seed += 1) {
    const { violations, ...figures } = await playSchedule(seed, { mutant: mutantNamed(mutant) });
    sums.schedules += 1;
    sums.processes += figures.processes;
    sums.happenings += figures.happenings;
    sums.calls += figures.calls;
    sums.payments += figures.payments;
    sums.transfers += figures.transfers;
    if (violations.length > 0) failure = { seed, violations };
  }
  return { ...sums, failure };
}
