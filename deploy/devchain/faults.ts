import type { ForkTransactions } from './chain.ts';

/**
 * What the chain can be told to do wrong. A fault stays until it has struck `count` times, until `durationMs` has
 * passed, or until it is deleted; without either it stays.
 */
export type FaultKind =
  | 'drop'
  | 'delay'
  | 'status'
  | 'error200'
  | 'accept-then-timeout'
  | 'hang'
  | 'stall-solid'
  | 'stall-blocks';

export type Fault = {
  readonly id: number;
  readonly kind: FaultKind;
  /** Only requests whose path begins so; broadcasts for `drop` and `accept-then-timeout`. */
  readonly path?: string;
  readonly method?: string;
  /** How often it still strikes. */
  readonly count?: number;
  readonly untilMs?: number;
  /** Delay, or time until a hanging connection is cut. */
  readonly ms?: number;
  /** HTTP status for `status`. */
  readonly status?: number;
  /** Text for `error200`. */
  readonly message?: string;
};

/** A fault as it is asked for, or a fork, which happens at once. */
export type FaultOrder =
  | { readonly fault: Omit<Fault, 'id'> }
  | { readonly fork: { readonly blocks: number; readonly transactions: ForkTransactions } };

const KINDS: readonly FaultKind[] = [
  'drop',
  'delay',
  'status',
  'error200',
  'accept-then-timeout',
  'hang',
  'stall-solid',
  'stall-blocks',
];
const STATUSES: readonly number[] = [403, 429, 500, 502, 503, 504];
const BROADCAST_PATH = '/wallet/broadcast';

/** Reads an order from JSON. @throws TypeError that says what is wrong. */
export function readFaultOrder(json: Readonly<Record<string, unknown>>, nowMs: number): FaultOrder {
  const kind = json.kind;
  if (kind === 'fork') {
    const blocks = readNumber(json, 'blocks') ?? 1;
    const transactions = json.transactions ?? 'drop';
    if (transactions !== 'drop' && transactions !== 'readmit') {
      throw new TypeError('transactions must be "drop" or "readmit"');
    }
    return { fork: { blocks, transactions } };
  }
  if (typeof kind !== 'string' || !KINDS.includes(kind as FaultKind)) {
    throw new TypeError(`kind must be one of ${[...KINDS, 'fork'].join(', ')}`);
  }
  const known = new Set(['kind', 'path', 'method', 'count', 'durationMs', 'ms', 'status', 'message']);
  const unknown = Object.keys(json).find((key) => !known.has(key));
  if (unknown !== undefined) throw new TypeError(`${unknown} is no property of a fault`);
  const status = readNumber(json, 'status') ?? (kind === 'status' ? 503 : undefined);
  if (status !== undefined && !STATUSES.includes(status)) {
    throw new TypeError(`status must be one of ${STATUSES.join(', ')}`);
  }
  const ms = readNumber(json, 'ms') ?? (kind === 'delay' ? 1_000 : undefined);
  const count = readNumber(json, 'count');
  const durationMs = readNumber(json, 'durationMs');
  const path =
    readText(json, 'path') ??
    (kind === 'drop' || kind === 'accept-then-timeout' ? BROADCAST_PATH : undefined);
  const method = readText(json, 'method')?.toUpperCase();
  const message = readText(json, 'message');
  return {
    fault: {
      kind: kind as FaultKind,
      ...(path === undefined ? {} : { path }),
      ...(method === undefined ? {} : { method }),
      ...(count === undefined ? {} : { count }),
      ...(durationMs === undefined ? {} : { untilMs: nowMs + durationMs }),
      ...(ms === undefined ? {} : { ms }),
      ...(status === undefined ? {} : { status }),
      ...(message === undefined ? {} : { message }),
    },
  };
}

/** The faults in force. */
export class FaultBoard {
  #faults: Fault[] = [];
  #nextId = 1;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Sets a fault, in place of one of the same kind, path and method. */
  set(fault: Omit<Fault, 'id'>): Fault {
    const added: Fault = { ...fault, id: this.#nextId++ };
    this.#faults = this.#faults.filter(
      (other) => other.kind !== fault.kind || other.path !== fault.path || other.method !== fault.method,
    );
    this.#faults.push(added);
    return added;
  }

  list(): readonly Fault[] {
    const now = this.#nowMs();
    this.#faults = this.#faults.filter(
      ({ untilMs, count }) => (untilMs === undefined || untilMs > now) && (count === undefined || count > 0),
    );
    return this.#faults;
  }

  clear(): void {
    this.#faults = [];
  }

  /** Faults that strike this request; each that counts its strikes has one less from now on. */
  strike(method: string, path: string): readonly Fault[] {
    const struck = this.list().filter(
      (fault) =>
        !fault.kind.startsWith('stall-') &&
        (fault.path === undefined || path.startsWith(fault.path)) &&
        (fault.method === undefined || fault.method === method),
    );
    this.#faults = this.#faults.map((fault) =>
      struck.includes(fault) && fault.count !== undefined ? { ...fault, count: fault.count - 1 } : fault,
    );
    return struck;
  }

  /** True while a stall is in force; asking does not use it up. */
  holds(kind: 'stall-solid' | 'stall-blocks'): boolean {
    return this.list().some((fault) => fault.kind === kind);
  }

  /** One block passed under a stall that counts blocks. */
  spend(kind: 'stall-solid' | 'stall-blocks'): void {
    this.#faults = this.#faults.map((fault) =>
      fault.kind === kind && fault.count !== undefined ? { ...fault, count: fault.count - 1 } : fault,
    );
  }
}

function readNumber(json: Readonly<Record<string, unknown>>, name: string): number | undefined {
  const value = json[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw new TypeError(`${name} must be a number, 0 or more`);
  }
  return value;
}

function readText(json: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = json[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw new TypeError(`${name} must be a text`);
  return value;
}
