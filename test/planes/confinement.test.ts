import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Container, listRunning, sidecarUrls } from '../../deploy/planes/containers.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { crashService } from '../../deploy/planes/scripts/test-restart.ts';
import { readKernel } from '../../deploy/planes/scripts/validate-resources.ts';
import { ROTATED_SECRETS, SECRETS } from '../../deploy/planes/secrets.ts';
import { waitUntil } from '../support/wait-until.ts';
import { containerOf, openPlanes, probe } from './support/running-planes.ts';

const WORKERS = 2;
const WORK_MS = 3_000;
const PATIENCE_MS = 300_000;
const SHARE_PATIENCE_MS = 120_000;
/** Of what it may have: else it would be no wonder that it took no more. */
const BUSY_SHARE = 0.8;
/** A period's time may be used before the first whole period, and a little of it is handed out ahead. */
const QUOTA_MARGIN = 1.1;

let planes: Planes;
let containers: readonly Container[] = [];

beforeAll(async () => {
  planes = await openPlanes();
  containers = await listRunning(planes);
});

describe('a container', () => {
  it('cannot write where it has no business, nor run what it has written', async () => {
    for (const container of containers) {
      const seen = {
        root: await probe(planes, container, 'write', '/written'),
        settings: await probe(planes, container, 'write', '/etc/written'),
        temporary: await probe(planes, container, 'write', '/tmp/written'),
        run: await probe(planes, container, 'exec', '/tmp'),
      };
      expect({ name: container.name, ...seen }).toEqual({
        name: container.name,
        root: 'EROFS',
        settings: 'EROFS',
        temporary: 'written',
        run: 'EACCES',
      });
    }
  });

  it('of a function has its code, its settings and its secrets for reading', async () => {
    const pay = await containerOf(planes, 'pay');
    for (const path of [
      '/var/task/written',
      '/app/configs/written',
      '/run/secrets/written',
      '/var/runtime/written',
    ]) {
      expect([path, await probe(planes, pay, 'write', path)]).toEqual([path, 'EROFS']);
    }
    expect(await probe(planes, pay, 'exec', '/app/tmp')).toBe('EACCES');
    expect(await probe(planes, pay, 'write', '/app/logs/written')).toBe('written');
  });

  it('runs without a capability, cannot get one, and passes system calls through a filter', () => {
    for (const { name, pid } of containers) {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const field = (key: string) => new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(status)?.[1];
      expect([name, field('CapEff'), field('CapBnd'), field('NoNewPrivs'), field('Seccomp')]).toEqual([
        name,
        '0000000000000000',
        '0000000000000000',
        '1',
        '2',
      ]);
      expect(field('Uid')?.split('\t')[0]).toBe(String(planes.owner.uid));
    }
  });

  it('has no shell and no package manager', () => {
    for (const { name, pid, service } of containers) {
      const found = [
        'bin/sh',
        'usr/bin/sh',
        'bin/bash',
        'usr/bin/bash',
        'usr/bin/apt',
        'usr/bin/dpkg',
        'usr/bin/npm',
        'busybox',
      ]
        .map((path) => `/proc/${pid}/root/${path}`)
        .filter((path) => statSync(path, { throwIfNoEntry: false }) !== undefined);
      expect([name, service, found]).toEqual([name, service, []]);
    }
  });
});

describe('the secrets', () => {
  it('are there for each service alone that needs them, readable for its user alone', async () => {
    const text = await planes.engine.compose(['config', '--format', 'json']);
    const { services } = JSON.parse(text) as {
      readonly services: Readonly<
        Record<string, { readonly secrets?: readonly { readonly target: string }[] }>
      >;
    };
    for (const { name, service, pid } of containers) {
      const root = `/proc/${pid}/root`;
      const expected = (services[service]?.secrets ?? []).map(({ target }) => target).sort();
      const found = filesBelow(root, '/run/secrets');
      expect([name, found]).toEqual([name, expected]);
      for (const path of found) {
        const { uid, mode } = statSync(join(root, path));
        expect([name, path, uid, (mode & 0o777).toString(8)]).toEqual([name, path, planes.owner.uid, '400']);
      }
    }
  });

  it('that are being changed are given to who reads them, and to nobody else', async () => {
    const changing = mkdtempSync(join(tmpdir(), 'planes-changing-'));
    try {
      const config = async () => {
        const { engine } = await openPlanes({ stateDir: changing });
        const profiles = ['--profile', '*'];
        return JSON.parse(await engine.compose([...profiles, 'config', '--format', 'json'])) as {
          readonly services: Readonly<
            Record<string, { readonly secrets?: readonly { readonly source: string }[] }>
          >;
        };
      };
      const readersOf = async (secret: string) =>
        Object.entries((await config()).services)
          .filter(([, { secrets = [] }]) => secrets.some(({ source }) => source === secret))
          .map(([name]) => name)
          .sort();
      mkdirSync(join(changing, 'secrets'));
      for (const name of ROTATED_SECRETS.map((secret) => `${secret}_other`)) {
        expect([name, await readersOf(name)]).toEqual([name, []]);
        writeFileSync(join(changing, 'secrets', name), 'x'.repeat(32), { mode: 0o400 });
        const third = name === 'encryption_key_other' ? 'reencrypt' : 'stats';
        expect([name, await readersOf(name)]).toEqual([name, ['pay', 'settle', third].sort()]);
      }
      // Each beside those that it has at all times.
      expect(await readersOf('encryption_key')).toEqual(['pay', 'reencrypt', 'settle']);
    } finally {
      rmSync(changing, { recursive: true });
    }
  });

  it('stand in no environment, no argument, no label and no log', async () => {
    const secrets = Object.keys(SECRETS)
      .map((name) => readFileSync(join(planes.folders.secrets, name), 'utf8').trim())
      .filter((text) => text.length >= 12);
    expect(secrets.length).toBeGreaterThan(8);
    const ids = await planes.engine.containers();
    const images = await planes.engine.docker([
      'image',
      'inspect',
      ...new Set(containers.map(({ image }) => image)),
    ]);
    // But for those of the development chain, which tells everybody its keys.
    const services = [...new Set(containers.map(({ service }) => service))].filter(
      (name) => name !== 'devchain',
    );
    const logs = await planes.engine.compose(['logs', ...services]);
    const texts = [
      JSON.stringify(await planes.engine.inspect(ids)),
      images,
      ...logs,
      ...containers.map(processTexts),
    ];
    expect(secrets.filter((secret) => texts.some((text) => text.includes(secret)))).toEqual([]);
  });
});

