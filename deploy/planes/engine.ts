/** The Docker engine and Compose, by their command lines: what they print for people is left to them. */
import { type SpawnOptions, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, delimiter, join, resolve } from 'node:path';

const COMPOSE_VERSION = 'v2.40.3';
const CACHE = resolve(import.meta.dirname, '../../.cache/compose');

/** A command ended with another exit code than 0. */
export class CommandFailed extends Error {
  readonly exitCode: number | null;
  readonly stderr: string;

  constructor(command: readonly string[], exitCode: number | null, stderr: string) {
    const reason = stderr.trim().split('\n').at(-1);
    super(`${nameOf(command)} ended with ${exitCode ?? 'a signal'}${reason ? `: ${reason}` : ''}`);
    this.name = 'CommandFailed';
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/** The program and what it was asked to do, without the files that it was to do it with. */
function nameOf([program = '', ...words]: readonly string[]): string {
  const asked = words.filter((word, at) => word !== '-f' && words[at - 1] !== '-f');
  return [basename(program), ...asked.slice(0, 2)].join(' ');
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly input?: string;
  /** Lets the command write to this process's own output, for a person to watch. */
  readonly isShown?: boolean;
  readonly signal?: AbortSignal;
}

/** Runs a command to its end. @throws CommandFailed; an Error with `code` ENOENT where there is no such program. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const [program = '', ...args] = command;
  const { isShown = false, input, signal } = options;
  const stdio: SpawnOptions['stdio'] = isShown
    ? [input === undefined ? 'ignore' : 'pipe', 'inherit', 'inherit']
    : [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'];
  const child = spawn(program, args, {
    stdio,
    env: { ...process.env, ...options.env },
    ...(signal === undefined ? {} : { signal }),
  });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      texts[name] += chunk;
    });
  }
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const exitCode = await new Promise<number | null>((done, fail) => {
    child.once('error', fail);
    child.once('close', done);
  });
  if (exitCode !== 0) throw new CommandFailed(command, exitCode, texts.stderr);
  return texts.stdout;
}

/** No engine answers. The message says so in one line, and what to do instead. */
export class NoEngine extends Error {
  constructor(reason: string) {
    super(`no Docker engine answers (${reason}); start one, or run everything without it: npm start`);
    this.name = 'NoEngine';
  }
}

/** Of the Docker API, by which an engine tells what it can do. */
type ApiVersion = string;

/** Docker Engine 20.10. */
const API_MIN: ApiVersion = '1.41';

/** Whether a container that starts can be asked more often than one that runs: Docker Engine 25 (API 1.44) or newer. */
export function hasStartInterval(version: ApiVersion): boolean {
  return isAtLeast(version, '1.44');
}

function isAtLeast(version: ApiVersion, least: ApiVersion): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [majorLeast = 0, minorLeast = 0] = least.split('.').map(Number);
  return major > majorLeast || (major === majorLeast && minor >= minorLeast);
}

export class Engine {
  readonly apiVersion: ApiVersion;
  readonly #compose: readonly string[];
  readonly #files: readonly string[];
  readonly #env: Readonly<Record<string, string>>;

  private constructor(
    apiVersion: ApiVersion,
    compose: readonly string[],
    files: readonly string[],
    env: Readonly<Record<string, string>>,
  ) {
    this.apiVersion = apiVersion;
    this.#compose = compose;
    this.#files = files;
    this.#env = env;
  }

