import { join } from 'node:path';
import { isSeq, parseDocument, YAMLMap } from 'yaml';
import type { ConfigProblem } from './config-error.ts';
import { path as pathForm } from './config-forms.ts';
import { CONFIG_FILES, type ConfigFile, fileSpelling, KEY_NAMES, KEYS, type KeyName } from './config-keys.ts';
import { explainReadFailure, type FileReader } from './secret-files.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What the environment and the files say, before any of it is read. The environment wins. */
export interface Sources {
  /** The text of each key that somebody set, and who set it. */
  readonly texts: ReadonlyMap<KeyName, { readonly text: string; readonly source: string }>;
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly string[];
}

/** The families that are ours: a name that begins so and is no key is most likely a slip. */
const OUR_PREFIXES = ['CIRCUIT_BREAKER_', 'TRON_', 'MONGO_', 'TOR_', 'HEALTH_CHECK_', 'PAYMENT_', 'WALLET_'];

/** Who edits a limit or a node there must not believe that it holds, where the environment names another. */
const TOLD_WHERE_OVERRIDDEN: ReadonlySet<string> = new Set<ConfigFile>([
  'circuit_breaker.yaml',
  'tron_config.yaml',
]);

/** Gathers the texts of all keys. */
export function readSources(env: Environment, configDir: string, files: FileReader): Sources {
  const problems: ConfigProblem[] = [];
  const texts = new Map<KeyName, { text: string; source: string }>();
  if (pathForm.read(configDir) === undefined) {
    problems.push({ key: 'CONFIG_DIR', problem: 'is malformed', needs: pathForm.needs });
  } else for (const file of CONFIG_FILES) readYamlFile(file, configDir, files, texts, problems);
  const overridden: string[] = [];
  for (const key of KEY_NAMES) {
    const text = env[key];
    // Compose files pass on what is not set as an empty text.
    if (text === undefined || text === '') continue;
    const before = texts.get(key);
    if (before !== undefined && before.text !== text && TOLD_WHERE_OVERRIDDEN.has(before.source))
      overridden.push(
        `${key} is ${text} in the environment, which wins, and ${before.text} in ${before.source}`,
      );
    texts.set(key, { text, source: 'the environment' });
  }
  // Development lays its environment over the files of production.
  const isProduction = (texts.get('LUCID_ENV')?.text ?? 'production') === 'production';
  return { texts, problems, warnings: [...findSlips(env), ...(isProduction ? overridden : [])] };
}

function readYamlFile(
  file: ConfigFile,
  configDir: string,
  files: FileReader,
  texts: Map<KeyName, { text: string; source: string }>,
  problems: ConfigProblem[],
): void {
  const needs = 'a YAML mapping of keys in lower case to single values';
  let found: ReturnType<FileReader['read']>;
  try {
    found = files.read(join(configDir, file));
  } catch (error) {
    problems.push({
      key: file,
      problem: `cannot be read: ${explainReadFailure(error)}`,
      needs: 'a readable file',
    });
    return;
  }
  if (found === null) return;
  // The failsafe schema keeps every value as the text that stands there: 10000.10 stays "10000.10" and no
  // amount passes through a float.
  const document = parseDocument(found.text, { schema: 'failsafe' });
  if (document.errors.length > 0) {
    const line = document.errors[0]?.linePos?.[0].line ?? 1;
    problems.push({ key: file, problem: `is not valid YAML (line ${line})`, needs });
    return;
  }
  if (document.contents === null) return;
  if (!(document.contents instanceof YAMLMap)) {
    problems.push({ key: file, problem: 'is not a mapping', needs });
    return;
  }
  for (const pair of document.contents.items) {
    const spelt = String(pair.key);
    const key = KEY_NAMES.find((name) => fileSpelling(name) === spelt);
    if (key === undefined) {
      problems.push({ key: `${file}: ${spelt}`, problem: 'is not a key', needs: nearestKey(spelt) });
      continue;
    }
    if (KEYS[key].file !== file) {
      problems.push({ key, problem: `stands in ${file}`, needs: `its place in ${KEYS[key].file}` });
      continue;
    }
    const text = scalarText(pair.value);
    if (text === undefined) problems.push({ key, problem: `(in ${file}) is not a single value`, needs });
    else if (text !== '') texts.set(key, { text, source: file });
  }
}

/** A scalar's text; a list of scalars joined by commas, as the environment would write it. */
function scalarText(node: unknown): string | undefined {
  if (node === null) return '';
  if (isSeq(node)) {
    const entries = node.items.map(scalarText);
    return entries.every((entry) => entry !== undefined) ? entries.join(',') : undefined;
  }
  if (typeof node !== 'object' || !('value' in node)) return undefined;
  if (node.value === null) return '';
  return typeof node.value === 'string' ? node.value : undefined;
}

/**
 * A slip in a variable's name would leave the standard in force without a word. It is only a warning, because
 * container engines add variables named after services (`TRON_PAYMENT_SERVICE_PORT`).
 */
function findSlips(env: Environment): string[] {
  return Object.keys(env)
    .filter((name) => OUR_PREFIXES.some((prefix) => name.startsWith(prefix)))
    .filter((name) => !KEY_NAMES.some((key) => key === name) && !name.startsWith('MONGO_INITDB_'))
    .map((name) => `${name} is not a key of this service and changes nothing`);
}

function nearestKey(spelt: string): string {
  const scored = KEY_NAMES.map((name) => ({ name, distance: editDistance(fileSpelling(name), spelt) }));
  const best = scored.reduce((nearest, entry) => (entry.distance < nearest.distance ? entry : nearest));
  return best.distance <= 4
    ? `a known key; ${fileSpelling(best.name)} is the nearest`
    : 'a known key; deploy/env.example lists them';
}

function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...left].entries()) {
    const next = [i + 1];
    for (let j = 0; j < right.length; j += 1) {
      const swap = (row[j] ?? 0) + (letter === right[j] ? 0 : 1);
      next.push(Math.min(swap, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
