import type { PaymentDocument } from '../../shared/adapters/mongo/documents.ts';
import { isTripped } from '../../shared/domain/circuit.ts';
import { operateBreaker } from '../../shared/usecases/operate-breaker.ts';
import type { Violation } from '../chaos/checker.ts';
import { idle } from '../support/actor.ts';
import { type Act, drawScript, nameOf, perform, rule, settleOnce } from './acts.ts';
import { RECEPTIONS } from './forking-chain.ts';
import type { Mutant } from './mutants.ts';
import { judge, judgeAskedAgain } from './verdict.ts';
import { drawClockOffsetMs, type Instance, type SimulatedOrder, SimulatedWorld } from './world.ts';

/** What became of one schedule. */
export interface ScheduleResult {
  readonly violations: readonly Violation[];
  readonly processes: number;
  readonly happenings: number;
  readonly calls: number;
  readonly payments: number;
  readonly transfers: number;
}

export interface PlayOptions {
  readonly mutant?: Mutant | null;
  /** Told of each step, for those who read along. */
  readonly trace?: (line: string) => void;
}

/** More calls than any schedule needs: what makes them never ends. */
const CALLS_MAX = 20_000;
const ROUNDS_MAX = 120;
const OPERATOR = { by: 'operator', reason: 'all is well again' };

