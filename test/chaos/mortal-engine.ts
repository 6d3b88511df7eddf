/**
 * Stands in for `shared/composition/compose-engine.ts` in the bundles that chaos runs, and for nothing else in them:
 * the same engine, with ports that kill their process. `CHAOS_DIE_AT` counts steps over the process's life; odd is
 * just before a port call, even just after it. 0 lives on. `CHAOS_COUNT_FROM` names the call with which counting
 * begins; where it is empty that is the first one. `CHAOS_PLACES` names places, such as `before approve`, at the first
 * of which the process dies whatever it has counted.
 */
import { writeSync } from 'node:fs';
import { composePayments as compose, type PortWrapper } from '../../shared/composition/compose-engine.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { atEachCall } from '../support/each-call.ts';
import { EVENTS_FD, type NurseryEvent } from './nursery-protocol.ts';

/** Read at the cold start: the process that loaded this code lends it to many. */
function mortal(): PortWrapper {
  const dieAt = Number(process.env.CHAOS_DIE_AT);
  const places = new Set((process.env.CHAOS_PLACES ?? '').split(','));
  let countFrom = process.env.CHAOS_COUNT_FROM ?? '';
  let steps = 0;
  const isLast = (place: string, call: string): boolean => {
    if (places.has(place)) return true;
    if (countFrom !== '' && countFrom !== call) return false;
    countFrom = '';
    steps += 1;
    return steps === dieAt;
  };
  const step = (place: string, call: string): void => {
    if (!isLast(place, call)) return;
    const lastWords: NurseryEvent = { event: 'dying', pid: process.pid, place };
    writeSync(EVENTS_FD, `${JSON.stringify(lastWords)}\n`);
    process.kill(process.pid, 'SIGKILL');
  };
  return atEachCall(
    (call) => step(`before ${call}`, call),
    (call) => step(`after ${call}`, call),
  );
}

export function composeEngine(config: Parameters<typeof compose>[0]): Engine {
  return compose(config, mortal()).engine;
}

export function composePayments(config: Parameters<typeof compose>[0]): ReturnType<typeof compose> {
  return compose(config, mortal());
}
