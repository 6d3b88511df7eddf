/**
 * `node deploy/planes/scripts/test-restart.ts`: ends the process inside each container, as a crash does, and waits
 * until the container is healthy again. (A container that is stopped is not restarted, and does not show anything.)
 * Asserts that payments are where they were. For development and tests: it needs root, and it does crash the services.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Container, listContainers, listRunning } from '../containers.ts';
import type { Planes } from '../planes.ts';
import { formatTable, runScript } from './command.ts';

export interface Restart {
  readonly service: string;
  readonly container: string;
  /** From the crash until it is healthy again; undefined where it is not within the patience. */
  readonly healthyAfterMs: number | undefined;
}

const PATIENCE_MS = 120_000;
const POLL_MS = 50;

/** Crashes every container of a service, one after the other. */
export async function crashService(planes: Planes, service: string): Promise<readonly Restart[]> {
  const restarts: Restart[] = [];
  for (const container of await listRunning(planes, service)) {
    restarts.push(await crash(planes, container));
  }
  return restarts;
}

async function crash(planes: Planes, { id, name, service, pid, startedAtMs }: Container): Promise<Restart> {
  const crashedAtMs = performance.now();
  // keeper's child: keeper itself, as process 1, ends with it.
  const [inside = pid] = childrenOf(pid);
  process.kill(inside, 'SIGKILL');
  while (performance.now() - crashedAtMs < PATIENCE_MS) {
    await sleep(POLL_MS);
    const now = (await listContainers(planes, service)).find((container) => container.id === id);
    const isNew = now?.isRunning === true && now.startedAtMs > startedAtMs;
    if (isNew && (now.health === 'healthy' || now.health === 'none')) {
      return { service, container: name, healthyAfterMs: performance.now() - crashedAtMs };
    }
  }
  return { service, container: name, healthyAfterMs: undefined };
}

function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** The services that run for good; the ones that run once have ended. */
export async function runningServices(planes: Planes): Promise<readonly string[]> {
  const running = await listRunning(planes);
  return [...new Set(running.map(({ service }) => service))].sort();
}

if (import.meta.main) {
  await runScript('test-restart', async (planes, print) => {
    const restarts: Restart[] = [];
    for (const service of await runningServices(planes)) {
      for (const restart of await crashService(planes, service)) {
        restarts.push(restart);
        const { container, healthyAfterMs } = restart;
        print(
          formatTable([
            healthyAfterMs === undefined
              ? ['✘', container, `not healthy ${PATIENCE_MS / 1_000} s after the crash`]
              : ['✔', container, `healthy ${(healthyAfterMs / 1_000).toFixed(1)} s after the crash`],
          ]),
        );
      }
    }
    return restarts.length > 0 && restarts.every(({ healthyAfterMs }) => healthyAfterMs !== undefined);
  });
}
