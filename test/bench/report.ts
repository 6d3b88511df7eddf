import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { resolve } from 'node:path';

const FOLDER = resolve(import.meta.dirname, '../../dist/bench');

/** Compares a figure with its goal: a miss is shown, and is no failure of the run. */
export function judge(name: string, value: number | undefined, relation: '≤' | '≥', goal: number) {
  const met = value === undefined ? undefined : relation === '≤' ? value <= goal : value >= goal;
  const verdict = met === undefined ? 'not measured' : met ? 'met' : 'MISSED';
  return {
    name,
    value,
    goal,
    met,
    text: `${name}: ${value?.toFixed(2) ?? '-'} (goal ${relation} ${goal}) ${verdict}`,
  };
}

/** Two decimals, or a dash where there was nothing to measure. */
export function ratio(value: number | undefined, reference: number | undefined): string {
  return value === undefined || reference === undefined ? '-' : (value / reference).toFixed(2);
}

/** Keeps a run's figures beside the machine that they are of, in `dist/bench/NAME.json`. */
export function writeReport(name: string, figures: Readonly<Record<string, unknown>>): void {
  const machine = { cpus: cpus().length, model: cpus()[0]?.model ?? '', node: process.version };
  const file = resolve(FOLDER, `${name}.json`);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(file, `${JSON.stringify({ at: new Date().toISOString(), machine, ...figures }, null, 2)}\n`);
  console.log(`written to ${file}`);
}
