import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAccount } from '../../deploy/local/accounts.ts';
import { deriveImage, image, poll, SwarmStack } from './support/swarm-stack.ts';

/** Long enough for what runs to end: a payment through Tor takes two seconds, and more on a machine that is slow. */
const DRAIN_MS = 15_000;
const UPDATE_DEADLINE_MS = 480_000;

let stack: SwarmStack;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-'));
  await SwarmStack.stop();
  // On a busy machine a cold start may take longer than a caller waits by default; whoever waits is not failed.
  const settings = { DRAIN_MS: String(DRAIN_MS), UPDATE_MONITOR: '3s', QUEUE_TIMEOUT_MS: '60000' };
  stack = await SwarmStack.start(settings);
  await poll(async () => {
    // The gateway itself may have been started just now, and not listen yet.
    const response = await fetch(`${stack.access.url}/health`).catch(() => undefined);
    await response?.arrayBuffer();
    return response?.ok === true;
  }, 300_000);
});

afterAll(async () => {
  await SwarmStack.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function payOnce(): Promise<{ readonly id: string; readonly to: string }> {
  const { address: to } = createAccount();
  const order = { to, amount: '0.5', asset: 'USDT' } as const;
  const taken = await stack.client.pay(order, { idempotencyKey: `swarm-${to}`, deadlineMs: 240_000 });
  const paid = await stack.client.follow(taken, { deadlineMs: 240_000, onAnswer: () => {} });
  expect(paid.status).toBe('confirmed');
  return { id: paid.id, to };
}

describe('the stack on a swarm', () => {
  it('pays through Tor, once', async () => {
    const { to } = await payOnce();
    expect(await stack.transfersTo(to)).toBe(1);
  });

  it('gives a function its secrets as its own, 0400, and none in its environment or its configuration', async () => {
    const container = await stack.container('pay');
    const script = `
      import { readdirSync, readFileSync, statSync } from 'node:fs';
      const found = readdirSync('/run/secrets', { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
      console.log(JSON.stringify(found.map(({ parentPath, name }) => {
        const { uid, mode } = statSync(parentPath + '/' + name);
        return { name, uid, mode: mode & 0o777, text: readFileSync(parentPath + '/' + name, 'utf8').trim() };
      })));`;
    const found = JSON.parse(await stack.evaluate(container, script)) as {
      readonly name: string;
      readonly uid: number;
      readonly mode: number;
      readonly text: string;
    }[];
    expect(found.map(({ name }) => name).sort()).toEqual([
      'approver_secret',
      'encryption_key',
      'internal_auth_secret',
      'mongo_password',
      'operator_secret',
      'tron_grid_api_key',
      'tron_private_key',
    ]);
    expect(new Set(found.map(({ uid, mode }) => `${uid} ${mode.toString(8)}`))).toEqual(
      new Set(['65532 400']),
    );
    const inspected = await stack.engine.docker(['inspect', container]);
    for (const { text } of found) if (text !== '') expect(inspected).not.toContain(text);
  });

  it('lets a function write nowhere but to its temporary folders, and gives it no right', async () => {
    const script = `
      import { readFileSync, writeFileSync } from 'node:fs';
      const writes = ['/x', '/app/configs/x', '/var/task/x', '/tmp/x', '/app/tmp/x'].map((path) => {
        try { writeFileSync(path, ''); return path; } catch ({ code }) { return code; }
      });
      const status = readFileSync('/proc/self/status', 'utf8');
      console.log(JSON.stringify({ writes, rights: /CapBnd:\\s*(\\S+)/.exec(status)[1], uid: process.getuid() }));`;
    expect(JSON.parse(await stack.evaluate(await stack.container('pay'), script))).toEqual({
      writes: ['EROFS', 'EROFS', 'EROFS', '/tmp/x', '/app/tmp/x'],
      rights: '0000000000000000',
      uid: 65_532,
    });
  });

  it('keeps the planes apart: a function reaches Tor and the database, and neither the chain nor the ops plane', async () => {
    const script = `
      import { connect } from 'node:net';
      import { networkInterfaces } from 'node:os';
      const reach = (host, port) => new Promise((done) => {
        const socket = connect({ host, port, timeout: 20_000 }, () => done('reached'));
        socket.on('error', ({ code }) => done(code));
        socket.on('timeout', () => done('silence'));
      });
      const networks = Object.values(networkInterfaces()).flat().filter(({ internal }) => !internal);
      console.log(JSON.stringify({
        tor: await reach('tor-proxy', 9050),
        database: await reach('mongo', 27017),
        chain: await reach('172.36.0.90', 9090),
        sidecarOnOps: await reach('172.20.0.1', 8090),
        world: await reach('192.0.2.1', 443),
        networks: networks.map(({ address }) => address.split('.').slice(0, 2).join('.')).sort(),
      }));
      process.exit();`;
    expect(JSON.parse(await stack.evaluate(await stack.container('pay'), script))).toEqual({
      tor: 'reached',
      database: 'reached',
      chain: 'ENETUNREACH',
      sidecarOnOps: 'ENETUNREACH',
      world: 'ENETUNREACH',
      networks: ['172.30', '172.35'],
    });
  });
});

describe('an update', () => {
  it('replaces each instance while requests run, and fails none of them', async () => {
    const to = image('pay', 'swarm-next');
    await deriveImage(stack.engine, { from: image('pay'), to, files: {} });
    const { answers, failures } = await underLoad(async () => {
      await stack.update('pay', to);
      await untilUpdated('completed');
      // Old instances that were told to stop are still there for a while, and the sidecar still knows them.
      await sleep(DRAIN_MS + 2_000);
    });
    expect(failures).toEqual([]);
    expect(answers).toBeGreaterThan(20);
    expect((await stack.running('pay')).map(({ image: from }) => from)).toEqual([to, to]);
  });

  it('to a version that cannot start goes back by itself, and fails no request', async () => {
    const before = (await stack.running('pay')).map(({ image: from }) => from);
    const to = image('pay', 'swarm-broken');
    const handler = join(folder, 'handler.mjs');
    // RIE would answer its probe as before: this fails only once it is loaded.
    writeFileSync(handler, "throw new Error('this version was broken for a test');\n", { mode: 0o644 });
    const files = { '/var/task/handler.mjs': handler };
    await deriveImage(stack.engine, { from: image('pay'), to, files });
    const { answers, failures } = await underLoad(async () => {
      await stack.update('pay', to);
      await untilUpdated('rollback_completed');
    });
    expect(failures).toEqual([]);
    expect(answers).toBeGreaterThan(10);
    // It may have been tried more than once before the swarm gave it up; the last try may have been called off.
    const tries = (await stack.tasks('pay')).filter(({ image: from }) => from === to);
    expect(tries.map(({ error }) => error).join()).toContain('exit (1)');
    expect((await stack.running('pay')).map(({ image: from }) => from)).toEqual(before);
    await payOnce();
  });
});

async function untilUpdated(state: string): Promise<void> {
  await poll(async () => {
    const now = await stack.updateState('pay');
    if (now.endsWith('paused')) throw new Error(`the update is ${now}`);
    return now === state;
  }, UPDATE_DEADLINE_MS);
}

/** Two callers ask for a payment again and again, and a third pays, for as long as `change` takes. */
async function underLoad(
  change: () => Promise<void>,
): Promise<{ readonly answers: number; readonly failures: readonly string[] }> {
  const { id } = await payOnce();
  let isOver = false;
  let answers = 0;
  const failures: string[] = [];
  const ask = async (): Promise<void> => {
    while (!isOver) {
      const failure = await stack.get(`/pay/${id}`).then(
        async (response) => (response.ok ? undefined : `${response.status} ${await response.text()}`),
        (error: Error) => `${error.message} ${String(error.cause)}`,
      );
      if (failure === undefined) answers += 1;
      else failures.push(failure);
      await sleep(50);
    }
  };
  const payAgain = async (): Promise<void> => {
    while (!isOver) {
      const { address: to } = createAccount();
      const order = { to, amount: '0.1', asset: 'USDT' } as const;
      const onRetry = (reason: string) => failures.push(reason);
      await stack.client.pay(order, { idempotencyKey: `load-${to}`, deadlineMs: 240_000, onRetry });
      answers += 1;
      await sleep(500);
    }
  };
  const callers = [ask(), ask(), payAgain()];
  await change().finally(() => {
    isOver = true;
  });
  await Promise.all(callers);
  return { answers, failures };
}
