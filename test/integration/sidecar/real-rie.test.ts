import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureRie } from '../../../build/rie.ts';
import { type RieInstance, startRieInstance } from '../../../deploy/local/rie-instance.ts';
import { freePorts } from '../../support/ports.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { ask, closeAll, createFolder, onClose, startTestSidecar } from './harness.ts';

/** What the instance does is asked for by the path; everything else is the event, given back. */
const HANDLER = `
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
const paths = {
  '/throw': () => { throw new Error('the key is 0xdeadbeef'); },
  '/sleep': () => sleep(300_000),
  '/nap': async () => {
    while (!existsSync(process.env.ALARM)) await sleep(10);
  },
  '/exit': () => process.exit(3),
  '/big': () => 'x'.repeat(7 * 1024 * 1024),
  '/large': () => 'x'.repeat(5 * 1024 * 1024),
  '/nothing': () => undefined,
  '/binary': () => ({ statusCode: 200, headers: { 'content-type': 'image/png' }, body: '/wAB', isBase64Encoded: true }),
  '/cookies': () => ({ statusCode: 200, cookies: ['a=1; Path=/; HttpOnly', 'b=2'], body: 'é' }),
  '/length': (event) => event.body.length,
};
export const handler = async (event) => (event.rawPath in paths ? paths[event.rawPath](event) : event);
`;

/** One that no machine exceeds by being slow. */
const TIMEOUT_SECONDS = 60;

let instance: RieInstance;
let port: number;
let instanceOptions: Parameters<typeof startRieInstance>[0];
/** Ends every nap. */
let alarm: string;

beforeAll(async () => {
  const folder = createFolder();
  alarm = join(folder, 'alarm');
  const taskRoot = join(folder, 'function');
  mkdirSync(taskRoot);
  writeFileSync(join(taskRoot, 'handler.mjs'), HANDLER);
  const [first = 0, runtimePort = 0] = await freePorts(2);
  port = first;
  instanceOptions = {
    name: 'test',
    riePath: (await ensureRie()).path,
    nodePath: process.execPath,
    taskRoot,
    port,
    runtimePort,
    env: { ALARM: alarm },
    timeoutSeconds: TIMEOUT_SECONDS,
    memoryMb: 256,
    log: () => {},
  };
  instance = await startRieInstance(instanceOptions);
});
afterAll(async () => {
  await closeAll();
  await instance.stop();
});

const start = () => startTestSidecar({ pay: [port] }, { functionTimeoutMs: TIMEOUT_SECONDS * 1_000 });
const byName = { headers: { host: 'pay.lambda-url.localhost' } };

describe('the real RIE behind the sidecar', () => {
  it('gives the function the event of a function URL', async () => {
    const { functionUrl } = await start();
    const answer = await ask(functionUrl, '/pay/a%20b/?x=1&x=2', {
      method: 'POST',
      headers: { cookie: 'a=1; b=2', 'content-type': 'image/png' },
      body: Buffer.from([0xff, 0, 1]),
    });
    expect(answer.json()).toMatchObject({
      rawPath: '/pay/a%20b/',
      queryStringParameters: { x: '1,2' },
      cookies: ['a=1', 'b=2'],
      body: '/wAB',
      isBase64Encoded: true,
    });
  });

  it.each([
    ['/throw', 502, 'function_error'],
    ['/exit', 502, 'function_error'],
    ['/big', 502, 'function_error'],
  ])(
    'that fails by %s is a problem without what happened inside, and serves the next request',
    async (path, status, code) => {
      const { functionUrl } = await start();
      const answer = await ask(functionUrl, path, byName);
      expect([answer.status, answer.json().code]).toEqual([status, code]);
      expect(answer.text).not.toMatch(/deadbeef|handler|RequestId|exit status|trace/);
      expect((await ask(functionUrl, '/pay')).status).toBe(200);
    },
  );

  it('that takes longer than it may is a problem of its own, and serves again', async () => {
    const [shortPort = 0, runtimePort = 0] = await freePorts(2);
    const short = { ...instanceOptions, port: shortPort, runtimePort, timeoutSeconds: 1 };
    const { stop } = await startRieInstance(short);
    onClose(stop);
    const { functionUrl } = await startTestSidecar({ pay: [shortPort] }, { functionTimeoutMs: 1_000 });
    const answer = await ask(functionUrl, '/sleep', byName);
    expect([answer.status, answer.json().code]).toEqual([504, 'function_timeout']);
    // Its next start takes as long as this machine lets it.
    await waitUntil(async () => (await ask(functionUrl, '/pay')).status === 200);
  });

  it('brings back large, binary and empty answers, and cookies', async () => {
    const { functionUrl } = await start();
    expect((await ask(functionUrl, '/large', byName)).bytes).toHaveLength(5 * 1024 * 1024);
    expect((await ask(functionUrl, '/binary', byName)).bytes).toEqual(Buffer.from([0xff, 0, 1]));
    expect((await ask(functionUrl, '/nothing', byName)).text).toBe('null');
    const cookies = await ask(functionUrl, '/cookies', byName);
    expect([cookies.text, cookies.headers['set-cookie']]).toEqual(['é', ['a=1; Path=/; HttpOnly', 'b=2']]);
  });

  it('takes the largest request that is let through, whole', async () => {
    const { functionUrl } = await start();
    const bytes = 6 * 1024 * 1024 - 2_000;
    const headers = { ...byName.headers, 'content-type': 'text/plain' };
    const answer = await ask(functionUrl, '/length', {
      method: 'POST',
      headers,
      body: Buffer.alloc(bytes, 'a'),
    });
    expect([answer.status, answer.text]).toEqual([200, String(bytes)]);
  });

  it('survives a crowd, and clients that leave in the middle', async () => {
    const { functionUrl, opsUrl } = await start();
    const isBusy = async () => /state="busy"\} 1/.test((await ask(opsUrl, '/metrics')).text);
    rmSync(alarm, { force: true });
    const leaving = ask(functionUrl, '/nap', { ...byName, leaveWhen: waitUntil(isBusy) });
    await expect(leaving).rejects.toThrow('left');
    let throttled = 0;
    const crowd = Array.from({ length: 11 }, async () => {
      const { status } = await ask(functionUrl, '/pay');
      if (status === 429) throttled += 1;
      return status;
    });
    // The nap that nobody waits for still has the instance; ten more may wait.
    await waitUntil(() => throttled > 0);
    writeFileSync(alarm, '');
    expect((await Promise.all(crowd)).filter((status) => status === 200)).toHaveLength(10);
    expect(throttled).toBe(1);
  });

  it('comes back after it was stopped and started anew', async () => {
    const { functionUrl } = await start();
    await instance.stop();
    await waitUntil(async () => (await ask(functionUrl, '/pay')).status === 503);
    instance = await startRieInstance(instanceOptions);
    await waitUntil(async () => (await ask(functionUrl, '/pay')).status === 200);
  });

  it('is invoked again only when its process is new, after it died in the middle of an invoke', async () => {
    const { functionUrl, opsUrl } = await start();
    const lost = ask(functionUrl, '/sleep', byName);
    await waitUntil(async () => /state="busy"\} 1/.test((await ask(opsUrl, '/metrics')).text));
    await instance.stop();
    expect((await lost).json().code).toBe('instance_lost');
    instance = await startRieInstance(instanceOptions);
    await waitUntil(async () => (await ask(functionUrl, '/pay')).status === 200);
  });
});
