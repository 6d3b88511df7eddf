/**
 * Tries every way out that a process has to the chain, by its address and by its name: with the guard of production
 * (`guarded`), whose configuration is this process's environment, or without (`unguarded`). Prints how many attempts it
 * made, which ways led somewhere, and how many times the guard refused.
 */
import { readConfig } from '../../shared/runtime/config.ts';
import { allowedDestinations, guardOutward } from '../../shared/runtime/outward-guard.ts';
import { CONNECTIONS, DATAGRAMS, LOOKUPS, succeeds } from '../support/ways-out.ts';
import { CHAIN } from './addresses.ts';
import { nameOf, portOf } from './leak-marks.ts';

let refusals = 0;
if (process.argv[2] === 'guarded') {
  const config = readConfig(process.env, { needs: [] });
  guardOutward(allowedDestinations(config, undefined), () => {
    refusals += 1;
  });
}
const attempts = [
  ...Object.entries({ ...CONNECTIONS, ...DATAGRAMS }).flatMap(([way, dial]) =>
    [CHAIN.host, CHAIN.name].map((host) => ({ way, attempt: () => dial(host, portOf(way)) })),
  ),
  ...Object.entries(LOOKUPS).map(([way, look]) => ({ way, attempt: () => look(nameOf(way)) })),
];
const outcomes = await Promise.all(
  attempts.map(async ({ way, attempt }) => ({ way, succeeded: await succeeds(attempt) })),
);
const open = outcomes.filter(({ succeeded }) => succeeded).map(({ way }) => way);
process.stdout.write(JSON.stringify({ tried: attempts.length, open, refusals }), () => process.exit(0));
