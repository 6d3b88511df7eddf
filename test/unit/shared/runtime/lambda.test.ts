import type { Context } from 'aws-lambda';
import { describe, expect, it } from 'vitest';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { createApp } from '../../../../shared/runtime/app.ts';
import { currentInvocation, noteInvocation } from '../../../../shared/runtime/invocation.ts';
import { createHandler, type FunctionParts } from '../../../../shared/runtime/lambda.ts';
import { createLogger } from '../../../../shared/runtime/logger.ts';

const OPEN = { config: { access: { public: true } } } as const;

async function start(onSchedule?: FunctionParts['onSchedule']) {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    level: 'debug',
    format: 'json',
    service: 'tron-payment-service',
    functionName: 'pay',
    write: (line) => lines.push(JSON.parse(line)),
  });
  const app = createApp();
  app.get('/pay/:id', OPEN, async (request) => {
    noteInvocation({ paymentId: 'payment-7' });
    return { id: request.params, query: request.query, invocation: currentInvocation()?.requestId };
  });
  app.get('/refused', OPEN, async () => {
    throw new ServiceError('chain_unavailable', 'No node answered.', { cause: new Error('socket hang up') });
  });
  app.get('/slow', OPEN, async () => await new Promise(() => {}));
  const handler = await createHandler(
    'pay',
    onSchedule === undefined ? { app } : { app, onSchedule },
    logger,
  );
  return { handler, lines };
}

/** A function URL's event, payload format 2.0. */
function httpEvent(path: string, query: Record<string, string> = {}) {
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: new URLSearchParams(query).toString(),
    headers: { host: 'localhost', 'x-request-id': 'forged-by-the-client' },
    queryStringParameters: query,
    requestContext: {
      requestId: 'request-1',
      http: { method: 'GET', path, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: 'test' },
    },
    isBase64Encoded: false,
  };
}

function context(remainingMs = 30_000): Context {
  return {
    awsRequestId: 'aws-1',
    functionName: 'pay',
    functionVersion: '1',
    invokedFunctionArn: 'arn',
    memoryLimitInMB: '128',
    logGroupName: 'group',
    logStreamName: 'stream',
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => remainingMs,
    done: () => {},
    fail: () => {},
    succeed: () => {},
  };
}

describe('a handler', () => {
  it('has two parameters, for the runtime client refuses one with more', async () => {
    expect((await start()).handler).toHaveLength(2);
  });

  it('answers a function URL event and writes one line about it', async () => {
    const { handler, lines } = await start();
    const answer = await handler(httpEvent('/pay/7', { note: 'a,b' }), context());
    expect(answer).toMatchObject({ statusCode: 200, headers: { 'x-request-id': 'request-1' } });
    expect(JSON.parse((answer as { body: string }).body)).toEqual({
      id: { id: '7' },
      query: { note: 'a,b' },
      invocation: 'request-1',
    });
    expect(lines).toEqual([
      {
        level: 'INFO',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        service: 'tron-payment-service',
        function: 'pay',
        message: 'invocation',
        requestId: 'request-1',
        method: 'GET',
        route: '/pay/:id',
        status: 200,
        paymentId: 'payment-7',
        durationMs: expect.any(Number),
        cold: true,
      },
    ]);
  });

  it('says that it was cold in the first line only', async () => {
    const { handler, lines } = await start();
    await handler(httpEvent('/pay/7'), context());
    await handler(httpEvent('/pay/8'), context());
    expect(lines.map((line) => line.cold)).toEqual([true, undefined]);
  });

  it('logs why it failed and tells the caller less', async () => {
    const { handler, lines } = await start();
    const answer = await handler(httpEvent('/refused'), context());
    expect(answer).toMatchObject({ statusCode: 503, headers: { 'retry-after': '5' } });
    expect((answer as { body: string }).body).not.toContain('socket');
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'ERROR',
        code: 'chain_unavailable',
        status: 503,
        error: expect.objectContaining({ message: 'socket hang up' }),
      }),
    ]);
  });

  it('answers outcome_unknown before its time is up', async () => {
    const { handler, lines } = await start();
    const answer = await handler(httpEvent('/slow'), context(520));
    expect(answer).toMatchObject({
      statusCode: 503,
      headers: { 'content-type': 'application/problem+json', 'retry-after': '2' },
    });
    expect(JSON.parse((answer as { body: string }).body)).toMatchObject({
      code: 'outcome_unknown',
      instance: 'request-1',
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 'ERROR', code: 'outcome_unknown', status: 503 });
  });

  it('keeps the records of invocations that overlap apart', async () => {
    const { handler, lines } = await start();
    const events = ['a', 'b', 'c'].map((id) => {
      const event = httpEvent(`/pay/${id}`);
      return { ...event, requestContext: { ...event.requestContext, requestId: `request-${id}` } };
    });
    const answers = await Promise.all(events.map((event) => handler(event, context())));
    for (const [index, answer] of answers.entries()) {
      expect((answer as { body: string }).body).toContain(`request-${['a', 'b', 'c'][index]}`);
    }
    expect(new Set(lines.map((line) => line.requestId)).size).toBe(3);
  });
});

