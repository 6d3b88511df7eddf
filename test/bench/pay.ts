import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { Context } from 'aws-lambda';
import { startDatabase } from '../../deploy/local/database/start-database.ts';
import { buildApp } from '../../functions/pay/app.ts';
import { composePayments, openConnections } from '../../shared/composition/compose-engine.ts';
import type { Signer } from '../../shared/ports/payment-network.ts';
import { Authenticator } from '../../shared/runtime/auth.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import { createHandler, type Handler } from '../../shared/runtime/lambda.ts';
import { createLogger } from '../../shared/runtime/logger.ts';
import { mintToken } from '../../shared/runtime/token.ts';
import { freePort } from '../support/ports.ts';
import { seedBusyBreaker } from './busy-breaker.ts';
import { ENGINE_NEEDS, type EngineConfig, engineEnvironment, RECIPIENT } from './engine-environment.ts';
import { functionUrlEvent } from './event.ts';
import { distributionOf, type HeapSample, sampleHeap } from './measure.ts';
import { judge, writeReport } from './report.ts';
import { BareSequence, RoundTripRecorder, type Score, scoreOf } from './round-trips.ts';
import { onStage, type Stage } from './stage.ts';

/** What this benchmark is held to; a miss is shown, and is no failure of the run. */
const GOALS = { payToBare: 1.3, heapGrowthMiB: 4 };

const FULL = { pairs: 1_000, payments: 10_000 };
const QUICK = { pairs: 60, payments: 300 };
const WARM_UP_PAIRS = 100;
const TAKES = 40;
/** Payments in flight while the memory is watched; one instance of a function has one, this is only to save time. */
const LANES = 4;

/**
 * `POST /pay`, as the function answers it in its process, against its own database commands and chain calls played
 * bare; then the heap over many payments. Options: `--pairs N`, `--payments N`, `--quick`.
 */
export async function run(args: readonly string[]): Promise<void> {
  const counts = readCounts(args);
  await onStage(async (stage) => {
    const database = await startDatabase({ dataDir: stage.makeFolder('database') });
    stage.onClose(() => database.stop());
    const port = await freePort();
    const nodeUrl = `http://127.0.0.1:${port}`;
    await stage.startProgram(process.execPath, ['test/bench/stand-in-node.ts', String(port)], port);
    const genesisBlockId = await readGenesisBlockId(nodeUrl);
    console.log(`database: ${database.description}`);
    console.log('node: a stand-in with the recorded answers of java-tron 4.8.0, each after a millisecond');
    const configure = (name: string) =>
      readConfig(
        engineEnvironment(stage, {
          mongoUrl: database.url,
          nodeUrl,
          genesisBlockId,
          database: `bench_${name}_${process.pid}`,
        }),
        { needs: ENGINE_NEEDS },
      );

    const score = await record(stage, configure('recorded'));
    showScore(score);
    const service = await openService(stage, configure('paid'));
    const bare = await openBare(stage, configure('bare'), nodeUrl, score);
    const comparison = await compare(service, bare, counts.pairs);
    const heap = await watchHeap(service, counts.payments);
    report(database.description, score, comparison, heap);
  });
}

function readCounts(args: readonly string[]): { pairs: number; payments: number } {
  const { values } = parseArgs({
    args: [...args],
    options: { quick: { type: 'boolean' }, pairs: { type: 'string' }, payments: { type: 'string' } },
  });
  const usual = values.quick ? QUICK : FULL;
  const pairs = Number(values.pairs ?? usual.pairs);
  const payments = Number(values.payments ?? usual.payments);
  if ([pairs, payments].every((count) => Number.isInteger(count) && count >= 10 && count <= 100_000)) {
    return { pairs, payments };
  }
  throw new Error('usage: npm run bench -- pay [--quick] [--pairs 10..100000] [--payments 10..100000]');
}

async function readGenesisBlockId(nodeUrl: string): Promise<string> {
  const response = await fetch(`${nodeUrl}/wallet/getblockbynum`, { method: 'POST', body: '{"num":0}' });
  const { blockID } = (await response.json()) as { blockID: string };
  return blockID;
}

type PostEvent = ReturnType<typeof functionUrlEvent>;

