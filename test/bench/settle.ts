import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Db } from 'mongodb';
import { devAccounts } from '../../deploy/devchain/accounts.ts';
import { DEFAULT_SEED } from '../../deploy/devchain/dev-chain.ts';
import { startDatabase } from '../../deploy/local/database/start-database.ts';
import { composeEnvironment } from '../../deploy/local/environment.ts';
import { ensureDevelopmentSecrets, putSecret } from '../../deploy/local/secrets.ts';
import { boundedSettler } from '../../functions/settle/app.ts';
import {
  BREAKER,
  breakerDocument,
  PAYMENTS,
  type PaymentDocument,
  paymentDocument,
} from '../../shared/adapters/mongo/documents.ts';
import type { NodeClient } from '../../shared/adapters/tron/node-client.ts';
import { composePayments, openConnections } from '../../shared/composition/compose-engine.ts';
import type { Payment } from '../../shared/domain/payment.ts';
import { parseTronAddress } from '../../shared/domain/tron-address.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import { createLogger } from '../../shared/runtime/logger.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { freePorts } from '../support/ports.ts';
import { attempt, payment } from '../support/stored-payment.ts';
import { busyBreaker } from './busy-breaker.ts';
import { ENGINE_NEEDS, type EngineConfig } from './engine-environment.ts';
import { type HeapSample, sampleHeap } from './measure.ts';
import { judge, writeReport } from './report.ts';
import { Stage } from './stage.ts';

/** What this benchmark is held to; a miss is shown, and is no failure of the run. */
const GOALS = { paymentsPerSecond: 100, heapGrowthMiB: 4 };

/**
 * The emulator that stands for MongoDB where there is none has no index on what is due, and reads the whole backlog for
 * each page: a larger one measures that alone. `--payments 10000` is for a real server.
 */
const FULL = 2_000;
const QUICK = 400;
const AMOUNT_MICRO = 1_000n;
const FEE_MAX_MICRO = 2_000_000n;
/** Requests and inserts at once while the backlog is made. */
const WIDTH = 16;
const INSERTS = 200;
const BLOCK_SECONDS = 0.5;

/** How often each kind of round trip was made. */
interface Trips {
  reads: number;
  writes: number;
  documentsWritten: number;
  clocks: number;
  chain: number;
}

/**
 * How fast one settle process ends a backlog of payments that have landed: TRX transfers on the development chain, in
 * a process of its own, as is the database. Beside it raw operations, as many of each kind as it made. Options:
 * `--payments N`, `--quick`.
 */
export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { quick: { type: 'boolean' }, payments: { type: 'string' } },
  });
  const count = Number(values.payments ?? (values.quick ? QUICK : FULL));
  if (!(Number.isInteger(count) && count >= 100 && count <= 100_000)) {
    throw new Error('usage: npm run bench -- settle [--quick] [--payments 100..100000]');
  }
  const stage = new Stage();
  const interrupt = (): void => {
    void stage.close().then(() => process.exit(130));
  };
  process.once('SIGINT', interrupt);
  try {
    await measure(stage, count);
  } finally {
    process.off('SIGINT', interrupt);
    await stage.close();
  }
}

async function measure(stage: Stage, count: number): Promise<void> {
  const database = await startDatabase({ dataDir: stage.makeFolder('database') });
  stage.onClose(() => database.stop());
  console.log(`database: ${database.description}`);
  const config = await startChain(stage, database.url);
  const connections = openConnections(config);
  const { db } = connections;
  stage.onClose(() => db.client.close());
  const trips: Trips = { reads: 0, writes: 0, documentsWritten: 0, clocks: 0, chain: 0 };
  watch(db, trips);
  const nodes = connections.nodes.map((node) => counting(node, trips));
  const { engine } = composePayments(config, undefined, { db, nodes });

  await engine.ledger.readBreaker();
  await makeBacklog(engine, nodes, db, count);
  const drain = await drainBacklog(engine, db, count, trips);
  const rawSeconds = await playRaw(db, nodes, drain.trips, count);
  report(database.description, count, drain, rawSeconds);
}

/** A development chain of its own, and the configuration of a settler on it. */
async function startChain(stage: Stage, mongoUrl: string): Promise<EngineConfig> {
  const [port = 0, faultsPort = 0] = await freePorts(2);
  const options = ['--port', port, '--faults-port', faultsPort, '--data', stage.makeFolder('chain')];
  const pace = ['--interval', BLOCK_SECONDS, '--fresh'];
  await stage.startProgram(
    process.execPath,
    ['deploy/devchain/main.ts', ...options, ...pace].map(String),
    port,
  );
  const facts = await readFacts(`http://127.0.0.1:${faultsPort}/chain`);
  const [wallet] = devAccounts(DEFAULT_SEED);
  if (wallet === undefined) throw new Error('a chain without accounts');
  const folder = stage.makeFolder('secrets');
  const environment = composeEnvironment('settle', {
    network: 'private',
    nodeUrl: `http://127.0.0.1:${port}`,
    genesisBlockId: facts.genesisBlockId,
    usdtAddress: facts.usdtAddress,
    walletAddress: wallet.address,
    walletKeyFile: putSecret(folder, 'wallet_key', wallet.privateKey),
    torProxy: undefined,
    lucidEnv: 'development',
    configDir: folder,
    secrets: ensureDevelopmentSecrets(folder),
    mongoUrl,
    settings: {},
  });
  return readConfig(environment, { needs: ENGINE_NEEDS });
}

