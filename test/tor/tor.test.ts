import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { devAccounts, usdtAddress } from '../../deploy/devchain/accounts.ts';
import { createAccount } from '../../deploy/local/accounts.ts';
import { startChildPart } from '../../deploy/local/child-part.ts';
import { DEVELOPMENT_SEED } from '../../deploy/local/options.ts';
import type { RunningPart } from '../../deploy/local/part.ts';
import { socksProbe } from '../../shared/adapters/system/tor-check.ts';
import { torDialer } from '../../shared/adapters/tron/dialer.ts';
import { readSolidHead } from '../../shared/adapters/tron/genuine-nodes.ts';
import { nodeClient } from '../../shared/adapters/tron/node-client.ts';
import { Capture, isDns, isSpoken, type Packet } from '../support/capture.ts';
import { startStack, type TestStack } from '../support/stack.ts';
import { waitUntil } from '../support/wait-until.ts';
import { CONNECTIONS, DATAGRAMS, LOOKUPS } from '../support/ways-out.ts';
import { BEACON, CHAIN, EXIT_RESOLVER, JUDGE, PROXY, RESOLVER } from './addresses.ts';
import { type DnsServer, startDnsServer } from './dns-server.ts';
import { nameOf, portOf } from './leak-marks.ts';
import { assertInNamespace } from './namespace.ts';
import { FILTER, type Party, partyOf } from './parties.ts';
import { startTorNetwork, type TorNetwork } from './private-network.ts';
import { readCircuits } from './tor-circuits.ts';

/**
 * The bundles of the functions under the real RIE, which pay on a chain that only Tor can reach. Every packet on the
 * machine's one device is captured from the beginning to the end: what goes to the chain from anywhere but the exit
 * and the onion service, or to the resolver of /etc/resolv.conf, is a leak.
 */

const NAMED = `http://${CHAIN.name}:${CHAIN.port}`;
const NUMBERED = `http://${CHAIN.host}:${CHAIN.port}`;
const READY_TIMEOUT_MS = 300_000;
const PROBE_TIMEOUT_MS = 30_000;
const PAY_TIMEOUT_MS = 240_000;

let capture: Capture;
let localResolver: DnsServer;
let exitResolver: DnsServer;
let chain: RunningPart;
let network: TorNetwork;
let trap: Server;
let trapped = 0;
let folder: string;
/** Leaks that the control run made on purpose. */
let leaksOnPurpose = 0;
const figures: Record<string, unknown> = {};

/** What an operator's machine may have set; none of it may change where a function dials. */
const PROXIES = Object.fromEntries(
  ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'].flatMap((name) => [
    [name, 'http://127.0.0.1:3128'],
    [name.toLowerCase(), 'http://127.0.0.1:3128'],
  ]),
);

const SETTINGS = {
  ...PROXIES,
  NODE_USE_ENV_PROXY: '1',
  TRON_TIMEOUT_SECONDS: '6',
  CIRCUIT_BREAKER_FAILURE_THRESHOLD: '3',
  CIRCUIT_BREAKER_RECOVERY_TIMEOUT: '3',
};

beforeAll(async () => {
  const tools = assertInNamespace();
  folder = mkdtempSync(join(tmpdir(), 'tpf-tor-test-'));
  capture = await Capture.start(tools.tcpdump, { device: 'lo', filter: FILTER, beacon: BEACON });
  localResolver = await startDnsServer(RESOLVER, { [CHAIN.name]: CHAIN.host });
  exitResolver = await startDnsServer(EXIT_RESOLVER, { [CHAIN.name]: CHAIN.host });
  trap = createServer((socket) => {
    trapped += 1;
    socket.on('error', () => {}).end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  trap.listen(3128, '127.0.0.1');
  chain = await startChain();
  network = await startTorNetwork(tools);
  const startedMs = performance.now();
  await Promise.all([NAMED, NUMBERED, onionUrl()].map(untilReached));
  figures['network, ms'] = { ...network.tookMs, paths: Math.round(performance.now() - startedMs) };
});

afterAll(async () => {
  await network?.stop();
  await chain?.stop();
  trap?.close();
  const dropped = await capture?.stop();
  localResolver?.close();
  exitResolver?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  figures.packets = countByParty(capture?.packets ?? []);
  figures['leaks made on purpose'] = leaksOnPurpose;
  figures['packets lost by the capture'] = dropped;
  for (const [name, value] of Object.entries(figures)) console.log(`${name}: ${JSON.stringify(value)}`);
  expect(dropped, 'packets that the capture lost').toBe(0);
});

// What a Tor says tells more of a failure than that a payment was late.
afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(network.log('client').slice(-10).join('\n'));
});

