import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';
import type { Aims } from './aims.ts';
import type { Bundles, ChaosFunction } from './bundles.ts';
import { type Child, Nursery } from './nursery-process.ts';

/** How one process came to its end. */
export interface Death {
  readonly function: ChaosFunction;
  /** `before note`, `after broadcast`, `at random`, `after a freeze`; or how it ended where nobody killed it. */
  readonly place: string;
  /** False where the process ended by itself, which it never should. */
  readonly killed: boolean;
}

export interface FleetOptions {
  readonly function: ChaosFunction;
  /** Instances at a time. */
  readonly size: number;
  /** Some for each instance: the sidecar takes an address back once it has seen that nobody listens there. */
  readonly ports: readonly number[];
  readonly bundles: Bundles;
  readonly environment: Readonly<Record<string, string>>;
  /** Takes what the processes write. */
  readonly logFd: number;
  readonly random: Random;
  /** Of the whole run. */
  readonly aims: Aims;
  readonly onDeath: (death: Death) => void;
}

/** How a life is to end. */
interface Fate {
  /** The step at which it kills itself; 0: none. */
  readonly dieAt: number;
  /** The call from which steps are counted; empty: the first. */
  readonly countFrom: string;
  /** Places at the first of which it kills itself. */
  readonly places: readonly string[];
  /** When it is killed from outside, should it live so long; null: never. */
  readonly killAfterMs: number | null;
  /** Whether that is counted from its birth, and not from when it takes requests: a slow machine starts it slowly. */
  readonly isEarly: boolean;
  /** It stands still from `atMs` on for `forMs`, as a machine that swaps or migrates; then it goes on for a while. */
  readonly freeze: { readonly atMs: number; readonly forMs: number } | null;
}

const FOREVER: Fate = {
  dieAt: 0,
  countFrom: '',
  places: [],
  killAfterMs: null,
  isEarly: false,
  freeze: null,
};
/** Two looks of the sidecar at an address that is down, and some more. */
const PORT_REST_MS = 1_200;
/** A payment makes some 60 steps; a settler as many for each payment that it visits. */
const STEPS_MAX = 70;
const STEPS_AFTER_MAX = 24;
/**
 * In wait for one that is aimed are the places where the fewest have died: a few, so that the rarest gets its victims,
 * or more, so that it surely comes by one of them.
 */
const AIMED_PLACES = [4, 16];
/** Where few have died, few come by. */
const AIMED_PATIENCE_MS = 2_000;
const START_MS_MAX = 20_000;
/**
 * Counted from the start alone, most would die where lives begin. These are the calls that change something, or look at
 * the chain; most of the doomed die at the first of one of them, or soon after.
 */
const TURNING_POINTS: Readonly<Record<ChaosFunction, readonly string[]>> = {
  pay: [
    'insertPayment',
    'prepareTransfer',
    'pushReservation',
    'noteReservation',
    'storeSigned',
    'broadcast',
    'recordBroadcast',
    'dropTransition',
    'takeOutReservation',
    'retryRefused',
    'closePayment',
    'pushClosings',
    'noteClose',
    'applyClosings',
    'insertBatch',
    'noteBatchReservation',
    'insertItems',
    'admitBatch',
    'refuseBatch',
    'retryBatch',
    'approve',
    'setPause',
    'liftPause',
    'recordOrder',
    'replaceCircuit',
  ],
  settle: [
    'claimDue',
    'putOff',
    'pushReservation',
    'noteReservation',
    'storeSigned',
    'broadcast',
    'recordBroadcast',
    'takeTestimony',
    'walkSolidBlocks',
    'readHistory',
    'reaccept',
    'closePayment',
    'pushClosings',
    'noteClose',
    'applyClosings',
    'takeOutReservation',
    'dropTransition',
    'endVisits',
    'advanceSolidHead',
    'replaceCircuit',
    'insertItems',
    'admitBatch',
    'refuseBatch',
    'reopenForReview',
    'claimAudit',
    'sumHeld',
    'readHoldings',
    'storeAudit',
  ],
};
/** All other calls: who is aimed may die at these as well. */
const LOOKS: Readonly<Record<ChaosFunction, readonly string[]>> = {
  pay: [
    'serverTimeMs',
    'readBreaker',
    'readCircuit',
    'findPayment',
    'findPayments',
    'findByKey',
    'findBatch',
    'readSolidHead',
  ],
  settle: [
    'serverTimeMs',
    'readBreaker',
    'readCircuit',
    'findPayment',
    'findPayments',
    'findBatch',
    'firstDueMs',
    'readSolidHead',
  ],
};

