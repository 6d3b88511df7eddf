/**
 * `npm start`: the whole system on this machine. Brings the stack up, pays twice to show that it works, and stays
 * until it is told to stop, or until it cannot go on.
 *
 * Exit codes: 0 stopped as asked (with `--once`: both payments confirmed), 1 something failed, 2 wrong usage.
 */
import { isRieCached } from '../../build/rie.ts';
import { EXIT, runCommand } from '../cli/arguments.ts';
import { createClient } from '../cli/running-stack.ts';
import { Console } from './console.ts';
import { isLauncherBuilt } from './database/build-launcher.ts';
import { payDemonstration } from './demonstration.ts';
import { settingsOf } from './environment.ts';
import { printNextSteps } from './next-steps.ts';
import { readStartOptions, START_HELP, type StartOptions } from './options.ts';
import type { PartLog } from './part-log.ts';
import { findMissing, MACHINE } from './preflight.ts';
import { LocalStack } from './stack.ts';
import { PartFailure, type SupervisorEvent } from './supervisor.ts';

const SETTLE_INTERVAL_MS = 1_000;
/** npm passes a Ctrl-C on that the terminal has already sent: what comes this soon is the same one. */
const SAME_SIGNAL_MS = 700;
/** Of a part that died: enough to see why, and to look further in its log. */
const LAST_LINES = 6;
const LINE_WIDTH_MAX = 220;

const screen = new Console(process.stdout);
await runCommand('npm start', async () => {
  const options = readStartOptions(process.argv.slice(2));
  if (options === undefined) {
    screen.line(START_HELP);
    return EXIT.ok;
  }
  const missing = await findMissing(MACHINE, {
    emulator: await isRieCached(),
    databaseLauncher: await isLauncherBuilt(),
  });
  for (const line of missing) process.stderr.write(`npm start: ${line}\n`);
  return missing.length > 0 ? EXIT.failed : run(options);
});

async function run(options: StartOptions): Promise<number> {
  const startedAtMs = performance.now();
  const stop = new AbortController();
  const stack = new LocalStack(
    {
      ...options,
      settleIntervalMs: SETTLE_INTERVAL_MS,
      settings: settingsOf(process.env),
      ...(options.verbose ? { onLogLine: (part, line) => screen.dim(`${part.padEnd(9)} │ ${line}`) } : {}),
    },
    screen,
    (event) => report(event),
  );
  watchSignals(stop, stack);

  let exitCode = 0;
  try {
    exitCode = await Promise.race([
      live(stack, options, startedAtMs, stop.signal),
      whenAborted(stop.signal).then(() => (options.once ? 1 : 0)),
      stack.failed.then((failure) => {
        throw failure;
      }),
    ]);
  } catch (error) {
    exitCode = 1;
    if (!stop.signal.aborted) reportFailure(error);
  }
  // Whoever still waits for something inside the stack shall not go on while it ends.
  stop.abort();
  const left = await stack.down();
  if (left.length > 0) screen.error(`these outlived SIGKILL: ${left.map(({ pid }) => pid).join(', ')}`);
  else if (stack.supervisor.names().length > 0) screen.line('stopped; no process is left');
  return exitCode;
}

/** The life of a stack that nothing goes wrong with. */
async function live(
  stack: LocalStack,
  options: StartOptions,
  startedAtMs: number,
  signal: AbortSignal,
): Promise<number> {
  const info = await stack.up();
  signal.throwIfAborted();
  screen.line(`\nready after ${((performance.now() - startedAtMs) / 1_000).toFixed(1)} s`);
  const client = createClient(info.access);
  const paid = options.payDemo
    ? await payDemonstration(client, { paths: info.paths, console: screen, signal })
    : true;
  if (options.once) return paid ? 0 : 1;
  if (!options.payDemo) screen.line('nothing is paid unasked on this network; --pay-demo does');
  await printNextSteps(screen, info);
  return whenAborted(signal).then(() => 0);
}

function report(event: SupervisorEvent): void {
  switch (event.type) {
    case 'died':
      screen.error(`${event.part} ${event.reason}`);
      quote(event.part, event.log);
      return;
    case 'restarting':
      screen.warn(`${event.part} starts again in ${(event.afterMs / 1_000).toFixed(1)} s`);
      return;
    case 'restarted':
      screen.success(`${event.part} runs again${event.note === undefined ? '' : `; ${event.note}`}`);
      return;
    case 'gave-up':
      screen.error(`${event.part} died ${event.deaths} times within ${event.withinMs / 1_000} s`);
      return;
  }
}

function reportFailure(error: unknown): void {
  screen.error(`npm start: ${error instanceof Error ? error.message : String(error)}`);
  if (!(error instanceof PartFailure)) return;
  quote(error.part, error.log);
  screen.dim(`  the whole log: ${error.log.path}`);
}

function quote(part: string, log: PartLog): void {
  for (const line of log.tail(LAST_LINES))
    screen.dim(`  ${part} │ ${shorten(line).slice(0, LINE_WIDTH_MAX)}`);
}

/** Of a JSON log line what a person looks for first; any other line as it is. */
function shorten(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    const {
      level,
      msg,
      message = msg,
      time: _time,
      part: _part,
      service: _service,
      plane: _plane,
      ...rest
    } = entry;
    return `${level} ${message} ${JSON.stringify(rest)}`;
  } catch {
    return line;
  }
}

/** The first signal drains; one that comes later, and is not the first one come twice, ends all at once. */
function watchSignals(stop: AbortController, stack: LocalStack): void {
  let firstAtMs: number | undefined;
  const onSignal = (name: NodeJS.Signals) => {
    if (firstAtMs === undefined) {
      firstAtMs = performance.now();
      screen.warn(`\n${name}: draining; once more to stop at once`);
      stop.abort();
    } else if (performance.now() - firstAtMs > SAME_SIGNAL_MS) {
      screen.warn(`${name} again: stopping at once`);
      stack.kill();
    }
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
