import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

const LAUNCHER_DIR = join(import.meta.dirname, 'launcher');
const CACHE_DIR = resolve(import.meta.dirname, '../../../.cache/database');

export const NO_JDK =
  'the local database needs a JDK, version 17 or later: install one ' +
  '(Debian: apt-get install default-jdk-headless), or put mongod on PATH, or set MONGO_URL';

/** Small, quick to start, and steady: the database of one machine, beside a chain and five Node processes. */
export const LAUNCHER_JVM_FLAGS = [
  '-Xms16m',
  '-Xmx128m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dio.netty.allocator.maxOrder=3',
  '-Dslf4j.internal.verbosity=ERROR',
];

export const LAUNCHER_CLASS = 'tpf.database.Launcher';

/** Folders on this machine. All jars in the second are on the class path. */
export type LauncherFolders = { readonly classesDir: string; readonly libDir: string };

/** Maven with an empty cache and a slow mirror; it needs 5 s for these 6 MB on a good line. */
const MAVEN_TIMEOUT_MS = 300_000;

/**
 * Fetches mongo-java-server and compiles our launcher, once for each state of its sources: the folder's name is
 * their hash, and it appears whole or not at all.
 *
 * @throws Error with one line that says what to install.
 */
export async function buildLauncher(log: (line: string) => void): Promise<LauncherFolders> {
  const sources = await listFiles(LAUNCHER_DIR);
  const folder = await folderOf(sources);
  const built = { classesDir: join(folder, 'classes'), libDir: join(folder, 'lib') };
  if (await exists(folder)) return built;

  await mkdir(CACHE_DIR, { recursive: true });
  const unlock = await lock(join(CACHE_DIR, 'building'));
  try {
    if (await exists(folder)) return built;
    const work = join(CACHE_DIR, `work-${randomUUID()}`);
    try {
      log('fetching mongo-java-server from Maven (6 MB, only this once)');
      await fetchJars(join(work, 'lib'));
      log('compiling the database launcher');
      await compile(sources, join(work, 'lib'), join(work, 'classes'));
      await rename(work, folder);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return built;
  } finally {
    await unlock();
  }
}

/** Whether a start needs neither Maven nor javac any more. */
export async function isLauncherBuilt(): Promise<boolean> {
  return await exists(await folderOf(await listFiles(LAUNCHER_DIR)));
}

/** The `java` or `javac` that JAVA_HOME names, else the one on PATH. */
export function jdkTool(name: 'java' | 'javac'): string {
  const home = process.env.JAVA_HOME;
  return home === undefined || home === '' ? name : join(home, 'bin', name);
}

async function fetchJars(folder: string): Promise<void> {
  const goal = ['dependency:copy-dependencies', `-DoutputDirectory=${folder}`];
  const flags = ['--batch-mode', '--quiet', '--strict-checksums', '--file', join(LAUNCHER_DIR, 'pom.xml')];
  await run('mvn', [...flags, ...goal], { timeout: MAVEN_TIMEOUT_MS }).catch((error: ToolError) => {
    if (error.code === 'ENOENT') {
      throw new Error(
        'the local database needs Maven: install it (Debian: apt-get install maven), ' +
          'or put mongod on PATH, or set MONGO_URL',
      );
    }
    throw new Error(`Maven could not fetch the local database: ${firstError(error)}`, { cause: error });
  });
}

async function compile(sources: readonly string[], libDir: string, classesDir: string): Promise<void> {
  const java = sources.filter((file) => file.endsWith('.java'));
  const flags = ['--release', '17', '-classpath', join(libDir, '*'), '-d', classesDir];
  await run(jdkTool('javac'), [...flags, ...java], { timeout: 120_000 }).catch((error: ToolError) => {
    if (error.code === 'ENOENT') {
      throw new Error(NO_JDK);
    }
    throw new Error(`javac could not compile the database launcher: ${firstError(error)}`, { cause: error });
  });
}

type ToolError = Error & { code?: string | number; stdout?: string; stderr?: string };

function firstError(error: ToolError): string {
  const lines = `${error.stderr ?? ''}\n${error.stdout ?? ''}`.split('\n').map((line) => line.trim());
  return lines.find((line) => /error/i.test(line)) ?? lines.find((line) => line !== '') ?? error.message;
}

async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

async function folderOf(sources: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const file of sources) {
    const bytes = await readFile(file);
    hash.update(`${relative(LAUNCHER_DIR, file)} ${bytes.length}\n`).update(bytes);
  }
  return join(CACHE_DIR, hash.digest('hex').slice(0, 16));
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Lets one build run at a time, also over processes: two Mavens that fill one repository disturb each other. A
 * lock whose owner no longer lives is taken over.
 */
async function lock(path: string): Promise<() => Promise<void>> {
  const deadlineMs = Date.now() + MAVEN_TIMEOUT_MS;
  for (;;) {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(String(process.pid));
      await file.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = Number(await readFile(path, 'utf8').catch(() => ''));
    if (owner > 0 && !isAlive(owner)) await rm(path, { force: true });
    else if (Date.now() > deadlineMs) {
      throw new Error(
        `another process (pid ${owner}) still builds the database launcher; if not, delete ${path}`,
      );
    } else await sleep(100);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