interface Service {
  /** A request with a key and a token of its own; made before the time is taken. */
  prepare(): Promise<PostEvent>;
  /** @throws Error on any answer but 201 */
  post(event: PostEvent): Promise<void>;
  /** What signing took, of each payment so far. */
  readonly signingMs: number[];
}

/** The function as its instance holds it: the handler with all of its stack, without the emulator around it. */
async function openService(
  stage: Stage,
  config: EngineConfig,
  recorder?: RoundTripRecorder,
): Promise<Service> {
  const connections = openConnections(config);
  const { db } = connections;
  stage.onClose(async () => {
    await db.dropDatabase();
    await db.client.close();
  });
  recorder?.watch(db.client);
  await seedBusyBreaker(db);
  recorder?.take();
  const nodes =
    recorder === undefined ? connections.nodes : connections.nodes.map((node) => recorder.around(node));
  const { engine, search } = composePayments(config, recorder?.wrap, { db, nodes });
  const signingMs: number[] = [];
  const authenticator = new Authenticator({
    ...config.auth,
    callers: config.secrets.callers,
    monitoringKey: null,
    nowMs: Date.now,
  });
  const app = buildApp({
    engine: { ...engine, signer: timed(engine.signer, signingMs) },
    search,
    authenticator,
  });
  const logger = createLogger({ ...config.log, service: 'bench', functionName: 'pay', write: () => {} });
  const handler = await createHandler('pay', { app }, logger);
  return {
    signingMs,
    prepare: () => newPost(config),
    post: (event) => post(handler, event),
  };
}

function timed(signer: Signer, durationsMs: number[]): Signer {
  return {
    ...signer,
    async sign(...what) {
      const startedMs = performance.now();
      const signed = await signer.sign(...what);
      durationsMs.push(performance.now() - startedMs);
      return signed;
    },
  };
}

async function newPost(config: EngineConfig): Promise<PostEvent> {
  const [secret] = config.secrets.callers.gateway?.secrets ?? [];
  if (secret === undefined) throw new Error('the gateway has no secret');
  const request = { method: 'POST', path: '/pay', idempotencyKey: `bench-${randomUUID()}` };
  const body = JSON.stringify({ to: RECIPIENT, amount: '1.5', asset: 'USDT' });
  const token = await mintToken({
    caller: 'gateway',
    secret,
    audience: config.auth.audience,
    nowMs: Date.now(),
    lifetimeSeconds: 3_600,
    tokenId: randomUUID(),
    request: { ...request, body: Buffer.from(body) },
  });
  return functionUrlEvent({
    ...request,
    headers: {
      'content-type': 'application/json',
      'idempotency-key': request.idempotencyKey,
      authorization: `Bearer ${token}`,
    },
    body,
  });
}

async function post(handler: Handler, event: PostEvent): Promise<void> {
  const context = { awsRequestId: 'bench', getRemainingTimeInMillis: () => 30_000 } as Context;
  const answer = (await handler(event, context)) as { statusCode: number; body: string };
  if (answer.statusCode !== 201) throw new Error(`POST /pay answered ${answer.statusCode}: ${answer.body}`);
}

/** Pays some times under watch: what goes out, and what waits for what. */
async function record(stage: Stage, config: EngineConfig): Promise<Score> {
  const recorder = new RoundTripRecorder();
  const service = await openService(stage, config, recorder);
  const takes = [];
  for (let take = -5; take < TAKES; take += 1) {
    await service.post(await service.prepare());
    const trips = recorder.take();
    // The first ones also ask for the genesis block and the prices, which an instance then remembers.
    if (take >= 0) takes.push(trips);
  }
  return scoreOf(takes);
}

function showScore({ steps }: Score): void {
  console.log('\nthe round trips of one payment (recorded; an instance that has paid before):');
  console.table(
    steps.map(({ kind, what, askedBy, after }) => ({
      after: after.join(', ') || '-',
      kind,
      'round trip': what,
      'asked by': askedBy,
    })),
  );
  const count = (wanted: string) => steps.filter(({ kind }) => kind === wanted).length;
  console.log(
    `${count('write')} writes, ${count('read')} reads, ${count('clock')} looks at the server's clock, ` +
      `${count('chain')} requests to a node; ${depthOf(steps)} of them one after the other\n`,
  );
}

