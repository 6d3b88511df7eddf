import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { authorize, createClient } from '../../deploy/cli/running-stack.ts';
import { createRecipient } from '../../deploy/local/accounts.ts';
import { accessOf } from '../../deploy/planes/access.ts';
import { FUNCTIONS, Planes, type PlanesOptions } from '../../deploy/planes/planes.ts';
import { rollOut } from '../../deploy/planes/scripts/deploy.ts';
import { crashService, type Restart, runningServices } from '../../deploy/planes/scripts/test-restart.ts';
import { readResources } from '../../deploy/planes/scripts/validate-resources.ts';

import { startStack } from '../support/stack.ts';
import { type Distribution, distributionOf } from './measure.ts';
import { judge, ratio, writeReport } from './report.ts';

const GOALS = { upSeconds: 45, restartSeconds: 8, memoryShare: 0.5 };
const REQUESTS = 500;
const WARM_UP_REQUESTS = 50;
const LOAD_MS = 20_000;
const SAMPLE_MS = 2_000;
const PAYMENTS = 40;
const PATHS = ['/health/live', '/pay?limit=1'] as const;

const OPTIONS: PlanesOptions = {
  isProduction: false,
  isTest: true,
  stateDir: resolve(import.meta.dirname, '../../.local/planes-bench'),
  mongo: 'stand-in',
  settings: { CIRCUIT_BREAKER_HOURLY_LIMIT: '100000', CIRCUIT_BREAKER_DAILY_LIMIT: '100000' },
};

type Shares = Readonly<Record<string, number>>;

