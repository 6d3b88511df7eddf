import type { PaymentDocument } from '../../shared/adapters/mongo/documents.ts';
import { isTripped } from '../../shared/domain/circuit.ts';
import { operateBreaker } from '../../shared/usecases/operate-breaker.ts';
import type { Violation } from '../chaos/checker.ts';
import { idle } from '../support/actor.ts';
import { type Act, drawScript, nameOf, perform, settleOnce } from './acts.ts';
import { drawMixture, HAPPENINGS, type Mixture, type Stage } from './happenings.ts';
import type { Mutant } from './mutants.ts';
import { judge, judgeAskedAgain } from './verdict.ts';
import { drawClockOffsetMs, Instance, type SimulatedOrder, SimulatedWorld } from './world.ts';

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
/** What is sent is in a solid block by then. */
const LANDING_MS = 60_000;
/** A lone settler waits at most for the hour by which a clock may have been ahead. */
const WAIT_MS_MAX = 4_000_000;
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
    payments: world.store.committed.collections.payments.size,
    transfers: world.chain.paid.length,
  };
}

/** Nobody is led further than this. */
const LEAD_MAX = 100;
/** The calls that change something for all. */
const CHANGES: ReadonlySet<string> = new Set(['insertOne', 'updateOne', 'broadcast']);
/** Where a settler stands before it begins. */
const IDLE_SETTLER = 'settle';
const NOBODY: ReadonlySet<Instance> = new Set();

class Play implements Stage {
  readonly world: SimulatedWorld;
  readonly instances: readonly Instance[];
  readonly #begins: SimulatedWorld['focus']['begins'];
  readonly #scripts: readonly (readonly Act[])[];
  readonly #mixture: Mixture;
  readonly #weight: number;
  /** Stand still whatever happens, until so many happenings have passed. */
  readonly #frozenUntil = new Map<Instance, number>();
  #last: Instance | undefined;
  #living: number;
  /** From now on nothing is begun any more. */
  #isEnding = false;
  happenings = 0;
  readonly #choose = (count: number) => this.world.random.below(count);

