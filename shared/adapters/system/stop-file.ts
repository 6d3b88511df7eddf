import { lstat, readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { StopSwitch } from '../../ports/stop-switch.ts';

/**
 * Set while the file is there, whatever it is: a dangling link counts too. What keeps us from looking counts as
 * set as well, a folder that is gone (a mount that failed) included: a brake must not fail open.
 */
export function stopFile(path: string): StopSwitch {
  return {
    async isSet() {
      try {
        await lstat(path);
        return true;
      } catch (error) {
        return !(isNotThere(error) && (await canList(dirname(path))));
      }
    },
  };
}

function isNotThere(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

async function canList(folder: string): Promise<boolean> {
  try {
    await readdir(folder);
    return true;
  } catch {
    return false;
  }
}
