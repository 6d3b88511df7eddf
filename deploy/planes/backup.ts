/** A backup of the payments database, and putting one back, on the planes that run. */
import { basename, dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Container, inspectContainers, listRunning } from './containers.ts';
import { readRestoreOrder } from './database/restore-order.ts';
import { commandOf, FUNCTIONS, type Planes } from './planes.ts';
import { makeFolders } from './state.ts';

const HEALTHY_PATIENCE_MS = 120_000;
const POLL_MS = 500;
const SHOWN = { isShown: true };

/** Payments may be made meanwhile. @throws Error, CommandFailed: then there is no file */
export async function backUp(planes: Planes, log: (line: string) => void): Promise<void> {
  if (!(await isDatabaseUp(planes)))
    throw new Error(`the database is not running; start it: ${commandOf(planes)}`);
  await planes.refuseOtherFolders();
  makeFolders(planes.folders, planes.owner);
  await planes.runOnce('database-backup', [], SHOWN);
  log(`It is in ${planes.folders.backups}`);
}

/**
 * Puts a backup back, or marks what an operator's own tools have brought back. The functions do not run meanwhile; where
 * they did not before, nothing but the database is started: on a new machine nothing may be paid before this.
 *
 * @param asked as `readRestoreOrder` takes it; a file may be named with its path
 * @throws UsageError; Error, CommandFailed where it was refused or broke off
 */
export async function restore(
  planes: Planes,
  asked: readonly string[],
  log: (line: string) => void,
): Promise<void> {
  const { backups } = planes.folders;
  const words = asked.map((word) => (dirname(resolve(word)) === backups ? basename(word) : word));
  const order = readRestoreOrder(words);
  await planes.refuseOtherFolders();
  if (!(await isDatabaseUp(planes))) {
    const missing = await planes.missingImages();
    if (missing.length > 0)
      throw new Error(
        `images are missing: npm run images -- --version ${planes.version} ${missing.join(' ')}`,
      );
    await planes.prepare();
    await planes.startDatabase();
  }
  makeFolders(planes.folders, planes.owner);
  // While everything still runs: a file that is refused costs no request.
  if (order.kind === 'file') await planes.runOnce('database-restore', [...words, '--check'], SHOWN);
  const functions = (await Promise.all(FUNCTIONS.map((name) => listRunning(planes, name)))).flat();
  await stop(planes, functions, log);
  try {
    await planes.runOnce('database-restore', words, SHOWN);
  } catch (error) {
    // A file that is not put back leaves what can run on. What other means have brought back, and nothing marks, cannot.
    if (order.kind === 'file') await start(planes, functions, log);
    else log(`nothing is marked: ${FUNCTIONS.join(', ')} stay stopped until this is run again and succeeds`);
    throw error;
  }
  await start(planes, functions, log);
  for (const line of whatIsNext(planes, functions.length > 0)) log(line);
}

async function isDatabaseUp(planes: Planes): Promise<boolean> {
  return (await listRunning(planes, 'mongo')).length > 0;
}

async function stop(
  planes: Planes,
  containers: readonly Container[],
  log: (line: string) => void,
): Promise<void> {
  if (containers.length === 0) return;
  log(`stopping ${FUNCTIONS.join(', ')}: until they run again every request is answered with 503`);
  await planes.engine.docker(['stop', ...containers.map(({ id }) => id)]);
}

async function start(
  planes: Planes,
  containers: readonly Container[],
  log: (line: string) => void,
): Promise<void> {
  if (containers.length === 0) return;
  const ids = containers.map(({ id }) => id);
  await planes.engine.docker(['start', ...ids]);
  const untilMs = performance.now() + HEALTHY_PATIENCE_MS;
  for (;;) {
    const ill = (await inspectContainers(planes, ids)).filter(({ health }) => health !== 'healthy');
    if (ill.length === 0) break;
    if (performance.now() > untilMs)
      throw new Error(`not healthy again: ${ill.map(({ name }) => name).join(', ')}`);
    await sleep(POLL_MS);
  }
  log(`${FUNCTIONS.join(', ')} run again`);
}

function whatIsNext(planes: Planes, isRunning: boolean): readonly string[] {
  const command = commandOf(planes);
  return [
    '',
    'It is paused: nothing is reserved or signed.',
    ...(isRunning ? [] : [`Start everything: ${command}`]),
    "Once nothing can land any more that was signed before, settle reads the wallet's solid history since the backup.",
    'How far it is: node deploy/planes/scripts/health-check.ts (circuit_breaker), or GET /stats (restored).',
    'When that is done, and not before, it can be resumed:',
    `  ${command} post /pay/breaker '{"action":"resume","reason":"the history is read"}'`,
    'What to do with an order that is equal to a transfer which was found: docs/operations.md, "Restore".',
  ];
}
