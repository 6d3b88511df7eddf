import { nextTick } from 'node:process';
import { Crash } from './simulated-chain.ts';

interface Waiting {
  readonly name: string;
  readonly go: () => void;
  readonly fail: (reason: Crash) => void;
  /** What has to be true before it may go on; a call that waits for nothing but its turn has none. */
  readonly isReady: (() => boolean) | undefined;
}

/** How far a process goes on. */
export interface Leave {
  /** The most calls that it makes. */
  readonly calls: number;
  /** Whether it stops once it stands before a call of this name. */
  readonly stopsBefore: (name: string) => boolean;
  /** Which of so many calls that could be made: a process may have several under way. */
  readonly choose: (count: number) => number;
}

/**
 * One process. It stands before each of its port calls until it is given its turn, so a test decides which process
 * goes on, how far, and which one never wakes again.
 */
export class Actor {
  readonly waiting: Waiting[] = [];
  #isDead = false;
  /** Under which it goes on by itself; null while each of its calls waits for a turn. */
  #leave: Leave | null = null;
  /** How many calls its leave still allows. */
  #callsLeft = 0;
  /** A call was made at once, and whoever made it has not gone on yet. */
  #isUnderWay = false;
  readonly #isBack = () => {
    this.#isUnderWay = false;
  };

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
    return this.call(name, nothing, isReady);
  }

  /**
   * Makes a call when its turn comes.
   * @throws Crash where the process has died meanwhile; what the call throws
   */
  call<T>(name: string, make: () => T | Promise<T>, isReady?: () => boolean): Promise<T> {
    if (this.#isDead) return Promise.reject(new Crash());
    if (this.#mayGoOn(name) && (isReady === undefined || isReady())) return this.#makeAtOnce(make);
    return new Promise((resolve, fail) => {
      const go = () => {
        try {
          resolve(make());
        } catch (error) {
          fail(error);
        }
      };
      this.waiting.push({ name, go, fail, isReady });
    });
  }

  /** Makes one call, if there is one to make, and lets the process go on to where it stands next. */
  step(choose: Leave['choose'] = () => 0): Promise<void> {
    const ready = this.waiting.filter(isReady);
    const next = ready[ready.length > 1 ? choose(ready.length) : 0];
    if (next === undefined) return Promise.resolve();
    this.waiting.splice(this.waiting.indexOf(next), 1);
    next.go();
    return idle();
  }

  /**
   * Makes calls one after the other, as `step` would. While there is nothing to choose, the next one is made without
   * waiting until all stand still: that is what playing a schedule would spend most of its time with.
   */
  async go(leave: Leave): Promise<void> {
    this.#leave = leave;
    this.#callsLeft = leave.calls;
    do {
      this.#callsLeft -= 1;
      await this.step(leave.choose);
    } while (
      this.#callsLeft > 0 &&
      this.canStep &&
      !this.waiting.some(({ name }) => leave.stopsBefore(name))
    );
    this.#leave = null;
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

  /** Its leave covers the call, and no other one of it stands or is under way, between which to choose. */
  #mayGoOn(name: string): boolean {
    if (this.#leave === null || this.#callsLeft === 0) return false;
    return this.waiting.length === 0 && !this.#isUnderWay && !this.#leave.stopsBefore(name);
  }

  #makeAtOnce<T>(make: () => T | Promise<T>): Promise<T> {
    this.#callsLeft -= 1;
    this.#isUnderWay = true;
    // Whatever else the process has begun shows itself before this one goes on.
    void DONE.then(this.#isBack);
    return atOnce(make);
  }
}

const DONE = Promise.resolve();

/** Makes a call for which nobody has to wait. */
export function atOnce<T>(make: () => T | Promise<T>): Promise<T> {
  try {
    return Promise.resolve(make());
  } catch (error) {
    return Promise.reject(error);
  }
}

function isReady({ isReady }: Waiting): boolean {
  return isReady === undefined || isReady();
}

function nothing(): void {}

/**
 * Until every process stands before its next call. Node takes its next tick once no promise is left to go on, so
 * this is exact, and a hundred times cheaper than a turn of the event loop.
 */
export function idle(): Promise<void> {
  return new Promise((resolve) => nextTick(resolve));
}
