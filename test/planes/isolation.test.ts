import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Container, listRunning } from '../../deploy/planes/containers.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { openPlanes, probe } from './support/running-planes.ts';
import { WAY_OUT } from './support/way-out.ts';

/** What each service listens on, of which others may know. */
const PORTS: Readonly<Record<string, readonly number[]>> = {
  pay: [8080, 9001],
  settle: [8080, 9001],
  health: [8080, 9001],
  stats: [8080, 9001],
  'beta-sidecar': [8090, 8080],
  mongo: [27017],
  'tor-proxy': [9050, 9051],
  devchain: [9090],
};
/** Where it listens on one of its networks alone; elsewhere on every address. */
const ONLY_ON: Readonly<Record<string, string>> = {
  'pay:8080': 'lucid_wallet_plane',
  'settle:8080': 'lucid_wallet_plane',
  'health:8080': 'lucid_wallet_plane',
  'stats:8080': 'lucid_wallet_plane',
  // On loopback, for the container itself.
  'pay:9001': '',
  'settle:9001': '',
  'health:9001': '',
  'stats:9001': '',
  'tor-proxy:9051': '',
};
/** Addresses that documentation keeps for itself (RFC 5737): nobody is there, and no test may find out. */
const PUBLIC_ADDRESS = '203.0.113.7';

/** The column of /proc/net/dev. */
const SENT_PACKETS = 9;

interface Target {
  readonly what: string;
  /** `ip:port` */
  readonly address: string;
  readonly expected: 'connected' | 'ECONNREFUSED' | 'cut off';
}

/** Every port on every address of one container, and how another should fare there. */
function targetsOf(from: Container, to: Container): readonly Target[] {
  return (PORTS[to.service] ?? []).flatMap((port) =>
    Object.entries(to.addresses).map(([network, ip]): Target => {
      const only = ONLY_ON[`${to.service}:${port}`];
      const isShared = from.addresses[network] !== undefined;
      const isOpen = only === undefined || only === network;
      return {
        what: `${to.name} ${network} ${port}`,
        address: `${ip}:${port}`,
        expected: !isShared ? 'cut off' : isOpen ? 'connected' : 'ECONNREFUSED',
      };
    }),
  );
}

/** No answer, or none of the peer's. */
function outcomeOf(seen: string | undefined): string | undefined {
  return seen === 'ENETUNREACH' || seen === 'EHOSTUNREACH' || seen === 'ETIMEDOUT' ? 'cut off' : seen;
}

let planes: Planes;
let containers: readonly Container[] = [];

beforeAll(async () => {
  planes = await openPlanes();
  containers = await listRunning(planes);
});

describe('a container', () => {
  it('reaches what is on its planes and what listens there, and nothing else', async () => {
    const judged = await Promise.all(
      containers.map(async (from) => {
        const targets = containers.filter(({ id }) => id !== from.id).flatMap((to) => targetsOf(from, to));
        const seen = (await probe(planes, from, 'connect', ...targets.map(({ address }) => address))).split(
          '\n',
        );
        return targets.map((target, at) => ({ ...target, from: from.name, seen: outcomeOf(seen[at]) }));
      }),
    );
    const wrong = judged
      .flat()
      .filter(({ expected, seen }) => seen !== expected)
      .map((one) => `${one.from} → ${one.what}: ${one.seen}, not ${one.expected}`);
    const tried = judged.flat().length;
    expect(wrong).toEqual([]);
    expect(tried).toBeGreaterThan(200);
  });

  it('has no way to a public address: not a packet of it comes to the way out', async () => {
    const before = packetsOut();
    const seen = await Promise.all(
      containers.map(async (container) => [
        container.name,
        outcomeOf(await probe(planes, container, 'connect', `${PUBLIC_ADDRESS}:443`)),
      ]),
    );
    expect(seen).toEqual(containers.map(({ name }) => [name, 'cut off']));
    expect(packetsOut() - before).toBe(0);
    // The control: what does leave is counted there.
    const [onMachine] = containers;
    if (onMachine === undefined) throw new Error('nothing is running');
    await probe(planes, { ...onMachine, pid: process.pid }, 'connect', `${PUBLIC_ADDRESS}:443`);
    expect(packetsOut() - before).toBeGreaterThan(0);
  });
});

/** Packets that would have left the machine, by the counters of proc_net(5). */
function packetsOut(): number {
  const line = readFileSync('/proc/self/net/dev', 'utf8')
    .split('\n')
    .find((text) => text.trim().startsWith(`${WAY_OUT}:`));
  const counters = line?.split(':')[1]?.trim().split(/\s+/) ?? [];
  return Number(counters[SENT_PACKETS]);
}

describe('the networks', () => {
  it('are all internal in tests, and none is another one than those of the planes', async () => {
    const names = [...new Set(containers.flatMap(({ addresses }) => Object.keys(addresses)))];
    const found = await planes.engine.inspect<{ readonly Name: string; readonly Internal: boolean }>(names);
    expect(found.filter(({ Internal }) => !Internal).map(({ Name }) => Name)).toEqual([]);
    expect(names.sort()).toEqual([
      'lucid_chain_plane',
      'lucid_dev_door',
      'lucid_ops_plane',
      'lucid_tor_egress',
      'lucid_tor_network',
      'lucid_wallet_plane',
    ]);
  });
});
