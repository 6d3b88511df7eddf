import { ServiceError } from '../../shared/domain/errors.ts';
import type { PaymentRules } from '../../shared/usecases/payment-rules.ts';
import type { Mutant } from '../simulate/mutants.ts';
import {
  type Chain,
  headAt,
  include,
  planAt,
  sendBytes,
  testify,
  timeOf,
  type Witness,
  withoutExpired,
} from './chain.ts';
import { engineOf, MODEL_RULES } from './engine.ts';
import { LoneProcess } from './lone-settler.ts';
import { type Faults, type Model, NO_FAULTS } from './model.ts';
import { type Answer, type Call, Script, Stage, type Standing } from './script.ts';
import { Shelf, textOf } from './shelf.ts';
import { factsOf, findUntruth, reservesInPause, type Truth } from './truths.ts';
import { Desk, type World } from './world.ts';

export interface Bounds {
  readonly statesMax: number;
  readonly depthMax: number;
}
export const NO_BOUNDS: Bounds = {
  statesMax: Number.POSITIVE_INFINITY,
  depthMax: Number.POSITIVE_INFINITY,
};

export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  /** Different stores, chains and times: each was judged, and settled to its end. */
  readonly worlds: number;
  readonly depth: number;
  readonly durationMs: number;
  /** The states that payments and batches were seen in. */
  readonly statuses: readonly string[];
  /** Whether every state was visited. */
  readonly isComplete: boolean;
  readonly broken: Broken | null;
}

/** A truth that does not hold, and the shortest way to where it does not. */
export interface Broken {
  readonly truth: Truth;
  readonly steps: readonly string[];
  readonly detail: string;
}

/** A state of a model: the world, where each process stands, and what is yet to come. */
interface State {
  readonly world: World;
  readonly places: readonly Place[];
  /** Writes that nobody was told about, and that may be made at any time. */
  readonly late: readonly Call[];
  readonly faults: Faults;
}
/** A process: which of its runs it is at, and how far; null once it has nothing left to do. */
interface Place {
  readonly run: number;
  readonly standing: Standing | null;
}
interface Performed {
  readonly documents: readonly number[];
  readonly value: unknown;
}
interface Step {
  readonly label: string;
  readonly state: State;
}

type Told = (states: number, depth: number) => void;

const PROGRESS_EVERY = 5_000;

/**
 * Visits every state of a model, breadth first, and judges each. States that differ in nothing that can matter are
 * one, so the search ends by itself.
 * @param told now and then, with what was done so far
 */
export function explore(
  model: Model,
  mutant: Mutant | null = null,
  bounds: Bounds = NO_BOUNDS,
  told: Told = () => {},
): Promise<Exploration> {
  return new Search(model, mutant, bounds, told).run();
}

class Search {
  readonly #model: Model;
  readonly #bounds: Bounds;
  readonly #told: Told;
  readonly #rules: PaymentRules;
  readonly #shelf = new Shelf();
  readonly #desk = new Desk(this.#shelf);
  readonly #lone: LoneProcess;
  readonly #isHonest: boolean;
  /** For each process the script of each of its runs. */
  readonly #scripts: readonly (readonly Script[])[];
  readonly #chainKeys = new Map<string, number>();
  readonly #chainKeyOf = new WeakMap<Chain, number>();
  readonly #lateKeys = new Map<string, number>();
  readonly #performed = new WeakMap<Call, Map<string, Performed>>();
  readonly #described = new WeakMap<Call, string>();
  readonly #judged = new Map<string, Truth | null>();
  readonly #visited = new Map<string, number>();
  readonly #parents: number[] = [];
  readonly #labels: string[] = [];
  readonly #statuses = new Set<string>();
  #transitions = 0;
  #detail = '';

