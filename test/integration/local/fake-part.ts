/**
 * A part for tests of the supervisor: says READY, then lives until told otherwise.
 *
 *     node fake-part.ts [--child] [--deaf] [--late MS] [--die-after MS] [--out FILE --name NAME]
 *
 * `--child` starts a child in a session of its own that ignores SIGTERM; `--deaf` ignores SIGTERM itself; `--out`
 * notes the moment of its orderly end.
 */
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    child: { type: 'boolean' },
    deaf: { type: 'boolean' },
    mute: { type: 'boolean' },
    'die-after': { type: 'string' },
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
if (values['die-after'] !== undefined) {
  setTimeout(() => {
    console.error('something went wrong');
    process.exit(7);
  }, Number(values['die-after']));
}
if (values.mute !== true) console.log(`READY ${JSON.stringify({ pid: process.pid })}`);
