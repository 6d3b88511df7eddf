import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ASSETS, type Asset, formatAmount } from '../../shared/domain/money.ts';
import { Random } from '../support/random.ts';
import type { Aims } from './aims.ts';
import type { Bundles } from './bundles.ts';
import { Callers } from './callers.ts';
import { readSolidNumber, walkChain } from './chain-walk.ts';
import { check, type Violation } from './checker.ts';
import type { Evidence, Limit } from './evidence.ts';
import {
  countOpen,
  countPermits,
  countUnderReview,
  readBreakerFigures,
  readPayments,
} from './ledger-evidence.ts';
import type { OtherNode } from './options.ts';
import { type Reviewed, Reviewer } from './reviewer.ts';
import { Storm } from './storm.ts';
import { World } from './world.ts';

export interface RoundOptions {
  readonly round: number;
  readonly seed: string;
  readonly kills: number;
  readonly instances: number;
  /** Whether nodes agree to deny transactions that they have taken. */
  readonly nodesLie: boolean;
  readonly aims: Aims;
  readonly bundles: Bundles;
  /** Of this round alone; it holds the logs, and the evidence where a promise was broken. */
  readonly folder: string;
  readonly otherNode: OtherNode | undefined;
  readonly onProgress: (progress: RoundProgress) => void;
}

export interface RoundProgress {
  readonly phase: 'starting' | 'killing' | 'coming to rest';
  readonly kills: number;
}

/** What a round came to; all of it is written to the report. */
export interface RoundResult {
  readonly round: number;
  readonly instances: number;
  readonly nodesLie: boolean;
  readonly seconds: number;
  readonly kills: number;
  /** Kills by place: `pay before note`, `settle at random`, `database`. */
  readonly killsByPlace: Readonly<Record<string, number>>;
  /** Strokes against chain, database and sidecar. */
  readonly blows: Readonly<Record<string, number>>;
  readonly requests: number;
  readonly orders: number;
  readonly answers: Readonly<Record<string, number>>;
  /** Payments by the status that they ended with. */
  readonly payments: Readonly<Record<string, number>>;
  /** Attempts that were signed beyond the first of a payment. */
  readonly furtherAttempts: number;
  readonly transfers: number;
  /** Transfers that nodes denied until their payment had ended; payments then ruled as paid; trips that were lifted. */
  readonly denied: number;
  readonly resolved: number;
  readonly resets: number;
  readonly blocks: number;
  /** How full the fullest window was, in hundredths of its limit. */
  readonly fullestPercent: Readonly<Record<string, number>>;
  readonly looksAtBreaker: number;
  readonly permitsSeenMax: number;
  readonly violations: readonly Violation[];
}

/** On another node a payment signed in its last moment waits for its expiration, and for that to be solid. */
const REST_TIMEOUT_MS = { ours: 600_000, other: 600_000 };
const LOOK_EVERY_MS = 25;
const READS_MAX = 20;
const PERMITS_MAX = 3;

/**
 * Short lives: what takes minutes in production takes seconds here, and the limits are such that they bind. On
 * another node blocks come every three seconds, so a transaction lives longer.
 */
const HOUR_MS = 20_000;
const DAY_MS = 60_000;
const HOURLY_MICRO = { USDT: 6_000_000n, TRX: 4_000_000n };
const HOURS_A_DAY = 2n;

function limitsFor(instances: number): readonly Limit[] {
  return ASSETS.flatMap((asset) => {
    const limitMicro = HOURLY_MICRO[asset] * BigInt(instances + 1);
    return [
      { asset, name: 'hour', windowMs: HOUR_MS, limitMicro },
      { asset, name: 'day', windowMs: DAY_MS, limitMicro: limitMicro * HOURS_A_DAY },
    ];
  });
}

/**
 * Where nodes lie no payment gets a second attempt: what two operators deny together would be paid twice, and nothing
 * can be done about it. So its time is over before its first attempt is.
 */
const LYING_NODES_SETTINGS = {
  TRON_EXPIRATION_SECONDS: '7',
  PAYMENT_PAY_BY_SECONDS: '7',
  PAYMENT_RECHECK_SECONDS: '6',
};

