import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';
import { post } from './request.ts';
import type { Victim, World } from './world.ts';

export interface StormOptions {
  readonly world: World;
  readonly random: Random;
  /** Whom callers have asked to pay so far. */
  readonly recipients: () => readonly string[];
  /** Told of each blow: `chain drop`, `kill database`. */
  readonly onBlow: (name: string) => void;
}

type Blow = { readonly name: string; readonly weight: number } & (
  | { readonly kill: Victim }
  | { readonly pauseForMs: (random: Random) => number }
  | { readonly denyForMs: (random: Random) => number }
  | { readonly fault: (random: Random) => Readonly<Record<string, unknown>> }
);

const timed = (random: Random) => ({ durationMs: random.between(300, 2_500) });

/** Everything that a chain, a database, a door and an operator can do to the functions, each as often as its weight says. */
const BLOWS: readonly Blow[] = [
  {
    name: 'chain drops broadcasts',
    weight: 4,
    // Long enough for attempts to expire.
    fault: (random) => ({ kind: 'drop', durationMs: random.between(1_000, 9_000) }),
  },
  {
    name: 'chain accepts, then times out',
    weight: 4,
    fault: (random) => ({ kind: 'accept-then-timeout', ...timed(random) }),
  },
  {
    name: 'chain is slow',
    weight: 2,
    fault: (random) => ({ kind: 'delay', ms: random.between(200, 1_500), ...timed(random) }),
  },
  {
    name: 'chain hangs',
    weight: 2,
    fault: (random) => ({ kind: 'hang', ms: 2_500, ...timed(random) }),
  },
  {
    name: 'chain refuses by status',
    weight: 3,
    fault: (random) => ({
      kind: 'status',
      status: random.pick([403, 429, 500, 502, 503, 504]),
      ...timed(random),
    }),
  },
  {
    name: 'chain answers 200 with an error',
    weight: 3,
    fault: (random) => ({
      kind: 'error200',
      message: random.pick(['Server busy', 'class java.lang.NullPointerException : null', 'timeout']),
      ...timed(random),
    }),
  },
  {
    name: 'chain solidifies nothing',
    weight: 3,
    fault: (random) => ({ kind: 'stall-solid', count: random.between(3, 12) }),
  },
  {
    name: 'chain makes no blocks',
    weight: 2,
    fault: (random) => ({ kind: 'stall-blocks', durationMs: random.between(500, 3_000) }),
  },
  {
    name: 'chain forks and forgets',
    weight: 4,
    fault: (random) => ({ kind: 'fork', blocks: random.between(1, 2), transactions: 'drop' }),
  },
  {
    name: 'chain forks',
    weight: 2,
    fault: (random) => ({ kind: 'fork', blocks: random.between(1, 2), transactions: 'readmit' }),
  },
  { name: 'operator pauses', weight: 1, pauseForMs: (random) => random.between(200, 2_000) },
  // Whoever was accepted before is refused, and may ask again afterwards.
  { name: 'operator denies recipients', weight: 5, denyForMs: (random) => random.between(1_500, 5_000) },
  { name: 'kill chain', weight: 1, kill: 'chain' },
  { name: 'kill database', weight: 1.5, kill: 'database' },
  { name: 'kill sidecar', weight: 0.5, kill: 'sidecar' },
];

/** Of the newest recipients: older ones are paid, or given up. */
const DENIED_MAX = 200;

/** Strikes now and then until it is told to stop; then heals everything. */
export class Storm {
  readonly #options: StormOptions;
  readonly #ended: Promise<void>;
  readonly #stop = new AbortController();

  constructor(options: StormOptions) {
    this.#options = options;
    this.#ended = this.#rage();
  }

  /** Resolves once no fault is in force any more and every part is up. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
    const { faultsUrl } = this.#options.world.network;
    if (faultsUrl !== undefined) await fetch(`${faultsUrl}/faults`, { method: 'DELETE' });
  }

  async #rage(): Promise<void> {
    const { random, world, onBlow } = this.#options;
    for (;;) {
      try {
        await sleep(random.between(500, 4_000), undefined, { signal: this.#stop.signal });
      } catch {
        return;
      }
      const blow = this.#draw();
      if (blow === undefined) continue;
      if ('kill' in blow) await world.killAndRestart(blow.kill, random.between(0, 1_500));
      else if ('pauseForMs' in blow) await this.#pause(blow.pauseForMs(random));
      else if ('denyForMs' in blow) await this.#denyRecipients(blow.denyForMs(random));
      else await this.#order(blow.fault(random));
      onBlow(blow.name);
    }
  }

  async #pause(forMs: number): Promise<void> {
    await this.#operate('pause');
    await sleep(forMs);
    // Until it is heard: whoever takes the order may die over it, or the answer may be lost.
    while (!(await this.#operate('resume')));
  }

  async #denyRecipients(forMs: number): Promise<void> {
    const { random, recipients, world } = this.#options;
    world.denyRecipients(
      recipients()
        .slice(-DENIED_MAX)
        .filter(() => random.chance(0.7)),
    );
    await sleep(forMs);
    world.denyRecipients([]);
  }

  async #operate(action: 'pause' | 'resume'): Promise<boolean> {
    const body = JSON.stringify({ action, reason: 'as chaos has it' });
    const answer = await post(this.#options.world.access, { path: '/pay/breaker', body, caller: 'operator' });
    return answer.status === 200;
  }

  #draw(): Blow | undefined {
    const { random, world } = this.#options;
    const hasFaults = world.network.faultsUrl !== undefined;
    const possible = BLOWS.filter(
      (blow) => hasFaults || ('kill' in blow ? blow.kill !== 'chain' : !('fault' in blow)),
    );
    const lots = possible.flatMap((blow) => Array<Blow>(blow.weight * 2).fill(blow));
    return lots.length === 0 ? undefined : random.pick(lots);
  }

  async #order(fault: Readonly<Record<string, unknown>>): Promise<void> {
    const response = await fetch(`${this.#options.world.network.faultsUrl}/faults`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(fault),
    });
    if (!response.ok) throw new Error(`the chain takes no ${String(fault.kind)}: ${await response.text()}`);
  }
}