interface ChainFacts {
  readonly genesisBlockId: string;
  readonly usdtAddress: string;
}

/** The port answers before the chain stands. */
async function readFacts(url: string): Promise<ChainFacts> {
  for (;;) {
    const facts = (await (await fetch(url)).json()) as Partial<ChainFacts>;
    const { genesisBlockId, usdtAddress } = facts;
    if (genesisBlockId !== undefined && usdtAddress !== undefined) return { genesisBlockId, usdtAddress };
    await sleep(50);
  }
}

/** Signs, broadcasts and stores so many payments, all of which land; then waits until the last one is solid. */
async function makeBacklog(
  engine: Engine,
  nodes: readonly NodeClient[],
  db: Db,
  count: number,
): Promise<void> {
  const recipient = parseTronAddress(devAccounts(DEFAULT_SEED)[1]?.address ?? '');
  const [node] = nodes;
  if (recipient === undefined || node === undefined) throw new Error('nobody to pay, or no node');
  const { signer, network, vault, rules } = engine;
  const startMs = await engine.ledger.serverTimeMs();
  const collection = db.collection<PaymentDocument>(PAYMENTS);
  let made = 0;
  let rows: PaymentDocument[] = [];
  let last = '';
  const lane = async (): Promise<void> => {
    while (made < count) {
      const index = made++;
      const transfer = {
        asset: 'TRX' as const,
        amountMicro: AMOUNT_MICRO,
        recipient,
        sender: signer.wallet,
        contract: rules.contract,
      };
      const referenceBlock = await network.readSolidHead();
      const expirationMs = startMs + 3_600_000;
      const times = { timestampMs: startMs + index, expirationMs };
      const { txId, bytes } = await signer.sign(transfer, { referenceBlock, feeLimitMicro: 0n }, times);
      const answer = await node.post('/wallet/broadcasthex', {
        transaction: Buffer.from(bytes).toString('hex'),
      });
      if (answer.result !== true) throw new Error(`not taken: ${JSON.stringify(answer)}`);
      last = txId;
      const reservationId = `reservation-${index}`;
      const stored: Payment = payment({
        asset: 'TRX',
        amountMicro: AMOUNT_MICRO,
        recipient,
        status: 'broadcast',
        reservationId,
        notedIds: [reservationId],
        feeReservedMicro: FEE_MAX_MICRO,
        createdAtMs: startMs,
        payByMs: startMs + 3_600_000,
        settleAtMs: startMs - count + index,
        lastBroadcastAtMs: startMs,
      });
      const sealed = vault.seal(bytes, stored.id, 1);
      const signed = attempt({
        txId,
        sealed,
        expirationMs,
        signedAtMs: startMs,
        referenceBlockNumber: referenceBlock.number,
        referenceBlockId: referenceBlock.blockId,
      });
      rows.push(paymentDocument({ ...stored, attempts: [signed] }, true));
      if (rows.length >= INSERTS) await collection.insertMany(rows.splice(0));
      if ((index + 1) % 1_000 === 0) console.log(`${index + 1} of ${count} payments broadcast`);
    }
  };
  await Promise.all(Array.from({ length: WIDTH }, lane));
  if (rows.length > 0) await collection.insertMany(rows);
  rows = [];
  const breaker = busyBreaker();
  const { _id, ...seeded } = breakerDocument({
    ...breaker,
    solidHead: null,
    books: {
      ...breaker.books,
      TRX: { ...breaker.books.TRX, outstandingMicro: AMOUNT_MICRO * BigInt(count) },
    },
    fees: { ...breaker.fees, outstandingMicro: FEE_MAX_MICRO * BigInt(count) },
  });
  await db.collection<{ _id: string }>(BREAKER).replaceOne({ _id }, seeded);
  for (;;) {
    const info = await node.post('/walletsolidity/gettransactioninfobyid', { value: last });
    if (info.id === last) return;
    await sleep(100);
  }
}

interface Drain {
  readonly seconds: number;
  /** Of the settler's own process. */
  readonly cpuSeconds: number;
  readonly runs: number;
  readonly trips: Trips;
  readonly heap: readonly HeapSample[];
}