function settingsFor(limits: readonly Limit[], isOurChain: boolean): Readonly<Record<string, string>> {
  const amountOf = (asset: Asset, name: string) =>
    formatAmount(limits.find((limit) => limit.asset === asset && limit.name === name)?.limitMicro ?? 0n);
  return {
    LOG_LEVEL: 'ERROR',
    TRON_EXPIRATION_SECONDS: isOurChain ? '5' : '30',
    TRON_EXPIRATION_MARGIN_SECONDS: '1',
    TRON_TIMEOUT_SECONDS: '2',
    TRON_CONFIRMATIONS_REQUIRED: '1',
    PAYMENT_REVISIT_SECONDS: '1',
    AUDIT_INTERVAL_SECONDS: '1',
    PAYMENT_PAY_BY_SECONDS: isOurChain ? '25' : '90',
    PAYMENT_RECHECK_SECONDS: '3',
    PAYMENT_APPROVAL_ABOVE_USDT: '2.2',
    PAYMENT_APPROVAL_ABOVE_TRX: '2.2',
    PAYMENT_APPROVE_BY_SECONDS: '10',
    CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS: String(HOUR_MS / 1_000),
    CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS: String(DAY_MS / 1_000),
    CIRCUIT_BREAKER_HOURLY_LIMIT: amountOf('USDT', 'hour'),
    CIRCUIT_BREAKER_DAILY_LIMIT: amountOf('USDT', 'day'),
    CIRCUIT_BREAKER_TRX_HOURLY_LIMIT: amountOf('TRX', 'hour'),
    CIRCUIT_BREAKER_TRX_DAILY_LIMIT: amountOf('TRX', 'day'),
    CIRCUIT_BREAKER_DAILY_FEE_LIMIT: '100000',
    CIRCUIT_BREAKER_FAILURE_THRESHOLD: '10',
    CIRCUIT_BREAKER_RECOVERY_TIMEOUT: '1',
    CIRCUIT_BREAKER_HALF_OPEN_MAX_CALLS: String(PERMITS_MAX),
  };
}

/** One world from its start to its judgement. @throws Error where it could not be started or judged */
export async function runRound(options: RoundOptions): Promise<RoundResult> {
  const { round, seed, instances, nodesLie, folder, onProgress } = options;
  const startedAtMs = performance.now();
  const random = (what: string) => new Random(`${seed}/${round}/${what}`);
  const limits = limitsFor(instances);
  const killsByPlace: Record<string, number> = {};
  const blows: Record<string, number> = {};
  const violations: Violation[] = [];
  let kills = 0;
  const count = (place: string): void => {
    kills += 1;
    add(killsByPlace, place);
  };

  onProgress({ phase: 'starting', kills });
  const world = await World.start({
    folder,
    bundles: options.bundles,
    instances,
    settings: {
      ...settingsFor(limits, options.otherNode === undefined),
      ...(nodesLie ? LYING_NODES_SETTINGS : {}),
    },
    otherNode: options.otherNode,
    random: random('fates'),
    aims: options.aims,
    lies: nodesLie ? random('lies') : undefined,
    onDeath: ({ function: name, place, killed }) => {
      if (killed) {
        count(`${name} ${place}`);
        options.aims.count(place);
      } else violations.push({ rule: 'everything_ends', detail: `an instance of ${name} ${place}` });
    },
  });
  try {
    const { nodeUrl, walletAddress, usdtAddress } = world.network;
    const fromBlock = (await readSolidNumber(nodeUrl)) + 1;
    const sampler = new PermitSampler(world);
    const reviewer = world.lyingNodes === undefined ? undefined : new Reviewer(world, world.lyingNodes);
    const callers = new Callers({ access: world.access, random: random('callers'), count: instances + 2 });
    const storm = new Storm({
      world,
      recipients: () => callers.orders.flatMap(({ items }) => items.map(({ to }) => to)),
      random: random('storm'),
      onBlow: (name) => {
        add(blows, name);
        if (name.startsWith('kill ')) count(name.slice('kill '.length));
      },
    });
    while (kills < options.kills) {
      onProgress({ phase: 'killing', kills });
      await sleep(200);
    }
    await storm.stop();
    world.lyingNodes?.denyNoMore();
    world.calm();
    await callers.stop();
    onProgress({ phase: 'coming to rest', kills });
    await untilAtRest(world, REST_TIMEOUT_MS[options.otherNode === undefined ? 'ours' : 'other'], nodesLie);
    const reviewed = (await reviewer?.stop()) ?? NOTHING_REVIEWED;
    const looks = await sampler.stop();
    const walk = await walkChain({ nodeUrl, wallet: walletAddress, usdt: usdtAddress, fromBlock });
    const breaker = await insist(() => readBreakerFigures(world.database));
    if (breaker === null) throw new Error('there is no breaker document: nothing was paid');
    const evidence: Evidence = {
      wallet: walletAddress,
      transfers: walk.transfers,
      payments: await insist(() => readPayments(world.database)),
      breaker,
      orders: callers.orders,
      limits,
      deniedTxIds: reviewed.deniedTxIds,
      permitsMax: PERMITS_MAX,
      ...looks,
    };
    violations.push(...check(evidence));
    if (violations.length > 0) writeEvidence(folder, evidence, violations);
    const answers: Record<string, number> = {};
    const payments: Record<string, number> = {};
    for (const { status, code } of evidence.orders.flatMap((order) => order.answers)) {
      add(answers, status === 0 ? 'none' : code === null ? String(status) : `${status} ${code}`);
    }
    for (const { status } of evidence.payments) add(payments, status);
    return {
      round,
      instances,
      nodesLie,
      seconds: Math.round((performance.now() - startedAtMs) / 100) / 10,
      kills,
      killsByPlace,
      blows,
      requests: callers.requests,
      orders: evidence.orders.length,
      answers,
      payments,
      furtherAttempts: evidence.payments.reduce((sum, { txIds }) => sum + Math.max(0, txIds.length - 1), 0),
      transfers: walk.transfers.length,
      denied: walk.transfers.filter(({ txId }) => reviewed.deniedTxIds.includes(txId)).length,
      resolved: reviewed.resolved,
      resets: reviewed.resets,
      blocks: walk.lastBlock - fromBlock + 1,
      fullestPercent: Object.fromEntries(
        limits.map((limit) => [`${limit.asset} ${limit.name}`, fullestPercent(evidence, limit)]),
      ),
      looksAtBreaker: looks.looks,
      permitsSeenMax: looks.permitsSeenMax,
      violations,
    };
  } finally {
    await world.stop();
  }
}

