import { type ForkingChain, RECEPTIONS } from './forking-chain.ts';
import { drawClockOffsetMs, type Instance, type SimulatedWorld } from './world.ts';

/** What goes wrong, with whom and where, is drawn when it happens. */
export interface Stage {
  readonly world: SimulatedWorld;
  readonly instances: readonly Instance[];
  /** A process makes no call until so many happenings have passed. */
  freeze(instance: Instance, happenings: number): void;
}

interface Happening {
  /** How often it happens beside the others of its schedule. */
  readonly weight: number;
  readonly happen: (stage: Stage) => Promise<void> | void;
}

/** All that can happen beside processes making their calls, and time passing. */
export const HAPPENINGS = {
  death: {
    weight: 2,
    async happen({ world, instances }) {
      const instance = world.random.pick(instances);
      // Standing before no call, it has nothing under way that could be lost.
      if (instance.actor.waiting.length === 0) return;
      world.tell(() => `${instance.name} dies`);
      await instance.die();
    },
  },
  freeze: {
    weight: 3,
    happen({ world, instances, freeze }) {
      const instance = world.random.pick(instances);
      const happenings = world.random.between(3, 20);
      freeze(instance, happenings);
      world.tell(() => `${instance.name} freezes for ${happenings} happenings`);
    },
  },
  skew: {
    weight: 2,
    happen({ world, instances }) {
      const instance = world.random.pick(instances);
      instance.clockOffsetMs = drawClockOffsetMs(world.random);
      world.tell(() => `the clock of ${instance.name} is off by ${instance.clockOffsetMs} ms`);
    },
  },

  lost_acknowledgement: {
    weight: 4,
    happen({ world, instances }) {
      const { name, link } = world.random.pick(instances);
      link.nextWrite = world.random.pick(['made', 'made_late', 'never_made']);
      world.tell(() => `the next write of ${name} is ${link.nextWrite}, and not acknowledged`);
    },
  },
  late_write: {
    weight: 2,
    happen({ world: { store, random, tell } }) {
      if (store.late.length === 0) return;
      const [write] = store.late.splice(random.below(store.late.length), 1);
      tell(() => 'a late write is made');
      write?.();
    },
  },
  partition_from_store: {
    weight: 2,
    happen({ world, instances }) {
      const { name, link } = world.random.pick(instances);
      link.isCut = world.random.chance(0.3);
      world.tell(() => `${name} ${link.isCut ? 'cannot reach' : 'reaches'} the store`);
    },
  },
  lagging_majority: {
    weight: 4,
    happen({ world: { store, random, tell } }) {
      if (store.unreplicated > 0 && random.chance(0.6)) {
        const count = random.between(1, store.unreplicated);
        store.replicate(count);
        tell(() => `a majority takes over ${count} writes`);
      } else {
        store.lags = random.chance(0.4);
        if (!store.lags) store.replicate();
        tell(() => `the majority ${store.lags ? 'lags' : 'keeps up'}`);
      }
    },
  },
  fail_over: {
    weight: 2,
    happen({ world, instances }) {
      const { random } = world;
      const isFormerKept = random.chance(0.5);
      const draw = random.below(10);
      const hours = draw === 9 ? 3_600_000 : 50_000;
      const clockOffsetMs = draw < 5 ? 0 : random.between(-hours, hours);
      world.store.failOver(isFormerKept, clockOffsetMs);
      for (const { link } of instances) link.isStale = isFormerKept && random.chance(0.5);
      world.tell(
        () =>
          `another server is primary, its clock off by ${clockOffsetMs} ms${isFormerKept ? '; the old one does not know' : ''}`,
      );
    },
  },

  partition_from_chain: {
    weight: 2,
    happen({ world, instances }) {
      const instance = world.random.pick(instances);
      instance.isCutFromChain = world.random.chance(0.4);
      world.tell(() => `${instance.name} ${instance.isCutFromChain ? 'cannot reach' : 'reaches'} the chain`);
    },
  },
  node_away: {
    weight: 2,
    happen({ world }) {
      const node = world.random.pick(world.chain.nodes);
      node.isAway = world.random.chance(0.5);
      world.tell(() => `${node.name} is ${node.isAway ? 'away' : 'there'}`);
    },
  },
  node_lag: {
    weight: 2,
    happen({ world }) {
      const node = world.random.pick(world.chain.nodes);
      node.lag = world.random.chance(0.5) ? 0 : world.random.between(1, 15);
      world.tell(() => `${node.name} is ${node.lag} blocks behind`);
    },
  },
  node_reception: {
    weight: 5,
    happen({ world }) {
      const node = world.random.pick(world.chain.nodes);
      node.reception = world.random.pick(RECEPTIONS);
      world.tell(() => `what is sent to ${node.name}, it ${node.reception}`);
    },
  },
  node_lie: {
    weight: 1,
    happen({ world }) {
      const node = world.random.pick(world.chain.nodes);
      node.lies = world.random.chance(0.3);
      world.tell(() => `${node.name} ${node.lies ? 'lies' : 'tells the truth'}`);
    },
  },
  congestion: chainFault(3, 'isCongested', 0.6),
  stalled_solid_head: chainFault(2, 'isStalled', 0.5),
  halted_chain: chainFault(1, 'isHalted', 0.3),
  reverts: chainFault(1, 'reverts', 0.5),
  fork: {
    weight: 3,
    happen({ world }) {
      const depth = world.chain.fork();
      world.tell(() => `${depth} blocks are replaced`);
    },
  },
  resurrection: {
    weight: 3,
    happen({ world }) {
      const txId = world.chain.resurrect();
      world.tell(() => `somebody sends again what was forgotten: ${txId}`);
    },
  },
  refusal_by_the_chain: {
    weight: 2,
    happen({ world: { chain, random, tell } }) {
      chain.refusal = random.chance(0.5) ? null : random.pick(['insufficient_funds', 'simulation_failed']);
      tell(() => `transfers are refused: ${chain.refusal}`);
    },
  },
  other_price: {
    weight: 2,
    happen({ world: { chain, tell } }) {
      chain.reprice();
      tell(() => `a transfer may burn ${chain.priceMicro}`);
    },
  },

  denied_recipients: worldFault(1, 'recipientsDenied', 0.4),
  stop_file: worldFault(1, 'isStopped', 0.3),
  lost_key: worldFault(1, 'isVaultClosed', 0.3),
} satisfies Record<string, Happening>;

