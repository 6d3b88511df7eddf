import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const MARK = 'sidecar.running';

/**
 * A file that exists while the sidecar runs and goes away when it ends with nothing in flight. Found at the
 * start it means that the last run ended uncleanly: invokes that it began may still be running.
 */
export interface RunMark {
  readonly foundUnclean: boolean;
  /** Called when nothing that this process invoked can be running any more. */
  clear(): void;
}

/** Removes the mark of a sidecar that ended uncleanly, for who knows that every instance has ended with it. */
export function forgetRun(stateDir: string): void {
  rmSync(join(stateDir, MARK), { force: true });
}

/** @throws when the folder cannot be written. Without a folder an unclean end cannot be known. */
export function setRunMark(stateDir: string | undefined): RunMark {
  if (stateDir === undefined) return { foundUnclean: false, clear() {} };
  mkdirSync(stateDir, { recursive: true });
  const path = join(stateDir, MARK);
  const foundUnclean = existsSync(path);
  const file = openSync(path, 'w');
  fsyncSync(file);
  closeSync(file);
  return { foundUnclean, clear: () => rmSync(path, { force: true }) };
}
