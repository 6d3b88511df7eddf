/** A file that says which process owns the folder beside it. */
import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readStartTicks } from './processes.ts';

export type FileLock = { readonly release: () => void };

/** Names a process for good: a pid alone is used again. */
export type Owner = { readonly pid: number; readonly startTicks: string | undefined };

/**
 * Takes the lock for this process. One whose owner is dead is taken over.
 *
 * @param inUse makes the error that is thrown when another process holds it
 */
export function lockFile(path: string, inUse: (pid: number) => Error): FileLock {
  const content = JSON.stringify({ ...thisProcess(), nonce: randomUUID() });
  const draft = `${path}.${process.pid}.${randomUUID()}`;
  // A link appears with its content whole and only where there was none: the two things that a lock needs.
  writeFileSync(draft, content, { flag: 'wx' });
  try {
    while (!tryLink(draft, path)) removeIfStale(path, inUse);
  } finally {
    rmSync(draft, { force: true });
  }
  return {
    release: () => {
      if (readText(path) === content) rmSync(path, { force: true });
    },
  };
}

function removeIfStale(path: string, inUse: (pid: number) => Error): void {
  const judged = readText(path);
  if (judged === undefined) return;
  const owner = parseOwner(judged);
  if (owner !== undefined && isRunning(owner)) throw inUse(owner.pid);
  // Between the judgement and the removal somebody else may have taken over: what is moved away must be
  // what was judged, or else it goes back.
  const aside = `${path}.stale.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (readText(aside) !== judged) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function parseOwner(text: string): Owner | undefined {
  try {
    const { pid, startTicks } = JSON.parse(text) as Partial<Owner>;
    return typeof pid === 'number' ? { pid, startTicks } : undefined;
  } catch {
    return undefined;
  }
}

export function thisProcess(): Owner {
  return { pid: process.pid, startTicks: readStartTicks(process.pid) };
}

export function isRunning({ pid, startTicks }: Owner): boolean {
  const found = readStartTicks(pid);
  return found !== undefined && found === startTicks;
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** undefined where there is no such file. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
