/**
 * Payments while Tor is there, stopped, frozen and restarted. Every packet on every bridge and device of the engine is
 * captured from the first to the last, and every question for a name that a container of the wallet plane asks of the
 * engine's resolver, which answers within the container itself.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRecipient } from '../../deploy/local/accounts.ts';
import { accessOf } from '../../deploy/planes/access.ts';
import { type Container, listRunning } from '../../deploy/planes/containers.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { Capture, isDns, isSpoken, type Packet } from '../support/capture.ts';
import { debianTool } from '../support/debian-tool.ts';
import { waitUntil } from '../support/wait-until.ts';
import { chainLedger, clientOf, containerOf, openPlanes, post } from './support/running-planes.ts';

const CHAIN = { name: 'tron-node.test', port: 9090, faultsPort: 9091 } as const;
/** None of them has any business with the chain but through tor-proxy. */
const INSIDE = ['pay', 'settle', 'health', 'stats', 'beta-sidecar', 'mongo'];
const PATIENCE_MS = 300_000;
const BEACON = '127.0.0.99';
/** Where the engine's resolver answers, in each container. */
const EMBEDDED_RESOLVER = '127.0.0.11';

/** On whose behalf a packet may be on a bridge. What is neither is a leak. */
type Party = 'exit' | 'judge' | 'leak';

let planes: Planes;
let inside: readonly Container[] = [];
let chain = '';
let relays: readonly string[] = [];
/** This process: it reads the chain's ledger from the bridge's own address. */
let judge = '';
let bridges: Capture;
/** Container → the questions that it asks. */
let questions: ReadonlyMap<string, Capture> = new Map();
let leaksOnPurpose = 0;
let questionsOnPurpose = 0;

beforeAll(async () => {
  planes = await openPlanes();
  const running = await listRunning(planes);
  inside = running.filter(({ service }) => INSIDE.includes(service));
  const egressOf = (isMeant: (service: string) => boolean) =>
    running.flatMap(({ service, addresses }) =>
      isMeant(service) && addresses.lucid_tor_egress ? [addresses.lucid_tor_egress] : [],
    );
  [chain = ''] = egressOf((service) => service === 'devchain');
  relays = egressOf((service) => service.startsWith('tor-relay'));
  expect([relays.length, new Set(inside.map(({ service }) => service)).size]).toEqual([3, INSIDE.length]);

  const tcpdump = await debianTool('tcpdump');
  const networks = await networksOf();
  judge = networks.get('lucid_tor_egress')?.Gateway ?? '';
  bridges = await Capture.start(tcpdump, { device: 'any', filter: bridgesFilter(networks), beacon: BEACON });
  questions = new Map(
    await Promise.all(
      inside.map(async ({ name, pid }) => {
        const filter = `dst host ${EMBEDDED_RESOLVER}`;
        const options = { device: 'lo', filter, beacon: BEACON, pid, showsQuestions: true };
        return [name, await Capture.start(tcpdump, options)] as const;
      }),
    ),
  );
});

afterAll(async () => {
  const lost = await Promise.all([bridges, ...questions.values()].map((capture) => capture?.stop()));
  expect(lost, 'packets that the captures lost').toEqual(lost.map(() => 0));
});

/**
 * Everything but what stays on a plane of its own, what is said to tor-proxy where it listens, and what the Tor network
 * says within itself. What is left is said to the chain, or it is a leak.
 */
function bridgesFilter(networks: Awaited<ReturnType<typeof networksOf>>): string {
  const within = (name: string) => {
    const { Subnet = '' } = networks.get(name) ?? {};
    return `src net ${Subnet} and dst net ${Subnet}`;
  };
  const apart = [...networks.keys()].filter(
    (name) => !['lucid_tor_network', 'lucid_tor_egress'].includes(name),
  );
  return [
    ...apart.map((name) => `not (${within(name)})`),
    `not (${within('lucid_tor_network')} and tcp port 9050)`,
    `not (${within('lucid_tor_egress')} and not host ${chain})`,
    'not (src net 127.0.0.0/8 and dst net 127.0.0.0/8 and not port 53)',
    'not (src host ::1 and dst host ::1 and not port 53)',
    // Devices that announce themselves.
    ...['not arp', 'not igmp', 'not icmp6', 'not (ip6 and ip6[6] == 0)'],
  ].join(' and ');
}

