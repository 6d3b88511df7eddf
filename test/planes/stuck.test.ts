import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Container, listContainers, listRunning } from '../../deploy/planes/containers.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { checkHealth } from '../../deploy/planes/scripts/health-check.ts';
import { waitUntil } from '../support/wait-until.ts';
import { openPlanes } from './support/running-planes.ts';

const PATIENCE_MS = 480_000;
const INVOKE_MS_MAX = 180_000;

let planes: Planes;
let watched: readonly Container[] = [];

beforeAll(async () => {
  planes = await openPlanes();
  // But for the relays, which only tests have.
  watched = (await listRunning(planes)).filter(({ service }) => !service.startsWith('tor-relay'));
});

/** keeper's child, and all below it. */
function processesInside(pid: number): readonly number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return children.flatMap((child) => [child, ...processesInside(child)]);
}

describe('a service whose process is there and does nothing', () => {
  it('is seen to be unhealthy, ended, and healthy again, whichever it is', async () => {
    for (const { pid } of watched) for (const inside of processesInside(pid)) process.kill(inside, 'SIGSTOP');

    const seen = new Map(
      watched.map(({ id, name }) => [id, { name, unhealthy: false, ended: false, healthy: false }]),
    );
    const startedMs = performance.now();
    while ([...seen.values()].some(({ healthy }) => !healthy)) {
      if (performance.now() - startedMs > PATIENCE_MS) break;
      for (const { id, health, startedAtMs } of await listContainers(planes)) {
        const state = seen.get(id);
        const first = watched.find((container) => container.id === id);
        if (state === undefined || first === undefined) continue;
        state.unhealthy ||= health === 'unhealthy';
        state.ended ||= startedAtMs > first.startedAtMs;
        state.healthy = state.ended && health === 'healthy';
      }
      await sleep(500);
    }
    expect(
      [...seen.values()].filter(({ unhealthy, ended, healthy }) => !(unhealthy && ended && healthy)),
    ).toEqual([]);

    for (const { service } of watched) {
      const logs = await planes.engine.compose(['logs', service]);
      expect([service, logs.includes('it is killed, to be started anew')]).toEqual([service, true]);
    }
    // A sidecar that was killed lets what it had invoked come to an end first, for as long as a function may take.
    await waitUntil(
      async () => (await checkHealth(planes)).every(({ isHealthy }) => isHealthy),
      INVOKE_MS_MAX,
    );
  });
});
