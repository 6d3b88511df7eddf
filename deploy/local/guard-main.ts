/**
 * The guard process: `node guard-main.ts <stack id> <pid of the supervisor>`, standard input from the supervisor.
 * Waits for that pipe to close and then ends every process that carries the stack's mark.
 */
import { FAREWELL } from './guard.ts';
import { endMarked, isOfStart } from './processes.ts';

/** Long enough for the database to close its file; what is slower is killed. */
const GRACE_MS = 3_000;

const [stackId, supervisorPid] = process.argv.slice(2);
if (stackId === undefined || supervisorPid === undefined) {
  console.error('usage: node guard-main.ts <stack id> <pid of the supervisor>');
  process.exit(2);
}

// Only the pipe ends the guard: a signal to it is not the end of the stack. Nobody may be there to read
// what it reports either.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => {});
process.stderr.on('error', () => {});

let heard = '';
process.stdin.setEncoding('utf8');
for await (const chunk of process.stdin) heard += chunk;

const { ended, survivors } = await endMarked(isOfStart(stackId), { graceMs: GRACE_MS });
if (heard !== FAREWELL) {
  const list = ended.map(({ name, pid }) => `${name} ${pid}`).join(', ');
  console.error(`\nThe supervisor (pid ${supervisorPid}) died; ended what it left: ${list || 'nothing'}.`);
}
if (survivors.length > 0) {
  console.error(`These outlived SIGKILL: ${survivors.map(({ pid }) => pid).join(', ')}.`);
  process.exitCode = 1;
}
