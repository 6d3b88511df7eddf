import {
  BREAKER_ID,
  type BreakerDocument,
  circuitFrom,
  type PaymentDocument,
} from '../../shared/adapters/mongo/documents.ts';
import { documentLedger } from '../../shared/adapters/mongo/ledger.ts';
import { type Circuit, type CircuitPermit, CLOSED_CIRCUIT } from '../../shared/domain/circuit.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import type { PaymentOrder } from '../../shared/domain/payment.ts';
import { addressFromHex, type TronAddress } from '../../shared/domain/tron-address.ts';
import type { PaymentNetwork } from '../../shared/ports/payment-network.ts';
import type { RecipientPolicy } from '../../shared/ports/recipient-policy.ts';
import type { StopSwitch } from '../../shared/ports/stop-switch.ts';
import { UnreadableBytes, type Vault } from '../../shared/ports/vault.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { payOut } from '../../shared/usecases/pay-out.ts';
import { withBreaker } from '../../shared/usecases/payment-network-with-breaker.ts';
import type { PaymentRules } from '../../shared/usecases/payment-rules.ts';
import type { Answer } from '../chaos/evidence.ts';
import { Actor } from '../support/actor.ts';
import { Random } from '../support/random.ts';
import { START_MS } from '../support/test-engine.ts';
import { FEE_MAX_MICRO, ForkingChain } from './forking-chain.ts';
import type { HappeningName } from './happenings.ts';
import type { Mutant } from './mutants.ts';
import { Connection, Link, ReplicaSet, show, type Tell } from './replica-set.ts';

const HOUR_MS = 3_600_000;
const RECIPIENTS = Array.from({ length: 8 }, (_, index) => addressOf(index + 1));
const WALLET = addressOf(100);
const CONTRACT = addressOf(101);

/** What a caller asks for under one key; each item has a recipient and an amount of its own. */
export interface SimulatedOrder {
  readonly key: string;
  readonly kind: 'payment' | 'batch';
  readonly items: readonly PaymentOrder[];
  readonly answers: Answer[];
  cancelAsked: boolean;
  /** Generations of which the caller was told that they are refused. */
  readonly refusedGenerations: Set<number>;
}

/** What a schedule is about: who takes part, and what is frequent in it. Anything else may happen there as well. */
interface Focus {
  readonly ordersMax: number;
  /** Of ten processes beside the first one, which pays; the others decide and operate. */
  readonly payersOfTen: number;
  readonly settlersOfTen: number;
  /** How often a settler runs though nothing is due. */
  readonly idleRuns: number;
  readonly frequent: Partial<Record<HappeningName | 'time', number>>;
  /** What has become of the first order before the processes start. */
  readonly begins?: 'with_an_expired_attempt' | 'with_a_refused_key' | 'amid_a_retry';
}

const FOCUSES = {
  anything: { ordersMax: 3, payersOfTen: 4, settlersOfTen: 4, idleRuns: 0.03, frequent: {} },
  /** Attempts that never land, and the last moment to pay. */
  expiry: {
    ordersMax: 1,
    payersOfTen: 1,
    settlersOfTen: 8,
    idleRuns: 0.03,
    frequent: { freeze: 3, fail_over: 1, time: 8 },
    begins: 'with_an_expired_attempt',
  },
  /** Keys that are refused and tried again. */
  refusals: {
    ordersMax: 1,
    payersOfTen: 5,
    settlersOfTen: 5,
    idleRuns: 0.4,
    frequent: { refusal_by_the_chain: 3, freeze: 4 },
    begins: 'with_a_refused_key',
  },
  /** One who asked again holds what it saw of an attempt that has expired since, while another signs the next. */
  retries: {
    ordersMax: 1,
    payersOfTen: 2,
    settlersOfTen: 8,
    idleRuns: 0.03,
    frequent: { freeze: 3, time: 4 },
    begins: 'amid_a_retry',
  },
  /** A network that comes and goes, and processes that die while they ask whether it is back. */
  probing: {
    ordersMax: 3,
    payersOfTen: 2,
    settlersOfTen: 7,
    idleRuns: 0.1,
    frequent: { node_away: 8, partition_from_chain: 4, death: 5 },
  },
  /** More than the limits take, ended by several at once. */
  limits: {
    ordersMax: 4,
    payersOfTen: 4,
    settlersOfTen: 6,
    idleRuns: 0.03,
    frequent: { freeze: 5, time: 10 },
  },
} as const satisfies Record<string, Focus>;

