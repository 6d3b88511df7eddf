import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';

/** What an operator has set, by the names that stand as `${NAME}` in the compose files. */
export type Settings = Readonly<Record<string, string | undefined>>;

/**
 * What Compose reads by itself, for all that is not left to it: the environment and, for what that does not name, the
 * file `.env` beside the compose files.
 *
 * @param folder the one of the compose files
 */
export function readSettings(folder: string, env: Settings): Settings {
  const path = join(folder, '.env');
  const file = existsSync(path) ? parseEnv(readFileSync(path, 'utf8')) : {};
  return { ...file, ...env };
}
