import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { authorize } from '../../deploy/cli/running-stack.ts';
import { createRecipient } from '../../deploy/local/accounts.ts';
import { accessOf } from '../../deploy/planes/access.ts';
import { sidecarUrls } from '../../deploy/planes/containers.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { checkHealth, type Finding } from '../../deploy/planes/scripts/health-check.ts';
import { readResources } from '../../deploy/planes/scripts/validate-resources.ts';
import { waitUntil } from '../support/wait-until.ts';
import { chainLedger, clientOf, containerOf, openPlanes, post, STATE_DIR } from './support/running-planes.ts';

const HEALTHY_MS_MAX = 240_000;

let planes: Planes;
let functionUrl = '';

beforeAll(async () => {
  planes = await openPlanes();
  ({ functionUrl } = await sidecarUrls(planes));
});

describe('a payment', () => {
  it('goes from the ops plane through Tor to the chain, once', async () => {
    const to = createRecipient(planes.folders.secrets);
    const client = await clientOf(planes);
    const order = { to, amount: '2.5', asset: 'USDT' } as const;
    const options = { idempotencyKey: `planes-${to}`, deadlineMs: 240_000 };
    const payment = await client.follow(await client.pay(order, options), {
      deadlineMs: 240_000,
      onAnswer() {},
    });
    expect(payment.status).toBe('confirmed');
    expect((await client.pay(order, options)).id).toBe(payment.id);
    const transfers = (await chainLedger(planes)).filter((entry) => entry.to === to);
    expect(transfers.map(({ amountMicro, asset }) => [amountMicro, asset])).toEqual([['2500000', 'USDT']]);
  });
});

describe('health', () => {
  it('is good in every part, and says why', async () => {
    // What was tried before may still be on its way to be well again.
    let findings: readonly Finding[] = [];
    await waitUntil(async () => {
      findings = await checkHealth(planes);
      return findings.every(({ isHealthy }) => isHealthy);
    }, HEALTHY_MS_MAX).catch(() => {});
    expect(findings.filter(({ isHealthy }) => !isHealthy)).toEqual([]);
    const named = findings.map(({ component }) => component);
    for (const component of ['instances', 'mongo', 'tron', 'tor', 'circuit_breaker', 'wallet'])
      expect(named).toContain(component);
  });

  it('finds the limits that compose.yaml asks for in the kernel', async () => {
    const uses = await readResources(planes);
    expect(
      uses.flatMap(({ container, differences }) => differences.map((text) => `${container}: ${text}`)),
    ).toEqual([]);
    expect(uses.length).toBeGreaterThan(8);
    for (const { memory } of uses) expect(memory.used).toBeLessThan(memory.held);
  });

  it('counts what is in every temporary folder of a container', async () => {
    const { pid, name } = await containerOf(planes, 'health');
    const held = `/proc/${pid}/root/app/tmp/held`;
    writeFileSync(held, Buffer.alloc(20 * 2 ** 20));
    const use = (await readResources(planes)).find(({ container }) => container === name);
    rmSync(held);
    expect(use?.tmpBytes).toBeGreaterThanOrEqual(20 * 2 ** 20);
  });
});

describe('the door', () => {
  const raw = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(functionUrl);
      const socket = connect(Number(port), hostname, () => socket.write(text));
      let received = '';
      socket.setEncoding('latin1').on('data', (chunk: string) => {
        received += chunk;
      });
      socket.on('close', () => resolve(received.split('\r\n')[0] ?? ''));
      socket.on('error', reject);
    });

  it.each([
    ['GET', '/pay/../metrics'],
    ['GET', '//pay'],
    ['GET', '/%2e%2e/settle'],
    ['GET', '/pay%2fbreaker'],
    ['DELETE', '/pay/pay_1'],
    ['POST', '/settle'],
    ['GET', '/2015-03-31/functions/function/invocations'],
    ['POST', '/2018-06-01/ping'],
    ['TRACE', '/pay'],
  ])('refuses %s %s, whoever asks', async (method, path) => {
    const status = await raw(
      `${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
    );
    expect(status).toMatch(/^HTTP\/1\.1 4\d\d /);
  });

  it.each([
    [
      'both lengths',
      'POST /pay HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['two lengths', 'POST /pay HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd'],
    ['a folded header', 'POST /pay HTTP/1.1\r\nhost: x\r\nx: a\r\n b\r\n\r\n'],
    ['a flood of headers', `GET /health HTTP/1.1\r\nhost: x\r\n${'x-flood: yes\r\n'.repeat(3_000)}\r\n`],
  ])('refuses a request with %s', async (_what, text) => {
    expect(await raw(text)).toMatch(/^HTTP\/1\.1 4\d\d /);
  });

  it.each([
    ['nobody', undefined, 401],
    ['a token for a GET', { method: 'GET', path: '/pay' }, 401],
    ['a token for another body', { method: 'POST', path: '/pay', idempotencyKey: 'k', body: '{}' }, 401],
    ['a caller that may not pay', 'operator', 403],
  ] as const)('takes no payment from %s', async (_who, how, status) => {
    const body = JSON.stringify({ to: createRecipient(planes.folders.secrets), amount: '1', asset: 'USDT' });
    const request = { method: 'POST', path: '/pay', idempotencyKey: 'k', body };
    const access = await accessOf(planes);
    const token =
      how === undefined
        ? 'none'
        : how === 'operator'
          ? await authorize(access, request, { caller: 'operator' })
          : await authorize(access, how);
    expect((await post(access, { path: '/pay', key: 'k', body }, token)).status).toBe(status);
  });
});

describe('logs', () => {
  it('are on standard output and in the folder of the service', async () => {
    const { id } = await containerOf(planes, 'settle');
    const printed = (await planes.engine.docker(['logs', '--tail', '20', id])).trim().split('\n');
    expect(printed.length).toBeGreaterThan(1);
    const folder = join(STATE_DIR, 'logs/tron-payment/settle');
    const sizes = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
    expect(Math.max(...sizes)).toBeGreaterThan(0);
  });

  it('that find no room on their disk stop nothing', async () => {
    const access = await accessOf(planes);
    const headers = { authorization: `Bearer ${await authorize(access, { method: 'GET', path: '/stats' })}` };
    const folder = join(STATE_DIR, 'logs/tron-payment/stats');
    const written = () =>
      readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    // Other tests crash it.
    const { restarts } = await containerOf(planes, 'stats');
    // Its disk holds 64 KiB; each request logs some hundred bytes.
    for (let request = 0; request < 200; request += 1) {
      const response = await fetch(`${functionUrl}/stats?period=hour`, { headers });
      expect(response.status).toBe(200);
      await response.arrayBuffer();
    }
    expect(written()).toBeLessThanOrEqual(64 * 1024);
    const stats = await containerOf(planes, 'stats');
    expect([stats.health, stats.restarts]).toEqual(['healthy', restarts]);
    expect((await planes.engine.compose(['logs', 'stats'])).includes('No space left')).toBe(true);
  });
});
