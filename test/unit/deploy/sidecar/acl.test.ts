import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AccessRequest, allowedBy, parseAcl } from '../../../../deploy/sidecar/acl.ts';
import { FUNCTION_NAMES } from '../../../../deploy/sidecar/config.ts';

const request = (changes: Partial<AccessRequest>): AccessRequest => ({
  caller: '10.1.2.3',
  method: 'GET',
  functionName: 'pay',
  path: '/pay',
  ...changes,
});

describe('an access policy', () => {
  it.each<[string, Partial<AccessRequest>, boolean]>([
    ['allow * GET pay /pay', {}, true],
    ['allow * GET pay /pay', { method: 'POST' }, false],
    ['allow * GET,POST pay /pay', { method: 'POST' }, true],
    ['allow * * pay /pay', { method: 'DELETE' }, true],
    ['allow * GET pay /pay', { path: '/pay/' }, false],
    ['allow * GET pay /pay', { path: '/payments' }, false],
    ['allow * GET pay /pay', { functionName: 'settle' }, false],
    ['allow * GET pay /pay/{id}', { path: '/pay/42' }, true],
    ['allow * GET pay /pay/{id}', { path: '/pay/' }, false],
    ['allow * GET pay /pay/{id}', { path: '/pay/42/cancel' }, false],
    ['allow * GET pay /pay/{id}/cancel', { path: '/pay/42/cancel' }, true],
    ['allow * GET pay /pay/**', { path: '/pay' }, true],
    ['allow * GET pay /pay/**', { path: '/pay/42/cancel' }, true],
    ['allow * GET pay /pay/**', { path: '/payments' }, false],
    ['allow * GET pay /**', { path: '/' }, true],
    ['allow * GET pay /a.b', { path: '/axb' }, false],
    ['allow 10.0.0.0/8 GET pay /pay', {}, true],
    ['allow 10.0.0.0/8 GET pay /pay', { caller: '11.0.0.1' }, false],
    ['allow 10.1.2.3 GET pay /pay', {}, true],
    ['allow 10.1.2.4,10.1.2.3 GET pay /pay', {}, true],
    ['allow ::1 GET pay /pay', { caller: '::1' }, true],
    ['allow fd00::/8 GET pay /pay', { caller: 'fd12::9' }, true],
    ['allow 10.0.0.0/8 GET pay /pay', { caller: 'not an address' }, false],
    ['group ops 10.0.0.0/8,::1\nallow ops GET pay /pay', {}, true],
    ['group ops 10.0.0.0/8,::1\nallow ops GET pay /pay', { caller: '::1' }, true],
    ['group ops 10.0.0.0/8,::1\nallow ops GET pay /pay', { caller: '11.0.0.1' }, false],
    ['group a 10.0.0.0/8\ngroup b a,::1\nallow b GET pay /pay', {}, true],
    ['allow operator@* GET pay /pay', { identity: 'operator' }, true],
    ['allow operator@* GET pay /pay', { identity: 'gateway' }, false],
    ['allow operator@* GET pay /pay', {}, false],
    ['allow operator@10.0.0.0/8 GET pay /pay', { identity: 'operator' }, true],
    ['allow operator@10.0.0.0/8 GET pay /pay', { identity: 'operator', caller: '11.0.0.1' }, false],
    ['allow operator@11.0.0.0/8,gateway@* GET pay /pay', { identity: 'gateway' }, true],
    ['allow 11.0.0.0/8,gateway@* GET pay /pay', { identity: 'operator' }, false],
  ])('%s judges %o: %s', (text, changes, allowed) => {
    expect(allowedBy(parseAcl(text), request(changes)) !== undefined).toBe(allowed);
  });

  it('tells which line allowed', () => {
    const acl = parseAcl('# comment\n\nallow * POST pay /pay # why\nallow * GET pay /pay\n');
    expect(allowedBy(acl, request({}))).toBe(4);
  });

  it.each([
    ['', 'no rule in the policy'],
    ['group Ops ::1\nallow * GET pay /pay', 'line 1: a group is: group <name> <places>'],
    ['group ops ::1\ngroup ops ::2\nallow ops GET pay /pay', 'line 2: the group "ops" is there already'],
    [
      'allow ops GET pay /pay\ngroup ops ::1',
      'line 1: "ops" is neither *, an address, a network such as 10.0.0.0/8, nor a group named above',
    ],
    ['allow @* GET pay /pay', 'line 1: "@*" names nobody before its @'],
    ['deny * GET pay /pay', 'line 1: a rule starts with "allow", not "deny"'],
    ['\nallow * GET pay', 'line 2: a rule is: allow <callers> <methods> <function> <path>'],
    ['allow * GET pay /pay now', 'line 1: a rule is: allow <callers> <methods> <function> <path>'],
    [
      'allow 10.0.0.0/33 GET pay /pay',
      'line 1: "10.0.0.0/33" is neither *, an address, a network such as 10.0.0.0/8, nor a group named above',
    ],
    [
      'allow gateway GET pay /pay',
      'line 1: "gateway" is neither *, an address, a network such as 10.0.0.0/8, nor a group named above',
    ],
    ['allow * get pay /pay', 'line 1: "get" is no HTTP method (upper case, commas between)'],
    ['allow * GET payments /pay', 'line 1: "payments" is none of pay, settle, health, stats'],
    ['allow * GET pay pay', 'line 1: "pay" must start with /'],
    ['allow * GET pay pay/**', 'line 1: "pay/**" must start with /'],
    ['allow * GET pay /pay/x*', 'line 1: "x*" must be literal, {name}, or a last **'],
    ['allow * GET pay /**/x', 'line 1: "**" must be literal, {name}, or a last **'],
  ])('refuses %j with line and reason', (text, message) => {
    expect(() => parseAcl(text)).toThrow(message);
  });

  it('names every wrong line together', () => {
    expect(() => parseAcl('deny\nallow * GET pay /pay\nallow')).toThrow(/line 1: .*; line 3: /);
  });

  it('denies whatever no rule spells out, for any policy of literal rules', () => {
    const path = fc
      .array(fc.stringMatching(/^[a-z0-9]{1,6}$/), { minLength: 1, maxLength: 3 })
      .map((s) => `/${s.join('/')}`);
    const entry = fc.record({
      caller: fc.ipV4(),
      method: fc.constantFrom('GET', 'POST', 'DELETE'),
      functionName: fc.constantFrom(...FUNCTION_NAMES),
      path,
    });
    fc.assert(
      fc.property(
        fc.array(entry, { minLength: 1, maxLength: 8 }),
        fc.array(entry, { maxLength: 8 }),
        (rules, others) => {
          const acl = parseAcl(
            rules.map((r) => `allow ${r.caller} ${r.method} ${r.functionName} ${r.path}`).join('\n'),
          );
          const spelled = new Set(rules.map((rule) => JSON.stringify(rule)));
          for (const asked of [...rules, ...others]) {
            expect(allowedBy(acl, asked) !== undefined).toBe(spelled.has(JSON.stringify(asked)));
          }
        },
      ),
    );
  });
});