/** Plays the schedule that a seed decides, lets a lone settler end it, and judges what it left. */
export async function playSchedule(seed: number, options: PlayOptions = {}): Promise<ScheduleResult> {
  const world = new SimulatedWorld(seed, options.mutant ?? null, options.trace ?? null);
  const play = new Play(world);
  const violations: Violation[] = [];
  try {
    await play.run();
    await play.heal();
    violations.push(...judge(world));
    if (violations.length === 0) {
      const asked = await play.askAgain();
      if (asked.length > 0) violations.push(...judgeAskedAgain(world, asked));
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    violations.push({ rule: 'everything_ends', detail: error.message });
  }
  for (const { rule: broken, detail } of violations) world.tell(() => `BROKEN ${broken}: ${detail}`);
  return {
    violations,
    processes: play.instances.length,
    happenings: play.happenings,
    calls: world.store.calls + world.calls,
    payments: world.store.committed.payments().length,
    transfers: world.chain.paid.length,
  };
}

interface Happening {
  readonly weight: number;
  readonly happen: () => Promise<void> | void;
}

class Play {
  readonly world: SimulatedWorld;
  readonly instances: readonly Instance[];
  readonly #scripts: readonly (readonly Act[])[];
  readonly #happenings: readonly Happening[];
  readonly #weight: number;
  /** Stand still whatever happens, until so many happenings have passed. */
  readonly #frozenUntil = new Map<Instance, number>();
  #living: number;
  happenings = 0;

  constructor(world: SimulatedWorld) {
    this.world = world;
    const { random } = world;
    const processes = random.between(2, 4);
    this.instances = Array.from({ length: processes }, (_, index) => {
      const instance = world.instance(`process-${index + 1}`);
      instance.clockOffsetMs = drawClockOffsetMs(random);
      return instance;
    });
    this.#scripts = this.instances.map((_, index) => drawScript(random, world.orders, index === 0));
    this.#living = processes;
    this.#happenings = this.#drawHappenings();
    this.#weight = this.#happenings.reduce((sum, { weight }) => sum + weight, 0);
  }

  /** The processes run, and all goes wrong that this schedule has in store. */
  async run(): Promise<void> {
    const { world } = this;
    const { random } = world;
    for (const [index, instance] of this.instances.entries()) {
      void this.#live(instance, this.#scripts[index] ?? []);
    }
    await idle();
    const happeningsMax = random.between(15, 90);
    while (this.happenings < happeningsMax && this.#living > 0) {
      this.happenings += 1;
      await this.#draw().happen();
    }
    // Whoever still stands somewhere wakes last, with what it knew then.
    world.tell(() => 'all wake');
    while (this.#living > 0 || this.instances.some(({ actor }) => actor.waiting.length > 0)) {
      const ready = this.instances.filter(({ actor }) => actor.canStep);
      if (ready.length === 0) world.store.replicate();
      else await this.#step(random.pick(ready));
      if (world.store.calls > CALLS_MAX) throw new RangeError('the processes never came to an end');
    }
  }

  /** Everything works again: a lone settler ends what is left, before and after the last late writes. */
  async heal(): Promise<void> {
    const { world } = this;
    world.tell(() => 'all heals');
    world.store.heal();
    world.chain.heal();
    Object.assign(world, { isStopped: false, isVaultClosed: false, recipientsDenied: false });
    // Until fresh blocks are solid.
    world.pass(30_000);
    await this.#settleToTheEnd();
    if (world.store.late.length > 0) {
      for (const write of world.store.late.splice(0)) await write();
      await this.#settleToTheEnd();
    }
  }

  /**
   * Whoever was refused, or got no answer, asks again: with room under the limits, each key can be paid now.
   * @returns what was asked for again
   */
  async askAgain(): Promise<readonly SimulatedOrder[]> {
    const { world } = this;
    const refused = world.orders.filter(
      ({ answers }) => answers.length > 0 && answers.every(({ id }) => id === null),
    );
    if (refused.length === 0) return refused;
    const { limits } = world.rules;
    const enough = { hourlyMicro: 1_000_000n, dailyMicro: 1_000_000n };
    world.tell(() => 'all ask again');
    world.rules = {
      ...world.rules,
      limits: { USDT: enough, TRX: enough },
      feeLimitDailyMicro: 1_000_000n,
      amounts: { ...world.rules.amounts, approvalAboveMicro: { USDT: null, TRX: null } },
    };
    const engine = world.engine(null);
    for (const order of refused) {
      await perform(world, engine, { kind: 'pay', order, respondAsync: false }, 'caller');
    }
    await this.#settleToTheEnd();
    world.rules = { ...world.rules, limits };
    return refused;
  }

  async #live(instance: Instance, acts: readonly Act[]): Promise<void> {
    const { world } = this;
    for (const act of acts) {
      // Nothing is done before its turn, not even looking at the clock.
      try {
        await instance.actor.turn('start');
      } catch {
        continue;
      }
      world.tell(() => `${instance.name}: ${nameOf(act)} begins`);
      await perform(world, world.engine(instance), act, instance.name);
    }
    this.#living -= 1;
  }

  async #settleToTheEnd(): Promise<void> {
    const { world } = this;
    const engine = world.engine(null);
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const { circuit, pause } = world.store.committed.breaker;
      if (isTripped(circuit)) await operateBreaker(engine, 'reset', OPERATOR);
      if (pause !== null) await operateBreaker(engine, 'resume', OPERATOR);
      await rule(world, engine);
      await settleOnce(world, engine);
      if (this.#isOver()) return;
      world.pass(this.#untilNextVisitMs());
    }
    throw new RangeError(`a lone settler never came to an end: ${this.#describeOpen()}`);
  }

  #isOver(): boolean {
    const { breaker, collections } = this.world.store.committed;
    if (breaker.circuit.kind !== 'closed' || breaker.transitions.length > 0) return false;
    for (const document of collections.payments.values()) {
      const { settleAtMs, status } = document as unknown as PaymentDocument;
      if (settleAtMs !== undefined || status === 'needs_review') return false;
    }
    return true;
  }

  #describeOpen(): string {
    return this.world.store.committed
      .payments()
      .map(({ id, status, reason }) => `${id} is ${status} (${reason ?? 'no reason'})`)
      .join(', ');
  }

  /** Until something is due. A clock that was an hour ahead for a while has left its hour in what is stored. */
  #untilNextVisitMs(): number {
    const { store, nowMs, rules } = this.world;
    const { circuit } = store.committed.breaker;
    // While the circuit is open, every visit would end in vain.
    if (circuit.kind === 'open') {
      return Math.max(3_000, circuit.openedAtMs + rules.circuit.recoveryTimeoutMs - nowMs);
    }
    const instants: number[] = [];
    for (const document of store.committed.collections.payments.values()) {
      const { settleAtMs } = document as { settleAtMs?: number };
      if (settleAtMs !== undefined) instants.push(settleAtMs);
    }
    if (circuit.kind === 'half_open') instants.push(...circuit.permits.map(({ expiresAtMs }) => expiresAtMs));
    return instants.length === 0 ? 3_000 : Math.max(3_000, Math.min(...instants) - nowMs);
  }

  #draw(): Happening {
    let left = this.world.random.below(this.#weight);
    for (const happening of this.#happenings) {
      left -= happening.weight;
      if (left < 0) return happening;
    }
    throw new RangeError('nothing can happen');
  }

  async #step(instance: Instance): Promise<void> {
    await instance.actor.step((count) => this.world.random.below(count));
  }

  /** Each schedule has its own mixture, so that what is rare in one is frequent in another. */
  #drawHappenings(): Happening[] {
    const { world } = this;
    const { random, store, chain } = world;
    const anyone = () => random.pick(this.instances);
    const node = () => random.pick(chain.nodes);
    const tell = (line: () => string) => world.tell(line);
    const toggle =
      (what: string, set: (on: boolean) => void, share = 0.5) =>
      () => {
        const on = random.chance(share);
        set(on);
        tell(() => `${what}: ${on ? 'yes' : 'no'}`);
      };
    const always: Happening[] = [
      { weight: 24, happen: () => this.#runSomebody() },
      { weight: 8, happen: () => this.#letTimePass() },
    ];
    const sometimes: Happening[] = [
      {
        weight: 2,
        happen: async () => {
          const instance = anyone();
          // Standing before no call, it has nothing under way that could be lost.
          if (instance.actor.waiting.length === 0) return;
          tell(() => `${instance.name} dies`);
          await instance.die();
        },
      },
      {
        weight: 4,
        happen: () => {
          const instance = anyone();
          instance.connection.nextWrite = random.pick(['made', 'made_late', 'never_made']);
          tell(
            () =>
              `the next write of ${instance.name} is ${instance.connection.nextWrite}, and not acknowledged`,
          );
        },
      },
      {
        weight: 2,
        happen: async () => {
          const [write] = store.late.splice(random.below(Math.max(1, store.late.length)), 1);
          if (write === undefined) return;
          tell(() => 'a late write is made');
          await write();
        },
      },
      {
        weight: 3,
        happen: () => {
          const instance = anyone();
          const happenings = random.between(3, 20);
          this.#frozenUntil.set(instance, this.happenings + happenings);
          tell(() => `${instance.name} freezes for ${happenings} happenings`);
        },
      },
      {
        weight: 2,
        happen: () => {
          const instance = anyone();
          toggle(`${instance.name} cannot reach the store`, (on) => {
            instance.connection.isCut = on;
          })();
        },
      },
      {
        weight: 2,
        happen: () => {
          const instance = anyone();
          toggle(`${instance.name} cannot reach the chain`, (on) => {
            instance.isCutFromChain = on;
          })();
        },
      },
      {
        weight: 2,
        happen: () => {
          const instance = anyone();
          instance.clockOffsetMs = drawClockOffsetMs(random);
          tell(() => `the clock of ${instance.name} is off by ${instance.clockOffsetMs} ms`);
        },
      },
      {
        weight: 4,
        happen: () => {
          if (store.unreplicated > 0 && random.chance(0.6)) {
            const count = random.between(1, store.unreplicated);
            store.replicate(count);
            tell(() => `a majority takes over ${count} writes`);
          } else
            toggle('the majority lags', (on) => {
              store.lags = on;
            })();
        },
      },
      {
        weight: 2,
        happen: () => this.#failOver(),
      },
      {
        weight: 2,
        happen: () => {
          const asked = node();
          toggle(`${asked.name} is away`, (on) => {
            asked.isAway = on;
          })();
        },
      },
      {
        weight: 2,
        happen: () => {
          const asked = node();
          asked.lag = random.chance(0.5) ? 0 : random.between(1, 15);
          tell(() => `${asked.name} is ${asked.lag} blocks behind`);
        },
      },
      {
        weight: 5,
        happen: () => {
          const asked = node();
          asked.reception = random.pick(RECEPTIONS);
          tell(() => `${asked.name} now ${asked.reception}`);
        },
      },
      {
        weight: 1,
        happen: () => {
          const asked = node();
          toggle(
            `${asked.name} lies`,
            (on) => {
              asked.lies = on;
            },
            0.3,
          )();
        },
      },
      {
        weight: 3,
        happen: toggle(
          'the chain is congested',
          (on) => {
            chain.isCongested = on;
          },
          0.6,
        ),
      },
      {
        weight: 2,
        happen: toggle('no block becomes solid', (on) => {
          chain.isStalled = on;
        }),
      },
      {
        weight: 1,
        happen: toggle(
          'there are no blocks',
          (on) => {
            chain.isHalted = on;
          },
          0.3,
        ),
      },
      {
        weight: 1,
        happen: toggle('transfers revert', (on) => {
          chain.reverts = on;
        }),
      },
      {
        weight: 3,
        happen: () => {
          const depth = chain.fork();
          tell(() => `${depth} blocks are replaced`);
        },
      },
      {
        weight: 3,
        happen: () => {
          const txId = chain.resurrect();
          tell(() => `somebody sends again: ${txId}`);
        },
      },
      {
        weight: 2,
        happen: () => {
          chain.refusal = random.chance(0.5)
            ? null
            : random.pick(['insufficient_funds', 'simulation_failed']);
          tell(() => `transfers are refused: ${chain.refusal}`);
        },
      },
      {
        weight: 2,
        happen: () => {
          chain.reprice();
          tell(() => `a transfer may burn ${chain.priceMicro}`);
        },
      },
      {
        weight: 1,
        happen: toggle(
          'all recipients are denied',
          (on) => {
            world.recipientsDenied = on;
          },
          0.4,
        ),
      },
      {
        weight: 1,
        happen: toggle(
          'an operator stops payments',
          (on) => {
            world.isStopped = on;
          },
          0.3,
        ),
      },
      {
        weight: 1,
        happen: toggle(
          'stored bytes cannot be read',
          (on) => {
            world.isVaultClosed = on;
          },
          0.3,
        ),
      },
    ];
    const share = random.pick([0.15, 0.3, 0.5]);
    return [...always, ...sometimes.filter(() => random.chance(share))];
  }

  async #runSomebody(): Promise<void> {
    const { random } = this.world;
    const awake = this.instances.filter(
      (instance) => (this.#frozenUntil.get(instance) ?? 0) <= this.happenings && instance.actor.canStep,
    );
    if (awake.length === 0) return;
    const instance = random.pick(awake);
    const calls = random.pick([1, random.between(1, 6), random.between(4, 40)]);
    for (let call = 0; call < calls && instance.actor.canStep; call += 1) await this.#step(instance);
  }

  #letTimePass(): void {
    const { world } = this;
    const { random } = world;
    const draw = random.below(10);
    const durationMs =
      draw < 4
        ? random.between(1, 12_000)
        : draw < 8
          ? this.#toAnInstantOfInterestMs()
          : random.between(12_000, 130_000);
    world.pass(durationMs);
    world.tell(() => `${durationMs} ms pass`);
  }

  /** Just before, at, or after the end of a lease, an expiration, or the last moment to pay. */
  #toAnInstantOfInterestMs(): number {
    const { store, nowMs, random, rules } = this.world;
    const instants: number[] = [];
    for (const document of store.primary.collections.payments.values()) {
      const { settleAtMs, payByMs, attempts } = document as unknown as PaymentDocument;
      if (settleAtMs !== undefined) instants.push(settleAtMs);
      instants.push(payByMs);
      const attempt = attempts?.at(-1);
      if (attempt !== undefined) {
        instants.push(attempt.expirationMs, attempt.expirationMs + rules.expirationMarginMs);
      }
    }
    const ahead = instants.filter((atMs) => atMs > nowMs);
    if (ahead.length === 0) return random.between(1, 12_000);
    return Math.max(1, random.pick(ahead) - nowMs + random.pick([-1, 0, 1, 3_000, 9_000]));
  }

  #failOver(): void {
    const { random, store } = this.world;
    const keepsFormer = random.chance(0.5);
    const draw = random.below(10);
    const clockOffsetMs =
      draw < 5 ? 0 : draw < 9 ? random.between(-50_000, 50_000) : random.between(-3_600_000, 3_600_000);
    store.failOver(keepsFormer, clockOffsetMs);
    for (const { connection } of this.instances) connection.isStale = keepsFormer && random.chance(0.5);
    this.world.tell(
      () =>
        `another server is primary, its clock off by ${clockOffsetMs} ms${keepsFormer ? '; the old one does not know' : ''}`,
    );
  }
}
