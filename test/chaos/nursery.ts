/**
 * Where instances of one function begin, as cheap as they can be and still be honest. The function's bundle is loaded
 * once; each instance is then forked off: a process of its own, which makes its cold start by itself, opens sockets
 * of its own to the database and to the chain, and answers where the Runtime Interface Emulator would. What a SIGKILL
 * ends is the whole of it.
 *
 *   node --single-threaded nursery.mjs PATH_TO_FORK PATH_TO_HANDLER
 *
 * Orders come in on standard input, one JSON a line; what happens to the children goes out on `EVENTS_FD`.
 */
import crypto from 'node:crypto';
import { writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import type { DeferredHandler } from './deferred-lambda.ts';
import { serve } from './instance.ts';
import { EVENTS_FD, type NurseryEvent, type NurseryOrder } from './nursery-protocol.ts';

interface Fork {
  /** @returns the child's id; in the child its own id, negated; 0 where there is no child */
  fork(): number;
  /** One child that has ended; `pid` is 0 where none has. */
  reap(): { readonly pid: number; readonly signal: number; readonly code: number };
}

const [forkPath = '', handlerPath = ''] = process.argv.slice(2);
const addon: { exports: Partial<Fork> } = { exports: {} };
process.dlopen(addon, forkPath);
const { fork, reap } = addon.exports as Fork;
const { handler } = (await import(pathToFileURL(handlerPath).href)) as { readonly handler: DeferredHandler };
const forbidden = forbidChance();
await handler.loadAll();
// Compiles what a cold start runs; its result is thrown away, and it has dialled nobody.
await handler.coldStart();

const living = new Set<number>();
const waiting: NurseryOrder[] = [];
const lines = createInterface({ input: process.stdin });

lines.on('line', (line) => {
  waiting.push(JSON.parse(line) as NurseryOrder);
  // Outside of the callback that reads: a child must not come to life in the middle of the parent's input.
  if (waiting.length === 1) setImmediate(obey);
});
process.on('SIGCHLD', bury);
tell({ event: 'ready' });

function obey(): void {
  const order = waiting.shift();
  if (order === undefined) return;
  if (order.order === 'signal') {
    // Only the parent reaps, so that this id is still the child's.
    if (living.has(order.pid)) process.kill(order.pid, order.signal);
  } else {
    const pid = fork();
    if (pid < 0) {
      begin(-pid, order);
      return;
    }
    if (pid > 0) living.add(pid);
    tell({ event: 'born', life: order.life, pid });
  }
  if (waiting.length > 0) setImmediate(obey);
}

function bury(): void {
  for (let death = reap(); death.pid !== 0; death = reap()) {
    living.delete(death.pid);
    const [signal = null] =
      Object.entries(constants.signals).find(([, value]) => value === death.signal) ?? [];
    tell({ event: 'died', pid: death.pid, signal, code: death.code });
  }
}

/** In the child: leaves all that is the parent's, and becomes an instance. */
function begin(pid: number, order: Extract<NurseryOrder, { order: 'live' }>): void {
  waiting.length = 0;
  process.removeListener('SIGCHLD', bury);
  lines.close();
  process.stdin.destroy();
  Object.defineProperty(process, 'pid', { value: pid });
  forbidden.allow();
  // Every child would draw the parent's next numbers.
  Math.random = () => crypto.randomInt(2 ** 32) / 2 ** 32;
  process.env.CHAOS_DIE_AT = String(order.dieAt);
  process.env.CHAOS_COUNT_FROM = order.countFrom;
  process.env.CHAOS_PLACES = order.places.join();
  serve(handler, order.port, () => tell({ event: 'serving', pid }));
}

/**
 * What draws random bytes often draws more than it needs and keeps the rest, and of what the parent keeps every child
 * would have a copy: two could make the same id. So nobody draws in the parent, or it does not start.
 */
function forbidChance(): { readonly allow: () => void } {
  const sources = ['randomBytes', 'randomFillSync', 'randomFill', 'randomUUID', 'randomInt'] as const;
  const originals = sources.map((name) => [name, crypto[name]] as const);
  const { webcrypto } = crypto;
  const getRandomValues = webcrypto.getRandomValues;
  const refuse = (): never => {
    throw new Error('something draws random bytes in a nursery; all its children would share them');
  };
  for (const name of sources) Object.assign(crypto, { [name]: refuse });
  webcrypto.getRandomValues = refuse;
  syncBuiltinESMExports();
  return {
    allow() {
      for (const [name, original] of originals) Object.assign(crypto, { [name]: original });
      webcrypto.getRandomValues = getRandomValues;
      syncBuiltinESMExports();
    },
  };
}

function tell(event: NurseryEvent): void {
  writeSync(EVENTS_FD, `${JSON.stringify(event)}\n`);
}
