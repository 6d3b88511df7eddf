import { describe, expect, it } from 'vitest';
import { chooseFunction, hostnameOf } from '../../../../deploy/sidecar/routes.ts';

describe('the choice of a function', () => {
  it.each([
    ['gateway', '/pay', 'pay'],
    ['gateway', '/pay/42/cancel', 'pay'],
    ['gateway', '/payments', undefined],
    ['gateway', '/health', 'health'],
    ['gateway', '/health/live', 'health'],
    ['gateway', '/healthy', undefined],
    ['gateway', '/stats', 'stats'],
    ['gateway', '/metrics', 'stats'],
    ['gateway', '/stats/x', undefined],
    ['gateway', '/settle', 'settle'],
    ['gateway', '/settle/x', undefined],
    ['gateway', '/', undefined],
    ['gateway', '/PAY', undefined],
    ['pay.lambda-url.localhost', '/anything', 'pay'],
    ['settle.lambda-url.localhost', '/pay', 'settle'],
    ['unknown.lambda-url.localhost', '/pay', undefined],
    ['.lambda-url.localhost', '/pay', undefined],
  ])('of %s %s is %s', (hostname, path, functionName) => {
    expect(chooseFunction(hostname, path)).toBe(functionName);
  });
});

describe('a Host header', () => {
  it.each([
    ['Pay.Lambda-URL.localhost:8090', 'pay.lambda-url.localhost'],
    ['127.0.0.1', '127.0.0.1'],
    ['[::1]:8090', '[::1]'],
    ['tron-payment-service:8090', 'tron-payment-service'],
    ['', undefined],
    ['a b', undefined],
    ['a:b', undefined],
    ['user@host', undefined],
    ['a/b', undefined],
    ['-a', undefined],
  ])('%j names %s', (host, hostname) => {
    expect(hostnameOf(host)).toBe(hostname);
  });
});
