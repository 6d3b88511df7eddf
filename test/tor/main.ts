/**
 * `npm run test:tor`: payments through a private Tor network, with every packet counted.
 *
 * Everything that has to be fetched or built is there before the tests begin. They run in a network namespace of
 * their own, with nothing but a loopback device: nothing that goes wrong in them, a Tor that would join the public
 * network among it, can get off this machine. A mount namespace gives them a resolver of their own.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ensureRie } from '../../build/rie.ts';
import { startDatabase } from '../../deploy/local/database/start-database.ts';
import { findFreePort } from '../../deploy/local/ports.ts';
import { buildFunctions } from '../../esbuild.config.ts';
import { debianTool } from '../support/debian-tool.ts';
import { RESOLVER } from './addresses.ts';
import { NAMESPACE_VARIABLE, NETWORK_CACHE, type Tools, toolsToText } from './namespace.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

/** Every address is on the one device, so that a packet to any of them is sent, and seen. */
const SET_UP = `set -e
"$IP" link set lo up
"$IP" route add local 0.0.0.0/0 dev lo
"$IP" -6 route add local ::/0 dev lo 2>/dev/null || true
mount --bind "$RESOLV_CONF" /etc/resolv.conf
"$@"`;

/** A process namespace as well: whatever is started inside ends with it, however the tests end. */
const NAMESPACE = ['--net', '--mount', '--mount-proc', '--pid', '--fork', '--kill-child'];
/** As root; or as anybody, in a user namespace, where the kernel lets anybody make one. */
const NAMESPACES = [NAMESPACE, ['--map-current-user', '--keep-caps', ...NAMESPACE]] as const;

const tests = await findTools().catch((error: Error) => error);
if (tests instanceof Error) {
  // Where nobody reads the output, what did not run must not look like what passed.
  const isCi = Boolean(process.env.CI);
  console.log(`${isCi ? 'FAILED' : 'SKIPPED'}: the Tor tests cannot run here: ${tests.message}`);
  process.exitCode = isCi ? 1 : 0;
} else {
  await prepare();
  process.exitCode = await runTests(tests);
}

type Found = Tools & { readonly unshare: readonly string[] };

async function findTools(): Promise<Found> {
  const tor = await debianTool('tor');
  const gencert = await debianTool('tor-gencert', 'tor');
  const tcpdump = await debianTool('tcpdump');
  const ip = await debianTool('ip', 'iproute2');
  for (const options of NAMESPACES) {
    const isThere = await run('unshare', [...options, 'true']).then(
      () => true,
      () => false,
    );
    if (isThere) return { tor, gencert, tcpdump, ip, unshare: ['unshare', ...options] };
  }
  throw new Error('this user may make no network namespace, and without one a leak could leave the machine');
}

/** What the tests would fetch or build, and cannot once they have no network. */
async function prepare(): Promise<void> {
  const log = (line: string) => console.log(`  ${line}`);
  delete process.env.MONGO_URL;
  await Promise.all([ensureRie({ log }), buildFunctions({ log })]);
  const database = await startDatabase({ memory: true, port: await findFreePort(new Set()), log });
  await database.stop();
}

/** @returns the exit code of the tests. */
async function runTests({ unshare, ...tools }: Found): Promise<number> {
  await mkdir(NETWORK_CACHE, { recursive: true });
  const resolvConf = join(NETWORK_CACHE, 'resolv.conf');
  await writeFile(resolvConf, `nameserver ${RESOLVER}\noptions timeout:1 attempts:1\n`);
  const [command = '', ...options] = unshare;
  const { stdout: version } = await run(tools.tor.path, ['--version'], { env: { ...tools.tor.env } });
  console.log(`\n${version.split('\n')[0]} in namespaces of its own: ${unshare.join(' ')}`);
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const inside = [process.execPath, vitest, 'run', '--project', 'tor', ...process.argv.slice(2)];
  const child = spawn(command, [...options, '--', 'sh', '-c', SET_UP, 'sh', ...inside], {
    cwd: ROOT,
    stdio: 'inherit',
    env: {
      ...process.env,
      ...tools.ip.env,
      IP: tools.ip.path,
      RESOLV_CONF: resolvConf,
      [NAMESPACE_VARIABLE]: toolsToText(tools),
    },
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill('SIGKILL'));
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
