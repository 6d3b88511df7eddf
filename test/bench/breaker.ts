import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BSON, type Db } from 'mongodb';
import { startDatabase } from '../../deploy/local/database/start-database.ts';
import { breakerDocument } from '../../shared/adapters/mongo/documents.ts';
import { mongoLedger } from '../../shared/adapters/mongo/mongo-ledger.ts';
import { openConnections } from '../../shared/composition/compose-engine.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import { CONTENDERS, type ContenderName, type RollingLimit, resetHotDocuments } from './admissions.ts';
import type { Order, Outcome, Work } from './breaker-instance.ts';
import { busyBreaker, seedBusyBreaker } from './busy-breaker.ts';
import { ENGINE_NEEDS, engineEnvironment } from './engine-environment.ts';
import { distributionOf, medianOf } from './measure.ts';
import { judge, writeReport } from './report.ts';
import { endChild, onStage, type Stage } from './stage.ts';

/** What this benchmark is held to; a miss is shown, and is no failure of the run. */
const GOALS = { toGuardedInc: 0.7, p99ToP50: 10, slowestToMean: 0.5 };

const INSTANCES_MAX = 8;
interface Plan {
  readonly rounds: number;
  readonly roundMs: number;
  readonly instances: readonly number[];
}

const FULL: Plan = { rounds: 8, roundMs: 1_000, instances: [1, 2, 4, 8] };
const QUICK: Plan = { rounds: 1, roundMs: 500, instances: [1, 8] };
/** More than one lane admits in a round; what is left over is not looked at again. */
const PAYMENTS_PER_SECOND_MAX = 700;
const SETTLED_PER_SECOND_MAX = 400;

const LIMIT: RollingLimit = { payments: 50, windowSeconds: 4 };
/** One payment opens the window; the others come when it is nearly over. */
const BURST_AT = 0.85;
const BURST_MS = 3_500;

/**
 * Admissions by the breaker, by 1 to 8 instances (processes with connections of their own) on the one hot document,
 * beside raw ways to hold a limit with as many operations of the same size. Options: `--quick`, `--rounds N`.
 */
export async function run(args: readonly string[]): Promise<void> {
  const plan = readPlan(args);
  await onStage(async (stage) => {
    const database = await startDatabase({ dataDir: stage.makeFolder('database') });
    stage.onClose(() => database.stop());
    console.log(`database: ${database.description}`);
    const environment = engineEnvironment(stage, {
      mongoUrl: database.url,
      database: `bench_breaker_${process.pid}`,
      nodeUrl: 'http://127.0.0.1:9',
      genesisBlockId: '0'.repeat(64),
    });
    const { db } = openConnections(readConfig(environment, { needs: ENGINE_NEEDS }));
    stage.onClose(async () => {
      await db.dropDatabase();
      await db.client.close();
    });
    await seedBusyBreaker(db);
    const fleet = await startFleet(stage, environment);
    console.log(
      `${INSTANCES_MAX} instances, and a settler; ${plan.rounds} rounds of ${plan.roundMs} ms in turns`,
    );

    const cells = await measure(db, fleet, plan);
    const settled = await measureBesideSettler(db, fleet, plan);
    const limits = await holdLimits(db, fleet);
    report(database.description, cells, settled, limits);
  });
}

function readPlan(args: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...args],
    options: { quick: { type: 'boolean' }, rounds: { type: 'string' } },
  });
  const usual = values.quick ? QUICK : FULL;
  const rounds = Number(values.rounds ?? usual.rounds);
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= 100) return { ...usual, rounds };
  throw new Error('usage: npm run bench -- breaker [--quick] [--rounds 1..100]');
}

interface Fleet {
  readonly instances: readonly ChildProcess[];
  readonly settler: ChildProcess;
}

async function startFleet(stage: Stage, environment: Readonly<Record<string, string>>): Promise<Fleet> {
  const program = resolve(import.meta.dirname, 'breaker-instance.ts');
  const start = async (): Promise<ChildProcess> => {
    const child = fork(program, [], {
      env: { PATH: process.env.PATH, ...environment },
      // Amounts are bigint, and stay so on their way.
      serialization: 'advanced',
    });
    stage.onClose(() => endChild(child));
    await answerOf(child);
    return child;
  };
  const [settler, ...instances] = await Promise.all(Array.from({ length: INSTANCES_MAX + 1 }, start));
  if (settler === undefined) throw new Error('no instance was started');
  return { settler, instances };
}

/** The next thing that an instance says. @throws Error where it ends instead */
async function answerOf(child: ChildProcess): Promise<unknown> {
  const gone = new AbortController();
  try {
    return await Promise.race([
      once(child, 'message', { signal: gone.signal }).then(([answer]: unknown[]) => answer),
      once(child, 'exit', { signal: gone.signal }).then(([code]: unknown[]) => {
        throw new Error(`an instance ended with ${code}`);
      }),
    ]);
  } finally {
    gone.abort();
  }
}

