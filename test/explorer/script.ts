import type { DocumentStore } from '../../shared/adapters/mongo/document-store.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import type { PaymentNetwork } from '../../shared/ports/payment-network.ts';

/** What one process of a model does, from its start to its end, over the ports it is given. */
export type Program = (ports: Ports) => Promise<unknown>;

export interface Ports {
  readonly store: DocumentStore;
  readonly network: PaymentNetwork;
  /** A person's own look at the chain, which nobody falsifies. */
  readonly eyes: Eyes;
  /** Told of what went wrong without ending the program. */
  readonly onError: (error: unknown) => void;
}

export interface Eyes {
  /** Whether any of these transactions moved money. */
  seePaid(txIds: readonly string[]): Promise<boolean>;
}

/** A call of one of its ports that a process stands before. */
export interface Call {
  /** Counted from the start of the program. */
  readonly number: number;
  readonly port: 'store' | 'network' | 'eyes';
  readonly method: string;
  readonly args: readonly unknown[];
}

export type Answer =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'error'; readonly error: ServiceError };

const METHODS: Record<Call['port'], readonly string[]> = {
  store: ['serverTimeMs', 'findOne', 'find', 'sum', 'updateOne', 'updateMany', 'insertOne'],
  network: [
    'readSolidHead',
    'prepareTransfer',
    'broadcast',
    'takeTestimony',
    'walkSolidBlocks',
    'readHistory',
    'readHoldings',
  ],
  eyes: ['seePaid'],
};

/** Halted processes that are kept as they stand; more are brought back by playing their answers again. */
const HALTED_MAX = 20_000;

/**
 * A point that a program has reached: decided by nothing but the answers it was given so far, so it is found once
 * and stands for every process that was given the same.
 */
export class Standing {
  readonly id: number;
  readonly script: Script;
  /** The point before the last answer, and that answer. */
  readonly before: { readonly standing: Standing; readonly call: number; readonly answer: Answer } | null;
  readonly waiting: readonly Call[];
  readonly isOver: boolean;
  /** Mistakes that the program met or made; there should never be one. */
  readonly mistakes: readonly string[];
  readonly next = new Map<string, Standing>();
  halted: Process | null;

  constructor(script: Script, before: Standing['before'], process: Process) {
    this.id = script.stage.nextId();
    this.script = script;
    this.before = before;
    this.waiting = [...process.waiting.values()];
    this.isOver = process.isOver;
    this.mistakes = [...process.mistakes];
    this.halted = process.isOver ? null : process;
    if (this.halted !== null) script.stage.keep(this);
  }
}

/** What all scripts of one search share. */
export class Stage {
  #lastId = 0;
  readonly #halted: Standing[] = [];

  get standings(): number {
    return this.#lastId;
  }

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  keep(standing: Standing): void {
    this.#halted.push(standing);
    if (this.#halted.length <= 2 * HALTED_MAX) return;
    for (const old of this.#halted.splice(0, HALTED_MAX)) old.halted = null;
  }
}

/** A program whose every point can be entered again: by playing to it the answers that led there. */
export class Script {
  readonly stage: Stage;
  readonly #program: Program;
  #start: Standing | null = null;

  constructor(stage: Stage, program: Program) {
    this.stage = stage;
    this.#program = program;
  }

  async start(): Promise<Standing> {
    this.#start ??= new Standing(this, null, await Process.begin(this.#program));
    return this.#start;
  }

  /** @param key equal for equal answers */
  async answered(standing: Standing, call: number, key: string, answer: Answer): Promise<Standing> {
    const path = `${call} ${key}`;
    let next = standing.next.get(path);
    if (next === undefined) {
      const process = standing.halted ?? (await this.#play(standing));
      standing.halted = null;
      await process.answer(call, answer);
      next = new Standing(this, { standing, call, answer }, process);
      standing.next.set(path, next);
    }
    return next;
  }

  async #play(standing: Standing): Promise<Process> {
    const answers: { call: number; answer: Answer }[] = [];
    for (let at = standing.before; at !== null; at = at.standing.before) answers.push(at);
    const process = await Process.begin(this.#program);
    for (const { call, answer } of answers.reverse()) await process.answer(call, answer);
    return process;
  }
}

/** A running program whose calls wait until they are answered. */
class Process {
  readonly waiting = new Map<number, Call>();
  readonly mistakes: string[] = [];
  isOver = false;
  #calls = 0;
  readonly #answers = new Map<number, (answer: Answer) => void>();

  static async begin(program: Program): Promise<Process> {
    const process = new Process();
    void process.#run(program);
    await idle();
    return process;
  }

  async answer(call: number, answer: Answer): Promise<void> {
    const resume = this.#answers.get(call);
    if (resume === undefined) throw new RangeError(`nothing waits as call ${call}`);
    this.#answers.delete(call);
    this.waiting.delete(call);
    resume(answer);
    await idle();
  }

  async #run(program: Program): Promise<void> {
    try {
      await program({
        store: this.#port('store') as DocumentStore,
        network: this.#port('network') as PaymentNetwork,
        eyes: this.#port('eyes') as Eyes,
        onError: (error) => this.#judge(error),
      });
    } catch (error) {
      this.#judge(error);
    }
    this.isOver = true;
  }

  /** Refusals of the service, and a store that does not answer, belong to the game. */
  #judge(error: unknown): void {
    if (!(error instanceof ServiceError) || error.code === 'internal') this.mistakes.push(String(error));
  }

  #port(port: Call['port']): unknown {
    return Object.fromEntries(
      METHODS[port].map((method) => [method, (...args: unknown[]) => this.#call(port, method, args)]),
    );
  }

  #call(port: Call['port'], method: string, args: readonly unknown[]): Promise<unknown> {
    const number = this.#calls;
    this.#calls += 1;
    this.waiting.set(number, { number, port, method, args });
    return new Promise((resolve, reject) => {
      this.#answers.set(number, (answer) =>
        answer.kind === 'value' ? resolve(answer.value) : reject(answer.error),
      );
    });
  }
}

/** Until every program stands before its next call: nothing here waits for anything but an answer. */
const idle = () => new Promise<void>((resolve) => setImmediate(resolve));
