import { access } from 'node:fs/promises';
import type { StopSwitch } from '../../ports/stop-switch.ts';

/** Set while the file is there. What keeps us from looking counts as set: a brake must not fail open. */
export function stopFile(path: string): StopSwitch {
  return {
    async isSet() {
      try {
        await access(path);
        return true;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code !== 'ENOENT';
      }
    },
  };
}
