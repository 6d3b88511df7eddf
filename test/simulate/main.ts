/**
 * `npm run simulate`: plays thousands of lives of the payment engine against everything that can go wrong, from
 * seeds that replay them, and asks the chain whether every promise was kept. `--help` tells the options.
 */
import { runCommand } from '../../deploy/cli/arguments.ts';
import { Progress } from '../chaos/progress.ts';
import { readOptions, SIMULATE_HELP, type SimulateOptions } from './options.ts';
import { type Failure, onWorkers, type Tally } from './workers.ts';

/** Schedules that a thread is given at a time. */
const BATCH = 100;
/** A mutant that lives longer than so many schedules is not caught. */
const MUTANT_SCHEDULES_MAX = 20_000;
/** Of the table's last column. */
const DETAIL_LENGTH = 80;

await runCommand('npm run simulate', async () => {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(SIMULATE_HELP);
    return 0;
  }
  if (options.mutants) return catchMutants(options);
  return options.trace ? readAlong(options) : simulate(options);
});

async function simulate({ schedules, seed, workers }: SimulateOptions): Promise<number> {
  const progress = new Progress(process.stdout, schedules);
  progress.tell(`simulate: ${schedules} schedules, seed ${seed}`);
  const tallies: Tally[] = [];
  let given = 0;
  let played = 0;
  let failures: Failure[] = [];
  const threads = Math.min(workers, Math.ceil(schedules / BATCH));
  const startedAtMs = performance.now();
  await onWorkers(
    threads,
    () => {
      if (given >= schedules || failures.length > 0) return null;
      const batch = { firstSeed: seed + given, schedules: Math.min(BATCH, schedules - given), mutant: null };
      given += batch.schedules;
      return batch;
    },
    (_, tally) => {
      tallies.push(tally);
      played += tally.schedules;
      if (tally.failure !== null) failures = [...failures, tally.failure];
      progress.show(played, `${sum(tallies, 'payments')} payments`);
    },
  );
  for (const failure of failures) tellFailure(progress, failure);
  const of = (figure: 'processes' | 'happenings' | 'calls' | 'payments' | 'transfers') =>
    (sum(tallies, figure) / played).toFixed(1);
  progress.tell(
    `a schedule has ${of('processes')} processes, ${of('happenings')} happenings, ${of('calls')} port calls, ` +
      `${of('payments')} payments and ${of('transfers')} transfers on average`,
  );
  // All the time that it took, the threads' start included; on a busy machine the processor time tells more.
  const perSecond = Math.round((played * 1_000) / (performance.now() - startedAtMs) / threads);
  const { user, system } = process.cpuUsage();
  const perCpuSecond = Math.round((played * 1_000_000) / (user + system));
  const verdict = failures.length === 0 ? 'every promise kept' : 'promises BROKEN';
  progress.tell(
    `${played} schedules, seed ${seed}, ${perSecond} schedules/s a core (${perCpuSecond} a second of processor time): ${verdict}`,
  );
  return failures.length === 0 ? 0 : 1;
}

function sum(tallies: readonly Tally[], figure: Exclude<keyof Tally, 'failure'>): number {
  return tallies.reduce((total, tally) => total + tally[figure], 0);
}

function tellFailure(progress: Progress, { seed, violations }: Failure): void {
  for (const { rule, detail } of violations.slice(0, 10)) progress.tell(`BROKEN ${rule}: ${detail}`);
  progress.tell(
    `seed ${seed}; to see it step by step: npm run simulate -- --schedules 1 --trace --seed ${seed}`,
  );
}

async function readAlong({ seed }: SimulateOptions): Promise<number> {
  const { playSchedule } = await import('./schedule.ts');
  const { violations } = await playSchedule(seed, { trace: (line) => process.stdout.write(`${line}\n`) });
  process.stdout.write(violations.length === 0 ? 'every promise kept\n' : 'promises BROKEN\n');
  return violations.length === 0 ? 0 : 1;
}

async function catchMutants({ seed, workers }: SimulateOptions): Promise<number> {
  const { MUTANTS } = await import('./mutants.ts');
  const progress = new Progress(process.stdout, MUTANTS.length);
  progress.tell(`simulate: ${MUTANTS.length} mutants, seed ${seed}`);
  const found = new Map<string, Failure>();
  const given = new Map<string, number>();
  await onWorkers(
    workers,
    () => {
      for (const { name } of MUTANTS) {
        const tried = given.get(name) ?? 0;
        if (found.has(name) || tried >= MUTANT_SCHEDULES_MAX) continue;
        given.set(name, tried + BATCH);
        return { firstSeed: seed + tried, schedules: BATCH, mutant: name };
      }
      return null;
    },
    ({ mutant }, { failure }) => {
      if (mutant === null || failure === null) return;
      const before = found.get(mutant);
      if (before === undefined || failure.seed < before.seed) found.set(mutant, failure);
      progress.show(found.size, 'caught');
    },
  );
  const width = Math.max(...MUTANTS.map(({ name }) => name.length));
  for (const { name } of MUTANTS) {
    const failure = found.get(name);
    const [violation] = failure?.violations ?? [];
    progress.tell(
      failure === undefined || violation === undefined
        ? `${name.padEnd(width)}  NOT CAUGHT in ${MUTANT_SCHEDULES_MAX} schedules`
        : `${name.padEnd(width)}  ${String(failure.seed - seed + 1).padStart(6)}  ${shorten(`${violation.rule}: ${violation.detail}`)}`,
    );
  }
  const missed = MUTANTS.length - found.size;
  progress.tell(missed === 0 ? `all ${MUTANTS.length} mutants caught` : `${missed} mutants NOT CAUGHT`);
  return missed === 0 ? 0 : 1;
}

function shorten(text: string): string {
  return text.length <= DETAIL_LENGTH ? text : `${text.slice(0, DETAIL_LENGTH - 1)}…`;
}
