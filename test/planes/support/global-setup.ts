/** Brings the planes up for all test files of `npm run test:planes`, and takes them down after them. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { own } from '../../../deploy/planes/state.ts';
import { openPlanes, STATE_DIR } from './running-planes.ts';

/** A disk for the logs of `stats` alone, small enough to fill. */
const SMALL_DISK = join(STATE_DIR, 'logs/tron-payment/stats');

export async function setup(): Promise<() => Promise<void>> {
  const startedMs = performance.now();
  const say = (line: string) =>
    console.log(`planes: ${line}, ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`);
  // What a run left behind that was killed: the engine starts its containers again, and the small disk is still there.
  await (await openPlanes()).down({ isShown: false });
  spawnSync('umount', ['--quiet', SMALL_DISK]);
  for (const part of ['data', 'logs']) rmSync(join(STATE_DIR, part), { recursive: true, force: true });
  const planes = await openPlanes();
  await planes.prepare();
  mkdirSync(SMALL_DISK, { recursive: true });
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', SMALL_DISK], { stdio: 'inherit' });
  own(SMALL_DISK, planes.owner);
  const down = async () => {
    await planes.down({ isShown: false });
    spawnSync('umount', [SMALL_DISK], { stdio: 'inherit' });
    say('down');
  };
  try {
    await planes.up({ isShown: true });
    say('healthy');
  } catch (error) {
    const logs = await planes.engine.compose(['logs', '--tail', '30']).catch(String);
    console.error(logs);
    await down();
    throw error;
  }
  return down;
}
