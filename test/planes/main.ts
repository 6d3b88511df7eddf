/**
 * `npm run test:planes [vitest arguments]`: the compose planes, and then what is beyond them (a swarm, the images as AWS
 * runs them), on a real Docker engine of the tests' own, within a network namespace that has no way out: whatever a
 * container does, no packet leaves the machine.
 *
 * Needs Linux, root and Debian's docker.io (dockerd, containerd, runc) with iptables. `PLANES=skip` leaves it out,
 * and says so. The database is the stand-in; where `PLANES_MONGO_ARCHIVE` names a `docker save` of mongo:7.0, it is that, and
 * what only a real replica set can show is not skipped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findCompose } from '../../deploy/planes/engine.ts';
import { debianTool } from '../support/debian-tool.ts';
import { RESOLVER, WAY_OUT, WAY_OUT_ADDRESS } from './support/way-out.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** Layers stay for the next run; containers and networks do not. */
const DATA_ROOT = join(ROOT, '.cache/planes-engine');
const IMAGES_COMMAND = join(ROOT, 'build/images/main.ts');
const INSIDE = 'PLANES_INSIDE';
/** One after the other: on one engine no network of a swarm may have the addresses of a network of Compose. */
const SUITES = ['planes', 'beyond'];
const ENGINE_PATIENCE_MS = 180_000;
const STOP_PATIENCE_MS = 60_000;

function isOnPath(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));
}

/** Why no engine can be started here; undefined where one can. */
function whyNot(): string | undefined {
  if (process.platform !== 'linux') return 'it needs Linux';
  if (process.getuid?.() !== 0) return 'it needs root, to start an engine of its own';
  const missing = ['dockerd', 'docker', 'containerd', 'iptables', 'ip', 'unshare'].filter(
    (name) => !isOnPath(name),
  );
  if (missing.length > 0)
    return `${missing.join(', ')} not found (Debian: apt-get install docker.io iptables iproute2)`;
  return undefined;
}

async function end(child: ChildProcess): Promise<number> {
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

/** The same program again, in namespaces of its own of networks and of mounts; what must be fetched is fetched before. */
async function enterNamespace(args: readonly string[]): Promise<number> {
  await findCompose(console.log);
  await debianTool('tcpdump');
  const images = spawn(process.execPath, [IMAGES_COMMAND, '--no-load'], { stdio: 'inherit', cwd: ROOT });
  const code = await end(images);
  if (code !== 0) return code;
  const child = spawn(
    'unshare',
    ['--net', '--mount', '--', process.execPath, import.meta.filename, ...args],
    {
      stdio: 'inherit',
      env: { ...process.env, [INSIDE]: '1' },
    },
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  return end(child);
}

async function runInside(args: readonly string[]): Promise<number> {
  // Docker's networks must keep a way out closed that is there; this one leads nowhere, and counts what comes to it.
  for (const words of [
    'link set lo up',
    `link add ${WAY_OUT} type veth peer name nowhere`,
    // Or both would announce themselves in IPv6, and be counted.
    `link set ${WAY_OUT} addrgenmode none`,
    'link set nowhere addrgenmode none',
    'link set nowhere up',
    `address add ${WAY_OUT_ADDRESS} dev ${WAY_OUT}`,
    `link set ${WAY_OUT} up`,
    `route add default dev ${WAY_OUT}`,
  ]) {
    const code = await end(spawn('ip', words.split(' '), { stdio: 'inherit' }));
    if (code !== 0) throw new Error(`ip ${words} ended with ${code}`);
  }
  const run = mkdtempSync(join(tmpdir(), 'planes-'));
  const resolvConf = join(run, 'resolv.conf');
  writeFileSync(resolvConf, `nameserver ${RESOLVER}\n`);
  const mounted = await end(spawn('mount', ['--bind', resolvConf, '/etc/resolv.conf'], { stdio: 'inherit' }));
  if (mounted !== 0) throw new Error(`mount ended with ${mounted}`);
  mkdirSync(DATA_ROOT, { recursive: true });
  const socket = join(run, 'docker.sock');
  const logFile = join(DATA_ROOT, 'dockerd.log');
  const log = openSync(logFile, 'w');
  const dockerd = spawn(
    'dockerd',
    [
      '--data-root',
      join(DATA_ROOT, 'data'),
      '--exec-root',
      join(run, 'exec'),
      '-H',
      `unix://${socket}`,
      '--pidfile',
      join(run, 'pid'),
    ],
    { stdio: ['ignore', log, log] },
  );
  closeSync(log);
  try {
    await untilAnswers(dockerd, socket, logFile);
    return await runSuites(args, { ...process.env, DOCKER_HOST: `unix://${socket}` });
  } finally {
    dockerd.kill('SIGTERM');
    await Promise.race([end(dockerd), sleep(STOP_PATIENCE_MS, undefined, { ref: false })]);
    dockerd.kill('SIGKILL');
    rmSync(run, { recursive: true, force: true });
  }
}

/** The images, and then each suite, whatever became of the one before. Arguments may choose files of one alone. */
async function runSuites(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  let running: ChildProcess | undefined;
  let isAskedToStop = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      isAskedToStop = true;
      running?.kill(signal);
    });
  }
  const run = (...words: string[]): Promise<number> => {
    running = spawn(process.execPath, words, { stdio: 'inherit', cwd: ROOT, env });
    return end(running);
  };
  // They were made before this namespace was entered.
  let code = await run(IMAGES_COMMAND, '--load-only');
  if (code !== 0) return code;
  const archive = env.PLANES_MONGO_ARCHIVE;
  if (archive) code = await end(spawn('docker', ['load', '--input', archive], { stdio: 'inherit', env }));
  if (code !== 0) return code;
  for (const suite of SUITES) {
    if (isAskedToStop) return 1;
    const vitest = [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--passWithNoTests'];
    code = (await run(...vitest, '--project', suite, ...args)) || code;
  }
  return code;
}

async function untilAnswers(dockerd: ChildProcess, socket: string, logFile: string): Promise<void> {
  const untilMs = performance.now() + ENGINE_PATIENCE_MS;
  for (;;) {
    const asked = spawn('docker', ['version'], {
      stdio: 'ignore',
      env: { ...process.env, DOCKER_HOST: `unix://${socket}` },
    });
    if ((await end(asked)) === 0) return;
    if (dockerd.exitCode !== null || performance.now() > untilMs) {
      const lines = readFileSync(logFile, 'utf8').trim().split('\n').slice(-5);
      throw new Error(`the Docker engine does not start:\n${lines.join('\n')}`);
    }
    await sleep(100);
  }
}

const args = process.argv.slice(2);
if (process.env.PLANES === 'skip') {
  console.log('test:planes: left out, because PLANES=skip\n\n0 passed, 0 failed, 1 skipped');
} else if (process.env[INSIDE] === '1') {
  process.exitCode = await runInside(args);
} else {
  const reason = whyNot();
  if (reason === undefined) {
    process.exitCode = await enterNamespace(args);
  } else {
    console.error(
      `test:planes: no Docker engine can be started here: ${reason}; PLANES=skip leaves this suite out`,
    );
    process.exitCode = 1;
  }
}