async function networksOf() {
  const names = [...new Set((await listRunning(planes)).flatMap(({ addresses }) => Object.keys(addresses)))];
  const found = await planes.engine.inspect<{
    readonly Name: string;
    readonly IPAM: { readonly Config: readonly { readonly Subnet: string; readonly Gateway: string }[] };
  }>(names);
  return new Map(found.map(({ Name, IPAM }) => [Name, IPAM.Config[0]]));
}

/** Who sent a packet to the chain, or was sent it by the chain. */
function partyOf({ from, to }: Packet): Party {
  const [peer, port] = to.host === chain ? [from.host, to.port] : [to.host, from.port];
  if (from.host !== chain && to.host !== chain) return 'leak';
  if (relays.includes(peer) && port === CHAIN.port) return 'exit';
  return peer === judge && port === CHAIN.faultsPort ? 'judge' : 'leak';
}

/** The names that the containers of the wallet plane have asked for so far, one container after the other. */
function namesAsked(): readonly string[] {
  return [...questions.values()].flatMap(({ packets }) =>
    packets.flatMap(({ text }) =>
      [...text.matchAll(/ [A-Z]+\? (\S+?)\.? /g)].map(([, name = '']) => name.toLowerCase()),
    ),
  );
}

const chainNamesAsked = () => namesAsked().filter((name) => name.includes(CHAIN.name));

const catchUp = () => Promise.all([bridges, ...questions.values()].map((capture) => capture.catchUp()));

/** Whatever was sent meanwhile, none of it was a leak. @returns what was said to the chain */
async function expectNoLeaksDuring(work: () => Promise<unknown>): Promise<readonly Packet[]> {
  const before = bridges.packets.length;
  await work();
  await catchUp();
  const packets = bridges.since(before);
  expect(packets.filter((packet) => partyOf(packet) === 'leak').map(({ text }) => text)).toEqual([]);
  expect(chainNamesAsked()).toEqual([]);
  return packets.filter(isSpoken).filter((packet) => partyOf(packet) === 'exit');
}

const newPayment = () => ({
  order: { to: createRecipient(planes.folders.secrets), amount: '1.5', asset: 'USDT' } as const,
  key: randomUUID(),
});
type NewPayment = ReturnType<typeof newPayment>;

async function askOnce({ order, key }: NewPayment): Promise<number> {
  const response = await post(await accessOf(planes), { path: '/pay', key, body: JSON.stringify(order) });
  await response.arrayBuffer();
  return response.status;
}

async function payToTheEnd({ order, key }: NewPayment): Promise<string> {
  const client = await clientOf(planes);
  const options = { deadlineMs: PATIENCE_MS, idempotencyKey: key, onAnswer() {} };
  return (await client.follow(await client.pay(order, options), options)).status;
}

/** How often each of them was paid, by the chain's own ledger. */
async function timesPaid(payments: readonly NewPayment[]): Promise<readonly number[]> {
  const ledger = await chainLedger(planes);
  return payments.map(({ order }) => ledger.filter(({ to }) => to === order.to).length);
}

async function torHealth(): Promise<unknown> {
  const response = await fetch(`${(await accessOf(planes)).url}/health`);
  return ((await response.json()) as { readonly checks?: { readonly tor?: unknown } }).checks?.tor;
}

async function torProxy(...words: readonly string[]): Promise<void> {
  const [id = ''] = await planes.engine.containers('tor-proxy');
  await planes.engine.docker([...words, id]);
}

const untilTorIsHealthy = () =>
  waitUntil(async () => (await containerOf(planes, 'tor-proxy')).health === 'healthy', PATIENCE_MS);

describe('while Tor is there', () => {
  it('a payment is said to the chain by exits alone', async () => {
    const payment = newPayment();
    const said = await expectNoLeaksDuring(async () => {
      expect(await payToTheEnd(payment)).toBe('confirmed');
    });
    expect(said.length).toBeGreaterThan(0);
    expect(await timesPaid([payment])).toEqual([1]);
  });
});