export type FocusName = keyof typeof FOCUSES;
const FOCUS_NAMES = Object.keys(FOCUSES) as FocusName[];

/** Where a process runs: an instance of a function with its own clock and link. Where it dies, another takes its place. */
export class Instance {
  readonly name: string;
  /** The process. */
  actor = new Actor();
  readonly link = new Link();
  /** How far its clock is off. */
  clockOffsetMs = 0;
  /** Nothing gets through to the chain. */
  isCutFromChain = false;

  constructor(name: string) {
    this.name = name;
  }

  async die(): Promise<void> {
    const dying = this.actor;
    this.actor = new Actor();
    await dying.die();
  }
}

/** Everything that one schedule is played in, all of it decided by the seed. */
export class SimulatedWorld {
  readonly random: Random;
  readonly store: ReplicaSet;
  readonly chain: ForkingChain;
  rules: PaymentRules;
  readonly orders: readonly SimulatedOrder[];
  /** What this schedule is about. */
  readonly focus: Focus;
  readonly wrongs: string[] = [];
  nowMs = START_MS;
  isStopped = false;
  /** Stored bytes cannot be read: another key. */
  isVaultClosed = false;
  recipientsDenied = false;
  permitsSeenMax = 0;
  calls = 0;
  readonly #mutant: Mutant | null;
  readonly #trace: ((line: string) => void) | null;
  readonly #vault: Vault = {
    seal: (bytes) => bytes,
    open: (bytes) => {
      if (this.isVaultClosed) throw new UnreadableBytes('another key');
      return bytes;
    },
  };
  readonly #recipients: RecipientPolicy = {
    judge: async () => (this.recipientsDenied ? 'on_the_deny_list' : 'allowed'),
  };
  readonly #stopSwitch: StopSwitch = { isSet: async () => this.isStopped };
  /** The chain as it shows itself to all. */
  readonly #network: PaymentNetwork;
  readonly #engines = new Map<Actor | PaymentRules, Engine>();
  #lastId = 0;
  #circuitText = '';
  #circuit: Circuit = CLOSED_CIRCUIT;
  #permits: readonly CircuitPermit[] = [];

  constructor(seed: number, mutant: Mutant | null, trace: ((line: string) => void) | null) {
    const random = new Random(String(seed));
    this.random = random;
    this.#mutant = mutant;
    this.#trace = trace;
    this.focus = FOCUSES[mutant?.focus ?? (random.chance(0.3) ? 'anything' : random.pick(FOCUS_NAMES))];
    this.rules = drawRules(random, this.focus);
    this.orders = drawOrders(random, this.focus);
    this.store = new ReplicaSet(
      () => this.nowMs,
      () => this.#countPermits(),
    );
    this.chain = new ForkingChain({
      wallet: WALLET,
      contract: CONTRACT,
      nodes: random.chance(0.8) ? 2 : 1,
      solidLag: random.between(1, 4),
      startMs: START_MS,
      random,
    });
    this.#network = this.chain.network(mutant?.provenBy);
  }

  readonly tell = (line: () => string): void => {
    this.#trace?.(line());
  };

  /** Tells what a process does. */
  #tellOf(name: string): Tell {
    return this.#trace === null ? null : (line) => this.#trace?.(`  ${name}: ${line}`);
  }

  get payOut(): typeof payOut {
    return this.#mutant?.payOut?.(payOut) ?? payOut;
  }

  pass(durationMs: number): void {
    this.nowMs += durationMs;
    this.chain.advanceTo(this.nowMs);
  }

  /** Nothing goes wrong any more, and fresh blocks are solid. */
  heal(): void {
    this.store.heal();
    this.chain.heal();
    this.isStopped = false;
    this.isVaultClosed = false;
    this.recipientsDenied = false;
    this.pass(30_000);
  }

  /**
   * The engine of an instance, composed once in a process's life; for null one that nothing stops or disturbs, which
   * goes by the rules as they are now.
   */
  engine(instance: Instance | null): Engine {
    const life = instance?.actor ?? this.rules;
    let engine = this.#engines.get(life);
    if (engine === undefined) {
      engine = this.#compose(instance);
      this.#engines.set(life, engine);
    }
    return engine;
  }

  #compose(instance: Instance | null): Engine {
    const mutant = this.#mutant;
    const actor = instance?.actor ?? null;
    const name = instance?.name ?? 'healer';
    const link = instance?.link ?? new Link();
    const readConcern = (instance === null ? null : mutant?.readConcern) ?? 'majority';
    const connection = new Connection(this.store, link, actor, readConcern, this.#tellOf(name));
    const network = this.#dialled(actor, instance, name);
    const plain = documentLedger(connection);
    const ledger = mutant?.ledger?.(plain, { store: connection, network }) ?? plain;
    const ids = {
      next: () => `${name}-${++this.#lastId}`,
      random: () => this.random.below(1_000) / 1_000,
    };
    const clock = {
      nowMs: () => this.nowMs + (instance?.clockOffsetMs ?? 0),
      sleep: async () => actor?.turn('sleep'),
    };
    return {
      ledger,
      network: withBreaker(network, ledger, ids, clock, this.rules),
      signer: this.chain.signer,
      vault: this.#vault,
      recipients: this.#recipients,
      stopSwitch: this.#stopSwitch,
      clock,
      ids,
      rules: this.rules,
    };
  }

  /** Every call waits for the process's turn, and fails where nothing gets through. */
  #dialled(actor: Actor | null, instance: Instance | null, name: string): PaymentNetwork {
    const chain = this.#network;
    const tell = this.#tellOf(name);
    const dial = async <T>(call: string, ask: () => Promise<T>): Promise<T> => {
      await actor?.turn(call);
      this.calls += 1;
      if (instance?.isCutFromChain === true) {
        tell?.(`${call}: the chain is out of reach`);
        throw new ServiceError('chain_unavailable', 'the chain is out of reach');
      }
      const answer = await ask();
      tell?.(`${call}: ${show(answer)}`);
      return answer;
    };
    return {
      readSolidHead: () => dial('readSolidHead', () => chain.readSolidHead()),
      prepareTransfer: (transfer, inFlight) =>
        dial('prepareTransfer', () => chain.prepareTransfer(transfer, inFlight)),
      broadcast: async (bytes, txId) => {
        const nodes = this.chain.nodes.map((node) => node.name);
        await actor?.turn('broadcast');
        this.calls += 1;
        if (instance?.isCutFromChain === true) {
          tell?.(`broadcast ${txId}: the chain is out of reach`);
          return nodes.map((node) => ({ node, kind: 'unclear', code: 'out of reach' }));
        }
        const answers = await chain.broadcast(bytes, txId);
        tell?.(`broadcast ${txId}: ${show(answers)}`);
        return answers;
      },
      takeTestimony: (txId, knownHead) => dial('takeTestimony', () => chain.takeTestimony(txId, knownHead)),
      readHoldings: (account, knownHead) =>
        dial('readHoldings', () => chain.readHoldings(account, knownHead)),
      readHistory: (account, from, floor) =>
        dial('readHistory', () => chain.readHistory(account, from, floor)),
      walkSolidBlocks: (fromNumber, untilMs, knownHead) =>
        dial('walkSolidBlocks', () => chain.walkSolidBlocks(fromNumber, untilMs, knownHead)),
    };
  }

  /** The breaker as a majority holds it. */
  get breaker(): BreakerDocument {
    return this.store.committed.collections.breaker.get(BREAKER_ID) as unknown as BreakerDocument;
  }

  get circuit(): Circuit {
    const { breaker } = this;
    return breaker.circuit === this.#circuitText ? this.#circuit : circuitFrom(breaker);
  }

  /** Payments and batches as a majority holds them. */
  get documents(): Iterable<PaymentDocument> {
    return this.store.committed.collections.payments.values() as Iterable<unknown> as Iterable<PaymentDocument>;
  }

  /**
   * Counts the permits that are out, also those that the document no longer shows: unless its holder has told how
   * its call went, a permit is out until it expires by the clock of any server that was asked.
   */
  #countPermits(): void {
    const { breaker } = this;
    if (breaker.circuit === this.#circuitText) return;
    const before = this.#circuit;
    const circuit = circuitFrom(breaker);
    this.#circuitText = breaker.circuit;
    this.#circuit = circuit;
    if (circuit.kind !== 'half_open') return;
    let spent = 0;
    if (before.kind === 'half_open' && before.generation === circuit.generation) {
      spent = circuit.successes - before.successes;
    } else this.#permits = [];
    const gone = this.#permits.filter(({ id }) => circuit.permits.every((permit) => permit.id !== id));
    // A lease is as good as the clock: whoever was told an hour too late has rightly given its place away.
    const nowMs = Math.max(this.store.serverTimeMs(), this.store.latestToldMs);
    this.#permits = [...gone.slice(spent), ...circuit.permits].filter(
      ({ expiresAtMs }) => expiresAtMs > nowMs,
    );
    this.permitsSeenMax = Math.max(this.permitsSeenMax, this.#permits.length);
  }
}

