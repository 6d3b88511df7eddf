import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { compileCacheVariables } from '../../build/prime-compile-cache.ts';
import type { NurseryPrograms } from './bundles.ts';
import { EVENTS_FD, type NurseryEvent, type NurseryOrder } from './nursery-protocol.ts';

interface NurseryOptions {
  readonly programs: NurseryPrograms;
  /** Holds the function's `handler.mjs`. */
  readonly folder: string;
  /** What the instances are configured by. */
  readonly environment: Readonly<Record<string, string>>;
  /** Takes what the processes write. */
  readonly logFd: number;
}

/** One instance: a process of its own. */
export interface Child {
  /** Sends a signal; nothing happens where it is dead already. */
  signal(signal: NodeJS.Signals): void;
  /** Resolves once it takes requests; never where it dies before. */
  readonly serving: Promise<void>;
  readonly died: Promise<ChildDeath>;
}

export interface ChildDeath {
  readonly signal: string | null;
  readonly code: number;
  /** Where it killed itself; null where it was killed from outside. */
  readonly lastWords: string | null;
}

type Life = Omit<Extract<NurseryOrder, { order: 'live' }>, 'order' | 'life'>;

interface Birth {
  readonly born: (child: Child) => void;
  readonly failed: (error: Error) => void;
}

/** The driver's end of a nursery: asks for instances and hears of their deaths. */
export class Nursery {
  readonly #process: ChildProcess;
  readonly #births = new Map<number, Birth>();
  readonly #deaths = new Map<number, (death: ChildDeath) => void>();
  readonly #lastWords = new Map<number, string>();
  readonly #servings = new Map<number, () => void>();
  #lives = 0;
  #stopped = false;

  constructor({ programs, folder, environment, logFd }: NurseryOptions) {
    const program = [programs.nursery, programs.fork, join(folder, 'handler.mjs')];
    this.#process = spawn(process.execPath, ['--single-threaded', ...program], {
      env: { ...environment, ...compileCacheVariables(folder) },
      stdio: ['pipe', logFd, logFd, 'pipe'],
    });
    createInterface({ input: this.#process.stdio[EVENTS_FD] as Readable }).on('line', (line) =>
      this.#hear(JSON.parse(line) as NurseryEvent),
    );
    // Written to while it dies with the run.
    this.#process.stdin?.on('error', () => {});
    this.#process.once('exit', (code, signal) => {
      if (this.#stopped) return;
      const error = new Error(`a nursery ended (${signal ?? `code ${code}`}); its log tells more`);
      for (const { failed } of this.#births.values()) failed(error);
      for (const died of this.#deaths.values()) died({ signal: null, code: -1, lastWords: null });
    });
  }

  /** @throws Error where the nursery, or the machine, has no room for it */
  bear(life: Life): Promise<Child> {
    this.#lives += 1;
    const number = this.#lives;
    return new Promise((born, failed) => {
      this.#births.set(number, { born, failed });
      this.#order({ order: 'live', life: number, ...life });
    });
  }

  /** Ends the nursery; its children are left to whoever ends the run. */
  stop(): void {
    this.#stopped = true;
    this.#process.kill('SIGKILL');
  }

  #order(order: NurseryOrder): void {
    this.#process.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  #hear(event: NurseryEvent): void {
    switch (event.event) {
      case 'born':
        this.#bear(event.life, event.pid);
        return;
      case 'serving':
        this.#servings.get(event.pid)?.();
        return;
      case 'dying':
        this.#lastWords.set(event.pid, event.place);
        return;
      case 'died': {
        const { pid, signal, code } = event;
        this.#deaths.get(pid)?.({ signal, code, lastWords: this.#lastWords.get(pid) ?? null });
        this.#deaths.delete(pid);
        this.#lastWords.delete(pid);
        this.#servings.delete(pid);
      }
    }
  }

  #bear(life: number, pid: number): void {
    const birth = this.#births.get(life);
    this.#births.delete(life);
    if (pid === 0) {
      birth?.failed(new Error('the machine has no room for another process'));
      return;
    }
    birth?.born({
      signal: (signal) => this.#order({ order: 'signal', pid, signal }),
      serving: new Promise((serving) => this.#servings.set(pid, serving)),
      died: new Promise((died) => this.#deaths.set(pid, died)),
    });
  }
}