/** What the compose planes cost, on the engine that answers; nothing else may use their networks meanwhile. */
export async function run(): Promise<void> {
  const planes = await Planes.open(OPTIONS, console.log);
  const missing = await planes.missingImages();
  if (missing.length > 0) throw new Error(`no image of ${missing.join(', ')}: npm run images`);
  await planes.down({ isShown: false });
  await planes.prepare();
  try {
    const upMs = await timed(() => planes.up({ isShown: false }));
    console.log(`healthy after ${(upMs / 1_000).toFixed(1)} s`);
    const idle = await memoryShares(planes);
    const overhead = await measureOverhead(planes);
    const loaded = await measureUnderLoad(planes);
    const updateMs = await measureUpdate(planes);
    const restarts: Restart[] = [];
    for (const service of await runningServices(planes))
      restarts.push(...(await crashService(planes, service)));
    report({ upMs, idle, loaded, overhead, updateMs, restarts });
  } finally {
    await planes.down({ isShown: false });
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function memoryShares(planes: Planes): Promise<Shares> {
  const uses = await readResources(planes);
  return Object.fromEntries(uses.map(({ container, memory }) => [container, memory.used / memory.held]));
}

interface Overhead {
  readonly path: string;
  readonly planes: Distribution;
  readonly local: Distribution;
}

/** The same requests to the planes and to a stack without containers, in turns. */
async function measureOverhead(planes: Planes): Promise<readonly Overhead[]> {
  const access = await accessOf(planes);
  const stack = await startStack();
  try {
    const figures: Overhead[] = [];
    for (const path of PATHS) {
      const request = { method: 'GET', path: '/pay' };
      const tokens = { planes: await authorize(access, request), local: await stack.token(request) };
      const durations = { planes: [] as number[], local: [] as number[] };
      for (let turn = 0; turn < WARM_UP_REQUESTS + REQUESTS; turn += 1) {
        for (const [where, url] of [
          ['planes', access.url],
          ['local', stack.url],
        ] as const) {
          const durationMs = await timed(async () => {
            const headers = { authorization: `Bearer ${tokens[where]}` };
            const response = await fetch(`${url}${path}`, { headers });
            await response.arrayBuffer();
            if (!response.ok) throw new Error(`${where} answers ${path} with ${response.status}`);
          });
          if (turn >= WARM_UP_REQUESTS) durations[where].push(durationMs);
        }
      }
      figures.push({
        path,
        planes: distributionOf(durations.planes),
        local: distributionOf(durations.local),
      });
    }
    return figures;
  } finally {
    await stack.stop();
  }
}

/** The most that each container held while payments were made and figures asked for. */
async function measureUnderLoad(planes: Planes): Promise<Shares> {
  const access = await accessOf(planes);
  const client = createClient(access);
  const token = await authorize(access, { method: 'GET', path: '/pay' });
  const to = createRecipient(planes.folders.secrets);
  const untilMs = performance.now() + LOAD_MS;
  const ask = async (path: string) => {
    while (performance.now() < untilMs) {
      const response = await fetch(`${access.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
      await response.arrayBuffer();
    }
  };
  const pay = async (payment: number) => {
    const order = { to, amount: `0.0${String(payment + 100)}`, asset: 'USDT' } as const;
    const idempotencyKey = `bench-${to}-${payment}`;
    await client.pay(order, { idempotencyKey, deadlineMs: 120_000 });
  };
  const most: Record<string, number> = {};
  const sample = async () => {
    while (performance.now() < untilMs) {
      for (const [name, share] of Object.entries(await memoryShares(planes))) {
        most[name] = Math.max(most[name] ?? 0, share);
      }
      await sleep(SAMPLE_MS);
    }
  };
  const payments = Array.from({ length: PAYMENTS }, (_, payment) => pay(payment));
  await Promise.all([...['/pay?limit=10', '/stats?period=day', '/health'].map(ask), ...payments, sample()]);
  return most;
}

async function measureUpdate(planes: Planes): Promise<number> {
  const next = planes.at('bench-next');
  for (const name of FUNCTIONS) await planes.engine.docker(['tag', planes.image(name), next.image(name)]);
  return timed(() => rollOut(next, () => {}));
}

function report(figures: {
  readonly upMs: number;
  readonly idle: Shares;
  readonly loaded: Shares;
  readonly overhead: readonly Overhead[];
  readonly updateMs: number;
  readonly restarts: readonly Restart[];
}): void {
  const { upMs, idle, loaded, overhead, updateMs, restarts } = figures;
  const percent = (share: number | undefined) =>
    share === undefined ? '-' : `${(share * 100).toFixed(0)} %`;
  console.table(
    Object.keys(loaded).map((container) => ({
      container,
      'memory idle': percent(idle[container]),
      'under load': percent(loaded[container]),
    })),
  );
  console.table(
    restarts.map(({ container, healthyAfterMs }) => ({
      'crash of': container,
      'healthy after s': healthyAfterMs === undefined ? '-' : (healthyAfterMs / 1_000).toFixed(1),
    })),
  );
  console.table(
    overhead.map(({ path, planes, local }) => ({
      GET: path,
      'planes p50 ms': planes.p50Ms.toFixed(2),
      'local p50 ms': local.p50Ms.toFixed(2),
      'ratio p50': ratio(planes.p50Ms, local.p50Ms),
      'ratio p99': ratio(planes.p99Ms, local.p99Ms),
    })),
  );
  console.log(`rolling update of all functions: ${(updateMs / 1_000).toFixed(1)} s`);
  const slowest = Math.max(
    ...restarts.map(({ healthyAfterMs }) => healthyAfterMs ?? Number.POSITIVE_INFINITY),
  );
  const verdicts = [
    judge('up to healthy, s', upMs / 1_000, '≤', GOALS.upSeconds),
    judge('slowest restart to healthy, s', slowest / 1_000, '≤', GOALS.restartSeconds),
    judge(
      'largest share of its memory under load',
      Math.max(...Object.values(loaded)),
      '≤',
      GOALS.memoryShare,
    ),
  ];
  for (const { text } of verdicts) console.log(text);
  writeReport('planes', { ...figures, verdicts });
}