describe('the shipped policy', () => {
  const acl = parseAcl(readFileSync('deploy/planes/configs/beta-sidecar/wallet_plane.acl', 'utf8'));

  it.each([
    ['POST', 'pay', '/pay'],
    ['GET', 'pay', '/pay'],
    ['POST', 'pay', '/pay/batch'],
    ['POST', 'pay', '/pay/quote'],
    ['POST', 'pay', '/pay/breaker'],
    ['GET', 'pay', '/pay/42'],
    ['POST', 'pay', '/pay/42/cancel'],
    ['POST', 'pay', '/pay/42/approve'],
    ['POST', 'pay', '/pay/42/reject'],
    ['POST', 'pay', '/pay/42/resolve'],
    ['GET', 'health', '/health'],
    ['GET', 'health', '/health/live'],
    ['GET', 'health', '/health/ready'],
    ['GET', 'stats', '/stats'],
    ['GET', 'stats', '/metrics'],
  ] as const)('lets the gateway %s %s %s, and nobody of another plane', (method, functionName, path) => {
    const from = (caller: string) => allowedBy(acl, request({ caller, method, functionName, path }));
    expect(from('172.20.0.9')).toBeDefined();
    // A function, the database, tor-proxy on its networks, and an address of the world.
    for (const caller of ['172.30.0.4', '172.25.0.2', '172.35.0.2', '172.36.0.2', '203.0.113.7']) {
      expect([caller, from(caller)]).toEqual([caller, undefined]);
    }
  });

  it.each([
    ['DELETE', 'pay', '/pay/42'],
    ['PUT', 'pay', '/pay'],
    ['POST', 'pay', '/pay/42'],
    ['POST', 'pay', '/'],
    ['POST', 'health', '/health'],
    ['POST', 'settle', '/settle'],
    // By its host name a function could be reached under another one's path.
    ['POST', 'settle', '/pay'],
  ] as const)('denies the gateway %s %s %s', (method, functionName, path) => {
    expect(allowedBy(acl, request({ caller: '172.20.0.9', method, functionName, path }))).toBeUndefined();
  });

  it('lets the machine itself settle by hand', () => {
    expect(
      allowedBy(
        acl,
        request({ caller: '127.0.0.1', method: 'POST', functionName: 'settle', path: '/settle' }),
      ),
    ).toBeDefined();
  });
});