  constructor(world: SimulatedWorld) {
    this.world = world;
    const { random, focus } = world;
    this.instances = random.several(2, 4, (index) => {
      const instance = new Instance(`process-${index + 1}`);
      instance.clockOffsetMs = drawClockOffsetMs(random);
      return instance;
    });
    this.#begins = random.chance(0.8) ? focus.begins : undefined;
    // One pays, or nothing would happen.
    this.#scripts = this.instances.map((_, index) => [
      ...this.#beginOfScript(index),
      ...drawScript(random, world, index === 0 && this.#begins === undefined),
    ]);
    this.#living = this.instances.length;
    this.#mixture = drawMixture(world, focus.frequent);
    this.#weight = this.#mixture.reduce((sum, [, weight]) => sum + weight, 0);
  }

  freeze = (instance: Instance, happenings: number): void => {
    this.#frozenUntil.set(instance, this.happenings + happenings);
  };

  /** The processes run, and all goes wrong that this schedule has in store. */
  async run(): Promise<void> {
    const { world } = this;
    const { random } = world;
    await this.#begin();
    for (const [index, instance] of this.instances.entries()) {
      void this.#live(instance, this.#scripts[index] ?? []);
    }
    await idle();
    if (this.#begins === 'amid_a_retry') await this.#leadAmidARetry();
    const happeningsMax = random.between(20, 92);
    while (this.happenings < happeningsMax && this.#living > 0) {
      this.happenings += 1;
      await this.#happen();
    }
    this.#isEnding = true;
    // Whoever still stands somewhere wakes late, with what it knew then; some only when all is over.
    const sleepers = random.chance(0.5) ? new Set([random.pick(this.instances)]) : NOBODY;
    await this.#wake(this.instances.filter((instance) => !sleepers.has(instance)));
  }

  /** What was before: the first order is at a point to which chance alone rarely leads. */
  async #begin(): Promise<void> {
    const { world } = this;
    const { chain, orders, random, rules } = world;
    const [order] = orders;
    if (this.#begins === undefined || order === undefined) return;
    world.tell(() => `it begins ${this.#begins}`);
    if (this.#begins !== 'with_an_expired_attempt') chain.refusal = 'insufficient_funds';
    for (const node of chain.nodes) node.reception = 'drops';
    await perform(world, world.engine(null), { kind: 'pay', order, respondAsync: false }, 'caller');
    chain.heal();
    if (this.#begins === 'with_an_expired_attempt') {
      const { expirationMs, expirationMarginMs, payByMs, leaseMs } = rules;
      // One lease of a settler before the last moment to pay, or at any time.
      const beforeLastMs = random.chance(0.6) ? payByMs - leaseMs - random.between(500, 8_000) : 0;
      world.pass(Math.max(beforeLastMs, expirationMs + expirationMarginMs + random.between(0, 15_000)));
    }
  }

  #beginOfScript(index: number): readonly Act[] {
    const [order] = this.world.orders;
    if (this.#begins !== 'amid_a_retry' || order === undefined) return [];
    if (index === 0) return [{ kind: 'pay', order, respondAsync: false }];
    return index === 1 ? [{ kind: 'settle' }] : [];
  }

  /**
   * The first process asks for a refused key again and stands still, having read the attempt that a settler made
   * meanwhile. That attempt expires, and the second process stands before it stores the next one while the last moment
   * to pay passes.
   */
  async #leadAmidARetry(): Promise<void> {
    const { world } = this;
    const { chain, random, rules } = world;
    const [asking, signing] = this.instances;
    if (asking === undefined || signing === undefined) return;
    const payment = () => [...world.documents][0];
    await this.#leadUntil(asking, () => payment()?.generation === 1);
    for (const node of chain.nodes) node.reception = 'drops';
    world.pass(rules.leaseMs + 1);
    await settleOnce(world, world.engine(null));
    await this.#step(asking);
    chain.heal();
    world.pass(Math.max(0, (payment()?.payByMs ?? 0) - world.nowMs - random.between(500, 6_000)));
    await this.#leadUntil(signing, () => payment()?.attemptNumber === 2);
    await this.#leadUntil(signing, () => signing.actor.waiting.some(({ name }) => name === 'updateOne'));
    world.pass(Math.max(0, (payment()?.payByMs ?? 0) - world.nowMs) + random.between(0, 2_000));
    world.tell(() => 'so far it was led');
  }

  async #leadUntil({ actor }: Instance, isThere: () => boolean): Promise<void> {
    for (let call = 0; call < LEAD_MAX && actor.canStep && !isThere(); call += 1) await actor.step();
  }

  /** Everything works again: a lone settler ends what is left, before and after the last ones wake. */
  async heal(): Promise<void> {
    const { world } = this;
    const { late } = world.store;
    world.tell(() => 'all heals');
    world.heal();
    await this.#settleToTheEnd();
    if (late.length === 0 && this.#living === 0) return;
    // Where those who woke have changed nothing, nothing is left to settle; what they sent has the time to land.
    const { writes } = world.store.committed;
    const { size: landed } = world.chain.included;
    await this.#wake(this.instances);
    for (const write of late.splice(0)) write();
    world.pass(LANDING_MS);
    const isChanged = world.store.committed.writes > writes || world.chain.included.size > landed;
    if (isChanged) await this.#settleToTheEnd();
  }

  /** These processes go on to their ends. */
  async #wake(instances: readonly Instance[]): Promise<void> {
    const { world } = this;
    world.tell(() => `these wake: ${instances.map(({ name }) => name).join(', ')}`);
    for (;;) {
      const standing = instances.filter(({ actor }) => actor.waiting.length > 0);
      if (standing.length === 0) return;
      const ready = standing.filter(({ actor }) => actor.canStep);
      if (ready.length === 0) world.store.replicate();
      else await this.#step(world.random.pick(ready));
      if (world.store.calls > CALLS_MAX) throw new RangeError('the processes never came to an end');
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
    world.pass(this.#untilNextVisitMs());
    await this.#settleToTheEnd();
    world.rules = { ...world.rules, limits };
    return refused;
  }

  async #live(instance: Instance, acts: readonly Act[]): Promise<void> {
    const { world } = this;
    for (const act of acts) {
      // Nothing is done before its turn, not even looking at the clock.
      if (this.#isEnding) break;
      try {
        await instance.actor.turn(act.kind === 'settle' ? IDLE_SETTLER : 'start');
      } catch {
        continue;
      }
      if (this.#isEnding) break;
      world.tell(() => `${instance.name}: ${nameOf(act)} begins`);
      await perform(world, world.engine(instance), act, instance.name);
    }
    this.#living -= 1;
  }

  async #settleToTheEnd(): Promise<void> {
    const { world } = this;
    const engine = world.engine(null);
    for (let round = 0; !this.#isOver(); round += 1) {
      if (round === ROUNDS_MAX) {
        throw new RangeError(`a lone settler never came to an end: ${this.#describeOpen()}`);
      }
      if (round > 0) world.pass(this.#untilNextVisitMs());
      if (isTripped(world.circuit)) await operateBreaker(engine, 'reset', OPERATOR);
      if (world.breaker.pause !== null) await operateBreaker(engine, 'resume', OPERATOR);
      await perform(world, engine, { kind: 'resolve' }, 'operator');
      await settleOnce(world, engine);
    }
  }

  #isOver(): boolean {
    const { breaker, circuit, documents } = this.world;
    if (circuit.kind !== 'closed' || breaker.pause !== null || breaker.transitions.length > 0) return false;
    for (const { settleAtMs, status } of documents) {
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

  /**
   * Until a visit is due that can find something. A clock that was an hour ahead for a while has left its hour in what
   * is stored.
   */
  #untilNextVisitMs(): number {
    const { circuit, documents, nowMs, rules } = this.world;
    // While the circuit is open, every visit would end in vain.
    if (circuit.kind === 'open') {
      return Math.max(3_000, circuit.openedAtMs + rules.circuit.recoveryTimeoutMs - nowMs);
    }
    if (circuit.kind === 'half_open') {
      const heldUntilMs = circuit.permits
        .map(({ expiresAtMs }) => expiresAtMs)
        .filter((atMs) => atMs > nowMs);
      // So it is while others, who died, hold all the permits.
      if (heldUntilMs.length >= rules.circuit.halfOpenMaxCalls) {
        return Math.max(3_000, Math.min(WAIT_MS_MAX, Math.min(...heldUntilMs) - nowMs));
      }
    }
    const instants: number[] = [];
    for (const document of documents) {
      const { settleAtMs } = document;
      if (settleAtMs !== undefined) instants.push(Math.max(settleAtMs, this.#newsAtMs(document)));
    }
    return instants.length === 0 ? 3_000 : Math.max(3_000, Math.min(...instants) - nowMs);
  }

  /** From when on the chain tells more of what is out of a payment; before, one visit would find what another did. */
  #newsAtMs({ status, attempts }: PaymentDocument): number {
    const { chain, rules } = this.world;
    const attempt = status === 'signed' || status === 'broadcast' ? attempts.at(-1) : undefined;
    if (attempt === undefined) return 0;
    const { txId, expirationMs } = attempt;
    return chain.newsAtMs(txId, expirationMs, rules.expirationMarginMs, rules.confirmationsRequired);
  }

  #happen(): Promise<void> | void {
    let left = this.world.random.below(this.#weight);
    for (const [name, weight] of this.#mixture) {
      left -= weight;
      if (left >= 0) continue;
      if (name === 'calls') return this.#runSomebody();
      if (name === 'time') return this.#letTimePass();
      return HAPPENINGS[name].happen(this);
    }
  }

  #step(instance: Instance): Promise<void> {
    return instance.actor.step(this.#choose);
  }

  async #runSomebody(): Promise<void> {
    const { random } = this.world;
    const awake = this.instances.filter(
      (instance) =>
        (this.#frozenUntil.get(instance) ?? 0) <= this.happenings &&
        instance.actor.canStep &&
        !this.#isIdle(instance),
    );
    if (awake.length === 0) {
      // All may be waiting for the majority.
      if (random.chance(0.3)) this.world.store.replicate();
      return this.#letTimePass();
    }
    // Often the same again: one goes far while the others stand where they are.
    const instance = awake.find((one) => one === this.#last && random.chance(0.6)) ?? random.pick(awake);
    this.#last = instance;
    const calls = random.pick([1, random.between(1, 6), random.between(4, 40)]);
    // Where it is most dangerous to stand still: just before a change, on what was read long ago.
    const stopsBeforeChange = random.chance(0.5);
    const stopsBefore = (call: string): boolean =>
      call === IDLE_SETTLER ? this.#isNothingDue() : stopsBeforeChange && CHANGES.has(call);
    await instance.actor.go({ calls, stopsBefore, choose: this.#choose });
  }

  /** Whether it would only settle what is not due yet. */
  #isIdle({ actor }: Instance): boolean {
    return actor.waiting[0]?.name === IDLE_SETTLER && this.#isNothingDue();
  }

  /** Whether a settler would find nothing to do; now and then one begins even so. */
  #isNothingDue(): boolean {
    const { breaker, documents, focus, random, store } = this.world;
    if (breaker.transitions.length > 0 || random.chance(focus.idleRuns)) return false;
    const nowMs = store.serverTimeMs();
    for (const { settleAtMs } of documents) if (settleAtMs !== undefined && settleAtMs <= nowMs) return false;
    return true;
  }

  #letTimePass(): void {
    const { world } = this;
    const { random } = world;
    const draw = random.below(20);
    const durationMs =
      draw < 9
        ? random.between(1, 6_000)
        : draw < 18
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
    if (ahead.length === 0) return random.between(1, 6_000);
    const atMs = random.chance(0.7) ? Math.min(...ahead) : random.pick(ahead);
    return Math.max(1, atMs - nowMs + random.pick([-1, 0, 1, 3_000, 9_000]));
  }
}