export type HappeningName = keyof typeof HAPPENINGS;
const WEIGHTS = Object.entries(HAPPENINGS).map(
  ([name, { weight }]) => [name as HappeningName, weight] as const,
);

type Switches<T> = { [K in keyof T]: T[K] extends boolean ? K : never }[keyof T];

function chainFault(weight: number, fault: Switches<ForkingChain>, share: number): Happening {
  return {
    weight,
    happen({ world: { chain, random, tell } }) {
      chain[fault] = random.chance(share);
      tell(() => `${fault} of the chain: ${chain[fault]}`);
    },
  };
}

function worldFault(
  weight: number,
  fault: 'recipientsDenied' | 'isStopped' | 'isVaultClosed',
  share: number,
): Happening {
  return {
    weight,
    happen({ world }) {
      world[fault] = world.random.chance(share);
      world.tell(() => `${fault}: ${world[fault]}`);
    },
  };
}

/** What is drawn in one schedule, with its weight. */
export type Mixture = readonly (readonly [HappeningName | 'calls' | 'time', number])[];

/**
 * Each schedule has its own mixture, so that what is rare in one is frequent in another.
 * @param frequent what this schedule is about: always in it, with these weights
 */
export function drawMixture(
  world: SimulatedWorld,
  frequent: Partial<Record<HappeningName | 'time', number>>,
): Mixture {
  const { random } = world;
  const share = random.pick([0.1, 0.25, 0.5]);
  const mixture: [HappeningName | 'calls' | 'time', number][] = [
    ['calls', 24],
    ['time', frequent.time ?? 8],
  ];
  for (const [name, usual] of WEIGHTS) {
    // Drawn in any case, so that what one schedule is about does not change what else is in it.
    const isThere = random.chance(share);
    const weight = frequent[name] ?? (isThere ? usual : 0);
    if (weight > 0) mixture.push([name, weight]);
  }
  return mixture;
}
