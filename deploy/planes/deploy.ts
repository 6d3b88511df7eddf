/**
 * A rolling update: for each function new instances join, the old ones are drained and removed, and should the new
 * ones not become healthy the old ones stay as they were. Old and new run side by side on one database meanwhile.
 */
import { FUNCTIONS, type FunctionName, type Planes } from './planes.ts';
import { addInstances, removeDrained } from './scale.ts';

/** The new version did not become healthy; what ran before runs on. */
export class RolledBack extends Error {
  constructor(name: FunctionName, version: string, reason: string) {
    super(`${name} ${version} is not healthy and was removed again; the version before runs on: ${reason}`);
    this.name = 'RolledBack';
  }
}

export type UpdateProgress = (line: string) => void;

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
      const old = await planes.engine.containers(name);
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

/** As many new instances as there are old ones, all of them healthy; or none. @throws RolledBack */
async function join(planes: Planes, name: FunctionName, old: readonly string[]): Promise<void> {
  try {
    await addInstances(planes, name, 2 * Math.max(1, old.length));
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
