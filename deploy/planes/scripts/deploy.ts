/**
 * `node deploy/planes/scripts/deploy.ts VERSION`: a rolling update. For each function new instances join, the old ones
 * are drained and removed, and should the new ones not become healthy the old ones stay as they were. Old and new run
 * side by side on one database meanwhile.
 */
import { listContainers } from '../containers.ts';
import { FUNCTIONS, type FunctionName, type Planes } from '../planes.ts';
import { addInstances, removeDrained } from '../scale.ts';
import { runScript } from './command.ts';

/** The new version did not become healthy; what ran before runs on. */
export class RolledBack extends Error {
  constructor(name: FunctionName, version: string, reason: string) {
    super(`${name} ${version} is not healthy and was removed again; the version before runs on: ${reason}`);
    this.name = 'RolledBack';
  }
}

/** What a tag may hold behind the image's name. */
const VERSION = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

export type UpdateProgress = (line: string) => void;

/**
 * Brings all functions of the planes that run to another version, and lets later commands know of it.
 *
 * @param words the version alone
 * @throws Error with one line where there is no such version; NotReady; RolledBack
 */
export async function deploy(
  running: Planes,
  [version = '', ...others]: readonly string[],
  log: UpdateProgress,
): Promise<void> {
  if (!VERSION.test(version) || others.length > 0) throw new Error('say which version: deploy 0.2.0');
  // What is wrong with a secret that is being changed is seen before there are instances that read it.
  running.judge();
  await running.requireRunning();
  const planes = running.at(version);
  const missing = (await planes.missingImages()).filter((name) => FUNCTIONS.some((known) => known === name));
  if (missing.length > 0) {
    throw new Error(
      `no image ${missing.map((name) => planes.image(name)).join(', ')}: load it, or npm run images -- --version ${version}`,
    );
  }
  for (const name of planes.rotations)
    log(`${name} is being changed: the new instances read ${name}_other, too`);
  await rollOut(planes, log);
  log(`all functions are ${version}`);
  if (planes.isProduction) {
    log(`set LUCID_VERSION=${version} in .env, or the next start brings back the old one`);
  } else {
    planes.remember();
  }
}

/**
 * Brings all functions to the version that `planes` was opened with. What fails leaves every function on the old
 * version, or, where one could not be brought back, says which.
 *
 * @throws RolledBack
 */
export async function rollOut(planes: Planes, log: UpdateProgress): Promise<void> {
  const updated: { readonly name: FunctionName; readonly old: readonly string[] }[] = [];
  try {
    for (const name of FUNCTIONS) {
      const old = await findOld(planes, name);
      await join(planes, name, old);
      updated.push({ name, old });
      log(`${name}: ${old.length} of ${planes.version} joined`);
    }
  } catch (error) {
    // Nothing old has been removed yet: the new ones go, wherever they came in.
    for (const { name, old } of updated) await leave(planes, name, old);
    if (updated.length > 0) log(`${updated.map(({ name }) => name).join(', ')}: back to the version before`);
    throw error;
  }
  for (const { name, old } of updated) {
    await removeDrained(planes, old);
    log(`${name}: ${old.length} of the version before drained and removed`);
  }
}

/**
 * Who has to go: the instances of other versions; where there are none, all, to be made anew. New ones beside old ones
 * are of an update that was broken off: they stay, and this one goes on from there.
 */
async function findOld(planes: Planes, name: FunctionName): Promise<readonly string[]> {
  const all = await listContainers(planes, name);
  const others = all.filter(({ image }) => image !== planes.image(name));
  return (others.length > 0 ? others : all).map(({ id }) => id);
}

/** As many new instances as there are old ones, all of them healthy; or none. @throws RolledBack */
async function join(planes: Planes, name: FunctionName, old: readonly string[]): Promise<void> {
  try {
    const present = (await planes.engine.containers(name)).length;
    await addInstances(planes, name, Math.max(present, 2 * Math.max(1, old.length)));
  } catch (error) {
    await leave(planes, name, old);
    throw new RolledBack(name, planes.version, error instanceof Error ? error.message : String(error));
  }
}

/** Removes all instances but the old ones. */
async function leave(planes: Planes, name: FunctionName, old: readonly string[]): Promise<void> {
  const added = (await planes.engine.containers(name)).filter((id) => !old.includes(id));
  if (added.length > 0) await removeDrained(planes, added);
}

if (import.meta.main) {
  await runScript(
    'deploy',
    async (planes, print, words) => {
      await deploy(planes, words, print);
      return true;
    },
    { takesWords: true },
  );
}