function ask(child: ChildProcess, order: Order): Promise<unknown> {
  const answer = answerOf(child);
  child.send(order);
  return answer;
}

async function prepare(children: readonly ChildProcess[], work: Work, payments: number): Promise<void> {
  const each = Math.ceil(payments / children.length);
  for (const child of children) await ask(child, { kind: 'prepare', work, payments: each });
}

function go(children: readonly ChildProcess[], durationMs: number): Promise<Outcome[]> {
  return Promise.all(children.map((child) => ask(child, { kind: 'go', durationMs }) as Promise<Outcome>));
}

/** One way to admit, by so many instances. */
interface Cell {
  readonly contender: ContenderName;
  readonly instances: number;
  /** Of each round. */
  readonly perSecond: number[];
  readonly durationsMs: number[];
  /** Of each instance, over all rounds. */
  readonly counts: number[];
  refused: number;
}

/** All ways in turns, so that a busy machine is busy for all. */
async function measure(db: Db, { instances }: Fleet, plan: Plan): Promise<Cell[]> {
  const { rounds, roundMs } = plan;
  const cells = plan.instances.flatMap((count) =>
    CONTENDERS.map((contender): Cell => newCell(contender, count)),
  );
  // A round more, not counted, in which everything becomes warm.
  for (let round = -1; round < rounds; round += 1) {
    for (const cell of cells) {
      const work: Work = { kind: 'admit', contender: cell.contender };
      await playRound(db, cell, instances.slice(0, cell.instances), work, roundMs, round >= 0);
    }
    if (round >= 0) console.log(`round ${round + 1} of ${rounds}`);
  }
  return cells;
}

function newCell(contender: ContenderName, instances: number): Cell {
  return {
    contender,
    instances,
    perSecond: [],
    durationsMs: [],
    counts: Array.from({ length: instances }, () => 0),
    refused: 0,
  };
}

async function playRound(
  db: Db,
  cell: Cell,
  instances: readonly ChildProcess[],
  work: Work,
  roundMs: number,
  counts: boolean,
): Promise<void> {
  await resetHotDocuments(db, null);
  await prepare(instances, work, (PAYMENTS_PER_SECOND_MAX * roundMs) / 1_000);
  const outcomes = await go(instances, roundMs);
  if (counts) addOutcomes(cell, outcomes);
}

function addOutcomes(cell: Cell, outcomes: readonly Outcome[]): void {
  let admitted = 0;
  for (const [index, { durationsMs, refused }] of outcomes.entries()) {
    admitted += durationsMs.length;
    cell.durationsMs.push(...durationsMs);
    cell.counts[index] = (cell.counts[index] ?? 0) + durationsMs.length;
    cell.refused += refused;
  }
  const elapsedMs = Math.max(...outcomes.map((outcome) => outcome.elapsedMs));
  cell.perSecond.push((admitted * 1_000) / elapsedMs);
}

/** The breaker as it is day by day: while instances admit, `settle` commits, and each commit moves the slots. */
async function measureBesideSettler(
  db: Db,
  { instances, settler }: Fleet,
  { rounds, roundMs }: Plan,
): Promise<{ readonly cell: Cell; readonly settledPerSecond: number }> {
  const cell = newCell('breaker', INSTANCES_MAX);
  const settledPerSecond: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await resetHotDocuments(db, null);
    await prepare(
      instances,
      { kind: 'admit', contender: 'breaker' },
      (PAYMENTS_PER_SECOND_MAX * roundMs) / 1_000,
    );
    await prepare([settler], { kind: 'settle' }, (SETTLED_PER_SECOND_MAX * roundMs) / 1_000);
    const [outcomes, [settled]] = await Promise.all([go(instances, roundMs), go([settler], roundMs)]);
    addOutcomes(cell, outcomes);
    if (settled !== undefined) {
      settledPerSecond.push((settled.durationsMs.length * 1_000) / settled.elapsedMs);
    }
  }
  return { cell, settledPerSecond: medianOf(settledPerSecond) };
}

interface LimitHeld {
  readonly contender: ContenderName;
  readonly admitted: number;
  /** The most within any window as long as the limit's. */
  readonly worstWindow: number;
}

/** A limit over a rolling window, met by a burst when the window that a first payment opened is nearly over. */
async function holdLimits(db: Db, { instances }: Fleet): Promise<LimitHeld[]> {
  const held: LimitHeld[] = [];
  const windowMs = LIMIT.windowSeconds * 1_000;
  for (const contender of CONTENDERS.filter((name) => name !== 'inc-hot')) {
    const work: Work = { kind: 'admit', contender, limit: LIMIT };
    await resetHotDocuments(db, LIMIT);
    const [first] = instances;
    if (first === undefined) throw new Error('there is no instance');
    await prepare([first], { ...work, confirms: true }, 1);
    const opening = await go([first], windowMs);
    const openedAtMs = opening[0]?.admittedAtMs[0] ?? Date.now();
    await prepare(instances, work, LIMIT.payments * 8);
    await sleep(Math.max(0, openedAtMs + windowMs * BURST_AT - Date.now()));
    const stop = keepSolidHeadFresh(db);
    const burst = await go(instances, BURST_MS).finally(stop);
    const times = [...opening, ...burst].flatMap(({ admittedAtMs }) => admittedAtMs).sort((a, b) => a - b);
    const worstWindow = Math.max(
      ...times.map((from, index) => times.slice(index).filter((at) => at < from + windowMs).length),
    );
    held.push({ contender, admitted: times.length, worstWindow });
  }
  return held;
}