describe.each([
  { how: 'stopped', takeAway: ['stop'], giveBack: ['start'] },
  { how: 'frozen', takeAway: ['pause'], giveBack: ['unpause'] },
])('while Tor is $how', ({ takeAway, giveBack }) => {
  it('payments wait, and nothing is said to the chain; then each is paid once', async () => {
    const payments = Array.from({ length: 4 }, newPayment);
    await expectNoLeaksDuring(() => torProxy(...takeAway));
    const said = await expectNoLeaksDuring(async () => {
      const answers = await Promise.all(payments.map(askOnce));
      // Taken, or refused with a key that may be used again.
      expect(answers.filter((status) => ![202, 429, 503].includes(status))).toEqual([]);
      expect(await torHealth()).toMatchObject({ status: 'unhealthy' });
    });
    expect(said).toEqual([]);
    expect(await timesPaid(payments)).toEqual([0, 0, 0, 0]);

    await expectNoLeaksDuring(async () => {
      await torProxy(...giveBack);
      expect(await Promise.all(payments.map(payToTheEnd))).toEqual(payments.map(() => 'confirmed'));
    });
    expect(await timesPaid(payments)).toEqual([1, 1, 1, 1]);
  });
});

describe('while Tor is restarted under them', () => {
  it('payments are paid once each, by exits alone', async () => {
    const payments = Array.from({ length: 8 }, newPayment);
    await expectNoLeaksDuring(async () => {
      const paying = Promise.all(payments.map(payToTheEnd));
      for (let restarts = 0; restarts < 2; restarts += 1) {
        await torProxy('restart', '--time', '0');
        await untilTorIsHealthy();
      }
      expect(await paying).toEqual(payments.map(() => 'confirmed'));
    });
    expect(await timesPaid(payments)).toEqual(payments.map(() => 1));
  });
});

/** In pay's container, by its own Node, which nobody stands guard over. */
async function leakFromPay({ id }: Container): Promise<void> {
  const script = `
    const { connect } = require('node:net');
    const { createSocket } = require('node:dgram');
    const dns = require('node:dns');
    connect(${CHAIN.port}, '${chain}').on('error', () => {});
    const socket = createSocket('udp4').on('error', () => {});
    socket.send('leak', 53, '${chain}', () => {});
    dns.resolve4('${CHAIN.name}', () => {});
    dns.resolve4('elsewhere.${CHAIN.name}', () => {});
    setTimeout(() => process.exit(), 1_000);`;
  await planes.engine.docker(['exec', id, '/nodejs/bin/node', '--eval', script]);
}

describe('a leak on purpose', () => {
  it('from pay reaches nobody; its questions are seen, and the engine passes none of them on', async () => {
    const before = bridges.packets.length;
    await leakFromPay(await containerOf(planes, 'pay'));
    await catchUp();
    // An older engine gives it a way to the bridge of its plane, and drops there what it sends.
    const leaks = bridges.since(before).filter((packet) => partyOf(packet) === 'leak');
    leaksOnPurpose += leaks.length;
    expect(leaks.filter(({ to }) => to.host !== chain).map(({ text }) => text)).toEqual([]);
    questionsOnPurpose = chainNamesAsked().length;
    expect(new Set(chainNamesAsked())).toEqual(new Set([CHAIN.name, `elsewhere.${CHAIN.name}`]));
  });

  it('is seen by the capture once pay is on the chain\u2019s own network', async () => {
    const pay = await containerOf(planes, 'pay');
    const before = bridges.packets.length;
    await planes.engine.docker(['network', 'connect', 'lucid_tor_egress', pay.id]);
    try {
      await leakFromPay(pay);
    } finally {
      await planes.engine.docker(['network', 'disconnect', 'lucid_tor_egress', pay.id]);
    }
    await catchUp();
    const leaks = bridges.since(before).filter((packet) => partyOf(packet) === 'leak');
    leaksOnPurpose += leaks.length;
    questionsOnPurpose = chainNamesAsked().length;
    const toChain = leaks.filter(({ to }) => to.host === chain);
    expect(new Set(toChain.map(({ to }) => to.port))).toEqual(new Set([CHAIN.port, 53]));
    expect(toChain.filter(isDns).length).toBeGreaterThan(0);
  });
});

it('saw no other leak from the first packet to the last, and lost sight of no container', async () => {
  await catchUp();
  const count = { exit: 0, judge: 0, leak: 0 };
  for (const packet of bridges.packets) count[partyOf(packet)] += 1;
  const names = [...new Set(namesAsked())].sort();
  console.log(`packets: ${JSON.stringify(count)}; ${namesAsked().length} questions, for ${names.join(', ')}`);
  expect(count.leak).toBe(leaksOnPurpose);
  expect(chainNamesAsked()).toHaveLength(questionsOnPurpose);
  // A container that has ended has had another loopback device since.
  const now = await listRunning(planes);
  expect(inside.map(({ id }) => now.find((one) => one.id === id)?.pid)).toEqual(inside.map(({ pid }) => pid));
});
