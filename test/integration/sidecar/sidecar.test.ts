import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  DRAINED_FILE,
  DRAINING_FILE,
  type DrainOrder,
  type DrainReport,
} from '../../../deploy/sidecar/draining.ts';
import { OPS_CONNECTIONS_MAX } from '../../../deploy/sidecar/ops-server.ts';
import { setRunMark } from '../../../deploy/sidecar/run-mark.ts';
import { freePort } from '../../support/ports.ts';
import { untilThere, waitUntil } from '../../support/wait-until.ts';
import { ask, askRaw, closeAll, createFolder, createGate, startFake, startTestSidecar } from './harness.ts';

afterEach(closeAll);

const echo = (event: Record<string, unknown>) => ({ result: event });
const ok = () => ({ result: { statusCode: 200, body: 'ok' } });

describe('the routes', () => {
  it('lead by path, and by host name, each to its function', async () => {
    const named = (name: string) => startFake(() => ({ result: name }));
    const [pay, settle, health, stats] = await Promise.all(['pay', 'settle', 'health', 'stats'].map(named));
    const { functionUrl } = await startTestSidecar({
      pay: [pay?.port ?? 0],
      settle: [settle?.port ?? 0],
      health: [health?.port ?? 0],
      stats: [stats?.port ?? 0],
    });
    const reached = async (path: string, host?: string) =>
      (await ask(functionUrl, path, host === undefined ? {} : { headers: { host } })).text;
    expect(await reached('/pay/42')).toBe('pay');
    expect(await reached('/settle')).toBe('settle');
    expect(await reached('/health/live')).toBe('health');
    expect(await reached('/metrics')).toBe('stats');
    expect(await reached('/', 'stats.lambda-url.localhost:8090')).toBe('stats');
    expect(await reached('/pay', 'health.lambda-url.localhost')).toBe('health');
  });

  it('end in 404 where no function is', async () => {
    const rie = await startFake(ok);
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    for (const [path, host] of [
      ['/nothing', 'x'],
      ['/stats', 'x'],
      ['/pay', 'nobody.lambda-url.localhost'],
    ] as const) {
      const answer = await ask(functionUrl, path, { headers: { host } });
      expect([answer.status, answer.json().code]).toEqual([404, 'route_not_found']);
      expect(answer.headers['content-type']).toBe('application/problem+json');
      expect(answer.json().instance).toBe(answer.headers['x-amzn-requestid']);
    }
    expect(rie.events).toEqual([]);
  });
});

