/**
 * A part for tests of the supervisor: says READY, then lives until told otherwise.
 *
 *     node fake-part.ts [--child] [--deaf] [--mute] [--out FILE --name NAME]
 *
 * `--child` starts a child in a session of its own that ignores SIGTERM; `--deaf` ignores SIGTERM itself; `--out`
 * notes the moment of its orderly end. On SIGUSR2 it complains and ends with code 7.
 */
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    child: { type: 'boolean' },
    deaf: { type: 'boolean' },
    mute: { type: 'boolean' },
    out: { type: 'string' },
    name: { type: 'string' },
  },
});

setInterval(() => {}, 1_000);
process.on('SIGTERM', () => {
  if (values.deaf === true) return;
  if (values.out !== undefined) appendFileSync(values.out, `${values.name}\n`);
  process.exit(0);
});
if (values.child === true) {
  spawn(process.execPath, [import.meta.filename, '--deaf', '--mute'], { detached: true, stdio: 'ignore' });
}
process.on('SIGUSR2', () => {
  console.error('something went wrong');
  process.exit(7);
});
if (values.mute !== true) console.log(`READY ${JSON.stringify({ pid: process.pid })}`);
