import { writeFileSync } from 'node:fs';
import { freePort } from '../support/ports.ts';
import { type ColdInvoke, measureColdInvokes } from './cold-invoke.ts';
import {
  type Distribution,
  distributionOf,
  measureThroughput,
  medianOf,
  openTarget,
  type Target,
} from './measure.ts';
import { startServerlessOffline } from './peers.ts';
import { judge, ratio, writeReport } from './report.ts';
import { onStage, type Stage } from './stage.ts';

const REQUESTS_DEFAULT = 3_000;
const WARM_UP_REQUESTS = 500;
const THROUGHPUT_ROUNDS = 4;
const THROUGHPUT_ROUND_MS = 1_500;

/** What this benchmark is held to; a miss is shown, and is no failure of the run. */
const GOALS = { functionUrlP50: 1.35, functionUrlP99: 1.5, throughput: 0.8, coldPay: 1.7, coldHealth: 1.2 };

const BODY = JSON.stringify({ to: 'TMVQGm1qAQYVdetCeGRRkTWYYrLXuHK2HC', amount: '1.5', asset: 'USDT' });

interface Way {
  readonly name: string;
  readonly distribution: Distribution | undefined;
  readonly note: string;
}

interface Throughput {
  readonly directPerSecond: number;
  readonly functionUrlPerSecond: number;
  readonly ratio: number;
}

/**
 * What an invoke costs, by each way in, all in one run and in turns, so that a busy machine is busy for all.
 * Options: `--requests N` for each way.
 */
export async function run(args: readonly string[]): Promise<void> {
  const requests = readRequests(args);
  await onStage(async (stage) => {
    const bundleDir = await stage.bundle('subject/handler.ts', 'subject');
    const first = await stage.startRie('subject', bundleDir);
    const second = await stage.startRie('subject', bundleDir);
    const functionUrl = `${await stage.startSidecar([first.port, second.port])}/pay`;
    const event = await recordEvent(stage);

    const ways = await measureWays(stage, {
      bundleDir,
      functionUrl,
      invokeUrl: first.invokeUrl,
      event,
      requests,
    });
    const throughput = await compareThroughput([first.invokeUrl, second.invokeUrl], functionUrl, event);
    const coldInvokes = await measureColdInvokes(stage, bundleDir);
    report(ways, throughput, coldInvokes);
  });
}

function readRequests(args: readonly string[]): number {
  if (args.length === 0) return REQUESTS_DEFAULT;
  const requests = args.length === 2 && args[0] === '--requests' ? Number(args[1]) : Number.NaN;
  if (Number.isInteger(requests) && requests >= 100 && requests <= 20_000) return requests;
  throw new Error('usage: npm run bench -- invoke [--requests 100..20000]');
}

/** The event that the sidecar makes of the request: what is invoked directly is the same work. */
async function recordEvent(stage: Stage): Promise<string> {
  const folder = stage.makeFolder('recorder');
  writeFileSync(`${folder}/handler.mjs`, 'export const handler = async (event) => event;\n');
  const recorder = await stage.startRie('recorder', folder);
  const url = await stage.startSidecar([recorder.port]);
  const response = await fetch(`${url}/pay`, {
    method: 'POST',
    body: BODY,
    headers: { 'content-type': 'application/json' },
  });
  return response.text();
}

async function measureWays(
  stage: Stage,
  facts: { bundleDir: string; functionUrl: string; invokeUrl: string; event: string; requests: number },
): Promise<Way[]> {
  const barePort = await freePort();
  await stage.startProgram(process.execPath, ['test/bench/subject/server.ts', String(barePort)], barePort);
  const peer = await startServerlessOffline(stage, facts.bundleDir).then(
    (url) => ({ url, note: '13.9.0, without RIE' }),
    (error: unknown) => ({ url: undefined, note: `could not run: ${firstLine(error)}` }),
  );
  const candidates = [
    {
      name: 'bare fastify',
      url: `http://127.0.0.1:${barePort}/pay`,
      body: BODY,
      note: 'no Lambda around it',
    },
    { name: 'RIE directly', url: facts.invokeUrl, body: facts.event, note: 'the reference' },
    { name: 'function URL', url: facts.functionUrl, body: BODY, note: 'sidecar before the same RIE' },
    { name: 'serverless-offline', url: peer.url, body: BODY, note: peer.note },
  ];
  const lanes = candidates.map(({ url, body, ...candidate }) => ({
    ...candidate,
    target: url === undefined ? undefined : openTarget(url, body),
    durationsMs: [] as number[],
  }));
  for (let turn = -WARM_UP_REQUESTS; turn < facts.requests; turn += 1) {
    for (const { target, durationsMs } of lanes) {
      const durationMs = await target?.post();
      if (durationMs !== undefined && turn >= 0) durationsMs.push(durationMs);
    }
  }
  await Promise.all(lanes.map(({ target }) => target?.close()));
  return lanes.map(({ name, note, target, durationsMs }) => ({
    name,
    note,
    distribution: target === undefined ? undefined : distributionOf(durationsMs),
  }));
}