describe('the access policy', () => {
  it('denies what no rule allows, without an invoke, with one audit line', async () => {
    const rie = await startFake(ok);
    const { functionUrl, logs } = await startTestSidecar(
      { pay: [rie.port] },
      { acl: 'allow * POST pay /pay' },
    );
    const answer = await ask(functionUrl, '/pay/42?secret=1', { method: 'DELETE' });
    expect([answer.status, answer.json().code]).toEqual([403, 'acl_denied']);
    expect(rie.events).toEqual([]);
    const audits = logs.filter(({ audit }) => audit !== undefined);
    expect(audits).toEqual([
      expect.objectContaining({
        audit: 'acl_denied',
        caller: '127.0.0.1',
        method: 'DELETE',
        function: 'pay',
        path: '/pay/42',
      }),
    ]);
    expect(JSON.stringify(logs)).not.toContain('secret');
  });

  it('tells callers apart by the name in their token, wherever it stands', async () => {
    const rie = await startFake(ok);
    const { functionUrl, logs } = await startTestSidecar(
      { pay: [rie.port] },
      { acl: 'allow operator@127.0.0.0/8 POST pay /pay/breaker' },
    );
    const token = (kid: unknown) => `${Buffer.from(JSON.stringify({ kid })).toString('base64url')}.e30.x`;
    const statusOf = async (headers: Record<string, string>) =>
      (await ask(functionUrl, '/pay/breaker', { method: 'POST', headers })).status;
    expect(await statusOf({ authorization: `Bearer ${token('operator')}` })).toBe(200);
    expect(await statusOf({ 'x-internal-auth': token('operator') })).toBe(200);
    for (const headers of [
      {},
      { authorization: `Bearer ${token('gateway')}` },
      { authorization: `Bearer ${token(['operator'])}` },
      { authorization: `Bearer ${Buffer.from('{"kid":"operator"}').toString('base64url')}` },
      { authorization: 'Bearer e30=.x.y' },
      { authorization: `Basic ${token('operator')}` },
      // One of both would be believed by the function; it is the one that is looked at here.
      { authorization: `Bearer ${token('operator')}`, 'x-internal-auth': token('gateway') },
      // What is of the connection alone does not come to the function, which would see the other one.
      {
        authorization: `Bearer ${token('gateway')}`,
        'x-internal-auth': token('operator'),
        connection: 'close, X-Internal-Auth',
      },
      { authorization: `Bearer ${token('operator')}`, connection: 'authorization' },
    ]) {
      expect([headers, await statusOf(headers)]).toEqual([headers, 403]);
    }
    expect(
      logs.find(({ audit, identity }) => audit === 'acl_denied' && identity === 'gateway'),
    ).toBeDefined();
  });

  it('judges the decoded path, which is the one that the function sees', async () => {
    const rie = await startFake(ok);
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] }, { acl: 'allow * GET pay /pay/{id}' });
    expect((await ask(functionUrl, '/p%61y/42')).status).toBe(200);
    expect((await ask(functionUrl, '/pay/42/c%61ncel')).status).toBe(403);
  });

  it('follows the file, and keeps the old rules when the new ones are broken', async () => {
    const rie = await startFake(ok);
    const { functionUrl, opsUrl, aclFile } = await startTestSidecar(
      { pay: [rie.port] },
      { acl: 'allow * GET pay /pay' },
      { aclPollIntervalMs: 20 },
    );
    const statusOf = async (method: string) => (await ask(functionUrl, '/pay', { method })).status;
    expect([await statusOf('GET'), await statusOf('POST')]).toEqual([200, 403]);
    writeFileSync(aclFile, 'allow * POST pay /pay # now this');
    await waitUntil(async () => (await statusOf('POST')) === 200);
    expect(await statusOf('GET')).toBe(403);
    writeFileSync(aclFile, 'allow everything');
    await waitUntil(async () =>
      /acl_reloads_total\{outcome="failed"\} 1/.test((await ask(opsUrl, '/metrics')).text),
    );
    expect([await statusOf('GET'), await statusOf('POST')]).toEqual([403, 200]);
  });

  it('stops the start when it is broken', async () => {
    await expect(startTestSidecar({}, { acl: 'allow' })).rejects.toThrow(/test\.acl: line 1: a rule is/);
  });
});

