import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { hasStartInterval } from '../../../../deploy/planes/engine.ts';
import { filesOf } from '../../../../deploy/planes/planes.ts';

type Services = Readonly<
  Record<
    string,
    { readonly healthcheck?: { readonly start_period?: string; readonly start_interval?: string } }
  >
>;

const readServices = (file: string): Services => {
  const path = join(import.meta.dirname, '../../../../deploy/planes', file);
  return (parse(readFileSync(path, 'utf8'), { merge: true }) as { readonly services: Services }).services;
};

describe('an engine', () => {
  it.each([
    ['1.41', false],
    ['1.43', false],
    ['1.44', true],
    ['1.45', true],
    ['1.100', true],
    ['2.0', true],
    ['', false],
  ])('of API %s has an interval for the start: %s', (version, expected) => {
    expect(hasStartInterval(version)).toBe(expected);
  });
});

describe('the compose files', () => {
  const names = (isProduction: boolean, hasStartInterval: boolean) =>
    filesOf({ isProduction }, { hasStandIn: false, hasStartInterval, rotations: [] }).map((path) =>
      basename(path),
    );

  it('ask often at the start where the engine can, in production too', () => {
    expect(names(true, true)).toEqual(['compose.yaml', 'compose.start-interval.yaml']);
    expect(names(false, true)).toEqual(['compose.yaml', 'compose.start-interval.yaml', 'compose.dev.yaml']);
  });

  it('hold no word of it where the engine would refuse it', () => {
    expect(names(true, false)).toEqual(['compose.yaml']);
    expect(names(false, false)).toEqual(['compose.yaml', 'compose.dev.yaml']);
  });

  it('name each service that others wait for, and none that has no time to start', () => {
    const probed = Object.entries(readServices('compose.yaml')).filter(([, { healthcheck }]) => healthcheck);
    for (const [name, { healthcheck }] of probed) {
      // Outside of it the engine asks by the other interval.
      expect([name, healthcheck?.start_period]).toEqual([name, expect.any(String)]);
    }
    const asked = readServices('compose.start-interval.yaml');
    expect(Object.keys(asked).sort()).toEqual(probed.map(([name]) => name).sort());
  });
});
