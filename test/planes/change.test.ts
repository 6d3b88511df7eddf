import { beforeAll, describe, expect, it } from 'vitest';
import { authorize } from '../../deploy/cli/running-stack.ts';
import { createRecipient } from '../../deploy/local/accounts.ts';
import { accessOf } from '../../deploy/planes/access.ts';
import { listContainers, sidecarUrls } from '../../deploy/planes/containers.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { addInstances, scale } from '../../deploy/planes/scale.ts';
import { RolledBack, rollOut } from '../../deploy/planes/scripts/deploy.ts';
import { crashService, runningServices } from '../../deploy/planes/scripts/test-restart.ts';
import { chainLedger, clientOf, openPlanes } from './support/running-planes.ts';

let planes: Planes;

beforeAll(async () => {
  planes = await openPlanes();
});

const quiet = (): void => {};

interface Load {
  /** Ends it, but not before so many were asked. */
  stop(leastAsked?: number): Promise<{ readonly asked: number; readonly failed: readonly string[] }>;
}

/** Asks for payments and figures, some at a time, until it is stopped; answers what was not answered well. */
function keepAsking(functionUrl: string, token: string): Load {
  let isStopped = false;
  let least = 0;
  let asked = 0;
  const failed: string[] = [];
  const ask = async (path: string) => {
    while (!isStopped || asked < least) {
      asked += 1;
      try {
        const response = await fetch(`${functionUrl}${path}`, {
          headers: { authorization: `Bearer ${token}` },
        });
        const text = await response.text();
        if (response.status !== 200) failed.push(`${path} ${response.status} ${text.slice(0, 200)}`);
      } catch (error) {
        failed.push(`${path} ${String(error)}`);
      }
    }
  };
  const askers = ['/pay?limit=1', '/pay?limit=1', '/stats?period=hour', '/health/live'].map(ask);
  return {
    stop: async (leastAsked = 0) => {
      least = leastAsked;
      isStopped = true;
      await Promise.all(askers);
      return { asked, failed };
    },
  };
}

async function startLoad() {
  const { functionUrl } = await sidecarUrls(planes);
  const token = await authorize(await accessOf(planes), { method: 'GET', path: '/pay' });
  return keepAsking(functionUrl, token);
}

const versionsOf = async (service: string) =>
  (await listContainers(planes, service)).map(({ image }) => image.split('-').slice(1).join('-'));

describe('scaling', () => {
  it('up and down under load costs no request', async () => {
    const load = await startLoad();
    await scale(planes, new Map([['pay', 4]]), quiet);
    expect(await listContainers(planes, 'pay')).toHaveLength(4);
    await scale(planes, new Map([['pay', 2]]), quiet);
    const { failed } = await load.stop(100);
    expect(failed).toEqual([]);
    expect(await listContainers(planes, 'pay')).toHaveLength(2);
  });
});

describe('a rolling update', () => {
  it('to a version that does not work changes nothing, and costs no request', async () => {
    const broken = planes.at('broken');
    // Its images hold no runtime: they start, and end.
    for (const name of ['pay', 'settle', 'health', 'stats']) {
      await planes.engine.docker(['tag', planes.image('tor-proxy'), broken.image(name)]);
    }
    const before = await versionsOf('pay');
    const load = await startLoad();
    await expect(rollOut(broken, quiet)).rejects.toThrow(RolledBack);
    const { failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(await versionsOf('pay')).toEqual(before);
  });

  it('brings every function to the new version, also after one that broke off, and costs none of 2,000 requests', async () => {
    const next = planes.at('next');
    for (const name of ['pay', 'settle', 'health', 'stats']) {
      await planes.engine.docker(['tag', planes.image(name), next.image(name)]);
    }
    const before = await versionsOf('pay');
    await addInstances(next, 'pay', before.length + 1);
    const load = await startLoad();
    await rollOut(next, quiet);
    const { asked, failed } = await load.stop(2_000);
    expect(failed).toEqual([]);
    expect(asked).toBeGreaterThanOrEqual(2_000);
    for (const name of ['pay', 'settle', 'health', 'stats']) {
      expect(new Set(await versionsOf(name))).toEqual(new Set(['next']));
    }
    expect(await versionsOf('pay')).toHaveLength(before.length);
  });
});

describe('a crash of each service, one after the other, while 200 payments are made', () => {
  it('pays each of them once and loses none, and each service is back', async () => {
    const client = await clientOf(planes);
    const to = createRecipient(planes.folders.secrets);
    const amounts = Array.from({ length: 200 }, (_, at) => `1.${String(at + 1).padStart(6, '0')}`);
    const waiting = [...amounts];
    const persistence = { deadlineMs: 480_000 };
    const payAll = async () => {
      const ends: string[] = [];
      for (let amount = waiting.shift(); amount !== undefined; amount = waiting.shift()) {
        const order = { to, amount, asset: 'USDT' } as const;
        const payment = await client.pay(order, { ...persistence, idempotencyKey: `crash-${to}-${amount}` });
        ends.push((await client.follow(payment, { ...persistence, onAnswer() {} })).status);
      }
      return ends;
    };
    const paying = Promise.all(Array.from({ length: 10 }, payAll));
    const restarts = [];
    for (const service of await runningServices(planes)) {
      restarts.push(...(await crashService(planes, service)));
    }
    const ends = (await paying).flat();
    console.table(restarts.map(({ container, healthyAfterMs }) => ({ container, healthyAfterMs })));
    expect(restarts.filter(({ healthyAfterMs }) => healthyAfterMs === undefined)).toEqual([]);
    expect(ends).toEqual(amounts.map(() => 'confirmed'));
    const paid = (await chainLedger(planes)).filter((entry) => entry.to === to);
    expect(paid.map(({ amountMicro }) => amountMicro).sort()).toEqual(
      amounts.map((amount) => amount.replace('.', '')).sort(),
    );
  });
});