/** Two lanes on two instances, called directly and by the function URL, in turns. */
async function compareThroughput(
  invokeUrls: readonly string[],
  functionUrl: string,
  event: string,
): Promise<Throughput> {
  const direct: Target[] = invokeUrls.map((url) => openTarget(url, event));
  const byUrl: Target[] = invokeUrls.map(() => openTarget(functionUrl, BODY));
  await measureThroughput(direct, THROUGHPUT_ROUND_MS);
  await measureThroughput(byUrl, THROUGHPUT_ROUND_MS);
  const directRates: number[] = [];
  const byUrlRates: number[] = [];
  for (let round = 0; round < THROUGHPUT_ROUNDS; round += 1) {
    directRates.push(await measureThroughput(direct, THROUGHPUT_ROUND_MS));
    byUrlRates.push(await measureThroughput(byUrl, THROUGHPUT_ROUND_MS));
  }
  await Promise.all([...direct, ...byUrl].map((target) => target.close()));
  const directPerSecond = medianOf(directRates);
  const functionUrlPerSecond = medianOf(byUrlRates);
  return { directPerSecond, functionUrlPerSecond, ratio: functionUrlPerSecond / directPerSecond };
}

function report(ways: readonly Way[], throughput: Throughput, coldInvokes: readonly ColdInvoke[]): void {
  const reference = ways.find(({ name }) => name === 'RIE directly')?.distribution;
  const rows = ways.map(({ name, distribution, note }) => ({
    way: name,
    'p50 ms': distribution?.p50Ms.toFixed(3) ?? '-',
    'p99 ms': distribution?.p99Ms.toFixed(2) ?? '-',
    '× RIE p50': ratio(distribution?.p50Ms, reference?.p50Ms),
    '× RIE p99': ratio(distribution?.p99Ms, reference?.p99Ms),
    note,
  }));
  console.table(rows);
  console.table(
    coldInvokes.map(({ name, p50Ms, ratioToEmpty, note }) => ({
      'first cold invoke': name,
      'p50 ms': p50Ms?.toFixed(0) ?? '-',
      '× empty': ratioToEmpty?.toFixed(2) ?? '-',
      note,
    })),
  );
  const url = ways.find(({ name }) => name === 'function URL')?.distribution;
  const coldRatio = (name: string) => coldInvokes.find((cold) => cold.name === name)?.ratioToEmpty;
  const goals = [
    judge(
      'function URL ÷ RIE, median',
      url && reference && url.p50Ms / reference.p50Ms,
      '≤',
      GOALS.functionUrlP50,
    ),
    judge(
      'function URL ÷ RIE, p99',
      url && reference && url.p99Ms / reference.p99Ms,
      '≤',
      GOALS.functionUrlP99,
    ),
    judge('throughput of 2 instances, function URL ÷ direct', throughput.ratio, '≥', GOALS.throughput),
    judge('first cold invoke, pay ÷ empty', coldRatio('pay'), '≤', GOALS.coldPay),
    judge('first cold invoke, health ÷ empty', coldRatio('health'), '≤', GOALS.coldHealth),
  ];
  console.log(
    `throughput of 2 instances: ${throughput.directPerSecond.toFixed(0)} requests/s directly, ` +
      `${throughput.functionUrlPerSecond.toFixed(0)} by function URL`,
  );
  for (const { text } of goals) console.log(text);
  writeReport('invoke', { ways, throughput, coldInvokes, goals });
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n', 1)[0] ?? '';
}
