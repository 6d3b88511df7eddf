import { ServiceError } from '../../shared/domain/errors.ts';
import type { PaymentNetwork } from '../../shared/ports/payment-network.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import type { PaymentRules } from '../../shared/usecases/payment-rules.ts';
import type { Mutant } from '../simulate/mutants.ts';
import { type Chain, headAt, include, planAt, sendBytes, testify, timeOf, withoutExpired } from './chain.ts';
import { engineOf } from './engine.ts';
import { ruleTruly, settleOnce, type Task } from './programs.ts';
import type { Ports } from './script.ts';
import { factsOf, findUntruth, isAtRest, isEnded, type Truth } from './truths.ts';
import type { Desk, World } from './world.ts';

/** What becomes of the transactions that are out: all are included at once, or none ever is. */
const FATES = ['lands', 'vanishes'] as const;
type Fate = (typeof FATES)[number];

/** Every payment of a model has ended long before. */
const ROUNDS_MAX = 16;

/** Where a world ends, or the truth that it breaks on the way. */
export type Ending = { readonly world: World } | { readonly broken: Truth; readonly world: World };

/** One process that works undisturbed: for what is done before a search, and to bring any world to its end. */
export class LoneProcess {
  readonly #desk: Desk;
  readonly #rules: PaymentRules;
  readonly #mutant: Mutant | null;
  readonly #isHonest: boolean;
  readonly #keyOf: (world: World) => string;
  readonly #endings = new Map<string, Ending>();
  #chain: Chain = [];
  #tick = 0;

  constructor(
    desk: Desk,
    rules: PaymentRules,
    mutant: Mutant | null,
    isHonest: boolean,
    keyOf: (world: World) => string,
  ) {
    this.#desk = desk;
    this.#rules = rules;
    this.#mutant = mutant;
    this.#isHonest = isHonest;
    this.#keyOf = keyOf;
  }

  /** Does one thing in a world. */
  async does(world: World, who: string, task: Task): Promise<World> {
    this.#enter(world);
    const ports = this.#ports();
    try {
      await task(engineOf(who, ports, this.#rules, this.#mutant), ports);
    } catch (error) {
      ports.onError(error);
    }
    return this.#leave(world.tick);
  }

  /** Settles until nothing is left, with an operator who rules truly; in both fates of what is out. */
  async ends(world: World): Promise<Ending[]> {
    const endings: Ending[] = [];
    for (const fate of FATES) endings.push(await this.#end(world, fate));
    return endings;
  }

  async #end(from: World, fate: Fate): Promise<Ending> {
    const passed: string[] = [];
    let world = from;
    let ending: Ending | undefined;
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const key = `${fate} ${this.#keyOf(world)}`;
      ending = this.#endings.get(key);
      if (ending !== undefined) break;
      passed.push(key);
      world = landed(world, fate);
      // No two rounds are at one time, so their names are their own.
      world = await this.does(world, `Z${world.tick}`, async (engine, ports) => {
        // All is due at every moment here, so a run is over once it has visited each once.
        await settleOnce(Math.max(1, world.documents.length - 1))(engine, ports);
        await this.#ruleAll(engine, ports);
      });
      world = landed(world, fate);
      const facts = factsOf(this.#desk.shelf, world);
      const broken = findUntruth(facts, this.#rules, this.#isHonest);
      if (broken !== null) ending = { broken, world };
      else if (isEnded(facts)) ending = isAtRest(facts) ? { world } : { broken: UNENDED, world };
      if (ending !== undefined) break;
      const tick = world.tick + 1;
      world = { ...world, tick, chain: withoutExpired(world.chain, timeOf(tick)) };
    }
    ending ??= { broken: UNENDED, world };
    for (const key of passed) this.#endings.set(key, ending);
    return ending;
  }

  async #ruleAll(engine: Engine, { eyes, onError }: Pick<Ports, 'eyes' | 'onError'>): Promise<void> {
    for (const payment of this.#desk.store.payments()) {
      // It may be too early for a ruling: its transaction could be included yet.
      await ruleTruly(engine, eyes, payment).catch(onError);
    }
  }

  #enter(world: World): void {
    this.#desk.lay(world);
    this.#chain = world.chain;
    this.#tick = world.tick;
  }

  #leave(tick: number): World {
    const { shelf } = this.#desk;
    const documents = this.#desk.take().map((number) => shelf.unowned(number, () => false));
    return { tick, documents, chain: this.#chain };
  }

  #ports(): Ports {
    const now = () => timeOf(this.#tick);
    const network: PaymentNetwork = {
      readSolidHead: async () => headAt(this.#tick),
      prepareTransfer: async () => planAt(this.#tick),
      broadcast: async (bytes) => {
        this.#chain = sendBytes(this.#chain, bytes, now());
        return [{ node: 'one', kind: 'accepted', code: 'SUCCESS' }];
      },
      takeTestimony: async (txId) => testify(this.#chain, txId, this.#tick, 'true'),
      walkSolidBlocks: async () => [],
      readHistory: async () => [],
      readHoldings: async () => [],
    };
    return {
      store: this.#desk.store,
      network,
      eyes: {
        seePaid: async (txIds) =>
          this.#chain.some(({ txId, state }) => state === 'paid' && txIds.includes(txId)),
      },
      onError: (error) => {
        if (!(error instanceof ServiceError) || error.code === 'internal') throw error;
      },
    };
  }
}

const UNENDED: Truth = 'a lone settler ends all, and then nothing is held';

function landed(world: World, fate: Fate): World {
  if (fate === 'vanishes') return world;
  const nowMs = timeOf(world.tick);
  const chain = world.chain
    .filter(({ state }) => state === 'out')
    .reduce((held, { txId }) => include(held, txId, 'paid', nowMs), world.chain);
  return { ...world, chain };
}
