/** `npm run planes` as a person types it, before a docker command that is none, and writes down what it was asked. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const COMMAND = resolve(import.meta.dirname, '../../../deploy/planes/main.ts');

const DOCKER = `#!/bin/sh
echo "docker $*" >> "$FAKE/calls"
case "$1" in
  version) cat "$FAKE/version" ;;
  ps) cat "$FAKE/containers" ;;
  volume) cat "$FAKE/volume" ;;
  image) ;;
  *) exit 1 ;;
esac
`;
const COMPOSE = `#!/bin/sh
[ "$1" = version ] && echo 2.40.3 && exit 0
echo "compose $*" >> "$FAKE/calls"
case "$*" in *nope*) echo "no such service: nope" >&2; exit 1 ;; esac
`;
/** The compose files of the planes that are on the engine, as Compose writes them down. */
const PRODUCTION = '/srv/planes/compose.yaml,/srv/planes/compose.start-interval.yaml\n';
const DEVELOPMENT = '/srv/planes/compose.yaml,/srv/planes/compose.dev.yaml\n';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'planes-command-'));
  mkdirSync(join(folder, 'bin'));
  for (const [name, text] of [
    ['docker', DOCKER],
    ['docker-compose', COMPOSE],
  ] as const) {
    writeFileSync(join(folder, 'bin', name), text);
    chmodSync(join(folder, 'bin', name), 0o755);
  }
  answer('version', '1.44\n');
  answer('containers', '');
  answer('volume', '');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What the engine says: its `version`, the compose files of its `containers`, the folder of the database's `volume`. */
function answer(what: 'version' | 'containers' | 'volume', text: string): void {
  writeFileSync(join(folder, what), text);
}

interface Ended {
  readonly exitCode: number;
  readonly text: string;
  /** What was asked of Compose, without its files. */
  readonly asked: readonly string[];
  /** The names of the files that it was asked with last. */
  readonly files: readonly string[];
}

function planes(...words: readonly string[]): Promise<Ended> {
  return planesWith({}, ...words);
}

function planesWith(settings: Readonly<Record<string, string>>, ...words: readonly string[]): Promise<Ended> {
  const env = {
    ...settings,
    PATH: `${join(folder, 'bin')}:/usr/bin:/bin`,
    FAKE: folder,
    HOME: folder,
    LUCID_SECRETS: join(folder, 'secrets'),
  };
  const args = [COMMAND, '--state', join(folder, 'state'), '--mongo', 'stand-in', ...words];
  return new Promise((done) => {
    execFile(process.execPath, args, { env }, (error, stdout, stderr) => {
      const calls = join(folder, 'calls');
      const lines = (existsSync(calls) ? readFileSync(calls, 'utf8') : '')
        .split('\n')
        .filter((line) => line.startsWith('compose '));
      const asked = lines.map((line) => line.replace(/^compose( -f \S+)* /, ''));
      const files = [...(lines.at(-1) ?? '').matchAll(/ -f (\S+)/g)].map(([, path = '']) => basename(path));
      const exitCode = error === null ? 0 : Number(error.code);
      done({ exitCode, text: stdout + stderr, asked, files });
    });
  });
}

describe('a command that is mistyped', () => {
  it.each([
    [['--prodution'], /Unknown option '--prodution'/],
    [['down', '--porduction'], /Unknown option/],
    [['restrat'], /there is no command "restrat"/],
    [['constructor'], /there is no command/],
    [['down', 'pay'], /down takes no words, not "pay"/],
    [['--mongo', 'mine'], /--mongo is official or stand-in/],
  ])('%j does nothing, and says why', async (words, reason) => {
    const { exitCode, text, asked } = await planes(...words);
    expect(text).toMatch(reason);
    expect([exitCode, asked]).toEqual([1, []]);
  });
});

describe('an engine that is too old', () => {
  it('is named as that', async () => {
    answer('version', '1.40\n');
    const { exitCode, text, asked } = await planes('up');
    expect(text).toMatch(/this Docker engine is too old: it speaks API 1.40, and Docker Engine 20.10/);
    expect([exitCode, asked]).toEqual([1, []]);
  });
});

