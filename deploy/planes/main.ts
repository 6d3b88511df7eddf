/** `npm run planes`: the compose planes on a Docker engine. */
import { resolve } from 'node:path';
import { parseWords, UsageError } from '../cli/arguments.ts';
import { createRecipient } from '../local/accounts.ts';
import { Console } from '../local/console.ts';
import { backUp, restore } from './backup.ts';
import { CommandFailed, NoEngine, run as runCommand } from './engine.ts';
import { NotReady, Planes, type PlanesOptions } from './planes.ts';
import { readScales, scale } from './scale.ts';
import { deploy, RolledBack } from './scripts/deploy.ts';
import { DEFAULT_PLANES_DIR } from './state.ts';

const HELP = `npm run planes -- [command] [options]

  up                 start everything, wait until it is healthy, pay a test payment      (what is done by default)
  status             each container, how it is and since when
  logs [SERVICE…]    what they log, from now on
  pay …              development: pay from the ops plane: --to T… --amount 1.5 --asset USDT
  get PATH           ask from the ops plane, as an operator: get '/pay?status=needs_review'
  post PATH [BODY]   order the same way: post /pay/breaker '{"action":"pause","reason":"…"}'; --caller approver
  deploy VERSION     bring the functions to that version: new instances join, old ones are drained; nothing changes
                     where the new ones are not healthy
  scale SERVICE=N …  so many instances; those that go are drained before
  backup             a backup of the database, while payments are made
  restore FILE       put a backup back: the system is paused then, and finds out what was paid since
      --replace      … in the place of what is there, of which a backup is made before
      --in-place T   … nothing is put back: the database was, by other means, and is as it was at T (2026-01-31T04:30:00Z)
  reencrypt          after the encryption key was changed: seals every stored transaction under the new one
  down               end everything; payments, backups, secrets and logs stay

  --production       the operator's own secrets, no development chain; nothing is made up and nothing is paid
  --state DIR        development: where secrets, data and logs are                       (.local/planes)
  --mongo KIND       official (mongo:7.0) or stand-in                                    (official, if it can be had)
  --test             no door on loopback either
`;

const IMAGES_COMMAND = resolve(import.meta.dirname, '../../build/images/main.ts');

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  production: { type: 'boolean', default: false },
  test: { type: 'boolean' },
  state: { type: 'string', default: DEFAULT_PLANES_DIR },
  mongo: { type: 'string' },
  // Of a payment, or of a request.
  to: { type: 'string' },
  amount: { type: 'string' },
  asset: { type: 'string' },
  reference: { type: 'string' },
  key: { type: 'string' },
  caller: { type: 'string', default: 'operator' },
  // Of a restore.
  replace: { type: 'boolean' },
  'in-place': { type: 'string' },
} as const;
type Values = ReturnType<typeof parseWords<typeof OPTIONS>>['values'];

/** Each with whether words may follow it. */
const COMMANDS: ReadonlyMap<string, boolean> = new Map([
  ['up', false],
  ['status', false],
  ['logs', true],
  ['pay', false],
  ['get', true],
  ['post', true],
  ['deploy', true],
  ['scale', true],
  ['backup', false],
  ['restore', true],
  ['reencrypt', false],
  ['down', false],
]);

const screen = new Console(process.stdout);

async function run(): Promise<void> {
  const { values, positionals } = parseWords(process.argv.slice(2), OPTIONS);
  const [command = 'up', ...rest] = positionals;
  if (values.help === true) {
    process.stdout.write(HELP);
    return;
  }
  const takesWords = COMMANDS.get(command);
  if (takesWords === undefined) throw new UsageError(`there is no command "${command}"`);
  // `down pay` would end more than was meant.
  if (!takesWords && rest.length > 0)
    throw new UsageError(`${command} takes no words, not "${rest.join(' ')}"`);
  const options: PlanesOptions = {
    isProduction: values.production,
    isTest: values.test,
    stateDir: resolve(values.state),
    mongo: readMongo(values.mongo),
  };
  const planes = await Planes.open(options, (line) => screen.dim(line));
  const shown = { isShown: true };
  switch (command) {
    case 'up':
      return up(planes, options);
    case 'down':
      return planes.down(shown);
    case 'status':
      await planes.engine.compose(['ps', '--all'], shown);
      return;
    case 'logs':
      await planes.engine.compose(['logs', '--follow', '--tail', '20', ...rest], shown);
      return;
    case 'scale':
      return scale(planes, readScales(rest), (line) => screen.line(`  ${line}`));
    case 'deploy':
      return deploy(planes, rest, (line) => screen.line(`  ${line}`));
    case 'backup':
      return backUp(planes, (line) => screen.line(line));
    case 'restore':
      return restore(planes, [...rest, ...wordsOf(values, ['replace', 'in-place'])], (line) =>
        screen.line(line),
      );
    case 'reencrypt':
      await planes.requireRunning();
      return planes.runOnce('reencrypt', [], shown);
    case 'get':
    case 'post':
      return order(planes, [command, ...rest, ...wordsOf(values, ['caller', 'key'])]);
    case 'pay':
      return pay(planes, wordsOf(values, ['to', 'amount', 'asset', 'reference', 'key']));
  }
}

