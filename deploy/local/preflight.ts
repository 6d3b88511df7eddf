/**
 * Is everything here that a start needs? Looked at before anything is started, so that what is missing is named
 * at once and all together, each with what to install.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PROBE_TIMEOUT_MS = 20_000;
const REPOSITORY = resolve(import.meta.dirname, '../..');

/** What the preflight looks at; a test gives its own. */
export type Machine = {
  readonly platform: string;
  readonly arch: string;
  readonly nodeVersion: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Answers standard output and error of a program together, or undefined when it is absent or fails. */
  readonly probe: (command: string, args: readonly string[]) => Promise<string | undefined>;
  /** Whether a program of that name is on PATH. */
  readonly has: (command: string) => boolean;
  /** Whether a path of the repository exists. */
  readonly exists: (path: string) => boolean;
};

/** What earlier starts have fetched or built already, so that the tools for it are not needed. */
export type Cached = {
  readonly emulator: boolean;
  readonly databaseLauncher: boolean;
};

export const MACHINE: Machine = {
  platform: process.platform,
  arch: process.arch,
  nodeVersion: process.versions.node,
  env: process.env,
  probe: async (command, args) => {
    try {
      const { stdout, stderr } = await run(command, [...args], { timeout: PROBE_TIMEOUT_MS });
      return `${stdout}${stderr}`;
    } catch {
      return undefined;
    }
  },
  has: (command) =>
    (process.env.PATH ?? '').split(delimiter).some((folder) => {
      try {
        accessSync(join(folder, command), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
  exists: (path) => existsSync(join(REPOSITORY, path)),
};

/** The runtime client's addon, which npm builds at install with the C++ toolchain. */
const RUNTIME_CLIENT_ADDON = 'node_modules/aws-lambda-ric/rapid-client.node';

/**
 * Lists what is missing, each as one line that says what to install; empty when all is there.
 *
 * The C++ toolchain is needed by `npm ci` alone, so what is looked for is what that should have built.
 */
export async function findMissing(machine: Machine, cached: Cached): Promise<readonly string[]> {
  if (machine.platform !== 'linux' || !['x64', 'arm64'].includes(machine.arch)) {
    return [
      `${machine.platform} on ${machine.arch} is not supported: AWS's emulator is a Linux program (x64, arm64); ` +
        'use a Linux machine, a virtual one or WSL',
    ];
  }
  const missing: string[] = [];
  if (Number.parseInt(machine.nodeVersion, 10) < 24) {
    missing.push(
      `Node ${machine.nodeVersion} runs this, not the pinned Node 24: run "npm ci", then start by "npm start"`,
    );
  }
  if (!machine.exists(RUNTIME_CLIENT_ADDON)) {
    missing.push(
      'the Lambda runtime client was not built: install a C++ toolchain (Debian: apt-get install g++ make cmake ' +
        'python3 perl xz-utils), then run "npm ci" again',
    );
  }
  const [python, java] = await Promise.all([
    cached.emulator ? undefined : missingPython(machine),
    missingDatabase(machine, cached),
  ]);
  return [...missing, ...(python ?? []), ...(java ?? [])];
}

/** pip fetches the emulator, once. */
async function missingPython(machine: Machine): Promise<readonly string[]> {
  if (machine.env.AWS_LAMBDA_RIE) return [];
  if (!machine.has('python3')) {
    return ['Python 3 is missing: install it with pip (Debian: apt-get install python3 python3-pip)'];
  }
  if ((await machine.probe('python3', ['-m', 'pip', '--version'])) !== undefined || machine.has('pip3'))
    return [];
  return ['pip is missing: install it for Python 3 (Debian: apt-get install python3-pip)'];
}

/** Only the database that stands in for MongoDB needs Java, and only its first start needs Maven. */
async function missingDatabase(machine: Machine, cached: Cached): Promise<readonly string[]> {
  if (machine.env.MONGO_URL || machine.has('mongod')) return [];
  const missing: string[] = [];
  const version = Number(/version "(\d+)/.exec((await machine.probe('java', ['-version'])) ?? '')?.[1]);
  if (!(version >= 17)) {
    const found = Number.isNaN(version) ? 'Java is missing' : `Java ${version} is too old`;
    missing.push(
      `${found}: install a JDK 17 (Debian: apt-get install default-jdk-headless), or set MONGO_URL`,
    );
  } else if (!cached.databaseLauncher && !machine.has('javac')) {
    missing.push(
      'the Java compiler is missing: install a JDK 17, not a JRE (Debian: apt-get install default-jdk-headless)',
    );
  }
  if (!cached.databaseLauncher && !machine.has('mvn')) {
    missing.push('Maven is missing: install it (Debian: apt-get install maven), or set MONGO_URL');
  }
  return missing;
}
