/**
 * A whole process as `npm start` is one, with fake parts: takes the lock, starts the guard, two parts and what
 * they start. Prints `UP {json}` and waits; a test then kills it.
 */
import { join } from 'node:path';
import { startChildPart } from '../../../deploy/local/child-part.ts';
import { Guard } from '../../../deploy/local/guard.ts';
import { PartLog } from '../../../deploy/local/part-log.ts';
import { lockState, pathsOf } from '../../../deploy/local/state.ts';
import { Supervisor } from '../../../deploy/local/supervisor.ts';

const paths = pathsOf(process.argv[2] ?? '');
const { stackId } = lockState(paths);
const guard = new Guard({ stackId, onReplaced: () => report('GUARD'), onLost: () => process.exit(1) });
const supervisor = new Supervisor({ onEvent: (event) => console.log(JSON.stringify(event.type)) });
for (const name of ['first', 'second']) {
  const log = new PartLog(join(paths.logs, `${name}.log`));
  await supervisor.start({
    name,
    drainOrder: 0,
    stopTimeoutMs: 1_000,
    log,
    start: () =>
      startChildPart({
        command: process.execPath,
        args: [join(import.meta.dirname, 'fake-part.ts'), '--child'],
        env: { TPF_STACK_ID: stackId },
        log: (line) => log.write(line),
        readReady: (line) => (line.startsWith('READY') ? true : undefined),
        readyTimeoutMs: 60_000,
        stopTimeoutMs: 1_000,
      }),
  });
}
report('UP');

function report(what: string): void {
  console.log(
    `${what} ${JSON.stringify({ stackId, guard: guard.pid, parts: supervisor.names().map((name) => supervisor.pidOf(name)) })}`,
  );
}
