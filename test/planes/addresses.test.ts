import { beforeAll, describe, expect, it } from 'vitest';
import { authorize } from '../../deploy/cli/running-stack.ts';
import { accessOf } from '../../deploy/planes/access.ts';
import { type Container, listRunning, sidecarUrls } from '../../deploy/planes/containers.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { waitUntil } from '../support/wait-until.ts';
import { openPlanes } from './support/running-planes.ts';

const NETWORK = 'lucid_wallet_plane';
const PATIENCE_MS = 120_000;

let planes: Planes;
let functionUrl = '';
let token = '';

beforeAll(async () => {
  planes = await openPlanes();
  ({ functionUrl } = await sidecarUrls(planes));
  token = await authorize(await accessOf(planes), { method: 'GET', path: '/pay' });
});

async function statusOf(path: string): Promise<number> {
  const response = await fetch(`${functionUrl}${path}`, { headers: { authorization: `Bearer ${token}` } });
  await response.arrayBuffer();
  return response.status;
}

const docker = (...words: readonly string[]) => planes.engine.docker(words);

/** Joins the wallet plane anew, under the name by which it is found, at this address or any. */
async function rejoin({ id, service }: Container, address?: string): Promise<void> {
  await docker('network', 'disconnect', NETWORK, id);
  const place = address === undefined ? [] : ['--ip', address];
  await docker('network', 'connect', ...place, '--alias', service, NETWORK, id);
}

describe('an address that pay left and another function took over', () => {
  it('answers no request for pay: it is served elsewhere, or may be asked again', async () => {
    const pays = await listRunning(planes, 'pay');
    const stats = await listRunning(planes, 'stats');
    const [follower] = stats;
    const address = pays[0]?.addresses[NETWORK];
    if (follower === undefined || address === undefined) throw new Error('pay and stats must run');
    expect(await statusOf('/pay?limit=1')).toBe(200);

    const seen = new Set<number>();
    let isOver = false;
    const asking = (async () => {
      while (!isOver) seen.add(await statusOf('/pay?limit=1'));
    })();
    try {
      // At once, as a restart of all would: nobody tells the sidecar.
      await docker('stop', '--time', '1', ...[...pays, ...stats].map(({ id }) => id));
      await rejoin(follower, address);
      await docker('start', follower.id);
      await waitUntil(async () => (await statusOf('/stats?period=hour')) === 200, PATIENCE_MS);
      await docker('start', ...pays.map(({ id }) => id));
      await waitUntil(async () => (await statusOf('/pay?limit=1')) === 200, PATIENCE_MS);
    } finally {
      isOver = true;
      await asking;
      // An address that was asked for stays the container's, and would be missed when another has it.
      await docker('stop', '--time', '1', ...stats.map(({ id }) => id));
      await rejoin(follower);
      await docker('start', ...stats.map(({ id }) => id));
      await waitUntil(async () => (await statusOf('/stats?period=hour')) === 200, PATIENCE_MS);
    }
    // 502: the instance was stopped in the middle of it. 503: there is none.
    for (const status of seen) expect([200, 502, 503]).toContain(status);
    expect(seen).toContain(503);
  });
});