/** Keeps a number of instances of one function alive, each until its fate. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #nursery: Nursery;
  readonly #living = new Map<Child, Fate>();
  readonly #restingUntilMs = new Map<number, number>();
  readonly #lanes: Promise<void>[];
  #calm = false;
  #stopped = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    const { bundles, environment, logFd } = options;
    const folder = bundles.folders[options.function];
    this.#nursery = new Nursery({ programs: bundles, folder, environment, logFd });
    this.#lanes = Array.from({ length: options.size }, (_, lane) => this.#run(lane));
  }

  /** From now on nobody dies: the doomed are replaced. */
  calm(): void {
    this.#calm = true;
    for (const [child, fate] of this.#living) if (fate !== FOREVER) child.signal('SIGKILL');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const child of this.#living.keys()) child.signal('SIGKILL');
    await Promise.all(this.#lanes);
    this.#nursery.stop();
  }

  async #run(lane: number): Promise<void> {
    const { size, ports } = this.#options;
    const mine = ports.filter((_, index) => index % size === lane);
    for (let life = 0; !this.#stopped; life += 1) {
      const port = mine[life % mine.length] ?? 0;
      await sleep(Math.max(0, (this.#restingUntilMs.get(port) ?? 0) - Date.now()));
      if (this.#stopped) return;
      const death = await this.#live(port, this.#calm ? FOREVER : this.#drawFate());
      this.#restingUntilMs.set(port, Date.now() + PORT_REST_MS);
      if (!this.#calm && !this.#stopped) this.#options.onDeath(death);
    }
  }

  #drawFate(): Fate {
    const { random } = this.#options;
    const killAfterMs = random.between(3_000, 6_000);
    if (random.chance(0.01)) {
      const freeze = { atMs: random.between(200, 1_500), forMs: random.between(7_500, 10_000) };
      return { ...FOREVER, killAfterMs: freeze.atMs + freeze.forMs + random.between(100, 2_000), freeze };
    }
    if (random.chance(0.15)) return { ...FOREVER, killAfterMs: random.between(100, 1_800), isEarly: true };
    const turningPoints = TURNING_POINTS[this.#options.function];
    if (random.chance(0.5)) {
      const calls = [...turningPoints, ...LOOKS[this.#options.function]];
      const places = this.#options.aims.leastKilled(calls, random.pick(AIMED_PLACES), random);
      return { ...FOREVER, places, killAfterMs: killAfterMs + AIMED_PATIENCE_MS };
    }
    const turn = random.chance(0.75) ? random.pick(turningPoints) : '';
    // Just before it, just after it, or some way on.
    const stepsMax = turn === '' ? STEPS_MAX : random.chance(0.6) ? 2 : STEPS_AFTER_MAX;
    const dieAt = random.between(1, stepsMax);
    return { ...FOREVER, dieAt, countFrom: turn, killAfterMs };
  }

  async #live(port: number, fate: Fate): Promise<Death> {
    const { dieAt, countFrom, places } = fate;
    const child = await this.#nursery.bear({ port, dieAt, countFrom, places });
    // Calm, or the end, may have come while it was being born.
    if (this.#stopped || (this.#calm && fate !== FOREVER)) child.signal('SIGKILL');
    this.#living.set(child, fate);
    const timers: NodeJS.Timeout[] = [];
    const after = (ms: number, signal: NodeJS.Signals) => {
      timers.push(setTimeout(() => child.signal(signal), ms));
    };
    const clear = () => {
      for (const timer of timers.splice(0)) clearTimeout(timer);
    };
    const begin = () => {
      clear();
      if (fate.killAfterMs !== null) after(fate.killAfterMs, 'SIGKILL');
      if (fate.freeze === null) return;
      after(fate.freeze.atMs, 'SIGSTOP');
      after(fate.freeze.atMs + fate.freeze.forMs, 'SIGCONT');
    };
    if (fate.isEarly) begin();
    else {
      // Should it never come so far, it is killed as well.
      if (fate !== FOREVER) after(START_MS_MAX, 'SIGKILL');
      void child.serving.then(begin);
    }
    const { signal, code, lastWords } = await child.died;
    clear();
    this.#living.delete(child);
    const killed = signal === 'SIGKILL';
    const outside = fate.freeze === null ? 'at random' : 'after a freeze';
    const place = killed ? (lastWords ?? outside) : `ended by itself (${signal ?? `code ${code}`})`;
    return { function: this.#options.function, place, killed };
  }
}