function onionUrl(): string {
  return `http://${network.onion}`;
}

function startChain(): Promise<RunningPart> {
  const options = {
    '--host': CHAIN.host,
    '--port': CHAIN.port,
    '--faults-port': CHAIN.faultsPort,
    '--data': join(folder, 'chain'),
    '--interval': 0.3,
    '--seed': DEVELOPMENT_SEED,
  };
  return startChildPart({
    command: process.execPath,
    args: [
      resolve(import.meta.dirname, '../../deploy/devchain/main.ts'),
      ...Object.entries(options).flatMap(([flag, value]) => [flag, String(value)]),
    ],
    env: { PATH: process.env.PATH ?? '' },
    log: () => {},
    readReady: (line) => (line.startsWith('READY ') ? true : undefined),
    readyTimeoutMs: 60_000,
    stopTimeoutMs: 10_000,
  });
}

/** A bootstrapped client does not promise that an exit or an onion service can be reached; an answer does. */
async function untilReached(url: string): Promise<void> {
  const node = nodeClient({ url, dialer: torDialer(PROXY), purpose: 'test', timeoutMs: 20_000 });
  await waitUntil(async () => {
    const head = await readSolidHead(node).catch(() => null);
    return head !== null && Date.now() - head.timestampMs < 60_000;
  }, READY_TIMEOUT_MS);
}

function startPayments(url: string, fallbacks: readonly string[] = []): Promise<TestStack> {
  const [wallet] = devAccounts(DEVELOPMENT_SEED);
  const keyFile = join(folder, 'wallet');
  writeFileSync(keyFile, wallet?.privateKey ?? '', { mode: 0o600 });
  return startStack({
    settings: { ...SETTINGS, ...(fallbacks.length > 0 && { TRON_FALLBACK_NODE_URLS: fallbacks.join(',') }) },
    chain: {
      node: {
        kind: 'node',
        url,
        keyFile,
        usdtAddress: usdtAddress(DEVELOPMENT_SEED),
        torProxy: `socks5h://${PROXY.host}:${PROXY.port}`,
      },
      faultsUrl: `http://${CHAIN.host}:${CHAIN.faultsPort}`,
    },
  });
}

const orderOf = (asset: 'USDT' | 'TRX' = 'USDT') => ({ to: createAccount().address, amount: '1.5', asset });
type Order = ReturnType<typeof orderOf>;

/** Asks for a payment once, and tells what was answered. */
async function askOnce(stack: TestStack, order: Order, key: string) {
  const answer = await stack.post('/pay', JSON.stringify(order), { key });
  const { code } = (await answer.json()) as { code?: string };
  return { http: answer.status, code };
}

/** Asks until the answer is sure, and follows the payment to its end. */
async function payToTheEnd(stack: TestStack, order: Order, key: string = randomUUID()) {
  const options = { deadlineMs: PAY_TIMEOUT_MS, idempotencyKey: key, onAnswer: () => {} };
  return stack.client.follow(await stack.client.pay(order, options), options);
}

async function breakerStatus(stack: TestStack): Promise<unknown> {
  const answer = await stack.get('/stats?period=hour');
  return ((await answer.json()) as { circuit_breaker_status: unknown }).circuit_breaker_status;
}

async function healthOf(stack: TestStack) {
  const answer = await fetch(`${stack.url}/health`);
  return {
    http: answer.status,
    body: (await answer.json()) as { status: string; checks: Record<string, unknown> },
  };
}