  constructor(model: Model, mutant: Mutant | null, bounds: Bounds, told: Told) {
    this.#model = model;
    this.#bounds = {
      ...bounds,
      statesMax: Math.min(bounds.statesMax, model.statesMax ?? bounds.statesMax),
    };
    this.#told = told;
    this.#rules = { ...MODEL_RULES, ...model.rules };
    this.#isHonest = model.endsWrongly !== true;
    this.#lone = new LoneProcess(this.#desk, this.#rules, mutant, this.#isHonest, (world) =>
      this.#worldKey(world),
    );
    const stage = new Stage();
    this.#scripts = model.actors.map(({ name, runs }) =>
      runs.map(
        (task, run) =>
          new Script(stage, (ports) =>
            task(engineOf(`${name}${run + 1}`, ports, this.#rules, mutant), ports),
          ),
      ),
    );
  }

  async run(): Promise<Exploration> {
    const startedAtMs = Date.now();
    let depth = 0;
    let broken: Broken | null = null;
    let frontier = [await this.#start()];
    let isComplete = true;
    const [first] = frontier;
    if (first !== undefined) broken = await this.#visit(first, 'start', -1);
    search: while (frontier.length > 0 && broken === null) {
      if (depth >= this.#bounds.depthMax) {
        isComplete = false;
        break;
      }
      depth += 1;
      const next: State[] = [];
      for (const state of frontier) {
        const from = this.#visited.get(this.#key(state)) ?? -1;
        for (const step of await this.#steps(state)) {
          this.#transitions += 1;
          if (this.#visited.has(this.#key(step.state))) continue;
          broken = await this.#visit(step.state, step.label, from);
          broken ??= this.#judgeStep(state.world, step, from);
          if (broken !== null) break search;
          if (this.#visited.size % PROGRESS_EVERY === 0) this.#told(this.#visited.size, depth);
          if (this.#visited.size >= this.#bounds.statesMax) {
            isComplete = false;
            break search;
          }
          next.push(step.state);
        }
      }
      frontier = next;
    }
    return {
      states: this.#visited.size,
      transitions: this.#transitions,
      worlds: this.#judged.size,
      depth,
      statuses: [...this.#statuses].sort(),
      durationMs: Date.now() - startedAtMs,
      isComplete: isComplete && broken === null,
      broken,
    };
  }

  async #start(): Promise<State> {
    let world = this.#desk.emptyWorld();
    for (const [index, task] of (this.#model.before ?? []).entries()) {
      world = await this.#lone.does(world, `B${index + 1}`, task);
    }
    const tick = this.#model.startTick ?? 0;
    world = { ...world, tick, chain: withoutExpired(world.chain, timeOf(tick)) };
    const places: Place[] = [];
    for (const actor of this.#scripts.keys()) places.push(await this.#placeAt(actor, 0));
    return { world, places, late: [], faults: { ...NO_FAULTS, ...this.#model.faults } };
  }

  async #visit(state: State, label: string, from: number): Promise<Broken | null> {
    const index = this.#parents.length;
    this.#visited.set(this.#key(state), index);
    this.#parents.push(from);
    this.#labels.push(label);
    const mistake = state.places.flatMap(({ standing }) => standing?.mistakes ?? []).at(0);
    if (mistake !== undefined) return this.#brokenAt(index, 'no program makes a mistake', mistake);
    const truth = await this.#judge(state);
    return truth === null ? null : this.#brokenAt(index, truth, this.#detail);
  }

  #judgeStep(before: World, { label, state }: Step, from: number): Broken | null {
    const isSameBreaker = before.documents[0] === state.world.documents[0];
    if (isSameBreaker || !reservesInPause(factsOf(this.#shelf, before), factsOf(this.#shelf, state.world))) {
      return null;
    }
    const broken = this.#brokenAt(from, 'nothing is reserved while payments are paused', '');
    return { ...broken, steps: [...broken.steps, label], detail: this.#picture(state.world) };
  }

  #brokenAt(index: number, truth: Truth, detail: string): Broken {
    const steps: string[] = [];
    for (let at = index; at >= 0; at = this.#parents[at] ?? -1) steps.push(this.#labels[at] ?? '');
    return { truth, steps: steps.reverse(), detail };
  }

  // What can happen next.

  async #steps(state: State): Promise<Step[]> {
    const quiet = await this.#quietStep(state);
    if (quiet !== null) return quiet;
    const steps: Step[] = [];
    for (const [actor, { standing }] of state.places.entries()) {
      if (standing === null) continue;
      for (const call of standing.waiting) steps.push(...(await this.#callSteps(state, actor, call)));
      const crashed = await this.#crash(state, actor);
      if (crashed !== null) steps.push(crashed);
    }
    return [...steps, ...this.#chainSteps(state), ...(await this.#lateSteps(state))];
  }

  /**
   * Once time stands still for good, what only depends on time is the same before and after whatever others do: it
   * is asked at once, and no other order need be tried.
   */
  async #quietStep(state: State): Promise<Step[] | null> {
    if (state.world.tick < this.#model.ticks) return null;
    for (const [actor, { standing }] of state.places.entries()) {
      const call = standing?.waiting.find(({ method }) => this.#isTimeless(method, state.faults));
      if (call !== undefined) return this.#callSteps(state, actor, call);
    }
    return null;
  }

  #isTimeless(method: string, { refusals, absences }: Faults): boolean {
    if (method === 'prepareTransfer') return refusals === 0 && absences === 0;
    return TIMELESS.includes(method);
  }

  async #callSteps(state: State, actor: number, call: Call): Promise<Step[]> {
    if (call.port !== 'store') return this.#networkSteps(state, actor, call);
    const { documents, value } = await this.#perform(state.world, call);
    const world = { ...state.world, documents };
    const steps = [await this.#answer({ ...state, world }, actor, call, returns(value), '')];
    if (!isWrite(call) || state.faults.losses === 0) return steps;
    const faults = { ...state.faults, losses: state.faults.losses - 1 };
    const lost: Answer = { kind: 'error', error: LOST };
    steps.push(await this.#answer({ ...state, world, faults }, actor, call, lost, ', unacknowledged'));
    const late = [...state.late, call];
    steps.push(await this.#answer({ ...state, late, faults }, actor, call, lost, ', on its way'));
    return steps;
  }

  async #networkSteps(state: State, actor: number, call: Call): Promise<Step[]> {
    const { world, faults } = state;
    const { tick, chain } = world;
    const nowMs = timeOf(tick);
    const plain = (value: unknown, told = '') => this.#answer(state, actor, call, returns(value), told);
    switch (call.method) {
      case 'readSolidHead':
        return [await plain(headAt(tick))];
      case 'walkSolidBlocks':
      case 'readHoldings':
        return [await plain([])];
      case 'seePaid': {
        const [txIds] = call.args as [readonly string[]];
        return [await plain(chain.some(({ txId, state: is }) => is === 'paid' && txIds.includes(txId)))];
      }
      case 'prepareTransfer': {
        const steps = [await plain(planAt(tick))];
        const fault = async (name: 'refusals' | 'absences', error: ServiceError) => {
          if (faults[name] === 0) return;
          const less = { ...state, faults: { ...faults, [name]: faults[name] - 1 } };
          steps.push(await this.#answer(less, actor, call, { kind: 'error', error }, `, ${error.code}`));
        };
        await fault('refusals', POOR);
        await fault('absences', AWAY);
        return steps;
      }
      case 'broadcast': {
        const [bytes, txId] = call.args as [Uint8Array, string];
        const after = { ...state, world: { ...world, chain: sendBytes(chain, bytes, nowMs) } };
        const answers = [{ node: 'one', kind: 'accepted', code: 'SUCCESS' }];
        return [await this.#answer(after, actor, call, returns(answers), ` ${txId}`)];
      }
      case 'takeTestimony': {
        const [txId] = call.args as [string];
        const told = (as: Witness) => testify(chain, txId, tick, as);
        const steps = [await plain(told('true'))];
        const isIncluded = chain.some((held) => held.txId === txId && held.state !== 'out');
        if (faults.lies > 0 && isIncluded) {
          const less = { ...state, faults: { ...faults, lies: faults.lies - 1 } };
          steps.push(await this.#answer(less, actor, call, returns(told('absent')), ', a lie'));
        }
        if (faults.contradictions > 0) {
          const less = { ...state, faults: { ...faults, contradictions: faults.contradictions - 1 } };
          const answer = returns(told('contradictory'));
          steps.push(await this.#answer(less, actor, call, answer, ', contradictory'));
        }
        return steps;
      }
      default:
        throw new TypeError(`no such call here: ${call.method}`);
    }
  }

  #chainSteps(state: State): Step[] {
    const { world, faults } = state;
    const { tick, chain } = world;
    const steps: Step[] = [];
    for (const { txId, state: is } of chain) {
      if (is !== 'out') continue;
      const included = include(chain, txId, 'paid', timeOf(tick));
      steps.push({
        label: `chain: ${txId} moves money`,
        state: { ...state, world: { ...world, chain: included } },
      });
      if (faults.reverts === 0) continue;
      const reverted = include(chain, txId, 'reverted', timeOf(tick));
      steps.push({
        label: `chain: ${txId} reverts`,
        state: {
          ...state,
          world: { ...world, chain: reverted },
          faults: { ...faults, reverts: faults.reverts - 1 },
        },
      });
    }
    if (tick < this.#model.ticks) {
      const later = { ...world, tick: tick + 1, chain: withoutExpired(chain, timeOf(tick + 1)) };
      steps.push({ label: 'time passes', state: { ...state, world: later } });
    }
    return steps;
  }

  async #lateSteps(state: State): Promise<Step[]> {
    const steps: Step[] = [];
    for (const [index, call] of state.late.entries()) {
      const { documents } = await this.#perform(state.world, call);
      const world = this.#tidied({ ...state.world, documents }, state.places);
      const late = state.late.toSpliced(index, 1);
      steps.push({ label: `late: ${this.#describe(call)}`, state: { ...state, world, late } });
    }
    return steps;
  }

  /** A process ends where it stands, and its next run begins. */
  async #crash(state: State, actor: number): Promise<Step | null> {
    const place = state.places[actor];
    const scripts = this.#scripts[actor] ?? [];
    if (place === undefined || place.run + 1 >= scripts.length) return null;
    if (place.standing?.before === null) return null;
    const places = state.places.with(actor, await this.#placeAt(actor, place.run + 1));
    const world = this.#tidied(state.world, places);
    return { label: `${this.#nameOf(actor)} dies`, state: { ...state, world, places } };
  }

  async #answer(state: State, actor: number, call: Call, answer: Answer, told: string): Promise<Step> {
    const place = state.places[actor];
    if (place?.standing == null) throw new Error('nobody stands there');
    const { script } = place.standing;
    let standing: Standing | null = await script.answered(
      place.standing,
      call.number,
      this.#answerKey(answer),
      answer,
    );
    let next: Place = { run: place.run, standing };
    // A mistake is kept in sight; else a run that is over leaves nothing behind.
    if (standing.isOver && standing.mistakes.length === 0) {
      next = await this.#placeAt(actor, place.run + 1);
      standing = next.standing;
    }
    const places = state.places.with(actor, next);
    const world = this.#tidied(state.world, places);
    const label = `${this.#nameOf(actor)}: ${this.#describe(call)}${told}${tail(answer)}`;
    return { label, state: { ...state, world, places } };
  }

  async #placeAt(actor: number, run: number): Promise<Place> {
    const script = this.#scripts[actor]?.[run];
    return script === undefined ? { run: -1, standing: null } : { run, standing: await script.start() };
  }

  #describe(call: Call): string {
    return held(this.#described, call, () => describe(call));
  }

  #nameOf(actor: number): string {
    return this.#model.actors[actor]?.name ?? '?';
  }

  /** Makes a call of the store; the same call on the same documents is made once only. */
  async #perform(world: World, call: Call): Promise<Performed> {
    if (call.method === 'serverTimeMs') {
      return { documents: world.documents, value: timeOf(world.tick) };
    }
    const made = held(this.#performed, call, () => new Map<string, Performed>());
    const key = world.documents.join();
    let performed = made.get(key);
    if (performed === undefined) {
      const store = this.#desk.lay(world);
      const before = store.writes;
      const method = Reflect.get(store, call.method) as (...args: readonly unknown[]) => Promise<unknown>;
      const value = await Reflect.apply(method, store, call.args);
      performed = { documents: store.writes === before ? world.documents : this.#desk.take(), value };
      made.set(key, performed);
    }
    return performed;
  }

  /** Leases of runs that have ended are nobody's. */
  #tidied(world: World, places: readonly Place[]): World {
    const isRunning = (owner: string) =>
      places.some(({ run }, actor) => owner.startsWith(`${this.#nameOf(actor)}${run + 1}.`));
    const documents = world.documents.map((number) => this.#shelf.unowned(number, isRunning));
    return documents.some((number, index) => number !== world.documents[index])
      ? { ...world, documents }
      : world;
  }

  // What is the same, and what is true.

  #key({ world, places, late, faults }: State): string {
    const standings = places.map(({ standing }) => standing?.id ?? 0).join();
    const { losses, reverts, refusals, absences, lies, contradictions } = faults;
    const left = `${losses}${reverts}${refusals}${absences}${lies}${contradictions}`;
    return `${this.#worldKey(world)} ${standings} ${left} ${this.#lateKey(late)}`;
  }

  #worldKey({ tick, documents, chain }: World): string {
    const chainKey = held(this.#chainKeyOf, chain, () => numbered(this.#chainKeys, textOf(chain)));
    return `${tick} ${documents.join()} ${chainKey}`;
  }

  #lateKey(late: readonly Call[]): string {
    return late
      .map(({ method, args }) => numbered(this.#lateKeys, textOf([method, ...args])))
      .sort()
      .join();
  }

  #answerKey(answer: Answer): string {
    if (answer.kind === 'error') return answer.error.code;
    const { value } = answer;
    if (typeof value !== 'object' || value === null) return String(value);
    const isStored = (one: unknown) => typeof one === 'object' && one !== null && '_id' in one;
    if (isStored(value)) return `d${this.#shelf.numberOf(value)}`;
    if (Array.isArray(value) && value.every(isStored)) {
      return `d${value.map((one) => this.#shelf.numberOf(one as object)).join()}`;
    }
    return textOf(value);
  }

  async #judge({ world, late }: State): Promise<Truth | null> {
    const key = `${this.#worldKey(world)} ${this.#lateKey(late)}`;
    let truth = this.#judged.get(key);
    if (truth === undefined) {
      const facts = factsOf(this.#shelf, world);
      for (const { status } of [...facts.payments, ...facts.batches]) this.#statuses.add(status);
      truth = findUntruth(facts, this.#rules, this.#isHonest);
      truth ??= await this.#settleAlone(world, late);
      if (truth !== null) this.#detail ||= this.#picture(world);
      this.#judged.set(key, truth);
    }
    return truth;
  }

  /** From here, all processes gone, a lone settler ends all: late writes made before it, after it, or never. */
  async #settleAlone(world: World, late: readonly Call[]): Promise<Truth | null> {
    const starts = [world];
    if (late.length > 0) starts.push(await this.#madeLate(world, late));
    for (const start of starts) {
      for (const ending of await this.#lone.ends(start)) {
        if ('broken' in ending) return this.#brokenAlone(ending.broken, ending.world);
        if (late.length === 0 || start !== world) continue;
        const disturbed = await this.#madeLate({ ...ending.world, tick: ending.world.tick + 1 }, late);
        for (const again of await this.#lone.ends(disturbed)) {
          if ('broken' in again) return this.#brokenAlone(again.broken, again.world);
        }
      }
    }
    return null;
  }

  #brokenAlone(truth: Truth, world: World): Truth {
    this.#detail = `after a lone settler:\n${this.#picture(world)}`;
    return truth;
  }

  async #madeLate(world: World, late: readonly Call[]): Promise<World> {
    let made = world;
    for (const call of late) made = { ...made, documents: (await this.#perform(made, call)).documents };
    return this.#tidied(made, []);
  }

  #picture(world: World): string {
    const lines = world.documents.map((number) => textOf(this.#shelf.at(number)));
    return [`tick ${world.tick}`, ...lines, textOf(world.chain)].join('\n');
  }
}

/** Calls whose answer depends on the time alone. */
const TIMELESS = ['serverTimeMs', 'readSolidHead', 'walkSolidBlocks', 'readHoldings'];
/** So much of a change is shown in a path. */
const CHANGE_SHOWN_MAX = 300;
const LOST = new ServiceError('outcome_unknown', 'the acknowledgement was lost');
const POOR = new ServiceError('insufficient_funds', 'the wallet is empty');
const AWAY = new ServiceError('chain_unavailable', 'the chain is away');

function returns(value: unknown): Answer {
  return { kind: 'value', value };
}

function isWrite({ method }: Call): boolean {
  return method === 'updateOne' || method === 'updateMany' || method === 'insertOne';
}

function describe(call: Call): string {
  const { method, args } = call;
  return isWrite(call) ? `${method} ${textOf(args.slice(1)).slice(0, CHANGE_SHOWN_MAX)}` : method;
}

function tail(answer: Answer): string {
  if (answer.kind === 'error') return ` → ${answer.error.code}`;
  return typeof answer.value === 'boolean' ? ` → ${answer.value}` : '';
}

/** What is held under this key; made where there is nothing yet. */
function held<T extends object, V>(map: WeakMap<T, V>, key: T, make: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}

function numbered(numbers: Map<string, number>, text: string): number {
  let number = numbers.get(text);
  if (number === undefined) {
    number = numbers.size;
    numbers.set(text, number);
  }
  return number;
}