describe('the limits', () => {
  it('end what takes more memory than its container has, and the service goes on', async () => {
    const stats = await containerOf(planes, 'stats');
    // The kernel kills the greatest of the container's processes, which this one is then.
    await expect(probe(planes, stats, 'remember', 600)).rejects.toMatchObject({ signal: 'SIGKILL' });
    const { functionUrl } = await sidecarUrls(planes);
    await waitUntil(async () => (await fetch(`${functionUrl}/health`)).status === 200, PATIENCE_MS);
    expect((await containerOf(planes, 'stats')).startedAtMs).toBe(stats.startedAtMs);
  });

  describe.each([
    { cpus: 0.5, service: 'stats' },
    { cpus: 1, service: 'beta-sidecar' },
  ])('of $cpus cores', ({ cpus, service }) => {
    it('give a container at work its share and no more, and count what is withheld', async ({ skip }) => {
      const container = await containerOf(planes, service);
      let coresMost = 0;
      const isWithheld = async () => {
        const { cores, throttled } = await whileIn(container, () => work(container));
        coresMost = Math.max(coresMost, cores);
        expect(cores).toBeLessThan(cpus * QUOTA_MARGIN);
        return cores > cpus * BUSY_SHARE && throttled > 0;
      };
      // A machine that is busy elsewhere may not have as much for it at once.
      await waitUntil(isWithheld, SHARE_PATIENCE_MS).catch((error: unknown) => {
        if (coresMost > cpus * BUSY_SHARE) throw error;
        skip(`this machine is too busy to give a container ${cpus} cores: there is nothing to withhold`);
      });
    });

    it('withhold nothing from one that has nothing to do', async () => {
      const container = await containerOf(planes, service);
      // A probe of its health may fall into one of these times, and take all of its share on a slow machine.
      await waitUntil(async () => {
        const { cores, throttled } = await whileIn(container, () => sleep(WORK_MS));
        return cores < cpus / 2 && throttled === 0;
      }, PATIENCE_MS);
    });

    it('are what holds it: without them nothing is withheld from the same work', async () => {
      const container = await containerOf(planes, service);
      await planes.engine.docker(['update', '--cpus', String(availableParallelism()), container.id]);
      try {
        expect(await whileIn(container, () => work(container))).toMatchObject({ throttled: 0 });
      } finally {
        await planes.engine.docker(['update', '--cpus', String(cpus), container.id]);
      }
    });
  });

  it('of processor time are those that were looked at, and no others', () => {
    expect([...new Set(containers.map(({ limits }) => limits.nanoCpus / 1e9))].sort()).toEqual([0.5, 1]);
  });

  it('leave no more processes than its container may have', async () => {
    const health = await containerOf(planes, 'health');
    const forked = Number(await probe(planes, health, 'fork', 500));
    expect(forked).toBeGreaterThan(5);
    expect(forked).toBeLessThan(64);
  });

  it('fill its /tmp, and then say so', async () => {
    const health = await containerOf(planes, 'health');
    expect(await probe(planes, health, 'fill', '/tmp/filling', 200)).toBe('ENOSPC');
    expect(await probe(planes, health, 'fill', '/app/tmp/filling', 40)).toBe('filled');
    expect(await probe(planes, health, 'fill', '/app/tmp/filling', 60)).toBe('ENOSPC');
  });
});

describe('a container that has crashed', () => {
  it('has its temporary folders again', async () => {
    await crashService(planes, 'health');
    const health = await containerOf(planes, 'health');
    for (const folder of ['/tmp', '/app/tmp']) {
      expect([folder, await probe(planes, health, 'write', `${folder}/written`)]).toEqual([
        folder,
        'written',
      ]);
    }
  });
});

/** As many processes as no share of these machines is enough for, which do nothing but work. */
async function work(container: Container): Promise<void> {
  expect(await probe(planes, container, 'work', WORK_MS, WORKERS)).toBe('worked');
}

/** How many cores a container had on an average meanwhile, and in how many periods it was kept waiting. */
async function whileIn(container: Container, task: () => Promise<unknown>) {
  const [before, startedMs] = [readKernel(container), performance.now()];
  await task();
  const [after, tookMs] = [readKernel(container), performance.now() - startedMs];
  return {
    cores: (after.cpuUsedMs - before.cpuUsedMs) / tookMs,
    throttled: after.cpuThrottled - before.cpuThrottled,
  };
}

/** Paths as the container sees them. */
function filesBelow(root: string, folder: string): readonly string[] {
  if (statSync(join(root, folder), { throwIfNoEntry: false }) === undefined) return [];
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .sort();
}

function processTexts({ pid }: Container): string {
  return ['environ', 'cmdline'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8')).join('\n');
}