/** The judge reads the ledger from an address of its own, which the capture leaves out. */
async function timesPaid(to: string): Promise<number> {
  const asked = request({
    host: CHAIN.host,
    port: CHAIN.faultsPort,
    path: '/ledger',
    localAddress: JUDGE,
  }).end();
  const [answer] = await once(asked, 'response');
  const ledger = JSON.parse(await text(answer)) as { to: string }[];
  return ledger.filter((transfer) => transfer.to === to).length;
}

function countByParty(packets: readonly Packet[]): Record<Party, number> {
  const count: Record<Party, number> = { exit: 0, 'onion service': 0, 'exit resolver': 0, leak: 0 };
  for (const packet of packets) count[partyOf(packet)] += 1;
  return count;
}

/** Whatever was sent meanwhile, none of it was a leak, and nobody was asked for a name but at the exit. */
async function expectNoLeaksDuring<T>(
  work: () => Promise<T>,
): Promise<{ result: T; packets: readonly Packet[] }> {
  const [packetsBefore, askedBefore, trappedBefore] = [
    capture.packets.length,
    localResolver.asked.length,
    trapped,
  ];
  const result = await work();
  await capture.catchUp();
  const packets = capture.since(packetsBefore);
  expect(packets.filter((packet) => partyOf(packet) === 'leak').map((packet) => packet.text)).toEqual([]);
  expect(localResolver.asked.slice(askedBefore)).toEqual([]);
  expect(trapped).toBe(trappedBefore);
  return { result, packets };
}

describe('the Tor of production', () => {
  it('answers the functions, and nobody who is not on their network', async () => {
    await socksProbe(PROXY, PROBE_TIMEOUT_MS).greet();
    const fromElsewhere = socksProbe({ host: '127.0.0.1', port: PROXY.port }, PROBE_TIMEOUT_MS);
    await expect(fromElsewhere.greet()).rejects.toThrow(/hung up|ECONNRESET/);
  });
});

describe('a node that no circuit leads to', () => {
  it('is asked on another circuit after three failures', async () => {
    const url = `http://gone.chain.test:${CHAIN.port}`;
    const node = nodeClient({ url, dialer: torDialer(PROXY), purpose: 'rotation', timeoutMs: 20_000 });
    await expectNoLeaksDuring(async () => {
      for (let asked = 0; asked < 4; asked += 1) {
        await expect(node.post('/wallet/getnowblock', {})).rejects.toMatchObject({
          code: 'chain_unavailable',
        });
      }
    });
    const circuits = await readCircuits(9051, network.cookieFile);
    const idsOf = (wanted: string) =>
      circuits.flatMap(({ id, purpose, password }) =>
        purpose === 'rotation' && password === wanted ? [id] : [],
      );
    const [first, second] = [
      idsOf(`gone.chain.test:${CHAIN.port}`),
      idsOf(`gone.chain.test:${CHAIN.port} 2`),
    ];
    expect(first).not.toEqual([]);
    expect(second).not.toEqual([]);
    expect(second.filter((id) => first.includes(id))).toEqual([]);
  });
});

describe('a node behind an onion service alone', () => {
  it('is paid through, and no exit has a part in it', async () => {
    const { packets } = await expectNoLeaksDuring(async () => {
      const stack = await startPayments(onionUrl());
      try {
        for (const asset of ['USDT', 'TRX'] as const) {
          const order = orderOf(asset);
          expect(await payToTheEnd(stack, order)).toMatchObject({ status: 'confirmed' });
          expect(await timesPaid(order.to)).toBe(1);
        }
      } finally {
        await stack.stop();
      }
    });
    // Connections of before may end meanwhile.
    const count = countByParty(packets.filter(isSpoken));
    expect(count['onion service']).toBeGreaterThan(0);
    expect(count.exit + count['exit resolver']).toBe(0);
  });
});

