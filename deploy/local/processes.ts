/**
 * Finds and ends processes by the environment variable that every part of a stack carries.
 *
 * A list of the pids that were started is not enough: the emulator starts the runtime as a child of its own,
 * restarts it, and leaves it alive when it is killed. An environment is inherited, and Linux shows it in
 * /proc, so a mark in it reaches every descendant, also one that was forked a moment ago.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The variable that marks a process as part of a stack; its value is the id of that stack. */
export const STACK_ID_VARIABLE = 'TPF_STACK_ID';

/** Separates the part of a stack id that names its state folder from the part that names this one start. */
const SEPARATOR = '.';

/** The id of one start: all starts on one state folder share what stands before the separator. */
export function composeStackId(folderKey: string, startKey: string): string {
  return `${folderKey}${SEPARATOR}${startKey}`;
}

/** Chooses the processes of exactly one start. */
export function isOfStart(stackId: string): (found: string) => boolean {
  return (found) => found === stackId;
}

/** Chooses the processes of any start on the same state folder. */
export function isOfFolder(stackId: string): (found: string) => boolean {
  const prefix = stackId.slice(0, stackId.indexOf(SEPARATOR) + 1);
  return (found) => prefix !== '' && found.startsWith(prefix);
}

/** A process that carries the mark. */
export type MarkedProcess = {
  readonly pid: number;
  /** The program's file name, for a person to read: `node`, `java`, `aws-lambda-rie`. */
  readonly name: string;
};

/**
 * Lists the living processes whose stack id `matches` accepts, this one excepted. A process that ends while
 * it is looked at, and one of another user, is passed over.
 */
export function findMarked(matches: (stackId: string) => boolean): MarkedProcess[] {
  const marker = `${STACK_ID_VARIABLE}=`;
  const found: MarkedProcess[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const variables = readProc(pid, 'environ')?.split('\0') ?? [];
    const stackId = variables.find((variable) => variable.startsWith(marker))?.slice(marker.length);
    if (stackId !== undefined && matches(stackId)) {
      found.push({ pid, name: nameOf(pid) });
    }
  }
  return found;
}

/** How `endMarked` goes about it. */
export type EndMarkedOptions = {
  /** How long a process may take to end on SIGTERM before it gets SIGKILL. */
  readonly graceMs: number;
};

/** How many empty looks in a row mean that none is left; a fork can fall between two looks. */
const EMPTY_LOOKS = 3;
const LOOK_EVERY_MS = 50;
/** SIGKILL needs no more than this, unless the kernel itself is stuck. */
const KILL_BOUND_MS = 10_000;

/**
 * Ends every process that `matches` accepts, first by SIGTERM, after `graceMs` by SIGKILL, until none is left.
 * Answers those it found, each once. Does not throw when a process outlives SIGKILL (one in uninterruptible
 * sleep): it gives up after some seconds and leaves it in `survivors`.
 */
export async function endMarked(
  matches: (stackId: string) => boolean,
  options: EndMarkedOptions,
): Promise<{ readonly ended: readonly MarkedProcess[]; readonly survivors: readonly MarkedProcess[] }> {
  const seen = new Map<number, MarkedProcess>();
  const startedAtMs = performance.now();
  let emptyLooks = 0;
  for (;;) {
    const left = findMarked(matches);
    emptyLooks = left.length === 0 ? emptyLooks + 1 : 0;
    if (emptyLooks >= EMPTY_LOOKS) return { ended: [...seen.values()], survivors: [] };

    const elapsedMs = performance.now() - startedAtMs;
    if (elapsedMs > options.graceMs + KILL_BOUND_MS) return { ended: [...seen.values()], survivors: left };
    for (const found of left) {
      const isNew = !seen.has(found.pid);
      seen.set(found.pid, found);
      if (elapsedMs > options.graceMs) signal(found.pid, 'SIGKILL');
      else if (isNew) signal(found.pid, 'SIGTERM');
    }
    await sleep(LOOK_EVERY_MS);
  }
}

/** Sends a signal and tells whether there was a process to take it. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/**
 * When a process started, in clock ticks since boot; undefined when there is none, or when it is dead and only
 * waits for its parent to notice. Together with the pid it names a process for good, since pids are used again.
 */
export function readStartTicks(pid: number): string | undefined {
  // The name, in parentheses, may hold spaces; the fields after it do not. State is field 3 of all, start time 22.
  const fields = readProc(pid, 'stat')
    ?.replace(/^.*\) /s, '')
    .split(' ');
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[19];
}

function nameOf(pid: number): string {
  // Not /proc/…/comm, which is the name of the first thread: node calls its own MainThread.
  return basename(readProc(pid, 'cmdline')?.split('\0')[0] ?? '') || '?';
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return undefined;
  }
}