  /**
   * @param files Compose files, laid over each other in this order
   * @param env what their variables are
   * @throws NoEngine; Error with one line where the engine is too old, or Compose v2 can neither be found nor built.
   */
  static async find(
    files: readonly string[],
    env: Readonly<Record<string, string>>,
    log: (line: string) => void,
  ): Promise<Engine> {
    const version = await run(['docker', 'version', '--format', '{{.Server.APIVersion}}']).catch(
      (error: Error) => {
        throw new NoEngine(
          (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'docker is not installed' : firstLine(error),
        );
      },
    );
    const apiVersion = version.trim();
    if (!isAtLeast(apiVersion, API_MIN)) {
      throw new Error(
        `this Docker engine is too old: it speaks API ${apiVersion}, and Docker Engine 20.10 (API ${API_MIN}) is the oldest that will do; without an engine: npm start`,
      );
    }
    return new Engine(apiVersion, await findCompose(log), files, env);
  }

  /** The same engine with more variables, or with other files. */
  with(env: Readonly<Record<string, string>>, files = this.#files): Engine {
    return new Engine(this.apiVersion, this.#compose, files, { ...this.#env, ...env });
  }

  /** `docker …` */
  docker(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return run(['docker', ...args], options);
  }

  /** `docker compose -f … …` */
  compose(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const files = this.#files.flatMap((file) => ['-f', file]);
    return run([...this.#compose, ...files, ...args], { ...options, env: { ...this.#env, ...options.env } });
  }

  /** What `docker inspect` says of these containers, networks or images. */
  async inspect<T>(names: readonly string[]): Promise<readonly T[]> {
    return names.length === 0 ? [] : (JSON.parse(await this.docker(['inspect', ...names])) as T[]);
  }

  /** The ids of a service's containers, stopped ones among them; of all services where none is named. */
  async containers(service?: string): Promise<readonly string[]> {
    const text = await this.compose(['ps', '--all', '--quiet', ...(service === undefined ? [] : [service])]);
    return text.split('\n').filter((line) => line !== '');
  }

  async hasImage(name: string): Promise<boolean> {
    return this.docker(['image', 'inspect', '--format', '{{.Id}}', name]).then(
      () => true,
      () => false,
    );
  }
}

/**
 * Compose v2: on PATH by its old name, as docker's plugin, or built from its Go module once.
 * @returns the words that a command of it begins with
 */
export async function findCompose(log: (line: string) => void): Promise<readonly string[]> {
  for (const command of [['docker-compose'], ['docker', 'compose']]) {
    const version = await run([...command, 'version', '--short']).catch(() => '');
    if (/^v?([2-9]|\d{2,})\./.test(version.trim())) return command;
  }
  const built = join(CACHE, `docker-compose-${COMPOSE_VERSION}`);
  if (await isProgram(built)) return [built];
  if (!(await isOnPath('go'))) {
    throw new Error(
      'Compose v2 is not installed: install the plugin docker-compose-v2, or Go, with which it is built here',
    );
  }
  log(`building Compose ${COMPOSE_VERSION} from its Go module; some minutes, only this once`);
  return [await buildCompose(built)];
}

/** A plain `go install` refuses the replace lines of its module; an empty module that requires it does not. */
async function buildCompose(target: string): Promise<string> {
  const work = join(CACHE, `work-${process.pid}`);
  await mkdir(work, { recursive: true });
  try {
    await writeFile(join(work, 'go.mod'), 'module compose\n\ngo 1.24\n');
    const package_ = 'github.com/docker/compose/v2/cmd';
    const env = { CGO_ENABLED: '0', GOFLAGS: '-trimpath' };
    await run(['go', 'get', '-C', work, `${package_}@${COMPOSE_VERSION}`], { env });
    const version = `-X github.com/docker/compose/v2/internal.Version=${COMPOSE_VERSION}`;
    await run(['go', 'build', '-C', work, '-ldflags', `-s -w ${version}`, '-o', 'docker-compose', package_], {
      env,
    });
    await rename(join(work, 'docker-compose'), target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return target;
}

async function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function isOnPath(name: string): Promise<boolean> {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return (await Promise.all(folders.map((folder) => isProgram(join(folder, name))))).includes(true);
}

function firstLine(error: Error): string {
  const text = error instanceof CommandFailed ? error.stderr : error.message;
  return text.trim().split('\n')[0] ?? '';
}
