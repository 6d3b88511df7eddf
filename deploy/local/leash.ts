import { execFileSync } from 'node:child_process';

let hasSetpriv: boolean | undefined;

/**
 * Rewrites a command line so that the kernel sends SIGTERM to the process when the one that started it is gone,
 * however it went. It stays the same process (setpriv executes the command in its own place), so its pid, signals
 * and exit code are the command's own. Where util-linux's setpriv is absent the command line stays as it is.
 */
export function leash(command: string, args: readonly string[]): { command: string; args: string[] } {
  hasSetpriv ??= probeSetpriv();
  if (!hasSetpriv) return { command, args: [...args] };
  return { command: 'setpriv', args: ['--pdeathsig', 'TERM', '--', command, ...args] };
}

function probeSetpriv(): boolean {
  try {
    execFileSync('setpriv', ['--pdeathsig', 'TERM', '--', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