/** Looks at the breaker all the time, past the functions' own code. */
class PermitSampler {
  readonly #world: World;
  readonly #ended: Promise<void>;
  #stopped = false;
  #looks = 0;
  #seenMax = 0;

  constructor(world: World) {
    this.#world = world;
    this.#ended = this.#watch();
  }

  async stop(): Promise<{ readonly looks: number; readonly permitsSeenMax: number }> {
    this.#stopped = true;
    await this.#ended;
    return { looks: this.#looks, permitsSeenMax: this.#seenMax };
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      try {
        this.#seenMax = Math.max(this.#seenMax, await countPermits(this.#world.database));
        this.#looks += 1;
      } catch {
        // The database is dead just now.
      }
      await sleep(LOOK_EVERY_MS);
    }
  }
}

const NOTHING_REVIEWED: Reviewed = { deniedTxIds: [], resolved: 0, resets: 0 };

/** Waits until nothing is left to do; what is not at rest in time is for the checker to name. */
async function untilAtRest(world: World, timeoutMs: number, isReviewed: boolean): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (Date.now() < deadlineMs) {
    try {
      const breaker = await readBreakerFigures(world.database);
      const isReviewOver =
        !isReviewed || (breaker?.tripped === null && (await countUnderReview(world.database)) === 0);
      if (breaker?.transitions === 0 && (await countOpen(world.database)) === 0 && isReviewOver) return;
    } catch {
      // Asked again.
    }
    await sleep(200);
  }
}

/** A connection from before the database was killed may be the first one that is tried. */
async function insist<T>(read: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await read();
    } catch (error) {
      if (tries === READS_MAX) throw error;
      await sleep(200);
    }
  }
}

/** How full the fullest window of block times was: a limit that never bound proves little. */
function fullestPercent({ transfers }: Evidence, { asset, windowMs, limitMicro }: Limit): number {
  const mine = transfers.filter((transfer) => transfer.asset === asset);
  let fullestMicro = 0n;
  for (const { blockTimeMs: endMs } of mine) {
    const sumMicro = mine
      .filter(({ blockTimeMs }) => blockTimeMs <= endMs && blockTimeMs > endMs - windowMs)
      .reduce((sum, { amountMicro }) => sum + amountMicro, 0n);
    if (sumMicro > fullestMicro) fullestMicro = sumMicro;
  }
  return Number((fullestMicro * 100n) / limitMicro);
}

function writeEvidence(folder: string, evidence: Evidence, violations: readonly Violation[]): void {
  const asText = (_: string, value: unknown) => (typeof value === 'bigint' ? value.toString() : value);
  writeFileSync(join(folder, 'evidence.json'), JSON.stringify({ violations, ...evidence }, asText, 1));
}

function add(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}
