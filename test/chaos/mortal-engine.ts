/**
 * Stands in for `shared/composition/compose-engine.ts` in the bundles that chaos runs, and for nothing else in them:
 * the same engine, with ports that kill their process. `CHAOS_DIE_AT` counts steps over the process's life; odd is
 * just before a port call, even just after it. 0 lives on. `CHAOS_COUNT_FROM` names the call with which counting
 * begins; where it is empty that is the first one.
 */
import { writeSync } from 'node:fs';
import { composePayments as compose, type PortWrapper } from '../../shared/composition/compose-engine.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { EVENTS_FD, type NurseryEvent } from './nursery-protocol.ts';

/** Read at the cold start: the process that loaded this code lends it to many. */
function mortal(): PortWrapper {
  const dieAt = Number(process.env.CHAOS_DIE_AT);
  let countFrom = process.env.CHAOS_COUNT_FROM ?? '';
  let steps = 0;
  const step = (place: string, call: string): void => {
    if (countFrom !== '' && countFrom !== call) return;
    countFrom = '';
    steps += 1;
    if (steps !== dieAt) return;
    const lastWords: NurseryEvent = { event: 'dying', pid: process.pid, place };
    writeSync(EVENTS_FD, `${JSON.stringify(lastWords)}\n`);
    process.kill(process.pid, 'SIGKILL');
  };
  return (port) =>
    new Proxy(port, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          step(`before ${String(name)}`, String(name));
          const result: unknown = await Reflect.apply(member, target, args);
          step(`after ${String(name)}`, String(name));
          return result;
        };
      },
    });
}

export function composeEngine(config: Parameters<typeof compose>[0]): Engine {
  return compose(config, mortal()).engine;
}

export function composePayments(config: Parameters<typeof compose>[0]): ReturnType<typeof compose> {
  return compose(config, mortal());
}
