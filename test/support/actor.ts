import { Crash } from './simulated-chain.ts';

interface Waiting {
  readonly name: string;
  readonly go: () => void;
  readonly fail: (reason: Crash) => void;
  /** What has to be true before it may go on; a call that waits for nothing but its turn has none. */
  readonly isReady: (() => boolean) | undefined;
}

/**
 * One process. It stands before each of its port calls until it is given its turn, so a test decides which process
 * goes on, how far, and which one never wakes again.
 */
export class Actor {
  readonly waiting: Waiting[] = [];
  #isDead = false;

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Whether a call of it could be made now. */
  get canStep(): boolean {
    return this.waiting.some(isReady);
  }

  /**
   * Waits for its turn before a call of this name.
   * @throws Crash where the process has died meanwhile
   */
  turn(name: string, isReady?: () => boolean): Promise<void> {
    if (this.#isDead) return Promise.reject(new Crash());
    return new Promise((go, fail) => {
      this.waiting.push({ name, go, fail, isReady });
    });
  }

  /**
   * Makes one call, if there is one to make, and lets the process go on to where it stands next.
   * @param choose which of so many calls that could be made: a process may have several under way
   */
  step(choose: (count: number) => number = () => 0): Promise<void> {
    const ready = this.waiting.filter(isReady);
    const next = ready[ready.length > 1 ? choose(ready.length) : 0];
    if (next === undefined) return Promise.resolve();
    this.waiting.splice(this.waiting.indexOf(next), 1);
    next.go();
    return idle();
  }

  /** Makes so many calls; false where it ended before. */
  async make(calls: number): Promise<boolean> {
    for (let call = 0; call < calls; call += 1) await this.step();
    return this.waiting.length > 0;
  }

  /** Goes on until it stands before a call of this name. */
  async stopBefore(name: string): Promise<void> {
    await idle();
    for (let call = 0; call < 200; call += 1) {
      if (this.waiting.some((next) => next.name === name)) return;
      await this.step();
    }
    throw new Error(`it never came to ${name}`);
  }

  async finish(): Promise<void> {
    while (this.canStep) await this.step();
  }

  /** Ends the process where it stands: nothing of it that is under way has a further effect. */
  async die(): Promise<void> {
    this.#isDead = true;
    for (const { fail } of this.waiting.splice(0)) fail(new Crash());
    await idle();
  }
}

function isReady({ isReady }: Waiting): boolean {
  return isReady === undefined || isReady();
}

/**
 * Until every process stands before its next call. Node takes its next tick once no promise is left to go on, so
 * this is exact, and a hundred times cheaper than a turn of the event loop.
 */
export function idle(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