describe('nodes of every kind: a name, an address and an onion service', () => {
  let stack: TestStack;

  beforeAll(async () => {
    stack = await startPayments(NAMED, [NUMBERED, onionUrl()]);
  });
  afterAll(() => stack?.stop());

  it('are paid through; the name is looked up at the exit', async () => {
    const { packets } = await expectNoLeaksDuring(async () => {
      for (const asset of ['USDT', 'TRX'] as const) {
        const order = orderOf(asset);
        expect(await payToTheEnd(stack, order)).toMatchObject({ status: 'confirmed' });
        expect(await timesPaid(order.to)).toBe(1);
      }
      // Its circuits are its own, and may still have to be built.
      await waitUntil(async () => (await healthOf(stack)).http === 200, PAY_TIMEOUT_MS);
      expect(await healthOf(stack)).toMatchObject({ body: { status: 'healthy' } });
    });
    const count = countByParty(packets);
    expect(count.exit).toBeGreaterThan(0);
    expect(count['onion service']).toBeGreaterThan(0);
    // An exit remembers names: it may have asked for this one before, when the paths were tried.
    expect(exitResolver.asked.map((name) => name.toLowerCase())).toContain(CHAIN.name);
  });

  it('are asked by each purpose on circuits that no other shares', async () => {
    const circuits = await readCircuits(9051, network.cookieFile);
    const purposes = new Set(circuits.map(({ purpose }) => purpose));
    for (const purpose of ['pay', 'settle', 'health']) expect(purposes).toContain(purpose);
    // One line a circuit: it has one SOCKS user, and every pair of user and password its own.
    expect(new Set(circuits.map(({ id }) => id)).size).toBe(circuits.length);
  });

  describe.each([
    {
      how: 'stopped',
      takeAway: () => network.stopClient(),
      giveBack: () => network.startClient(),
      says: /is out of reach \(ECONNREFUSED\)/,
    },
    {
      how: 'blocked',
      takeAway: async () => void process.kill(network.clientPid(), 'SIGSTOP'),
      giveBack: async () => void process.kill(network.clientPid(), 'SIGCONT'),
      says: /did not answer in time|no answer within/,
    },
  ])('while Tor is $how', ({ how, takeAway, giveBack, says }) => {
    it('payments wait, the breaker opens, nothing leaks; then each is paid once', async () => {
      const orders = Array.from({ length: 4 }, () => ({ order: orderOf(), key: randomUUID() }));
      const { packets } = await expectNoLeaksDuring(async () => {
        await takeAway();
        const answers = await Promise.all(orders.map(({ order, key }) => askOnce(stack, order, key)));
        figures[`${how}: answers`] = answers.map(({ http, code }) => code ?? http);
        // Taken, or refused with a key that may be used again: by the function, or by a sidecar whose queue is full.
        for (const answer of answers) expect([202, 429, 503]).toContain(answer.http);
        await waitUntil(async () => (await breakerStatus(stack)) === 'open', PAY_TIMEOUT_MS);
        expect(await healthOf(stack)).toMatchObject({
          http: 503,
          body: { checks: { tor: { status: 'unhealthy', reason: expect.stringMatching(says) } } },
        });
        for (const { order } of orders) expect(await timesPaid(order.to)).toBe(0);
      });
      // Nothing at all reached the chain.
      expect(countByParty(packets)).toMatchObject({ 'exit resolver': 0, leak: 0 });

      const startedMs = performance.now();
      await expectNoLeaksDuring(async () => {
        await giveBack();
        const payments = await Promise.all(orders.map(({ order, key }) => payToTheEnd(stack, order, key)));
        expect(payments.map(({ status }) => status)).toEqual(orders.map(() => 'confirmed'));
      });
      figures[`${how}: all paid after, ms`] = Math.round(performance.now() - startedMs);
      for (const { order } of orders) expect(await timesPaid(order.to)).toBe(1);
    });
  });

  it('are paid once each while Tor is restarted under them', async () => {
    const orders = Array.from({ length: 8 }, () => ({ order: orderOf(), key: randomUUID() }));
    await expectNoLeaksDuring(async () => {
      const payments = Promise.all(orders.map(({ order, key }) => payToTheEnd(stack, order, key)));
      for (let restarts = 0; restarts < 2; restarts += 1) {
        process.kill(network.clientPid(), 'SIGKILL');
        await network.stopClient();
        await network.startClient();
      }
      expect((await payments).map(({ status }) => status)).toEqual(orders.map(() => 'confirmed'));
    });
    for (const { order } of orders) expect(await timesPaid(order.to)).toBe(1);
  });
});

