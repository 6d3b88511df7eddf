import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodePath, splitTarget } from '../../../../deploy/sidecar/path.ts';

describe('a request path', () => {
  it.each([
    ['/', '/'],
    ['/pay', '/pay'],
    ['/pay/', '/pay/'],
    ['/pay/a%20b', '/pay/a b'],
    ['/p%61y', '/pay'],
    ['/pay/%C3%A9', '/pay/é'],
    ['/pay/...', '/pay/...'],
    ['/pay/.well', '/pay/.well'],
    ["/a-._~!$&'()*+,;=:@b", "/a-._~!$&'()*+,;=:@b"],
  ])('%s is judged as %s', (rawPath, path) => {
    expect(decodePath(rawPath)).toBe(path);
  });

  it.each([
    '',
    'pay',
    '//pay',
    '/pay//1',
    '/pay//',
    '/pay/..',
    '/pay/../settle',
    '/./pay',
    '/%2e%2e/settle',
    '/pay/%2E%2E',
    '/pay/.%2e/x',
    '/pay%2f1',
    '/pay%5C1',
    '/pay\\1',
    '/%252e%252e/x',
    '/pay/%00',
    '/pay/%0d%0aX',
    '/pay/%3fx',
    '/pay/%',
    '/pay/%zz',
    '/pay/%ff',
    '/pay/{id}',
    '/pay/<b>%20',
    '/pay/%20"',
  ])('%j is ambiguous and refused', (rawPath) => {
    expect(decodePath(rawPath)).toBeUndefined();
  });

  it('never decodes to an empty or dot segment, an encoded byte or a control character', () => {
    const piece = fc.constantFrom(
      '/',
      '.',
      '..',
      'a',
      '%2e',
      '%2F',
      '%5c',
      '%25',
      '2e',
      '%00',
      '%61',
      '\\',
      '?',
      '%20',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
        const path = decodePath(`/${pieces.join('')}`);
        if (path === undefined) return;
        const segments = path.split('/').slice(1);
        expect(segments.slice(0, -1)).not.toContain('');
        expect(segments).not.toContain('.');
        expect(segments).not.toContain('..');
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there.
        expect(path).not.toMatch(/[\x00-\x1f\\?]|%2/);
      }),
    );
  });
});

describe('a request target', () => {
  it.each([
    ['/pay', { rawPath: '/pay', rawQuery: '' }],
    ['/pay?', { rawPath: '/pay', rawQuery: '' }],
    ['/pay?a=1?b', { rawPath: '/pay', rawQuery: 'a=1?b' }],
  ])('%s is split as it came', (target, halves) => {
    expect(splitTarget(target)).toEqual(halves);
  });

  it.each(['*', 'http://elsewhere/pay', 'pay', '/pay#x', '/p\u00e9', ''])('%j is none', (target) => {
    expect(splitTarget(target)).toBeUndefined();
  });
});
