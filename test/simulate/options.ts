/** The command line of `npm run simulate`. */
import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseOptions, UsageError } from '../../deploy/cli/arguments.ts';

export interface SimulateOptions {
  readonly schedules: number;
  /** The seed of the first schedule; each further one has the next number. */
  readonly seed: number;
  readonly workers: number;
  readonly trace: boolean;
  readonly mutants: boolean;
}

export const SIMULATE_HELP = `npm run simulate -- [options]

Plays schedules of processes that pay, settle, decide and operate on one simulated database and one simulated chain,
whose clocks, network, fail-overs, forks and faults a seed decides; then asks the chain whether every promise was kept.
The domain, the use cases and the ledger's filters and updates are the real ones.

  --schedules N   how many to play                                        (20000)
  --seed S        of the first one; schedule k has the seed S + k - 1     (random)
  --workers N     threads                                                 (one a core)
  --trace         print each step; with --schedules 1
  --mutants       instead: put known faults into the engine one by one, and show how soon each is found
`;

const SCHEDULES_MAX = 1_000_000_000;
const WORKERS_MAX = 256;
const SEED_MAX = 2 ** 40;

/** @throws UsageError */
export function readOptions(args: readonly string[]): SimulateOptions | 'help' {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const values = parseOptions(args, {
    schedules: text,
    seed: text,
    workers: text,
    trace: flag,
    mutants: flag,
    help: flag,
  });
  if (values.help) return 'help';
  const schedules = readNumber('--schedules', values.schedules ?? '20000', 1, SCHEDULES_MAX);
  if (values.trace && schedules !== 1) throw new UsageError('--trace goes with --schedules 1');
  return {
    schedules,
    seed: readNumber('--seed', values.seed ?? String(randomInt(2 ** 32)), 0, SEED_MAX),
    workers: readNumber('--workers', values.workers ?? String(availableParallelism()), 1, WORKERS_MAX),
    trace: values.trace,
    mutants: values.mutants,
  };
}

function readNumber(flag: string, text: string, min: number, max: number): number {
  const number = /^\d{1,13}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw new UsageError(`${flag} takes whole numbers from ${min} to ${max}, not "${text}"`);
}