/** The longest chain of steps that wait for one another. */
function depthOf(steps: Score['steps']): number {
  const depths: number[] = [];
  for (const { after } of steps) depths.push(1 + Math.max(0, ...after.map((step) => depths[step] ?? 0)));
  return Math.max(...depths);
}

async function openBare(
  stage: Stage,
  config: EngineConfig,
  nodeUrl: string,
  score: Score,
): Promise<BareSequence> {
  const { db } = openConnections(config);
  const bare = new BareSequence(db, nodeUrl, score);
  stage.onClose(async () => {
    bare.close();
    await db.dropDatabase();
    await db.client.close();
  });
  await seedBusyBreaker(db);
  return bare;
}

interface Lane {
  readonly name: string;
  run(turn: number): Promise<() => Promise<void>>;
  readonly durationsMs: number[];
  cpuMs: number;
}

/** Both in turns, so that a busy machine is busy for both. */
async function compare(service: Service, bare: BareSequence, pairs: number) {
  const lanes: [Lane, Lane] = [
    {
      name: 'POST /pay',
      run: async () => {
        const event = await service.prepare();
        return () => service.post(event);
      },
      durationsMs: [],
      cpuMs: 0,
    },
    {
      name: 'bare sequence',
      run: async (turn) => {
        const replay = bare.prepare(turn);
        return () => bare.play(replay);
      },
      durationsMs: [],
      cpuMs: 0,
    },
  ];
  for (let turn = -WARM_UP_PAIRS; turn < pairs; turn += 1) {
    if (turn === 0) service.signingMs.length = 0;
    for (const lane of turn % 2 === 0 ? lanes : [...lanes].reverse()) {
      const play = await lane.run(turn + WARM_UP_PAIRS);
      const cpu = process.cpuUsage();
      const startedMs = performance.now();
      await play();
      const durationMs = performance.now() - startedMs;
      const { user, system } = process.cpuUsage(cpu);
      if (turn < 0) continue;
      lane.durationsMs.push(durationMs);
      lane.cpuMs += (user + system) / 1_000;
    }
    if (turn > 0 && turn % 250 === 0) console.log(`${turn} of ${pairs} pairs`);
  }
  return lanes
    .map(({ name, durationsMs, cpuMs }) => ({
      name,
      ...distributionOf(durationsMs),
      cpuMs: cpuMs / pairs,
    }))
    .concat({ name: 'of it signing', ...distributionOf(service.signingMs), cpuMs: Number.NaN });
}

/** Pays on and on, and looks at what is left on the heap after a full collection. */
async function watchHeap(service: Service, payments: number): Promise<HeapSample[]> {
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(payments * share));
  const samples: HeapSample[] = [];
  let paid = 0;
  for (const mark of marks) {
    const lane = async (): Promise<void> => {
      while (paid < mark) {
        paid += 1;
        await service.post(await service.prepare());
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    service.signingMs.length = 0;
    const sample = sampleHeap(paid);
    console.log(
      `heap after ${paid} payments: ${sample.heapMiB.toFixed(1)} MiB, resident ${sample.rssMiB.toFixed(0)} MiB`,
    );
    samples.push(sample);
  }
  return samples;
}

function report(
  database: string,
  score: Score,
  comparison: Awaited<ReturnType<typeof compare>>,
  heap: readonly HeapSample[],
): void {
  const [paid, bare] = comparison;
  console.table(
    comparison.map(({ name, p50Ms, p99Ms, cpuMs }) => ({
      '': name,
      'p50 ms': p50Ms.toFixed(2),
      'p99 ms': p99Ms.toFixed(2),
      'CPU ms of this process': Number.isNaN(cpuMs) ? '-' : cpuMs.toFixed(2),
    })),
  );
  const growthMiB = (heap.at(-1)?.heapMiB ?? 0) - (heap[1]?.heapMiB ?? 0);
  const goals = [
    judge('POST /pay ÷ bare sequence, median', paid && bare && paid.p50Ms / bare.p50Ms, '≤', GOALS.payToBare),
    judge('growth of the heap over the last three quarters, MiB', growthMiB, '≤', GOALS.heapGrowthMiB),
  ];
  if (paid && bare) console.log(`p99 ÷ p99: ${(paid.p99Ms / bare.p99Ms).toFixed(2)}`);
  for (const { text } of goals) console.log(text);
  writeReport('pay', { database, steps: score.steps, comparison, heap, goals });
}
