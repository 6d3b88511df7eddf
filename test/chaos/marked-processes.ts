import { randomBytes } from 'node:crypto';
import { Guard } from '../../deploy/local/guard.ts';
import { composeStackId, endMarked, isOfStart, STACK_ID_VARIABLE } from '../../deploy/local/processes.ts';

/**
 * Marks every process that is started from now on as one of this run, and sees to it that all of them end with it,
 * also when it is killed.
 */
export class MarkedProcesses {
  readonly #stackId = composeStackId('chaos', randomBytes(8).toString('hex'));
  readonly #guard: Guard;

  constructor() {
    // What a child of ours starts inherits it.
    process.env[STACK_ID_VARIABLE] = this.#stackId;
    this.#guard = new Guard({ stackId: this.#stackId, onReplaced: () => {}, onLost: () => {} });
  }

  async end(): Promise<void> {
    await endMarked(isOfStart(this.#stackId), { graceMs: 0 });
    await this.#guard.dismiss();
    delete process.env[STACK_ID_VARIABLE];
  }
}

/** What a child needs to be known as one of this run; nothing else of this process's environment reaches it. */
export function markedEnvironment(): Record<string, string> {
  const { PATH = '', HOME = '', [STACK_ID_VARIABLE]: stackId = '' } = process.env;
  return { PATH, HOME, [STACK_ID_VARIABLE]: stackId };
}
