/** More and fewer instances of a function, under load, without a failed request. */
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DRAINED_FILE, DRAINING_FILE, type DrainOrder, type DrainReport } from '../sidecar/draining.ts';
import type { DrainState } from '../sidecar/pool.ts';
import { inspectContainers, listContainers } from './containers.ts';
import { FUNCTIONS, type FunctionName, type Planes } from './planes.ts';
import { own } from './state.ts';

export type Scales = ReadonlyMap<FunctionName, number>;

const INSTANCES_MAX = 32;
/** An invocation lasts for a function's timeout at most; then the sidecar gives it up. */
const DRAIN_PATIENCE_MS = 60_000;
/** Both waits, and what lies between them. */
const ORDER_MS = 3 * DRAIN_PATIENCE_MS;
const POLL_MS = 200;
const PORT = 8080;

/** Reads `pay=3`. @throws Error with one line. */
export function readScales(words: readonly string[]): Scales {
  const scales = new Map<FunctionName, number>();
  for (const word of words) {
    const [name = '', count = ''] = word.split('=');
    const known = FUNCTIONS.find((candidate) => candidate === name);
    const number = /^\d{1,2}$/.test(count) ? Number(count) : Number.NaN;
    if (known === undefined || !(number >= 1 && number <= INSTANCES_MAX)) {
      throw new Error(
        `"${word}" is not SERVICE=N, with one of ${FUNCTIONS.join(', ')} and 1 to ${INSTANCES_MAX}`,
      );
    }
    scales.set(known, number);
  }
  if (scales.size === 0) throw new Error('say which and how many: npm run planes -- scale pay=3');
  return scales;
}

/** Brings each function to its number of instances: new ones are healthy, and old ones idle, before this returns. */
export async function scale(planes: Planes, scales: Scales, log: (line: string) => void): Promise<void> {
  await planes.requireRunning();
  for (const [name, count] of scales) {
    const containers = await listContainers(planes, name);
    if (containers.length < count) {
      await addInstances(planes, name, count);
      log(`${name}: ${containers.length} → ${count}`);
    } else if (containers.length > count) {
      // The youngest go: those that were there first are warm.
      const leaving = [...containers].sort((a, b) => a.createdAtMs - b.createdAtMs).slice(count);
      await removeDrained(
        planes,
        leaving.map(({ id }) => id),
      );
      log(`${name}: ${containers.length} → ${count}, ${leaving.length} drained and removed`);
    } else {
      log(`${name}: ${count} as it is`);
    }
  }
}

/** Starts instances of the version that is asked for now; those that run already are left alone. */
export async function addInstances(planes: Planes, name: FunctionName, count: number): Promise<void> {
  await planes.engine.compose([
    ...['up', '--detach', '--wait', '--wait-timeout', '120', '--no-deps', '--no-recreate'],
    ...['--scale', `${name}=${count}`, name],
  ]);
}

/** Takes instances, by their ids, out of the sidecar's pool, waits until each is idle, and removes them. */
export async function removeDrained(planes: Planes, containers: readonly string[]): Promise<void> {
  const addresses = (await inspectContainers(planes, containers)).flatMap(({ addresses }) =>
    addresses.lucid_wallet_plane ? [`${addresses.lucid_wallet_plane}:${PORT}`] : [],
  );
  const order: DrainOrder = { id: randomUUID(), addresses, endsAtMs: Date.now() + ORDER_MS };
  const folder = join(planes.folders.data, 'beta-sidecar');
  const orderFile = join(folder, DRAINING_FILE);
  writeFileSync(`${orderFile}.new`, JSON.stringify(order));
  own(`${orderFile}.new`, planes.owner);
  renameSync(`${orderFile}.new`, orderFile);
  try {
    await untilAll(folder, order, (state) => state !== 'busy', 'drained; nothing was removed');
    await planes.engine.docker(['rm', '--force', ...containers]);
    // Until the name no longer resolves to them: else they would be invoked once more.
    await untilAll(folder, order, (state) => state === 'gone', 'forgotten by the sidecar');
  } finally {
    rmSync(orderFile, { force: true });
  }
}

async function untilAll(
  folder: string,
  { id, addresses }: DrainOrder,
  isReached: (state: DrainState | undefined) => boolean,
  what: string,
): Promise<void> {
  const untilMs = performance.now() + DRAIN_PATIENCE_MS;
  for (;;) {
    const report = readReport(folder);
    if (report?.id === id && addresses.every((address) => isReached(report.states[address]))) return;
    if (performance.now() > untilMs) {
      throw new Error(`after ${DRAIN_PATIENCE_MS / 1_000} s not all were ${what}: ${addresses.join(', ')}`);
    }
    await sleep(POLL_MS);
  }
}

function readReport(folder: string): DrainReport | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, DRAINED_FILE), 'utf8')) as DrainReport;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