function drawRules(random: Random, focus: Focus): PaymentRules {
  const hourMs = random.pick([60_000, 90_000]);
  const isOfAttempts = focus === FOCUSES.expiry || focus === FOCUSES.retries;
  return {
    limits: {
      USDT: { hourlyMicro: 100n, dailyMicro: 170n },
      TRX: { hourlyMicro: 100n, dailyMicro: 170n },
    },
    windows: { hourMs, dayMs: 4 * hourMs },
    feeLimitDailyMicro: random.pick([30n, 1_000n]),
    feeReserveMicro: FEE_MAX_MICRO,
    amounts: {
      maxMicro: { USDT: null, TRX: null },
      approvalAboveMicro: { USDT: focus.ordersMax > 1 && random.chance(0.25) ? 50n : null, TRX: null },
    },
    circuit: {
      failureThreshold: focus === FOCUSES.probing ? 1 : random.between(1, 4),
      recoveryTimeoutMs: 20_000,
      halfOpenMaxCalls: random.between(1, 3),
      permitMs: 30_000,
    },
    contract: CONTRACT,
    confirmationsRequired: random.between(0, 3),
    expirationMs: isOfAttempts ? 15_000 : random.pick([15_000, 30_000]),
    expirationMarginMs: 3_000,
    payByMs: random.pick(isOfAttempts ? [50_000, 65_000, 80_000] : [25_000, 60_000, 90_000]),
    approveByMs: 60_000,
    recheckMs: 40_000,
    // A short one hardly keeps two settlers apart.
    leaseMs: focus === FOCUSES.expiry ? random.pick([1_000, 20_000]) : 20_000,
    revisitMs: 3_000,
    rebroadcastMs: 5_000,
    auditIntervalMs: 8_000,
    headSkewMsMax: 60_000,
  };
}

