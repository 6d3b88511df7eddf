import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  buildEvent,
  buildScheduledEvent,
  type EventFacts,
  parseQuery,
  readHeaders,
  traceIdOf,
} from '../../../../deploy/sidecar/event.ts';

const facts: EventFacts = {
  functionName: 'pay',
  requestId: '84545120-9bda-41af-9b45-6bd9fb4503a6',
  traceId: 'Root=1-00000000-845451209bda41af9b456bd9',
  rawPath: '/pay',
  rawQuery: '',
  hostname: 'pay.lambda-url.localhost',
  sourceIp: '10.1.2.3',
  nowMs: Date.UTC(2026, 10, 4, 5, 6, 7, 890),
  port: 8090,
};

/** A message as node's server hands it over: names and values alternating, as they came. */
function message(rawHeaders: string[] = [], method = 'POST'): IncomingMessage {
  const headers: Record<string, string> = {};
  for (let index = 0; index < rawHeaders.length; index += 2) {
    headers[(rawHeaders[index] ?? '').toLowerCase()] = rawHeaders[index + 1] ?? '';
  }
  return { method, httpVersion: '1.1', rawHeaders, headers } as unknown as IncomingMessage;
}

function event(changes: Partial<EventFacts>, rawHeaders: string[] = [], body?: Buffer) {
  return JSON.parse(buildEvent(message(rawHeaders), body, { ...facts, ...changes }));
}

