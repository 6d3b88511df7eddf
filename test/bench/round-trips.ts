import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes, randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import type { Db, Document, MongoClient } from 'mongodb';
import type { NodeClient } from '../../shared/adapters/tron/node-client.ts';
import type { PortWrapper } from '../../shared/composition/compose-engine.ts';

/** One question that left the process and was answered: a command of the database, or a request to the node. */
export interface RoundTrip {
  readonly kind: 'read' | 'write' | 'clock' | 'chain';
  /** `update breaker`, `POST /wallet/broadcasthex`. */
  readonly what: string;
  /** The port's method that asked. */
  readonly askedBy: string;
  readonly call:
    | { readonly to: 'database'; readonly command: Document }
    | { readonly to: 'node'; readonly path: string; readonly body: Readonly<Record<string, unknown>> };
  readonly startedMs: number;
  readonly endedMs: number;
}

/** What was recorded of many payments: the calls of one, and which others each of them waits for. */
export interface Score {
  readonly steps: readonly Step[];
  /** The calls of each recorded payment, in the order of the steps. */
  readonly takes: readonly (readonly RoundTrip[])[];
}

export interface Step {
  readonly kind: RoundTrip['kind'];
  readonly what: string;
  readonly askedBy: string;
  /** The steps, by index, that had always ended before this one began; those they wait for are left out. */
  readonly after: readonly number[];
}

/** Writes down the round trips of one payment at a time, with the port's method that made each. */
export class RoundTripRecorder {
  readonly #asking = new AsyncLocalStorage<string>();
  readonly #open = new Map<number, Omit<RoundTrip, 'endedMs'>>();
  #ended: RoundTrip[] = [];

  /** Put around the ports, so that a round trip knows who asked. */
  readonly wrap: PortWrapper = (port) =>
    new Proxy(port, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) =>
          this.#asking.run(String(name), () => Reflect.apply(member, target, args));
      },
    });

  /** Records a client that has not connected yet. */
  watch(client: MongoClient): void {
    // The driver's types hide the setter.
    Object.assign(client, { monitorCommands: true });
    client.on('commandStarted', ({ requestId, commandName, command }) => {
      const collection: unknown = command[commandName];
      const about = typeof collection === 'string' ? ` ${collection}` : '';
      this.#open.set(requestId, {
        kind: kindOf(commandName),
        what: `${commandName}${about}`,
        askedBy: this.#asking.getStore() ?? '',
        call: { to: 'database', command: withoutSession(command) },
        startedMs: performance.now(),
      });
    });
    client.on('commandSucceeded', ({ requestId }) => {
      const started = this.#open.get(requestId);
      if (started !== undefined) this.#ended.push({ ...started, endedMs: performance.now() });
      this.#open.delete(requestId);
    });
  }

  around(node: NodeClient): NodeClient {
    return {
      ...node,
      post: async (path, body) => {
        const startedMs = performance.now();
        const answer = await node.post(path, body);
        this.#ended.push({
          kind: 'chain',
          what: `POST ${path}`,
          askedBy: this.#asking.getStore() ?? '',
          call: { to: 'node', path, body },
          startedMs,
          endedMs: performance.now(),
        });
        return answer;
      },
    };
  }

  /** What has ended since the last time it was asked, in the order in which it began. */
  take(): RoundTrip[] {
    const taken = this.#ended.sort((a, b) => a.startedMs - b.startedMs);
    this.#ended = [];
    return taken;
  }
}

/**
 * Finds what the round trips of a payment wait for: whatever had ended before one began, in every take. What ended
 * earlier by chance alone is not waited for.
 * @throws Error where fewer than half of the takes made the same calls
 */
export function scoreOf(takes: readonly (readonly RoundTrip[])[]): Score {
  const byCalls = Map.groupBy(takes.map(numbered), (take) => [...take.keys()].sort().join());
  const [alike = []] = [...byCalls.values()].sort((a, b) => b.length - a.length);
  const [first] = alike;
  if (first === undefined || alike.length * 2 < takes.length) {
    throw new Error('the recorded payments made too different round trips');
  }
  const keys = [...first.keys()];
  const ordered = alike.map((take) => keys.map((key) => take.get(key) as RoundTrip));
  const waits = keys.map((_, later) =>
    keys.flatMap((_key, earlier) =>
      ordered.every((take) => endedBefore(take[earlier], take[later])) ? [earlier] : [],
    ),
  );
  const steps = keys.map((key, index) => {
    const { kind, what, askedBy } = first.get(key) as RoundTrip;
    const all = waits[index] ?? [];
    const after = all.filter((step) => !all.some((other) => waits[other]?.includes(step)));
    return { kind, what, askedBy, after };
  });
  return { steps, takes: ordered };
}