describe('the planes of production', () => {
  beforeEach(() => answer('containers', PRODUCTION.repeat(3)));

  it.each(['up', 'down', 'scale pay=3', 'restore FILE'])(
    'are left alone by "%s" without --production',
    async (words) => {
      const { exitCode, text, asked } = await planes(...words.split(' '));
      expect(text).toMatch(
        /the planes on this engine are production's; for them say npm run planes -- --production/,
      );
      expect([exitCode, asked]).toEqual([1, []]);
    },
  );

  it('answer to --production', async () => {
    expect(await planes('--production', 'status')).toMatchObject({ exitCode: 0, asked: ['ps --all'] });
  });

  it('are not for who pays by hand', async () => {
    expect((await planes('--production', 'pay', '--to', 'T')).text).toMatch(/in production the gateway pays/);
  });
});

describe('the planes of development', () => {
  it('are not changed into those of production', async () => {
    answer('containers', DEVELOPMENT);
    const { exitCode, text, asked } = await planes('--production');
    expect(text).toMatch(
      /the planes of development are on this engine; end them first: npm run planes -- down/,
    );
    expect([exitCode, asked]).toEqual([1, []]);
  });

  it('that do not run are not scaled, updated or asked: it is said how they are started', async () => {
    for (const words of ['scale pay=3', 'deploy 0.1.0', 'get /health', 'reencrypt']) {
      const { exitCode, text } = await planes(...words.split(' '));
      expect([words, exitCode, text]).toEqual([
        words,
        1,
        expect.stringContaining('the planes do not run; start them'),
      ]);
    }
  });

  it('are not started over the database of others', async () => {
    answer('volume', '/elsewhere/mongo_payments\n');
    const { exitCode, text, asked } = await planes('up');
    expect(text).toMatch(
      /the database of these planes is in \/elsewhere\/mongo_payments, and not in .*state\/data/,
    );
    expect([exitCode, asked]).toEqual([1, []]);
  });

  it('are not begun where another program has the port of their door', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { exitCode, text, asked } = await planesWith({ LUCID_PORT: String(port) }, 'up');
    other.close();
    expect(text).toContain(
      `port ${port} is busy: another program listens on it; choose another with LUCID_PORT=PORT`,
    );
    expect([exitCode, asked]).toEqual([1, ['ps --all --quiet beta-sidecar']]);
  });

  it('tell which of their services there is not', async () => {
    const { exitCode, text } = await planes('logs', 'nope');
    expect(exitCode).toBe(1);
    expect(text).toContain('no such service: nope\n');
    expect(text).toContain('docker-compose logs --follow ended with 1\n');
  });
});

describe('a secret that is being changed', () => {
  const put = (name: string, text: string) => {
    mkdirSync(join(folder, 'secrets'), { recursive: true });
    writeFileSync(join(folder, 'secrets', name), text, { mode: 0o400 });
  };

  it('has a second one given to the services for as long as its file is there', async () => {
    const plain = ['compose.yaml', 'compose.start-interval.yaml'];
    expect((await planes('--production', 'status')).files).toEqual(plain);
    put('operator_secret_other', 'any');
    expect((await planes('--production', 'status')).files).toEqual([
      ...plain,
      'compose.rotate-operator_secret.yaml',
    ]);
    put('encryption_key_other', 'any');
    rmSync(join(folder, 'secrets/operator_secret_other'));
    expect((await planes('--production', 'status')).files).toEqual([
      ...plain,
      'compose.rotate-encryption_key.yaml',
    ]);
  });

  it.each(['up', 'deploy 0.1.0'])(
    'is not read by "%s" in production where the second one is wrong',
    async (words) => {
      put('operator_secret_other', 'short');
      const { exitCode, text, asked } = await planes('--production', ...words.split(' '));
      expect(text).toMatch(/operator_secret_other is not of its form: at least 32 bytes/);
      expect(text).not.toContain('short');
      expect([exitCode, asked]).toEqual([1, []]);
    },
  );
});