describe('every way out of a process', () => {
  const run = promisify(execFile);
  const script = resolve(import.meta.dirname, 'dial-every-way.ts');
  const configuration = () => ({
    CONFIG_DIR: folder,
    LUCID_ENV: 'test',
    MONGO_URL: 'mongodb://127.0.0.1:27017',
    TRON_NETWORK: 'private',
    TRON_NODE_URL: NAMED,
    TRON_FALLBACK_NODE_URLS: NUMBERED,
    TRON_WALLET_ADDRESS: devAccounts(DEVELOPMENT_SEED)[0]?.address ?? '',
    TRON_CONTRACT_ADDRESS: usdtAddress(DEVELOPMENT_SEED),
    TRON_GENESIS_BLOCK_ID: 'ab'.repeat(32),
    TOR_PROXY: `socks5://${PROXY.host}:${PROXY.port}`,
  });
  const NAMED_PROXIES = { ...PROXIES, NODE_USE_ENV_PROXY: '1' };

  async function dialEveryWay(mode: 'guarded' | 'unguarded', environment: Record<string, string>) {
    const { stdout } = await run(process.execPath, [script, mode], {
      // As many at once as there are ways: none waits behind another's look-up until it is given up.
      env: { PATH: process.env.PATH ?? '', UV_THREADPOOL_SIZE: '64', ...configuration(), ...environment },
      timeout: 180_000,
    });
    return JSON.parse(stdout) as { tried: number; open: string[]; refusals: number };
  }

  it.each([
    ['', {}],
    [', whatever proxies the environment names', NAMED_PROXIES],
  ])('is closed by the guard%s', async (_, environment) => {
    const { result } = await expectNoLeaksDuring(() => dialEveryWay('guarded', environment));
    expect(result.open).toEqual([]);
    figures['ways out, guarded'] = { tried: result.tried, open: result.open.length };
  });

  it('is seen by the capture where nobody stands guard, each of them', async () => {
    const [packetsBefore, askedBefore] = [capture.packets.length, localResolver.asked.length];
    await dialEveryWay('unguarded', {});
    await capture.catchUp();
    const leaks = capture.since(packetsBefore).filter((packet) => partyOf(packet) === 'leak');
    leaksOnPurpose = leaks.length;
    const ports = new Set(leaks.filter(({ to }) => to.host === CHAIN.host).map(({ to }) => to.port));
    const unseen = Object.keys({ ...CONNECTIONS, ...DATAGRAMS }).filter((way) => !ports.has(portOf(way)));
    expect(unseen).toEqual([]);
    expect(leaks.filter(isDns).length).toBeGreaterThan(0);
    const asked = localResolver.asked.slice(askedBefore).map((name) => name.toLowerCase());
    expect(asked).toContain(CHAIN.name);
    const unasked = Object.keys(LOOKUPS).filter((way) => !asked.some((name) => name.endsWith(nameOf(way))));
    expect(unasked).toEqual([]);
  });

  it('leads some into the proxies of the environment where nobody stands guard', async () => {
    const [packetsBefore, trappedBefore] = [capture.packets.length, trapped];
    await dialEveryWay('unguarded', NAMED_PROXIES);
    await capture.catchUp();
    leaksOnPurpose += countByParty(capture.since(packetsBefore)).leak;
    expect(trapped).toBeGreaterThan(trappedBefore);
  });
});

it('has seen no other leak from the first packet to the last', async () => {
  await capture.catchUp();
  expect(countByParty(capture.packets).leak).toBe(leaksOnPurpose);
});