function endedBefore(earlier: RoundTrip | undefined, later: RoundTrip | undefined): boolean {
  return earlier !== undefined && later !== undefined && earlier.endedMs <= later.startedMs;
}

/** Names each call, so that it is found again in another take, which may have begun things side by side otherwise. */
function numbered(take: readonly RoundTrip[]): Map<string, RoundTrip> {
  const named = new Map<string, RoundTrip>();
  for (const trip of take) {
    const selector = trip.call.to === 'node' ? trip.call.body.function_selector : undefined;
    const name = `${trip.askedBy} ${trip.what} ${selector ?? ''}`;
    let number = 1;
    while (named.has(`${name}#${number}`)) number += 1;
    named.set(`${name}#${number}`, trip);
  }
  return named;
}

function kindOf(commandName: string): RoundTrip['kind'] {
  if (commandName === 'hello') return 'clock';
  return commandName === 'find' ? 'read' : 'write';
}

/** The driver adds these by itself, for a replay as well. */
function withoutSession(command: Document): Document {
  const { lsid: _lsid, $db: _db, $clusterTime: _clusterTime, ...rest } = command;
  return rest;
}

/** The recorded round trips of one payment, under ids that nobody used before. */
export type Replay = readonly RoundTrip['call'][];

/** Plays a score with nothing around it: the driver's bare commands, and bare requests on kept connections. */
export class BareSequence {
  readonly #db: Db;
  readonly #node: URL;
  readonly #score: Score;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(db: Db, nodeUrl: string, score: Score) {
    this.#db = db;
    this.#node = new URL(nodeUrl);
    this.#score = score;
  }

  prepare(turn: number): Replay {
    const take = this.#score.takes[turn % this.#score.takes.length] ?? [];
    const renamed = new Map<string, string>();
    return take.map(({ call }) => renew(call, renamed) as RoundTrip['call']);
  }

  /** @throws Error where a write changes nothing, or a read finds nothing: it would not be the same work */
  async play(replay: Replay): Promise<void> {
    const ended: Promise<void>[] = [];
    for (const [index, call] of replay.entries()) {
      const before = (this.#score.steps[index]?.after ?? []).map((step) => ended[step]);
      ended.push(before.length === 0 ? this.#send(call) : Promise.all(before).then(() => this.#send(call)));
    }
    await Promise.all(ended);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(call: RoundTrip['call']): Promise<void> {
    if (call.to === 'node') return this.#post(call.path, JSON.stringify(call.body));
    const { n, cursor, localTime } = await this.#db.command(call.command);
    const isDone = localTime !== undefined || Number(n ?? cursor?.firstBatch.length) === 1;
    if (!isDone) throw new Error(`replayed in vain: ${Object.keys(call.command)[0]}`);
  }

  #post(path: string, body: string): Promise<void> {
    return new Promise((resolve, reject) => {
      request({
        host: this.#node.hostname,
        port: this.#node.port,
        path,
        method: 'POST',
        agent: this.#agent,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      })
        .on('error', reject)
        .on('response', (response) => {
          response
            .on('data', () => {})
            .on('end', () =>
              response.statusCode === 200 ? resolve() : reject(new Error(`status ${response.statusCode}`)),
            )
            .on('error', reject);
        })
        .end(body);
    });
  }
}

const ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{64}\b/g;

/** A deep copy in which every id is another one of the same length, the same wherever it was the same. */
function renew(value: unknown, renamed: Map<string, string>): unknown {
  if (typeof value === 'string') {
    return value.replace(ID, (id) => {
      const known = renamed.get(id) ?? (id.length === 36 ? randomUUID() : randomBytes(32).toString('hex'));
      renamed.set(id, known);
      return known;
    });
  }
  if (Array.isArray(value)) return value.map((element) => renew(element, renamed));
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) {
    return value;
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, renew(inner, renamed)]));
}