/** One to three payments, and now and then a batch of two: more than the limits take at once. */
function drawOrders(random: Random, focus: Focus): SimulatedOrder[] {
  let item = 0;
  const next = (asset: PaymentOrder['asset']): PaymentOrder => {
    const recipient = RECIPIENTS[item];
    if (recipient === undefined) throw new RangeError('too few recipients');
    item += 1;
    const reference = random.chance(0.2) ? `reference-${random.between(1, 2)}` : null;
    return { asset, amountMicro: BigInt(random.between(20, 60)), recipient, reference };
  };
  const order = (kind: SimulatedOrder['kind'], index: number): SimulatedOrder => ({
    key: `${kind}-${index}`,
    kind,
    items: kind === 'batch' ? [next('USDT'), next('USDT')] : [next(random.chance(0.8) ? 'USDT' : 'TRX')],
    answers: [],
    cancelAsked: false,
    refusedGenerations: new Set(),
  });
  const payments = random.several(1, focus.ordersMax, (index) => order('payment', index + 1));
  return focus.ordersMax > 1 && random.chance(0.25) ? [...payments, order('batch', 1)] : payments;
}

function addressOf(index: number): TronAddress {
  const address = addressFromHex(`41${index.toString(16).padStart(40, '0')}`);
  if (address === undefined) throw new TypeError('no address');
  return address;
}

/** An instance's clock: mostly right, sometimes an hour off. */
export function drawClockOffsetMs(random: Random): number {
  if (random.chance(0.4)) return 0;
  return random.chance(0.5) ? random.between(-2_000, 2_000) : random.between(-HOUR_MS, HOUR_MS);
}
