import { format, inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../../../shared/runtime/secret.ts';

/** Every way in which a value usually becomes text, most of them by accident. */
const PRINTERS: Record<string, (secret: Secret) => string> = {
  template: (secret) => `${secret}`,
  concatenation: (secret) => `the key is ${[secret, secret].join()}`,
  json: (secret) => JSON.stringify({ secret, list: [secret] }),
  inspect: (secret) => inspect(secret),
  'inspect, hidden and nested': (secret) =>
    inspect({ deep: { deeper: [secret] } }, { showHidden: true, depth: null, getters: true }),
  'inspect without custom inspectors': (secret) =>
    inspect({ secret }, { customInspect: false, showHidden: true, depth: null }),
  format: (secret) => format('%s %o %O %j %d', secret, secret, secret, secret, secret),
  'an error message': (secret) => inspect(new Error(`failed with ${secret}`, { cause: secret })),
  'a structured clone': (secret) => inspect(structuredClone({ secret }), { showHidden: true, depth: null }),
  'a spread': (secret) => JSON.stringify({ ...secret }) + JSON.stringify(Object.assign({}, secret)),
  'own keys': (secret) => Reflect.ownKeys(secret).map(String).join() + Object.values(secret).join(),
};

describe('a secret', () => {
  it('is given by reveal alone', () => {
    expect(new Secret('correct horse').reveal()).toBe('correct horse');
  });

  for (const [way, print] of Object.entries(PRINTERS)) {
    it(`does not show in ${way}`, () => {
      fc.assert(
        // Long enough that it cannot stand in the printed text by chance.
        fc.property(fc.string({ minLength: 12, unit: 'grapheme-ascii' }), (text) => {
          const marked = `\u2620${text}`;
          expect(print(new Secret(marked))).not.toContain('\u2620');
        }),
      );
    });
  }

  it('says that it is a secret where it is printed', () => {
    expect(`${new Secret('a')}`).toBe('[secret]');
    expect(JSON.stringify(new Secret('a'))).toBe('"[secret]"');
    expect(inspect({ key: new Secret('a') })).toBe('{ key: [secret] }');
  });
});