/** Options as they were typed, for who reads them next. */
function wordsOf(values: Values, names: readonly (keyof Values)[]): readonly string[] {
  return names.flatMap((name) => {
    const value = values[name];
    if (value === undefined) return [];
    return value === true ? [`--${name}`] : [`--${name}`, String(value)];
  });
}

async function up(planes: Planes, { isProduction }: PlanesOptions): Promise<void> {
  if (planes.hasStandIn) {
    screen.warn(
      'database: a stand-in, because mongo:7.0 is not to be had here: no replica set, no users, not for production',
    );
  }
  if (!planes.hasStartInterval && isProduction) {
    screen.warn(
      `health: Docker Engine before 25 (API ${planes.engine.apiVersion}, 1.44 is needed) asks a container that starts as seldom as one that runs; the start takes longer`,
    );
  }
  for (const name of planes.rotations) screen.line(`${name} is being changed: ${name}_other is read, too`);
  planes.judge();
  const missing = await planes.missingImages();
  if (missing.length > 0) {
    screen.heading(`building images: ${missing.join(' ')}`);
    const { version, settings } = planes;
    await runCommand([process.execPath, IMAGES_COMMAND, '--version', version, ...missing], {
      env: { LUCID_IMAGES: settings.LUCID_IMAGES },
      isShown: true,
    });
  }
  await screen.step(
    'secrets',
    () => planes.prepare(),
    () => planes.folders.secrets,
  );
  const startedMs = performance.now();
  await planes.up({ isShown: true });
  screen.success(`healthy after ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`);
  if (isProduction) return;
  await pay(planes, ['--to', createRecipient(planes.folders.secrets), '--amount', '25', '--asset', 'USDT']);
  screen.line(`
Try:
  curl -s http://127.0.0.1:${planes.settings.LUCID_PORT || 8090}/health
  npm run planes -- pay --to TGboHA3v9AG1uNZVp1xrE97TqdyzxaN9M5 --amount 1.5 --asset USDT
  npm run planes -- status
  npm run planes -- logs pay
  npm run planes -- scale pay=3
  npm run planes -- down
`);
}

/** In a container on the ops plane, as the gateway would. */
async function pay(planes: Planes, args: readonly string[]): Promise<void> {
  if (planes.isProduction)
    throw new Error(
      'in production the gateway pays; an operator has get and post, and no secret of the gateway',
    );
  await planes.requireRunning();
  await planes.runOnce('api-gateway', ['pay', ...args], { isShown: true });
}

/** In a container on the ops plane, with the secrets of the people who rule there. */
async function order(planes: Planes, words: readonly string[]): Promise<void> {
  await planes.requireRunning();
  await planes.runOnce('operator', words, { isShown: true });
}

function readMongo(value: string | undefined): PlanesOptions['mongo'] {
  if (value === undefined || value === 'official' || value === 'stand-in') return value;
  throw new UsageError('--mongo is official or stand-in');
}

try {
  await run();
} catch (error) {
  if (error instanceof NotReady)
    screen.error(`nothing was done:\n  ${error.message.replaceAll('\n', '\n  ')}`);
  else if (error instanceof UsageError) screen.error(`${error.message}; see npm run planes -- --help`);
  else if (error instanceof RolledBack || error instanceof NoEngine || error instanceof CommandFailed)
    screen.error(error.message);
  else screen.error(`npm run planes: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
