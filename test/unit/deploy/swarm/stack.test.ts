import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ROTATED_SECRETS } from '../../../../deploy/planes/secrets.ts';

const DEPLOY = resolve(import.meta.dirname, '../../../../deploy');

interface Service {
  readonly image: string;
  readonly user: string;
  readonly profiles?: readonly string[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly dns?: readonly string[];
  readonly networks: readonly string[] | Readonly<Record<string, unknown>>;
  readonly secrets?: readonly { readonly source: string; readonly uid?: string; readonly mode?: number }[];
  readonly deploy: { readonly resources: unknown; readonly replicas?: unknown };
  readonly environment?: Readonly<Record<string, string>>;
}

interface Network {
  readonly internal?: boolean;
  readonly ipam: { readonly config: readonly { readonly subnet: string }[] };
}

interface File {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, Network>>;
}

function read(...paths: readonly string[]): File {
  const files = paths.map((path) => {
    // A swarm's files are of YAML 1.1, as 0400 for a mode shows.
    return parse(readFileSync(join(DEPLOY, path), 'utf8'), { merge: true, version: '1.1' }) as File;
  });
  return {
    services: Object.assign({}, ...files.map(({ services }) => services)),
    networks: Object.assign({}, ...files.map(({ networks }) => networks)),
  };
}

const compose = read('planes/compose.yaml');
const stack = read('swarm/stack.yaml', 'swarm/mongo.yaml');
/** A person's tools are run by `npm run planes`, which knows no swarm. */
const NAMES = Object.entries(compose.services)
  .filter(([, { profiles = [] }]) => !profiles.includes('tools'))
  .map(([name]) => name);

const networksOf = ({ networks }: Service) =>
  (Array.isArray(networks) ? networks : Object.keys(networks)).toSorted();
const secretsOf = ({ secrets = [] }: Service) => secrets.map(({ source }) => source).toSorted();
const service = (file: File, name: string): Service => {
  const found = file.services[name];
  if (found === undefined) throw new Error(`there is no service ${name}`);
  return found;
};

describe('the stack for a swarm', () => {
  it('has the services of the compose file', () => {
    expect(Object.keys(stack.services).toSorted()).toEqual(NAMES.toSorted());
  });

  it.each(NAMES)(
    'gives %s the image, the networks, the secrets and the limits of the compose file',
    (name) => {
      const [here, there] = [service(stack, name), service(compose, name)];
      expect(here.image).toBe(there.image);
      expect(here.dns).toEqual(there.dns);
      expect(networksOf(here)).toEqual(networksOf(there));
      expect(secretsOf(here)).toEqual(secretsOf(there));
      expect(here.deploy.resources).toEqual(there.deploy.resources);
    },
  );

  it.each(NAMES)('gives %s no right that it could do without', (name) => {
    const { user, read_only, cap_drop, secrets = [] } = service(stack, name);
    expect({ user, read_only, cap_drop }).toEqual({
      user: '65532:65532',
      read_only: true,
      cap_drop: ['ALL'],
    });
    for (const { uid, mode } of secrets) expect({ uid, mode }).toEqual({ uid: '65532', mode: 0o400 });
  });

  it.each(ROTATED_SECRETS)(
    'gives a second %s to whom the file of that name gives it in Compose, for their user alone',
    (secret) => {
      const file = `rotate-${secret}.yaml`;
      const [here, there] = [read(`swarm/${file}`), read(`planes/compose.${file}`)];
      expect(Object.keys(here.services)).toEqual(Object.keys(there.services));
      for (const name of Object.keys(here.services)) {
        const { secrets = [], environment } = service(here, name);
        expect(secretsOf(service(here, name))).toEqual(secretsOf(service(there, name)));
        expect(environment).toEqual(service(there, name).environment);
        for (const { uid, mode } of secrets) expect({ uid, mode }).toEqual({ uid: '65532', mode: 0o400 });
      }
    },
  );

  it('has the networks of the compose file, and no way out but its', () => {
    const seen = ({ networks }: File) =>
      Object.entries(networks).map(([name, { internal = false, ipam }]) => [
        name,
        internal,
        ipam.config[0]?.subnet,
      ]);
    expect(seen(stack).toSorted()).toEqual(seen(compose).toSorted());
    expect(Object.entries(stack.networks).filter(([, { internal }]) => internal !== true)).toHaveLength(1);
  });

  it('says to services nothing else than the compose file says', () => {
    for (const name of NAMES.filter((name) => name !== 'beta-sidecar')) {
      const [here = {}, there = {}] = [service(stack, name).environment, service(compose, name).environment];
      for (const [key, value] of Object.entries(here)) {
        // Compose has its own way to say that a variable must be set.
        if (key !== 'TRON_WALLET_ADDRESS')
          expect(`${name} ${key}=${value}`).toBe(`${name} ${key}=${there[key]}`);
      }
    }
  });
});