describe('an event for another function', () => {
  const rule = (name: string) => `arn:aws:events:local:000000000000:rule/${name}`;
  const request = (apiId: string) => {
    const event = httpEvent('/pay/7');
    return { ...event, requestContext: { ...event.requestContext, apiId } };
  };

  it.each(['settle', 'health', 'stats'])('%s: a request is refused, and nothing is done', async (name) => {
    const { handler, lines } = await start();
    const answer = await handler(request(name), context());
    expect(answer).toMatchObject({
      statusCode: 421,
      headers: { 'content-type': 'application/problem+json' },
    });
    expect(JSON.parse((answer as { body: string }).body)).toMatchObject({
      code: 'misdirected',
      detail: `This is pay; the event is for ${name}. Nothing was done.`,
    });
    expect(lines).toEqual([expect.objectContaining({ code: 'misdirected', status: 421 })]);
  });

  it('is refused where the schedule sent it, too', async () => {
    const ran: unknown[] = [];
    const { handler } = await start(async (event) => ran.push(event));
    await expect(handler({ resources: [rule('settle')] }, context())).resolves.toMatchObject({
      statusCode: 421,
    });
    expect(ran).toEqual([]);
  });

  it('is not what comes from elsewhere: whatever the rule or the function URL is called', async () => {
    const { handler } = await start(async () => 'ran');
    for (const resources of [
      [rule('pay')],
      ['arn:aws:events:eu-central-1:123456789012:rule/settle'],
      [],
      [7],
      'settle',
    ]) {
      await expect(handler({ resources }, context())).resolves.toBe('ran');
    }
    for (const apiId of ['pay', 'r3pmxmplak', 'pay-settle', '']) {
      expect(await handler(request(apiId), context())).toMatchObject({ statusCode: 200 });
    }
  });
});

describe('an event that is no request', () => {
  it('goes to the schedule', async () => {
    const { handler, lines } = await start(async (event) => ({ got: event }));
    await expect(handler({ source: 'aws.events' }, context())).resolves.toEqual({
      got: { source: 'aws.events' },
    });
    expect(lines).toEqual([
      expect.objectContaining({ requestId: 'aws-1', route: 'schedule', level: 'INFO' }),
    ]);
  });

  it('fails as a function where the schedule fails, after one line about it', async () => {
    const { handler, lines } = await start(async () => {
      throw new Error('the database is away');
    });
    await expect(handler({}, context())).rejects.toThrow('the database is away');
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'ERROR',
        error: expect.objectContaining({ message: 'the database is away' }),
      }),
    ]);
  });

  it('fails where the function has no schedule', async () => {
    const { handler } = await start();
    await expect(handler({}, context())).rejects.toThrow('HTTP events only');
    await expect(handler(null, context())).rejects.toThrow('HTTP events only');
  });
});
