/**
 * `npm run chaos`: kills the functions that pay, thousands of times, and asks the chain whether it was ever paid
 * twice, too much, or not as promised. `--help` tells the options.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { runCommand, UsageError } from '../../deploy/cli/arguments.ts';
import { Aims } from './aims.ts';
import { buildBundles } from './bundles.ts';
import { type Coverage, coverageOf, placeIn } from './coverage.ts';
import { MarkedProcesses } from './marked-processes.ts';
import { CHAOS_HELP, type ChaosOptions, readOptions } from './options.ts';
import { Progress } from './progress.ts';
import { type RoundResult, runRound } from './round.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const FOLDER = join(ROOT, '.local/chaos');
const ROUND_KILLS_MAX = 500;

interface Report {
  readonly command: string;
  readonly seed: string;
  readonly commit: string;
  readonly node: string;
  readonly kills: number;
  readonly seconds: number;
  readonly payments: number;
  readonly transfers: number;
  readonly violations: number;
  readonly coverage: Coverage;
  readonly rounds: readonly RoundResult[];
}

await runCommand('npm run chaos', async () => {
  const options = readOptions(process.argv.slice(2), ROOT);
  if (options === 'help') {
    process.stdout.write(CHAOS_HELP);
    return 0;
  }
  return chaos(options);
});

/** A round that is to be run: what a run can be resumed after, and what one world lives for. */
interface Plan {
  readonly round: number;
  readonly kills: number;
  readonly instances: number;
  readonly nodesLie: boolean;
}

async function chaos(options: ChaosOptions): Promise<number> {
  const { seed, kills: target, worlds } = options;
  const rounds: RoundResult[] = options.resume ? readRounds(options) : [];
  const waiting = planRounds(options).filter(({ round }) => rounds.every((done) => done.round !== round));
  const progress = new Progress(process.stdout, target);
  const before = killsOf(rounds);
  progress.tell(`chaos: ${target} kills, seed ${seed}${before > 0 ? `, ${before} done before` : ''}`);
  const bundles = await buildBundles();
  const marked = new MarkedProcesses();
  const killsUnderWay = new Map<number, number>();
  const aims = aimsAfter(rounds);

  const runRounds = async (): Promise<void> => {
    for (let plan = waiting.shift(); plan !== undefined; plan = waiting.shift()) {
      const { round } = plan;
      const folder = join(FOLDER, `${seed}-${round}`);
      rmSync(folder, { recursive: true, force: true });
      const result = await runRound({
        ...plan,
        seed,
        aims,
        bundles,
        folder,
        otherNode: options.otherNode,
        onProgress: ({ phase, kills }) => {
          killsUnderWay.set(round, kills);
          const all = [...killsUnderWay.values()].reduce((sum, count) => sum + count, killsOf(rounds));
          progress.show(all, `round ${round} ${phase}`);
        },
      });
      killsUnderWay.delete(round);
      rounds.push(result);
      writeReport(options, rounds);
      progress.tell(describe(result));
      if (result.violations.length === 0) {
        rmSync(folder, { recursive: true, force: true });
        continue;
      }
      tellViolations(progress, result, folder);
      // What is broken needs no further proof.
      waiting.length = 0;
    }
  };
  try {
    await Promise.all(Array.from({ length: worlds }, runRounds));
  } finally {
    await marked.end();
  }

  const report = writeReport(options, rounds);
  const verdict = report.violations === 0 ? 'every promise kept' : `${report.violations} promises BROKEN`;
  progress.tell(
    `${report.kills} kills, ${report.payments} payments, ${report.transfers} transfers on the chain: ${verdict}`,
  );
  const { places, spared } = report.coverage;
  progress.tell(
    `killed before or after port calls at ${places - spared.length} of ${places} places; ` +
      (spared.length === 0 ? 'none was spared' : `spared: ${spared.join(', ')}`),
  );
  progress.tell(`report: ${options.reportFile}`);
  return report.violations === 0 ? 0 : 1;
}

/** The same rounds for the same options, so that a resumed run fills in what is missing. */
function planRounds({ kills, instances, otherNode }: ChaosOptions): Plan[] {
  // Another chain is asked itself: what its nodes say is not ours to change.
  const kinds = otherNode === undefined ? 2 : 1;
  const size = Math.min(ROUND_KILLS_MAX, Math.ceil(kills / (instances.length * kinds)));
  return Array.from({ length: Math.ceil(kills / size) }, (_, index) => ({
    round: index + 1,
    kills: Math.min(size, kills - index * size),
    instances: instances[index % instances.length] ?? 1,
    nodesLie: Math.floor(index / instances.length) % kinds === 1,
  }));
}

/** Of a run that is resumed, the kills of before count as well. */
function aimsAfter(rounds: readonly RoundResult[]): Aims {
  const aims = new Aims();
  for (const { killsByPlace } of rounds) {
    for (const [counted, kills] of Object.entries(killsByPlace)) {
      for (let kill = 0; kill < kills; kill += 1) aims.count(placeIn(counted));
    }
  }
  return aims;
}

function killsOf(rounds: readonly RoundResult[]): number {
  return rounds.reduce((sum, { kills }) => sum + kills, 0);
}

function describe(result: RoundResult): string {
  const { round, instances, kills, seconds, orders, transfers, furtherAttempts, fullestPercent } = result;
  const lies = result.nodesLie ? `, ${result.denied} of them denied by lying nodes` : '';
  const fullest = Object.entries(fullestPercent).map(([limit, percent]) => `${limit} ${percent} %`);
  return (
    `round ${round}: ${kills} kills in ${seconds} s, ${instances} instances, ${orders} orders, ` +
    `${transfers} transfers${lies}, ${furtherAttempts} further attempts; fullest windows: ${fullest.join(', ')}`
  );
}

function tellViolations(progress: Progress, { violations, round }: RoundResult, folder: string): void {
  for (const { rule, detail } of violations.slice(0, 20)) progress.tell(`BROKEN ${rule}: ${detail}`);
  if (violations.length > 20) progress.tell(`… and ${violations.length - 20} more`);
  progress.tell(`what round ${round} left is in ${folder}`);
}

function readRounds(options: ChaosOptions): RoundResult[] {
  try {
    const report = JSON.parse(readFileSync(options.reportFile, 'utf8')) as Report;
    if (report.seed !== options.seed) {
      throw new UsageError(`${options.reportFile} is of the seed ${report.seed}, not ${options.seed}`);
    }
    return [...report.rounds];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new UsageError(`there is nothing to go on with at ${options.reportFile}`);
  }
}

function writeReport(options: ChaosOptions, rounds: readonly RoundResult[]): Report {
  const sum = (figure: (round: RoundResult) => number) =>
    rounds.reduce((total, round) => total + figure(round), 0);
  const report: Report = {
    command: `npm run chaos -- --kills ${options.kills} --seed ${options.seed} --instances ${options.instances.join()}`,
    seed: options.seed,
    commit: commit(),
    node: process.version,
    kills: killsOf(rounds),
    seconds: sum(({ seconds }) => seconds),
    payments: sum(({ payments }) => Object.values(payments).reduce((total, count) => total + count, 0)),
    transfers: sum(({ transfers }) => transfers),
    violations: sum(({ violations }) => violations.length),
    coverage: coverageOf(rounds.map(({ killsByPlace }) => killsByPlace)),
    rounds: rounds.toSorted((one, other) => one.round - other.round),
  };
  mkdirSync(dirname(options.reportFile), { recursive: true });
  writeFileSync(options.reportFile, `${JSON.stringify(report, null, 2)}\n`);
  return report;
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: ROOT, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}