/** Slots are freed by the chain's time, so it must go on. */
function keepSolidHeadFresh(db: Db): () => Promise<void> {
  const ledger = mongoLedger(db);
  let number = Date.now();
  let stopped = false;
  const going = (async () => {
    while (!stopped) {
      await ledger.advanceSolidHead({ number, blockId: '0'.repeat(64), timestampMs: Date.now() });
      number += 1;
      await sleep(50);
    }
  })();
  return () => {
    stopped = true;
    return going;
  };
}

interface Row {
  readonly name: string;
  readonly instances: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly slowestToMean: number;
  readonly toGuardedInc: number | undefined;
  readonly refused: number;
}

function rowOf(name: string, cell: Cell, incPerSecond: number | undefined): Row {
  const { instances, counts, refused } = cell;
  const { p50Ms, p99Ms } = distributionOf(cell.durationsMs);
  const perSecond = medianOf(cell.perSecond);
  const mean = counts.reduce((sum, count) => sum + count, 0) / instances;
  return {
    name,
    instances,
    perSecond,
    p50Ms,
    p99Ms,
    slowestToMean: Math.min(...counts) / mean,
    toGuardedInc: incPerSecond === undefined ? undefined : perSecond / incPerSecond,
    refused,
  };
}

const NAMES: Readonly<Record<ContenderName, string>> = {
  breaker: 'breaker: reserve, note, drop',
  inc: 'guarded $inc',
  'inc-hot': 'guarded $inc, hot document alone',
  'compare-and-set': 'compare-and-set',
  'rate-limiter-flexible': 'rate-limiter-flexible',
};

function report(
  database: string,
  cells: readonly Cell[],
  settled: Awaited<ReturnType<typeof measureBesideSettler>>,
  limits: readonly LimitHeld[],
): void {
  const incAt = (instances: number) => {
    const cell = cells.find((found) => found.contender === 'inc' && found.instances === instances);
    return cell && medianOf(cell.perSecond);
  };
  const rows = [
    ...cells.map((cell) => rowOf(NAMES[cell.contender], cell, incAt(cell.instances))),
    rowOf(
      `breaker, while ${settled.settledPerSecond.toFixed(0)}/s are committed`,
      settled.cell,
      incAt(INSTANCES_MAX),
    ),
  ];
  console.table(
    rows.map((row) => ({
      way: row.name,
      instances: row.instances,
      'admissions/s': row.perSecond.toFixed(0),
      'p50 ms': row.p50Ms.toFixed(1),
      'p99 ms': row.p99Ms.toFixed(1),
      'slowest ÷ mean': row.slowestToMean.toFixed(2),
      '× guarded $inc': row.toGuardedInc?.toFixed(2) ?? '-',
      'not admitted': row.refused,
    })),
  );
  const bytes = BSON.calculateObjectSize(breakerDocument(busyBreaker()));
  console.log(
    `each admission: one read of the hot document (${(bytes / 1_024).toFixed(0)} KiB), one look at the server’s clock, two changes of the hot document, one of the payment’s own`,
  );
  console.log(
    `\na limit of ${LIMIT.payments} in any ${LIMIT.windowSeconds} s, ${INSTANCES_MAX} instances, a burst across a window’s end:`,
  );
  console.table(
    limits.map(({ contender, admitted, worstWindow }) => ({
      way: NAMES[contender],
      admitted,
      'most in one window': worstWindow,
      verdict: worstWindow <= LIMIT.payments ? 'held' : `EXCEEDED, ${worstWindow} of ${LIMIT.payments}`,
      note: contender === 'inc' || contender === 'compare-and-set' ? 'has no window: never frees' : '',
    })),
  );
  const ours = rows.find(({ name, instances }) => name === NAMES.breaker && instances === INSTANCES_MAX);
  const held = limits.find(({ contender }) => contender === 'breaker');
  const goals = [
    judge('breaker ÷ guarded $inc, 8 instances', ours?.toGuardedInc, '≥', GOALS.toGuardedInc),
    judge('p99 ÷ p50, 8 instances', ours && ours.p99Ms / ours.p50Ms, '≤', GOALS.p99ToP50),
    judge('slowest instance ÷ mean, 8 instances', ours?.slowestToMean, '≥', GOALS.slowestToMean),
    judge('the breaker’s fullest window ÷ its limit', held && held.worstWindow / LIMIT.payments, '≤', 1),
  ];
  for (const { text } of goals) console.log(text);
  writeReport('breaker', { database, rows, limits, goals });
}