describe('a request', () => {
  it('reaches the function as a payload 2.0 event', async () => {
    const rie = await startFake(echo);
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    const answer = await ask(functionUrl, '/pay/a%20b/?x=1&x=%2C', {
      method: 'POST',
      headers: [
        'Host',
        'gateway:8090',
        'X-A',
        '1',
        'x-a',
        '2',
        'Cookie',
        'c=1; d=2',
        'X-Forwarded-For',
        '6.6.6.6',
        'x-amzn-evil',
        '1',
        'Content-Type',
        'application/json',
        'Content-Length',
        '7',
      ],
      body: '{"a":1}',
    });
    expect(answer.json()).toMatchObject({
      version: '2.0',
      rawPath: '/pay/a%20b/',
      rawQueryString: 'x=1&x=%2C',
      queryStringParameters: { x: '1,,' },
      cookies: ['c=1', 'd=2'],
      headers: { host: 'gateway:8090', 'x-a': '1,2', 'x-forwarded-for': '127.0.0.1', 'content-length': '7' },
      requestContext: {
        apiId: 'pay',
        domainName: 'gateway',
        http: { method: 'POST', sourceIp: '127.0.0.1' },
      },
      body: '{"a":1}',
      isBase64Encoded: false,
    });
    expect(answer.text).not.toContain('evil');
    const context = answer.json().requestContext as Record<string, unknown>;
    expect(answer.headers['x-amzn-requestid']).toBe(context.requestId);
  });

  it('of any method goes through, HEAD without a body', async () => {
    const rie = await startFake((event) => ({
      result: { statusCode: 200, body: JSON.stringify(event.requestContext) },
    }));
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await ask(functionUrl, '/pay', { method });
      expect(answer.json()).toMatchObject({ http: { method } });
    }
    const head = await ask(functionUrl, '/pay', { method: 'HEAD' });
    expect([head.status, head.text]).toEqual([200, '']);
    expect(rie.events).toHaveLength(6);
  });

  it('without a body, or with an empty one, has none in the event', async () => {
    const rie = await startFake(echo);
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    const without = await ask(functionUrl, '/pay', { method: 'POST', headers: { 'content-length': '0' } });
    const chunked = await ask(functionUrl, '/pay', {
      method: 'POST',
      headers: { 'transfer-encoding': 'chunked' },
      body: '',
    });
    for (const answer of [without, chunked]) expect(answer.json()).not.toHaveProperty('body');
  });

  it.each([
    ['//pay'],
    ['/pay/../settle'],
    ['/pay/%2e%2e/settle'],
    ['/pay%2fx'],
    ['/pay/%'],
    ['http://elsewhere/pay'],
    ['*'],
  ])('for %s is refused with 400', async (path) => {
    const rie = await startFake(ok);
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    const received = await askRaw(
      functionUrl,
      `OPTIONS ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(received).toMatch(/^HTTP\/1\.1 400 .*path_invalid/s);
    expect(rie.events).toEqual([]);
  });

  it.each([
    [
      'both a length and chunks',
      'POST /pay HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    [
      'two lengths',
      'POST /pay HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd',
      400,
    ],
    [
      'an unknown coding',
      'POST /pay HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['a folded header', 'GET /pay HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n 2\r\n\r\n', 400],
    ['a space before the colon', 'GET /pay HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\n', 400],
    ['no host', 'GET /pay HTTP/1.1\r\n\r\n', 400],
    ['two hosts', 'GET /pay HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n', 400],
    ['a malformed host', 'GET /pay HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n', 400],
    [
      'a reserved header name',
      'GET /pay HTTP/1.1\r\nHost: x\r\n__proto__: y\r\nConnection: close\r\n\r\n',
      400,
    ],
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['an expectation', 'GET /pay HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nConnection: close\r\n\r\n', 417],
    [
      'too many headers',
      `GET /pay HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${'a: b\r\n'.repeat(120)}\r\n`,
      431,
    ],
    ['too long headers', `GET /pay HTTP/1.1\r\nHost: x\r\na: ${'b'.repeat(20_000)}\r\n\r\n`, 431],
  ])('with %s is refused', async (_name, bytes, status) => {
    const rie = await startFake(ok);
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    expect(await askRaw(functionUrl, bytes)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(rie.events).toEqual([]);
  });

  it('that is unreadable is told with an id, by which its log line is found', async () => {
    const { functionUrl, logs } = await startTestSidecar({});
    const [head = '', body = ''] = (await askRaw(functionUrl, 'nonsense\r\n\r\n')).split('\r\n\r\n');
    const { instance, code } = JSON.parse(body);
    expect([code, instance]).toEqual(['request_invalid', expect.stringMatching(/^[0-9a-f-]{36}$/)]);
    expect(head).toContain(`x-amzn-requestid: ${instance}`);
    expect(logs.find(({ requestId }) => requestId === instance)).toMatchObject({ msg: 'unreadable request' });
  });

  it.each([
    ['head', 'GET /pay HTTP/1.1\r\nHost: x\r\n'],
    ['body', 'POST /pay HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc'],
  ])('whose %s does not come in time is refused with 408', async (_name, bytes) => {
    const rie = await startFake(ok);
    const timeouts = { headersMs: 100, requestMs: 150, checkIntervalMs: 20 };
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] }, {}, { timeouts });
    expect(await askRaw(functionUrl, bytes)).toMatch(/^HTTP\/1\.1 408 .*request_timeout/s);
    expect(rie.events).toEqual([]);
  });

  it('is refused with 413 when it is larger than RIE takes, the envelope and base64 included', async () => {
    const rie = await startFake((event) => ({
      result: { statusCode: 200, body: String((event.body as string).length) },
    }));
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    const post = (bytes: number, type: string, chunked = false) =>
      ask(functionUrl, '/pay', {
        method: 'POST',
        headers: {
          'content-type': type,
          ...(chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(bytes) }),
        },
        body: Buffer.alloc(bytes, 'a'),
      });
    const kibibyte = 1024;
    expect((await post(6_000 * kibibyte, 'text/plain')).status).toBe(200);
    expect((await post(4_500 * kibibyte, 'image/png')).status).toBe(200);
    for (const answer of [
      await post(6_144 * kibibyte, 'text/plain'),
      await post(4_700 * kibibyte, 'image/png'),
      await post(7_000 * kibibyte, 'text/plain', true),
    ]) {
      expect([answer.status, answer.json().code]).toEqual([413, 'body_too_large']);
    }
    expect(rie.events).toHaveLength(2);
  });
});

describe('an answer', () => {
  it('keeps cookies apart, binary bodies whole and headers in order', async () => {
    const rie = await startFake(() => ({
      result: {
        statusCode: 201,
        headers: { Location: '/pay/42', 'content-type': 'image/png' },
        cookies: ['a=1; Path=/; HttpOnly', 'b=2'],
        body: Buffer.from([0, 0xff, 0xfe]).toString('base64'),
        isBase64Encoded: true,
      },
    }));
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    const answer = await ask(functionUrl, '/pay');
    expect(answer.status).toBe(201);
    expect(answer.bytes).toEqual(Buffer.from([0, 0xff, 0xfe]));
    expect(answer.headers).toMatchObject({
      location: '/pay/42',
      'content-type': 'image/png',
      'set-cookie': ['a=1; Path=/; HttpOnly', 'b=2'],
    });
  });

  it.each([
    [{ error: 'the key is 0xdeadbeef' }, 502, 'function_error'],
    [{ timeoutSeconds: 30 }, 504, 'function_timeout'],
    [{ exitStatus: 1 }, 502, 'function_error'],
    [{ result: { statusCode: 'x' } }, 502, 'function_response_invalid'],
    [{ dies: true }, 502, 'instance_lost'],
  ] as const)('to %o is a problem that shows nothing of it', async (outcome, status, code) => {
    const rie = await startFake(() => outcome);
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    const answer = await ask(functionUrl, '/pay', { method: 'POST' });
    expect([answer.status, answer.json().code]).toEqual([status, code]);
    expect(answer.text).not.toMatch(/secret|0xdeadbeef|handler|RequestId|timed out/);
    expect(answer.json().detail).toContain('same Idempotency-Key');
  });
});

describe('the instances', () => {
  it('each run one invoke at a time; the rest waits, and beyond that is told to come back', async () => {
    const gate = createGate();
    const slow = async () => {
      await gate.opened;
      return { result: 'ok' };
    };
    const [first, second] = [await startFake(slow), await startFake(slow)];
    const { functionUrl, opsUrl } = await startTestSidecar(
      { pay: [first.port, second.port] },
      { queueMax: 3 },
    );
    const queued = Array.from({ length: 5 }, () => ask(functionUrl, '/pay'));
    await waitUntil(async () => /queue_depth\{function="pay"\} 3/.test((await ask(opsUrl, '/metrics')).text));
    const refused = await ask(functionUrl, '/pay');
    expect([refused.status, refused.json().code, refused.headers['retry-after']]).toEqual([
      429,
      'throttled',
      '1',
    ]);
    gate.open();
    expect((await Promise.all(queued)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect([first.crashed, second.crashed]).toEqual([false, false]);
  });

  it('answer every one of many requests at once, never two in one', async () => {
    const ries = await Promise.all([1, 2, 3].map(() => startFake(ok)));
    const { functionUrl } = await startTestSidecar({ pay: ries.map(({ port }) => port) }, { queueMax: 100 });
    const answers = await Promise.all(Array.from({ length: 60 }, () => ask(functionUrl, '/pay')));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(ries.some(({ crashed }) => crashed)).toBe(false);
  });

  it('finish what a client began and left, and are not leased meanwhile', async () => {
    const gate = createGate();
    const rie = await startFake(async () => {
      await gate.opened;
      return { result: 'ok' };
    });
    const { functionUrl } = await startTestSidecar({ pay: [rie.port] });
    const leaving = createGate();
    const left = ask(functionUrl, '/pay', { leaveWhen: leaving.opened });
    await waitUntil(() => rie.inFlight === 1);
    leaving.open();
    await expect(left).rejects.toThrow('left');
    const next = ask(functionUrl, '/pay');
    gate.open();
    expect((await next).status).toBe(200);
    expect([rie.crashed, rie.events.length]).toEqual([false, 2]);
  });

  it('never see a request whose client left the queue', async () => {
    const gate = createGate();
    const rie = await startFake(async () => {
      await gate.opened;
      return { result: 'ok' };
    });
    const { functionUrl, opsUrl } = await startTestSidecar({ pay: [rie.port] });
    const first = ask(functionUrl, '/pay');
    await waitUntil(() => rie.inFlight === 1);
    const leaving = createGate();
    const left = ask(functionUrl, '/pay', { leaveWhen: leaving.opened });
    const depth = async () =>
      /queue_depth\{function="pay"\} (\d)/.exec((await ask(opsUrl, '/metrics')).text)?.[1];
    await waitUntil(async () => (await depth()) === '1');
    leaving.open();
    await expect(left).rejects.toThrow('left');
    await waitUntil(async () => (await depth()) === '0');
    gate.open();
    expect((await first).status).toBe(200);
    expect(rie.events).toHaveLength(1);
  });

  it('that are not there are passed over; with none left it is 503 until one is back', async () => {
    const port = await freePort();
    const alive = await startFake(ok);
    const { functionUrl, opsUrl } = await startTestSidecar({ pay: [port, alive.port] });
    expect((await ask(functionUrl, '/pay')).status).toBe(200);
    await alive.kill();
    await waitUntil(async () => (await ask(opsUrl, '/health')).status === 503);
    const refused = await ask(functionUrl, '/pay');
    expect([refused.status, refused.json().code, refused.headers['retry-after']]).toEqual([
      503,
      'no_instance',
      '1',
    ]);
    await startFake(ok, { port });
    await waitUntil(async () => (await ask(functionUrl, '/pay')).status === 200);
  });

  it('that died before an invoke reached them cost the request nothing', async () => {
    const [first, second] = [await startFake(ok), await startFake(ok)];
    // No probe comes in between: the sidecar learns of the death by the connection.
    const { functionUrl } = await startTestSidecar(
      { pay: [first.port, second.port] },
      {},
      { probeIntervalMs: 60_000 },
    );
    await first.kill();
    expect((await ask(functionUrl, '/pay', { method: 'POST' })).status).toBe(200);
    expect(second.events).toHaveLength(1);
  });

  it('that died in the middle of an invoke are not asked twice for it', async () => {
    const dying = await startFake(() => ({ dies: true }));
    const other = await startFake(ok);
    const { functionUrl } = await startTestSidecar({ pay: [dying.port, other.port] });
    const answer = await ask(functionUrl, '/pay', { method: 'POST' });
    expect([answer.status, answer.json().code]).toEqual([502, 'instance_lost']);
    expect(other.events).toEqual([]);
    expect((await ask(functionUrl, '/pay')).status).toBe(200);
  });

  it('follow DNS', async () => {
    const old = await startFake(() => ({ result: 'old' }));
    const { port } = old;
    await startFake(() => ({ result: 'new' }), { port, host: '127.0.0.2' });
    let addresses = ['127.0.0.1'];
    const { functionUrl } = await startTestSidecar(
      {},
      { functions: { pay: [{ host: 'pay', port }], settle: [], health: [], stats: [] } },
      { resolve: async () => addresses },
    );
    expect((await ask(functionUrl, '/pay')).text).toBe('old');
    addresses = ['127.0.0.2'];
    await waitUntil(async () => (await ask(functionUrl, '/pay')).text === 'new');
    const eventsBefore = old.events.length;
    await ask(functionUrl, '/pay');
    expect(old.events).toHaveLength(eventsBefore);
  });
});

describe('instances that are to be removed', () => {
  const withState = async (...ports: number[]) => {
    const stateDir = createFolder();
    return { ...(await startTestSidecar({ pay: ports }, { stateDir })), stateDir };
  };
  const order = (stateDir: string, id: string, addresses: readonly string[], endsInMs = 60_000) => {
    const text = JSON.stringify({ id, addresses, endsAtMs: Date.now() + endsInMs } satisfies DrainOrder);
    writeFileSync(join(stateDir, DRAINING_FILE), text);
  };
  const report = (stateDir: string): DrainReport | undefined => {
    const path = join(stateDir, DRAINED_FILE);
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as DrainReport) : undefined;
  };

  it('finish what they have, get nothing new, and are told to be idle then', async () => {
    const gate = createGate();
    const leaving = await startFake(async () => {
      await gate.opened;
      return { result: 'leaving' };
    });
    const staying = await startFake(() => ({ result: 'staying' }));
    const { functionUrl, stateDir } = await withState(leaving.port, staying.port);
    const underWay = ask(functionUrl, '/pay');
    await waitUntil(() => leaving.inFlight === 1);
    const address = `127.0.0.1:${leaving.port}`;
    order(stateDir, 'first', [address, '127.0.0.9:1']);
    await waitUntil(() => report(stateDir)?.id === 'first');
    expect(report(stateDir)?.states).toEqual({ [address]: 'busy', '127.0.0.9:1': 'gone' });

    gate.open();
    expect((await underWay).text).toBe('leaving');
    await waitUntil(() => report(stateDir)?.states[address] === 'idle');
    for (let request = 0; request < 5; request += 1) {
      expect((await ask(functionUrl, '/pay')).text).toBe('staying');
    }
    rmSync(join(stateDir, DRAINING_FILE));
    await waitUntil(async () => (await ask(functionUrl, '/pay')).text === 'leaving');
    expect(existsSync(join(stateDir, DRAINED_FILE))).toBe(false);
  });

  it('are none any more once the order has ended, though whoever gave it died and left it behind', async () => {
    const rie = await startFake(ok);
    const { functionUrl, stateDir, logs } = await withState(rie.port);
    order(stateDir, 'left behind', [`127.0.0.1:${rie.port}`], 1_000);
    await waitUntil(async () => (await ask(functionUrl, '/pay')).status === 503);
    await waitUntil(async () => (await ask(functionUrl, '/pay')).status === 200);
    expect(existsSync(join(stateDir, DRAINED_FILE))).toBe(false);
    expect(logs.some(({ msg }) => String(msg).includes('has ended'))).toBe(true);
  });

  it('are none by an order that cannot be read', async () => {
    const rie = await startFake(ok);
    const { functionUrl, stateDir, logs } = await withState(rie.port);
    writeFileSync(join(stateDir, DRAINING_FILE), '{"id":"x","addresses":"all"}');
    await waitUntil(() => logs.some(({ msg }) => String(msg).includes('order to drain cannot be read')));
    expect((await ask(functionUrl, '/pay')).status).toBe(200);
    expect(report(stateDir)).toBeUndefined();
  });
});

describe('an instance of another function', () => {
  const stranger = () => ({
    result: { statusCode: 421, headers: { 'content-type': 'application/problem+json' }, body: '{}' },
  });

  it('that took over an address costs no request, and is asked no more', async () => {
    const [taken, own] = await Promise.all([startFake(stranger), startFake(ok)]);
    const { functionUrl, logs } = await startTestSidecar(
      { pay: [taken.port, own.port] },
      {},
      // The addresses are looked up once: nothing but the answer tells whose instance it is.
      { resolveIntervalMs: 3_600_000 },
    );
    for (let request = 0; request < 3; request += 1) {
      expect((await ask(functionUrl, '/pay', { method: 'POST' })).text).toBe('ok');
    }
    expect(taken.events).toHaveLength(1);
    expect(own.events).toHaveLength(3);
    expect(logs.filter(({ msg }) => String(msg).includes('another function'))).toMatchObject([
      { level: 40, function: 'pay', address: `127.0.0.1:${taken.port}` },
    ]);
  });

  it('is none of this one: while there is no other, nothing was done and it may be asked again', async () => {
    const taken = await startFake(stranger);
    const { functionUrl } = await startTestSidecar(
      { pay: [taken.port] },
      {},
      { resolveIntervalMs: 3_600_000 },
    );
    const answer = await ask(functionUrl, '/pay', { method: 'POST' });
    expect([answer.status, answer.json().code]).toEqual([503, 'no_instance']);
    expect(answer.headers['retry-after']).toBe('1');
  });

  it('is no run of the schedule', async () => {
    const [taken, own] = await Promise.all([
      startFake(stranger),
      startFake(() => ({ result: { settled: 0 } })),
    ]);
    const { logs } = await startTestSidecar(
      { settle: [taken.port, own.port] },
      { settleIntervalMs: 50 },
      { resolveIntervalMs: 3_600_000 },
    );
    await waitUntil(() => logs.some(({ msg }) => msg === 'settle ran'));
    expect(logs.find(({ msg }) => msg === 'settle ran')).toMatchObject({ report: { settled: 0 } });
    expect(taken.events).toHaveLength(1);
  });
});

describe('the settle schedule', () => {
  it('invokes settle on its interval with a scheduled event', async () => {
    const settle = await startFake(() => ({ result: { settled: 0 } }));
    const { logs } = await startTestSidecar({ settle: [settle.port] }, { settleIntervalMs: 50 });
    await waitUntil(() => settle.events.length >= 2);
    expect(settle.events[0]).toMatchObject({
      source: 'aws.events',
      'detail-type': 'Scheduled Event',
      detail: {},
    });
    await waitUntil(() => logs.some(({ msg }) => msg === 'settle ran'));
    expect(logs.find(({ msg }) => msg === 'settle ran')).toMatchObject({ level: 20, report: { settled: 0 } });
  });

  it('kicks settle at once after a 202 of pay, once for many', async () => {
    const gate = createGate();
    const settle = await startFake(async () => {
      await gate.opened;
      return { result: {} };
    });
    const pay = await startFake((event) => ({
      result: { statusCode: event.rawQueryString === 'now' ? 201 : 202 },
    }));
    const { functionUrl, opsUrl } = await startTestSidecar({ pay: [pay.port], settle: [settle.port] });
    await ask(functionUrl, '/pay?now', { method: 'POST' });
    expect(settle.events).toHaveLength(0);
    for (let count = 0; count < 5; count += 1) await ask(functionUrl, '/pay', { method: 'POST' });
    await waitUntil(() => settle.inFlight === 1);
    gate.open();
    await waitUntil(async () =>
      /settle_runs_total\{reason="kick",outcome="ok"\} 2/.test((await ask(opsUrl, '/metrics')).text),
    );
    expect([settle.events.length, settle.crashed]).toEqual([2, false]);
  });

  it('warns when settle fails, and goes on', async () => {
    const settle = await startFake(() => ({ error: 'boom' }));
    const { logs, opsUrl } = await startTestSidecar({ settle: [settle.port] }, { settleIntervalMs: 30 });
    await waitUntil(() => settle.events.length >= 2);
    await waitUntil(() => logs.some(({ level, msg }) => level === 40 && msg === 'settle failed'));
    expect((await ask(opsUrl, '/metrics')).text).toMatch(
      /settle_runs_total\{reason="interval",outcome="function_error"\} \d/,
    );
  });
});

describe('the ops port', () => {
  it('is healthy when every function has a live instance, and says which has none', async () => {
    const rie = await startFake(ok);
    const { opsUrl } = await startTestSidecar({ pay: [rie.port], stats: [await freePort()] });
    const sick = await ask(opsUrl, '/health');
    expect([sick.status, sick.json().reasons]).toEqual([503, ['stats: none of 1 known instances answers']]);
    const healthy = await startTestSidecar({ pay: [rie.port] });
    expect((await ask(healthy.opsUrl, '/health')).status).toBe(200);
    expect((await ask(healthy.opsUrl, '/pay')).status).toBe(404);
    // A sidecar before dead functions is no reason to end the sidecar.
    expect((await ask(opsUrl, '/health/live')).status).toBe(200);
    expect((await ask(healthy.opsUrl, '/health', { method: 'POST' })).status).toBe(405);
  });

  it('waits no longer for the head of a request than the door does', async () => {
    const timeouts = { headersMs: 100, requestMs: 150, checkIntervalMs: 20 };
    const { opsUrl } = await startTestSidecar({}, {}, { timeouts });
    expect(await askRaw(opsUrl, 'GET /health HTTP/1.1\r\nHost: x\r\n')).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('holds so many connections and no more, and answers again once some have ended', async () => {
    const { opsUrl } = await startTestSidecar({});
    const { hostname, port } = new URL(opsUrl);
    const silent = Array.from({ length: OPS_CONNECTIONS_MAX }, () => connect(Number(port), hostname));
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    // Connections are taken in the order in which they come: this one is behind all of those.
    await expect(ask(opsUrl, '/health/live')).rejects.toThrow(/ECONNRESET|socket hang up/);
    for (const socket of silent) socket.destroy();
    expect((await untilThere(() => ask(opsUrl, '/health/live'))).status).toBe(200);
  });

  it('counts requests, invokes, refusals and instances', async () => {
    const rie = await startFake(ok);
    const { functionUrl, opsUrl } = await startTestSidecar({ pay: [rie.port] });
    await ask(functionUrl, '/pay');
    await ask(functionUrl, '/nothing');
    await askRaw(functionUrl, 'nonsense\r\n\r\n');
    const metrics = (await ask(opsUrl, '/metrics')).text;
    for (const line of [
      'sidecar_requests_total{function="pay",status="200"} 1',
      'sidecar_requests_total{function="none",status="404"} 1',
      'sidecar_requests_total{function="none",status="400"} 1',
      'sidecar_invoke_duration_seconds_count{function="pay"} 1',
      'sidecar_rejections_total{reason="route_not_found"} 1',
      'sidecar_instances{function="pay",state="live"} 1',
      'sidecar_queue_depth{function="pay"} 0',
    ]) {
      expect(metrics).toContain(line);
    }
  });
});

describe('the end', () => {
  it('answers what was begun and what waits, and refuses the new', async () => {
    const gate = createGate();
    const rie = await startFake(async () => {
      await gate.opened;
      return { result: 'ok' };
    });
    const { functionUrl, opsUrl, close } = await startTestSidecar({ pay: [rie.port] });
    const begun = [ask(functionUrl, '/pay'), ask(functionUrl, '/pay')];
    await waitUntil(async () => /queue_depth\{function="pay"\} 1/.test((await ask(opsUrl, '/metrics')).text));
    const closing = close();
    expect((await ask(opsUrl, '/health')).json().reasons).toEqual(['shutting down']);
    await expect(ask(functionUrl, '/pay')).rejects.toThrow('ECONNREFUSED');
    gate.open();
    expect((await Promise.all(begun)).map(({ status, headers }) => [status, headers.connection])).toEqual([
      [200, 'close'],
      [200, 'close'],
    ]);
    expect(await closing).toBe(true);
    await expect(ask(opsUrl, '/health')).rejects.toThrow('ECONNREFUSED');
  });

  it('waits for an invoke whose client has left', async () => {
    const gate = createGate();
    const rie = await startFake(async () => {
      await gate.opened;
      return { result: 'ok' };
    });
    const { functionUrl, close } = await startTestSidecar({ pay: [rie.port] });
    const leaving = createGate();
    const left = ask(functionUrl, '/pay', { leaveWhen: leaving.opened });
    await waitUntil(() => rie.inFlight === 1);
    leaving.open();
    await expect(left).rejects.toThrow('left');
    let closed = false;
    const closing = close().then((drained) => {
      closed = true;
      return drained;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(false);
    gate.open();
    expect(await closing).toBe(true);
  });

  it('comes within its bound even when an invoke does not end, and the next start knows of it', async () => {
    const rie = await startFake(() => new Promise(() => {}));
    const stateDir = createFolder();
    const { functionUrl, close } = await startTestSidecar(
      { pay: [rie.port] },
      { shutdownTimeoutMs: 100, stateDir },
    );
    const hung = ask(functionUrl, '/pay').catch(() => 'cut');
    await waitUntil(() => rie.inFlight === 1);
    expect(await close()).toBe(false);
    expect(await hung).toBe('cut');
    expect(setRunMark(stateDir).foundUnclean).toBe(true);
  });

  it('is a clean one where a client alone was slow: no instance has anything left to do', async () => {
    const rie = await startFake(ok);
    const stateDir = createFolder();
    const { functionUrl, opsUrl, close } = await startTestSidecar(
      { pay: [rie.port] },
      { shutdownTimeoutMs: 100, stateDir },
    );
    const { hostname, port } = new URL(functionUrl);
    // Its first request is answered; of the second one the body never comes.
    const slow = 'POST /pay HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n';
    const client = connect(Number(port), hostname, () =>
      client.write(`GET /pay HTTP/1.1\r\nHost: x\r\n\r\n${slow}abc`),
    );
    client.on('error', () => {});
    await waitUntil(async () => /pay",status="200"\} 1/.test((await ask(opsUrl, '/metrics')).text));
    expect(await close()).toBe(false);
    expect(setRunMark(stateDir).foundUnclean).toBe(false);
    client.destroy();
  });
});
