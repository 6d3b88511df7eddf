import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ensureRie } from '../../../build/rie.ts';
import { leash } from '../../../deploy/local/leash.ts';
import {
  type RieInstance,
  type RieInstanceOptions,
  startRieInstance,
} from '../../../deploy/local/rie-instance.ts';
import { isAlive } from '../../support/is-alive.ts';
import { freePorts } from '../../support/ports.ts';
import { waitUntil } from '../../support/wait-until.ts';

type Echo = { event: unknown; pid: number; env: Record<string, string> };

let riePath: string;
let instance: RieInstance | undefined;
let lines: string[];

beforeAll(async () => {
  riePath = (await ensureRie()).path;
});

afterEach(async () => {
  await instance?.stop();
  instance = undefined;
});

async function start(options: Partial<RieInstanceOptions> = {}): Promise<RieInstance> {
  const [port = 0, runtimePort = 0] = await freePorts(2);
  lines = [];
  instance = await startRieInstance({
    name: 'echo',
    riePath,
    nodePath: process.execPath,
    taskRoot: join(import.meta.dirname, 'echo'),
    port,
    runtimePort,
    env: { GREETING: 'good day' },
    timeoutSeconds: 60,
    memoryMb: 256,
    log: (line) => lines.push(line),
    ...options,
  });
  return instance;
}

async function invoke(event: unknown): Promise<Echo> {
  const response = await fetch(instance?.invokeUrl ?? '', { method: 'POST', body: JSON.stringify(event) });
  return (await response.json()) as Echo;
}

describe('a RIE instance', () => {
  it('answers invocations with what the handler returns, in one process', async () => {
    await start();
    const first = await invoke({ n: 1 });
    const second = await invoke({ n: 2 });
    expect(first.event).toEqual({ n: 1 });
    expect(second.event).toEqual({ n: 2 });
    expect(second.pid).toBe(first.pid);
  });

  it('hands the lines of the function to the log', async () => {
    await start();
    const { pid } = await invoke({});
    await waitUntil(() => lines.some((line) => line.endsWith(JSON.stringify({ loaded: pid }))));
  });

  it("shows the function the variables it was given and Lambda's own, and nothing else of this process", async () => {
    process.env.MUST_NOT_LEAK = 'secret';
    try {
      await start();
      const { env } = await invoke({});
      expect(env).toMatchObject({
        GREETING: 'good day',
        AWS_LAMBDA_FUNCTION_NAME: 'echo',
        AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
        LAMBDA_TASK_ROOT: join(import.meta.dirname, 'echo'),
        _HANDLER: 'handler.handler',
      });
      expect(env).not.toHaveProperty('MUST_NOT_LEAK');
      expect(env).not.toHaveProperty('PATH');
    } finally {
      delete process.env.MUST_NOT_LEAK;
    }
  });

  it('is ready without having loaded the function', async () => {
    const { pingUrl } = await start();
    expect((await fetch(pingUrl)).status).toBe(200);
    expect(lines.filter((line) => line.includes('loaded'))).toEqual([]);
  });

  it('listens on loopback only', async () => {
    const { invokeUrl, pingUrl } = await start();
    for (const url of [invokeUrl, pingUrl]) {
      const elsewhere = new URL(url);
      // All of 127.0.0.0/8 reaches this machine: a listener on every address would answer here.
      elsewhere.hostname = '127.0.0.2';
      await expect(fetch(elsewhere)).rejects.toThrow();
    }
  });

  it('starts the function anew after it has ended its process', async () => {
    await start();
    const { pid } = await invoke({});
    const response = await fetch(instance?.invokeUrl ?? '', { method: 'POST', body: '{"exitCode":3}' });
    expect(response.status).toBe(502);
    expect((await invoke({})).pid).not.toBe(pid);
  });

  it('leaves neither RIE nor Node behind when it stops, even in the middle of an invocation', async () => {
    const { pid: riePid, stop, exited } = await start();
    const { pid } = await invoke({});
    const cutOff = invoke({ sleepMs: 50_000 }).catch(() => 'cut off');
    await stop();
    expect(isAlive(riePid)).toBe(false);
    await waitUntil(() => !isAlive(pid));
    expect(await cutOff).toBe('cut off');
    expect(await exited).toEqual({ code: 0, signal: null });
  });

  it('ends Node at once when RIE is killed, though it would live on', async () => {
    const { pid: riePid, exited } = await start();
    const { pid } = await invoke({});
    const cutOff = invoke({ sleepMs: 50_000 }).catch(() => 'cut off');
    await waitUntil(
      () => lines.filter((line) => line.endsWith(JSON.stringify({ invoked: pid }))).length === 2,
    );
    process.kill(riePid ?? 0, 'SIGKILL');
    expect(await exited).toEqual({ code: null, signal: 'SIGKILL' });
    await waitUntil(() => !isAlive(pid));
    expect(await cutOff).toBe('cut off');
  });

  it('ends with the process that started it, even when that is killed', async (context) => {
    const { command } = leash('true', []);
    context.skip(command !== 'setpriv', 'this machine has no setpriv; the guard of the stack ends it there');
    const starter = spawn(process.execPath, [join(import.meta.dirname, 'start-and-stay.ts')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(createInterface({ input: starter.stdout }), 'line');
    const pids = String(line).split(' ').map(Number);
    expect(pids.map(isAlive)).toEqual([true, true]);
    starter.kill('SIGKILL');
    await waitUntil(() => !pids.some(isAlive));
  });

  it('says why it cannot start when the emulator is not there', async () => {
    await expect(start({ riePath: '/nowhere/aws-lambda-rie' })).rejects.toThrow(/before it was ready/);
  });

  it('refuses a timeout that RIE would die of', async () => {
    await expect(start({ timeoutSeconds: 1.5 })).rejects.toThrow('must be a whole number');
  });
});
