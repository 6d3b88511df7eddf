import { describe, expect, it } from 'vitest';
import { inferResponse } from '../../../../deploy/sidecar/response.ts';

const answered = (value: unknown) => ({ status: 200, body: Buffer.from(JSON.stringify(value)) });
const json = ['content-type', 'application/json'];

describe('the response inference of payload format 2.0', () => {
  it.each<[string, unknown, number, string[], string]>([
    ['an object without statusCode is the body', { message: 'hi' }, 200, json, '{"message":"hi"}'],
    ['a string is the body as it is', 'hi', 200, json, 'hi'],
    ['null is a body too', null, 200, json, 'null'],
    ['so are numbers', 42, 200, json, '42'],
    ['and arrays', [1], 200, json, '[1]'],
    ['a status alone has an empty body', { statusCode: 204 }, 204, json, ''],
    ['a status may be a string of digits', { statusCode: '201', body: 'x' }, 201, json, 'x'],
    ['a null body is empty', { statusCode: 200, body: null }, 200, json, ''],
    [
      'a given type replaces the default',
      { statusCode: 200, headers: { 'Content-Type': 'text/plain' } },
      200,
      ['Content-Type', 'text/plain'],
      '',
    ],
    [
      'numbers and booleans become header text',
      { statusCode: 200, headers: { 'x-a': 1, 'x-b': true } },
      200,
      ['x-a', '1', 'x-b', 'true', ...json],
      '',
    ],
    [
      'each cookie has a header of its own',
      { statusCode: 200, cookies: ['a=1; Path=/; HttpOnly', 'b=2'] },
      200,
      [...json, 'set-cookie', 'a=1; Path=/; HttpOnly', 'set-cookie', 'b=2'],
      '',
    ],
    [
      'headers of a connection do not pass',
      {
        statusCode: 200,
        headers: { Connection: 'close', 'Transfer-Encoding': 'chunked', 'content-length': '99' },
        body: 'x',
      },
      200,
      json,
      'x',
    ],
    [
      'an error object among other keys is a result',
      { errorType: 'a', errorMessage: 'b', code: 1 },
      200,
      json,
      '{"errorType":"a","errorMessage":"b","code":1}',
    ],
  ])('%s', (_name, value, status, headers, body) => {
    expect(inferResponse(answered(value))).toEqual({ kind: 'response', status, headers, body });
  });

  it('decodes a base64 body', () => {
    const response = inferResponse(answered({ statusCode: 200, body: '/wAB', isBase64Encoded: true }));
    expect(response).toMatchObject({ body: Buffer.from([0xff, 0, 1]) });
  });

  it.each([
    ['a status that is none', { statusCode: 'ok' }],
    ['an informational status', { statusCode: 101 }],
    ['a status out of range', { statusCode: 600 }],
    ['a fraction', { statusCode: 200.5 }],
    ['a null status', { statusCode: null }],
    ['a body that is an object', { statusCode: 200, body: { a: 1 } }],
    ['headers that are a list', { statusCode: 200, headers: ['a'] }],
    ['a header that is a list', { statusCode: 200, headers: { a: ['1', '2'] } }],
    ['a header name with a space', { statusCode: 200, headers: { 'a b': '1' } }],
    ['a header that splits the response', { statusCode: 200, headers: { a: '1\r\nset-cookie: x' } }],
    ['cookies that are no list', { statusCode: 200, cookies: 'a=1' }],
    ['a cookie that is a number', { statusCode: 200, cookies: [1] }],
    ['a cookie that splits the response', { statusCode: 200, cookies: ['a\nb: c'] }],
  ])('%s is invalid', (_name, value) => {
    expect(inferResponse(answered(value))).toMatchObject({
      kind: 'failure',
      code: 'function_response_invalid',
    });
  });

  it.each([
    [
      'a thrown error',
      200,
      '{"errorType":"Error","errorMessage":"boom","trace":["Error: boom"]}',
      'function_error',
    ],
    [
      'an error without a trace',
      200,
      '{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"too large"}',
      'function_error',
    ],
    [
      'an ended runtime',
      502,
      '{"errorType":"Runtime.ExitError","errorMessage":"exit status 1"}',
      'function_error',
    ],
    ['the timeout text', 200, 'Task timed out after 30.00 seconds', 'function_timeout'],
    ['other text', 200, 'oops', 'function_error'],
    ['no answer body', 200, '', 'function_error'],
    ['a JSON answer with another status', 500, '{"a":1}', 'function_error'],
  ])('%s is a failure of the function', (_name, status, body, code) => {
    expect(inferResponse({ status, body: Buffer.from(body) })).toMatchObject({ kind: 'failure', code });
  });

  it('takes a function that returns the timeout text for what it is, a string', () => {
    expect(inferResponse(answered('Task timed out after 30.00 seconds'))).toMatchObject({
      kind: 'response',
      status: 200,
    });
  });
});