/** Runs the settle function's own runs, one after the other, until nothing is left. */
async function drainBacklog(engine: Engine, db: Db, count: number, trips: Trips): Promise<Drain> {
  const logger = createLogger({
    level: 'error',
    format: 'json',
    service: 'bench',
    functionName: 'settle',
    write: (line) => console.error(line),
  });
  const settleOnce = boundedSettler(engine, logger);
  const heap = [sampleHeap(0)];
  const before = { ...trips };
  let ended = 0;
  let runs = 0;
  let seconds = 0;
  let cpuSeconds = 0;
  while (ended < count) {
    const startedMs = performance.now();
    const cpu = process.cpuUsage();
    const report = await settleOnce();
    const { user, system } = process.cpuUsage(cpu);
    seconds += (performance.now() - startedMs) / 1_000;
    cpuSeconds += (user + system) / 1e6;
    runs += 1;
    ended += report.ended.confirmed ?? 0;
    if (report.errors > 0 || report.visited === 0)
      throw new Error(`a run went wrong: ${JSON.stringify(report)}`);
    const share = Math.floor((4 * ended) / count);
    if (share >= heap.length) {
      heap.push(sampleHeap(ended));
      console.log(`${ended} of ${count} payments ended, ${(ended / seconds).toFixed(0)} a second`);
    }
  }
  const made: Trips = { ...trips };
  for (const kind of Object.keys(made) as (keyof Trips)[]) made[kind] -= before[kind];
  const left = await db.collection(PAYMENTS).countDocuments({ status: { $ne: 'confirmed' } });
  const { books, transitions } = await engine.ledger.readBreaker();
  if (left > 0 || books.TRX.outstandingMicro !== 0n || transitions.length > 0) {
    throw new Error(`${left} payments are left, ${books.TRX.outstandingMicro} outstanding`);
  }
  return { seconds, cpuSeconds, runs, trips: made, heap };
}

/** The same numbers of bare commands and requests, as many at once as the settler visits payments. */
async function playRaw(db: Db, nodes: readonly NodeClient[], trips: Trips, count: number): Promise<number> {
  const [node] = nodes;
  const collection = db.collection<PaymentDocument>(PAYMENTS);
  const some = await collection.find({}, { limit: 200 }).toArray();
  const idOf = (index: number) => some[index % some.length]?._id ?? '';
  const share = Math.min(1, 1_000 / count);
  const work = [
    ...Array.from(
      { length: trips.reads * share },
      (_, index) => () => collection.findOne({ _id: idOf(index) }),
    ),
    ...Array.from(
      { length: trips.writes * share },
      (_, index) => () => collection.updateOne({ _id: idOf(index) }, { $set: { lastBroadcastAtMs: index } }),
    ),
    ...Array.from({ length: trips.clocks * share }, () => () => db.command({ hello: 1 })),
    ...Array.from(
      { length: trips.chain * share },
      (_, index) => () =>
        node?.post('/walletsolidity/gettransactioninfobyid', {
          value: some[index % some.length]?.txIds?.[0] ?? '',
        }),
    ),
  ].sort(() => Math.random() - 0.5);
  const startedMs = performance.now();
  const lane = async (): Promise<void> => {
    for (let next = work.pop(); next !== undefined; next = work.pop()) await next();
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return (performance.now() - startedMs) / 1_000 / share;
}

function report(
  database: string,
  count: number,
  { seconds, cpuSeconds, runs, trips, heap }: Drain,
  rawSeconds: number,
): void {
  const each = (total: number) => (total / count).toFixed(2);
  const rate = count / seconds;
  const growth = (heap.at(-1)?.heapMiB ?? 0) - (heap[1]?.heapMiB ?? 0);
  console.table(
    heap.map(({ payments, heapMiB, rssMiB }) => ({
      'payments ended': payments,
      'heap MiB': heapMiB.toFixed(1),
      'resident MiB': rssMiB.toFixed(0),
    })),
  );
  console.log(
    `${count} payments in ${seconds.toFixed(1)} s and ${runs} runs: ${rate.toFixed(0)} a second, ` +
      `${each(1_000 * cpuSeconds)} ms of the settler's own CPU each\n` +
      `of each payment: ${each(trips.writes)} write commands (${each(trips.documentsWritten)} documents), ` +
      `${each(trips.reads)} reads, ${each(trips.clocks)} looks at the clock, ${each(trips.chain)} requests to the node\n` +
      `the same numbers of raw operations: ${rawSeconds.toFixed(1)} s; settle ÷ raw ${(seconds / rawSeconds).toFixed(2)}`,
  );
  const goals = [
    judge('payments a second in one process', rate, '≥', GOALS.paymentsPerSecond),
    judge('growth of the heap from a quarter to the end, MiB', growth, '≤', GOALS.heapGrowthMiB),
  ];
  for (const { text } of goals) console.log(text);
  writeReport('settle', { database, count, seconds, cpuSeconds, runs, trips, rawSeconds, heap, goals });
}

function watch(db: Db, trips: Trips): void {
  // The driver's types hide the setter.
  Object.assign(db.client, { monitorCommands: true });
  db.client.on('commandSucceeded', ({ commandName, reply }) => {
    if (commandName === 'hello') trips.clocks += 1;
    else if (commandName === 'find' || commandName === 'aggregate') trips.reads += 1;
    else {
      trips.writes += 1;
      trips.documentsWritten += Number((reply as { nModified?: number; n?: number }).nModified ?? 0);
    }
  });
}

function counting(node: NodeClient, trips: Trips): NodeClient {
  return {
    ...node,
    post: (path, body) => {
      trips.chain += 1;
      return node.post(path, body);
    },
  };
}