describe('the event of a function URL, payload format 2.0', () => {
  it('is complete and has nothing that Lambda leaves out', () => {
    const rawHeaders = ['Host', 'pay.lambda-url.localhost:8090', 'User-Agent', 'curl/8'];
    expect(JSON.parse(buildEvent(message(rawHeaders, 'GET'), undefined, facts))).toEqual({
      version: '2.0',
      routeKey: '$default',
      rawPath: '/pay',
      rawQueryString: '',
      headers: {
        host: 'pay.lambda-url.localhost:8090',
        'user-agent': 'curl/8',
        'x-forwarded-for': '10.1.2.3',
        'x-forwarded-port': '8090',
        'x-forwarded-proto': 'http',
        'x-amzn-trace-id': 'Root=1-00000000-845451209bda41af9b456bd9',
      },
      requestContext: {
        accountId: 'anonymous',
        apiId: 'pay',
        domainName: 'pay.lambda-url.localhost',
        domainPrefix: 'pay',
        http: {
          method: 'GET',
          path: '/pay',
          protocol: 'HTTP/1.1',
          sourceIp: '10.1.2.3',
          userAgent: 'curl/8',
        },
        requestId: '84545120-9bda-41af-9b45-6bd9fb4503a6',
        routeKey: '$default',
        stage: '$default',
        time: '04/Nov/2026:05:06:07 +0000',
        timeEpoch: 1793768767890,
      },
      isBase64Encoded: false,
    });
  });

  it.each([
    ['a trailing slash', '/pay/'],
    ['percent-encoding', '/pay/a%20b%C3%A9'],
  ])('keeps %s of the path', (_name, rawPath) => {
    const { rawPath: kept, requestContext } = event({ rawPath });
    expect([kept, requestContext.http.path]).toEqual([rawPath, rawPath]);
  });

  it.each<[string, Record<string, string>]>([
    ['a=1&b=2', { a: '1', b: '2' }],
    ['a=1&a=2&a=3', { a: '1,2,3' }],
    ['a', { a: '' }],
    ['a=', { a: '' }],
    ['=b', { '': 'b' }],
    ['a=b=c', { a: 'b=c' }],
    ['&&a=1&', { a: '1' }],
    ['a+b=c+d', { 'a b': 'c d' }],
    ['a=%2C%26%3D', { a: ',&=' }],
    ['a%20b=%C3%A9', { 'a b': 'é' }],
    ['a=%zz', { a: '%zz' }],
    ['a=%ff', { a: '%ff' }],
  ])('gives the query %j as it came, and read', (rawQuery, parameters) => {
    const built = event({ rawQuery });
    expect(built.rawQueryString).toBe(rawQuery);
    expect(built.queryStringParameters).toEqual(parameters);
  });

  it('takes __proto__ for a name like any other', () => {
    const text = buildEvent(message(), undefined, { ...facts, rawQuery: '__proto__=1' });
    expect(text).toContain('"queryStringParameters":{"__proto__":"1"}');
  });

  it.each<[string, string[], Record<string, string>]>([
    ['lower-case names', ['X-Thing', 'Aa'], { 'x-thing': 'Aa' }],
    ['repeats joined by a comma', ['X-A', '1', 'x-a', '2'], { 'x-a': '1,2' }],
    ['cookies of two lines as one', ['Cookie', 'a=1', 'Cookie', 'b=2'], { cookie: 'a=1; b=2' }],
    [
      'no header of the connection',
      [
        'Connection',
        'keep-alive',
        'Keep-Alive',
        '5',
        'TE',
        'x',
        'Upgrade',
        'h2c',
        'Transfer-Encoding',
        'chunked',
        'Proxy-Authorization',
        'x',
        'Expect',
        '100-continue',
      ],
      {},
    ],
    [
      'no header that Connection names',
      ['X-Hop', '1', 'Connection', 'close, X-Hop', 'X-End', '2'],
      { 'x-end': '2' },
    ],
    [
      'nothing that only the platform says',
      [
        'X-Forwarded-For',
        '6.6.6.6',
        'X-Forwarded-Host',
        'evil',
        'Forwarded',
        'for=6',
        'X-Real-IP',
        '6',
        'X-Amzn-Trace-Id',
        'Root=evil',
        'x-amzn-lambda-context',
        '{}',
        'X-ApiGateway-Event',
        '{}',
        'x-apigateway-context',
        '{}',
        'X-Aws-Lambda-Fastify-Request',
        '1',
      ],
      {},
    ],
    [
      "the caller's own credentials",
      ['Authorization', 'Bearer x', 'X-Internal-Auth', 'y', 'From', 'me'],
      { authorization: 'Bearer x', 'x-internal-auth': 'y', from: 'me' },
    ],
  ])('passes %s', (_name, rawHeaders, expected) => {
    const connection = rawHeaders[rawHeaders.indexOf('Connection') + 1];
    expect({
      ...readHeaders(rawHeaders, rawHeaders.includes('Connection') ? connection : undefined),
    }).toEqual(expected);
  });

  it('splits cookies, and keeps them among the headers as Lambda does', () => {
    const built = event({}, ['Cookie', 'a=1; b="x; y";c=%20']);
    expect(built.cookies).toEqual(['a=1', 'b="x', 'y"', 'c=%20']);
    expect(built.headers.cookie).toBe('a=1; b="x; y";c=%20');
  });

  it.each<[string | undefined, Buffer, string, boolean]>([
    ['application/json', Buffer.from('{"é":1}'), '{"é":1}', false],
    ['Application/JSON; charset=utf-8', Buffer.from('{}'), '{}', false],
    ['text/plain', Buffer.from('x'), 'x', false],
    ['application/problem+json', Buffer.from('{}'), '{}', false],
    ['application/xml', Buffer.from('<a/>'), '<a/>', false],
    ['application/x-www-form-urlencoded', Buffer.from('a=1'), 'YT0x', true],
    ['application/octet-stream', Buffer.from([0xff]), '/w==', true],
    ['application/jsonish', Buffer.from('{}'), 'e30=', true],
    [undefined, Buffer.from('{}'), 'e30=', true],
    ['text/plain', Buffer.from([0xff, 0xfe]), '//4=', true],
    ['text/plain', Buffer.from('\ufffd'), '\ufffd', false],
    ['text/plain', Buffer.from('\ufeffx'), '\ufeffx', false],
  ])('carries a body of type %s', (type, body, text, isBase64Encoded) => {
    const built = event({}, type === undefined ? [] : ['Content-Type', type], body);
    expect([built.body, built.isBase64Encoded]).toEqual([text, isBase64Encoded]);
    expect(built.headers['content-length']).toBe(String(body.length));
  });

  it('brings every body, query and header to the function unchanged', () => {
    const value = fc.stringMatching(/^[\x21-\x7e]{1,20}$/);
    const parameters = fc.array(fc.tuple(fc.string({ minLength: 1 }), fc.string()), { maxLength: 5 });
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.constantFrom('application/json', 'text/plain', 'image/png'),
        parameters,
        fc.dictionary(fc.stringMatching(/^y-[a-z]{1,8}$/), value),
        (bytes, type, pairs, headers) => {
          const rawQuery = pairs
            .map(
              ([name, text]) =>
                `${encodeURIComponent(wellFormed(name))}=${encodeURIComponent(wellFormed(text))}`,
            )
            .join('&');
          const built = event(
            { rawQuery },
            ['content-type', type, ...Object.entries(headers).flat()],
            Buffer.from(bytes),
          );
          expect(Buffer.from(built.body, built.isBase64Encoded ? 'base64' : 'utf8')).toEqual(
            Buffer.from(bytes),
          );
          expect(built.rawQueryString).toBe(rawQuery);
          const search = new URLSearchParams(rawQuery);
          for (const [name] of search)
            expect(built.queryStringParameters[name]).toBe(search.getAll(name).join(','));
          expect(built.headers).toMatchObject(headers);
        },
      ),
    );
  });

  it('reads a query of any bytes without failing', () => {
    fc.assert(fc.property(fc.stringMatching(/^[\x21-\x7e]{0,40}$/), (query) => void parseQuery(query)));
  });
});

describe('the scheduled event', () => {
  it('is what EventBridge sends', () => {
    expect(JSON.parse(buildScheduledEvent('id-1', facts.nowMs))).toEqual({
      version: '0',
      id: 'id-1',
      'detail-type': 'Scheduled Event',
      source: 'aws.events',
      account: '000000000000',
      time: '2026-11-04T05:06:07Z',
      region: 'local',
      resources: ['arn:aws:events:local:000000000000:rule/settle'],
      detail: {},
    });
  });
});

describe('a trace id', () => {
  it('has the form of an X-Ray root', () => {
    expect(traceIdOf(facts.requestId, facts.nowMs)).toBe('Root=1-6aeabd3f-845451209bda41af9b456bd9');
  });
});

/** Lone surrogates cannot be percent-encoded. */
function wellFormed(text: string): string {
  return text.toWellFormed();
}
