/**
 * `npm run explore`: every state of small worlds, over the engine's own use cases, filters and updates; then the
 * same with the rules broken in one place each, which must be found. `--help` tells the options.
 */
import { parseOptions, runCommand, UsageError } from '../../deploy/cli/arguments.ts';
import { type Bounds, type Exploration, explore, NO_BOUNDS } from './explore.ts';
import type { Model } from './model.ts';
import { MODELS } from './models.ts';
import { BROKEN_RULES, type BrokenRule } from './mutants.ts';
import { TRUTHS } from './truths.ts';

const HELP = `npm run explore -- [options]

Visits every state that small worlds can come to: processes that pay, settle, cancel, pause and rule, and that die,
freeze, wake late and lose acknowledgements between any two calls. In each state every promise is judged, and a lone
settler brings it to an end.

  --models LIST   some of the models only, by name and comma       (all)
  --limit N       no more than so many states a model              (none)
  --depth N       no more than so many steps from its start        (none)
  --no-mutants    leaves out the broken rules that must be found
  --list          tells the models, the broken rules and the promises
`;

const LINE_EVERY_MS = 10_000;

await runCommand('npm run explore', async () => {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const options = parseOptions(process.argv.slice(2), {
    models: text,
    limit: text,
    depth: text,
    'no-mutants': flag,
    list: flag,
    help: flag,
  });
  if (options.help || options.list) {
    process.stdout.write(options.help ? HELP : listing());
    return 0;
  }
  const bounds = {
    statesMax: readCount('--limit', options.limit),
    depthMax: readCount('--depth', options.depth),
  };
  const models = chosen(options.models);
  const rules = options['no-mutants']
    ? []
    : BROKEN_RULES.filter(({ model }) => models.some(({ name }) => name === model));
  const arePromisesKept = await exploreModels(models, bounds);
  const areFound = await exploreBroken(rules, models);
  return arePromisesKept && areFound ? 0 : 1;
});

async function exploreModels(models: readonly Model[], bounds: Bounds): Promise<boolean> {
  if (models.length === 0) return true;
  console.log(row('model', 'states', 'steps', 'worlds', 'depth', 'seconds', 'result'));
  const total = { states: 0, transitions: 0, worlds: 0, seconds: 0 };
  let areKept = true;
  for (const model of models) {
    const found = await explore(model, null, bounds, progressOf(model.name));
    total.states += found.states;
    total.transitions += found.transitions;
    total.worlds += found.worlds;
    total.seconds += found.durationMs / 1000;
    clearLine();
    const { states, transitions, worlds, depth, durationMs } = found;
    console.log(row(model.name, states, transitions, worlds, depth, secondsOf(durationMs), resultOf(found)));
    if (found.broken === null) continue;
    areKept = false;
    console.log(wayTo(found));
  }
  console.log(row('all', total.states, total.transitions, total.worlds, '', total.seconds.toFixed(1), ''));
  console.log(`${TRUTHS.length} promises judged in each state, and a lone settler from each of the worlds\n`);
  return areKept;
}

async function exploreBroken(rules: readonly BrokenRule[], models: readonly Model[]): Promise<boolean> {
  let areFound = true;
  for (const { mutant, model: modelName } of rules) {
    const model = models.find(({ name }) => name === modelName);
    if (model === undefined) continue;
    const found = await explore(model, mutant, NO_BOUNDS, progressOf(mutant.name));
    clearLine();
    const { broken, states } = found;
    areFound &&= broken !== null;
    const told = broken === null ? 'NOT FOUND' : `after ${states} states: not so: ${broken.truth}`;
    console.log(`${broken === null ? '✘' : '✔'} ${mutant.name} (${model.name}) ${told}`);
  }
  return areFound;
}

function resultOf({ broken, isComplete, statuses }: Exploration): string {
  if (broken !== null) return `BROKEN: ${broken.truth}`;
  return `${isComplete ? 'complete' : 'bounded'}, kept; seen: ${statuses.join(' ')}`;
}

function wayTo({ broken }: Exploration): string {
  if (broken === null) return '';
  const steps = broken.steps.map((step, index) => `  ${index} ${step}`).join('\n');
  return `not so: ${broken.truth}\n${steps}\n${broken.detail}\n`;
}

function chosen(list: string | undefined): readonly Model[] {
  if (list === undefined) return MODELS;
  return list.split(',').map((name) => {
    const model = MODELS.find((one) => one.name === name.trim());
    if (model === undefined) throw new UsageError(`there is no model "${name.trim()}"`);
    return model;
  });
}

function readCount(flag: string, text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count < 1) throw new UsageError(`${flag} takes whole numbers from 1, not "${text}"`);
  return count;
}

function listing(): string {
  const models = MODELS.map(({ name, about }) => `  ${name.padEnd(24)}${about}\n`);
  const mutants = BROKEN_RULES.map(({ mutant }) => `  ${mutant.name}\n`);
  const truths = TRUTHS.map((truth) => `  ${truth}\n`);
  return ['models\n', ...models, '\nbroken rules\n', ...mutants, '\npromises\n', ...truths].join('');
}

function progressOf(name: string): (states: number, depth: number) => void {
  let lineAtMs = Date.now();
  return (states, depth) => {
    const line = `  ${name}: ${states} states, depth ${depth}`;
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
    else if (Date.now() - lineAtMs >= LINE_EVERY_MS) {
      lineAtMs = Date.now();
      process.stderr.write(`${line}\n`);
    }
  };
}

function clearLine(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}

function secondsOf(durationMs: number): string {
  return (durationMs / 1000).toFixed(1);
}

function row(name: string, ...cells: readonly (string | number)[]): string {
  const last = cells.at(-1) ?? '';
  return `${name.padEnd(24)}${cells
    .slice(0, -1)
    .map((cell) => String(cell).padStart(10))
    .join('')}  ${last}`;
}
