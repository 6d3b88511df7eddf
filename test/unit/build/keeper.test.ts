import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildKeeper } from '../../../build/keeper/build-keeper.ts';
import { isAlive } from '../../support/is-alive.ts';
import { type KeptProcess, startProcess } from '../../support/kept-process.ts';
import { runs } from '../../support/thorough.ts';
import { waitUntil } from '../../support/wait-until.ts';

/** `KEEPER_SANITIZED=1` runs all of it with a program that ends at the first access out of bounds. */
const sanitized = process.env.KEEPER_SANITIZED === '1';
const NAMESPACE = ['unshare', '--map-root-user', '--mount', '--pid', '--fork', '--mount-proc'];
const canUnshare = spawnSync('unshare', [...NAMESPACE.slice(1), 'true']).status === 0;

let keeper: string;
let folder: string;
let started: KeptProcess[];
let servers: Server[];

beforeAll(async () => {
  keeper = await buildKeeper({ sanitized });
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeper-'));
  started = [];
  servers = [];
});

afterEach(async () => {
  for (const { child } of started) if (child.exitCode === null) child.kill('SIGKILL');
  for (const server of servers) server.close();
  await rm(folder, { recursive: true, force: true });
});

function start(command: readonly string[], options: Parameters<typeof startProcess>[1] = {}): KeptProcess {
  const process = startProcess(command, options);
  started.push(process);
  return process;
}

function run(options: readonly (string | number)[], ...command: string[]): KeptProcess {
  return start([keeper, 'run', ...options.map(String), '--', ...command]);
}

function shell(script: string, ...options: (string | number)[]): KeptProcess {
  return run(options, 'sh', '-c', script);
}

function probe(...args: (string | number)[]): { code: Promise<unknown>; process: KeptProcess } {
  const process = start([keeper, 'probe', ...args.map(String)]);
  return { code: process.ended, process };
}

async function expectProbe(args: (string | number)[], code: number, why: string | RegExp): Promise<void> {
  const probed = probe(...args);
  const actual = await probed.code;
  expect({ code: actual, why: probed.process.stdout(), stderr: probed.process.stderr() }).toEqual({
    code,
    why: why === '' ? '' : expect.stringMatching(why),
    stderr: '',
  });
}

/** Answers on loopback as it is told; returns HOST:PORT. */
async function serve(answer: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    answer(socket);
  });
  return listen(server);
}

async function listen(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** One of 16 million loopback addresses: every port of it is free. */
function freeAddress(): string {
  return `127.${[...randomBytes(3)].map((byte) => (byte % 254) + 1).join('.')}`;
}

/** A health page whose status is what `status` is at that time. */
async function healthPage(): Promise<{ target: string; status: number; requests: number }> {
  const page = { target: '', status: 200, requests: 0 };
  const server = createHttpServer((_request, response) => {
    page.requests += 1;
    response.writeHead(page.status).end('…');
  });
  page.target = `http://${await listen(server)}/ping`;
  return page;
}

const log = (suffix = '') => join(folder, `service.log${suffix}`);
const read = (path: string) => readFile(path, 'latin1');
/** What the service wrote: a log without the lines of keeper itself. */
const ofService = (text: string) => text.replaceAll(/^\{.*"service":"keeper".*\}\n/gm, '');

/** PT_INTERP: the path of the loader that a program with shared libraries asks for. */
const SEGMENT_OF_LOADER = 3;

/** The types of the segments of a 64-bit ELF file. */
function programSegments(elf: Buffer): number[] {
  const start = Number(elf.readBigUInt64LE(32));
  const size = elf.readUInt16LE(54);
  return Array.from({ length: elf.readUInt16LE(56) }, (_, at) => elf.readUInt32LE(start + at * size));
}

describe('the build', () => {
  it('gives the same bytes twice, of a program that needs no library', async () => {
    const programs = [];
    for (const name of ['one', 'two']) {
      programs.push(await readFile(await buildKeeper({ cacheDir: join(folder, name) })));
    }
    expect(programs[0]?.equals(programs[1] ?? Buffer.alloc(0))).toBe(true);
    expect(programSegments(programs[0] ?? Buffer.alloc(0))).not.toContain(SEGMENT_OF_LOADER);
  });

  it('names the package to install when there is no compiler', async () => {
    await expect(buildKeeper({ compiler: 'no-such-compiler' })).rejects.toThrow(
      /^no C compiler no-such-compiler: install one \(Debian: apt-get install gcc libc6-dev\)$/,
    );
  });
});

describe('the command line', () => {
  it.each([
    [[], 'run or probe is lacking'],
    [['start'], 'unknown command start'],
    [['run', '--lgo', 'x', '--', 'true'], 'unknown option --lgo'],
    [['run', '--log-keep', '--', 'true'], '--log-keep --: it must be a whole number from 0 to 1000'],
    [['run', '--log-keep', '-1', '--', 'true'], '--log-keep -1: it must be a whole number'],
    [['run', '--log-keep', '99999999999999999999', '--', 'true'], '--log-keep 99999999999999999999'],
    [['run', '--log'], '--log needs a value'],
    [['run', '--log', '/logs/%h/x.log', '--', 'true'], '%h may stand once'],
    [['run', '--log', '/logs/', '--', 'true'], 'it names no file'],
    [['run', 'true'], 'unknown option true'],
    [['run', '--'], '-- COMMAND is lacking'],
    [
      ['run', '--liveness', 'https://127.0.0.1:1/', '--', 'true'],
      '--liveness https://127.0.0.1:1/ is no target',
    ],
    [['run', '--', 'echo', '%{address:172.30.0.0/33}'], '%{address:172.30.0.0/33} is not'],
    [['run', '--', 'echo', '%{address:172.30.0.0/16'], '%{address:172.30.0.0/16 is not'],
    [['probe'], 'TARGET is lacking'],
    [['probe', 'http://example.org:80/'], 'http://example.org:80/ is no target'],
    [['probe', 'http://127.0.0.1:0/'], 'is no target'],
    [['probe', 'http://127.0.0.1:65536/'], 'is no target'],
    [['probe', 'http://127.0.0.1:80/a b'], 'is no target'],
    [['probe', 'http://127.0.0.1:80/a\r\nX: y'], 'is no target'],
    [['probe', 'mongo://127.0.0.1:27017/admin'], 'is no target'],
    [['probe', 'tor://127.0.0.1:9051'], 'is no target'],
    [['probe', 'file:///tmp/x'], 'is no target'],
    [['probe', 'file://relative?max-age-seconds=1'], 'is no target'],
    [['probe', 'mongo://127.0.0.1:1', '--timeout', '5'], 'unknown option --timeout'],
  ])('refuses %j with code 64 and says why', async (args, why) => {
    const process = start([keeper, ...args]);
    expect(await process.ended).toBe(64);
    expect(process.stdout()).toBe('');
    expect(process.stderr().split('\nusage: ')[0]).toContain(why.replaceAll(/[\r\n]/g, '?'));
    expect(process.stderr()).toContain('usage: keeper run');
  });
});

describe('the end of the service', () => {
  it.each([
    ['exit 0', 0],
    ['exit 7', 7],
    ['kill -9 $$', 137],
    ['kill -15 $$', 143],
  ])('hands on how `%s` ends as code %i', async (script, code) => {
    expect(await shell(script).ended).toBe(code);
  });

  it('is 127 for a command that is not there and 126 for one that cannot be executed', async () => {
    expect(await run([], '/no/such/command').ended).toBe(127);
    expect(await run([], folder).ended).toBe(126);
  });

  it('takes everything with it that the service left behind', async () => {
    const process = shell(
      'setsid sh -c \'trap "" TERM HUP; sleep 300 & echo pid $!; wait\' & sleep 300 & echo pid $!; read x',
    );
    await waitUntil(() => process.stdout().match(/pid \d+/g)?.length === 2);
    process.child.stdin?.end();
    expect(await process.ended).toBe(1);
    const pids = [...process.stdout().matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid));
    expect(pids.map(isAlive)).toEqual([false, false]);
  });

  it('reaps orphans while the service runs', async () => {
    const process = shell('sh -c "sh -c \'echo pid \\$\\$\' &"; read x');
    await process.says('pid ');
    const orphan = /pid (\d+)/.exec(process.stdout())?.[1];
    await waitUntil(() => !existsSync(`/proc/${orphan}`));
    expect(isAlive(process.pid)).toBe(true);
  });

  it.runIf(canUnshare)('as PID 1 reaps, passes signals on, and leaves nothing', async () => {
    const script =
      'trap "echo stopping; exit 5" TERM; setsid sleep 300 & sh -c "true &"; echo ready; while :; do wait; done';
    const process = start([...NAMESPACE, keeper, 'run', '--', 'sh', '-c', `echo parent $PPID; ${script}`]);
    await process.says('ready');
    const children = `/proc/${process.pid}/task/${process.pid}/children`;
    const keeperPid = Number(readFileSync(children, 'utf8').trim());
    const zombies = () =>
      readFileSync(`/proc/${keeperPid}/task/${keeperPid}/children`, 'utf8')
        .trim()
        .split(' ')
        .filter((pid) => !isAlive(Number(pid)));
    await waitUntil(() => zombies().length === 0);
    globalThis.process.kill(keeperPid, 'SIGTERM');
    expect(await process.ended).toBe(5);
    expect(process.stdout()).toContain('parent 1\n');
    expect(process.stdout()).toContain('stopping\n');
  });
});

describe('signals', () => {
  it('pass to the service', async () => {
    const process = shell(
      'for s in TERM INT HUP USR1 USR2; do trap "echo got-$s" $s; done; echo pid $$; while :; do sleep 300 & wait; done',
    );
    await process.says('pid ');
    for (const name of ['HUP', 'USR1', 'USR2', 'INT', 'TERM'] as const) {
      process.child.kill(`SIG${name}`);
      await process.says(`got-${name}`);
    }
    expect(isAlive(process.pid)).toBe(true);
    // Ended from within, so that keeper takes what sleeps with it.
    globalThis.process.kill(Number(/pid (\d+)/.exec(process.stdout())?.[1]), 'SIGKILL');
    expect(await process.ended).toBe(137);
  });

  it('find the service with its own handling of broken pipes and file sizes', async () => {
    const ignored = shell('grep SigIgn /proc/self/status; grep SigBlk /proc/self/status');
    await ignored.ended;
    expect(ignored.stdout()).toBe('SigIgn:\t0000000000000000\nSigBlk:\t0000000000000000\n');
  });

  it('kill a service that ignores SIGTERM once the stop timeout has passed', async () => {
    const process = shell('trap "" TERM; echo pid $$; while :; do sleep 300; done', '--stop-timeout-ms', 100);
    await process.says('pid ');
    process.child.kill('SIGTERM');
    expect(await process.ended).toBe(137);
    expect(process.stderr()).toContain('sh has not ended within 100 ms: it is killed');
    expect(isAlive(Number(/pid (\d+)/.exec(process.stdout())?.[1]))).toBe(false);
  });

  it('kill a service that is stopped, too', async () => {
    const process = shell('echo pid $$; kill -STOP $$', '--stop-timeout-ms', 100);
    await process.says('pid ');
    const pid = /pid (\d+)/.exec(process.stdout())?.[1];
    await waitUntil(() => readFileSync(`/proc/${pid}/status`, 'utf8').includes('State:\tT'));
    process.child.kill('SIGTERM');
    expect(await process.ended).toBe(137);
  });
});

describe('the copy of what the service writes', () => {
  it('is exact on both streams and in the log', async () => {
    const process = shell(
      'echo one; echo two >&2; printf "\\000\\377 odd\\n"; printf unfinished',
      '--log',
      log(),
    );
    expect(await process.ended).toBe(0);
    expect(process.stdout()).toBe('one\n\0\xff odd\nunfinished');
    expect(ofService(process.stderr())).toBe('two\n');
    const lines = ofService(await read(log()))
      .split('\n')
      .sort();
    expect(lines).toEqual(['', '\0\xff odd', 'one', 'two', 'unfinished']);
  });

  it('says in JSON lines, as the services do, what keeper does', async () => {
    const process = run(['--log', log()], 'sh', '-c', 'exit 3', 'secret argument');
    await process.ended;
    const lines = (await read(log())).trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      {
        level: 'INFO',
        time: expect.stringMatching(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        service: 'keeper',
        message: expect.stringMatching(/^sh runs as process \d+$/),
      },
      { level: 'ERROR', time: expect.any(String), service: 'keeper', message: 'sh ended with code 3' },
    ]);
    expect(process.stderr()).toBe(`${lines.join('\n')}\n`);
  });

  it('waits for the end of a line, so that lines of two streams never mix', async () => {
    const process = shell('printf first-; read x; echo error >&2; read x; echo half; read x', '--log', log());
    await process.says('runs as');
    process.child.stdin?.write('\n');
    await process.says('error');
    expect(process.stdout()).toBe('');
    process.child.stdin?.write('\n');
    await process.says('first-half');
    expect(ofService(await read(log()))).toBe('error\nfirst-half\n');
  });

  it('passes lines that are longer than its memory', async () => {
    const line = randomBytes(1_500_000).toString('hex');
    await writeFile(join(folder, 'line'), `${line}\nend`);
    const process = run(['--log', log()], 'cat', join(folder, 'line'));
    expect(await process.ended).toBe(0);
    expect(process.stdout() === `${line}\nend`).toBe(true);
    expect(ofService(await read(log())) === `${line}\nend\n`).toBe(true);
  });

  it('begins a line of its own after one so long that it is passed in pieces', async () => {
    const long = 'x'.repeat(1_500_000);
    await writeFile(join(folder, 'line'), long);
    const process = run(
      ['--log', log()],
      'sh',
      '-c',
      'cat "$0"; read x; echo error >&2',
      join(folder, 'line'),
    );
    await process.says('runs as');
    await waitUntil(() => process.stdout().length > 1_000_000);
    process.child.stdin?.write('\n');
    expect(await process.ended).toBe(0);
    expect(process.stdout() === long).toBe(true);
    const lines = ofService(await read(log())).split('\n');
    expect(lines).toContain('error');
    expect(lines.join('').replace('error', '') === long).toBe(true);
  });

  it('goes on when the service closes its stdout', async () => {
    const process = shell('exec 1>&-; echo still here >&2; read x; exit 4');
    await process.says('still here');
    process.child.stdin?.write('\n');
    expect(await process.ended).toBe(4);
  });

  it('goes on in the log when nobody reads stdout any more', async () => {
    const process = shell('read x; echo unheard; read x; echo unheard too; read x; exit 4', '--log', log());
    await process.says('runs as');
    process.child.stdout?.destroy();
    for (const _ of [1, 2, 3]) process.child.stdin?.write('\n');
    expect(await process.ended).toBe(4);
    expect(ofService(await read(log()))).toBe('unheard\nunheard too\n');
    expect(process.stderr().match(/stdout cannot be written/g)).toHaveLength(1);
  });
});

describe('a reader that stalls', () => {
  let reader: number;
  let writer: number;

  beforeEach(() => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    reader = openSync(join(folder, 'pipe'), constants.O_RDONLY | constants.O_NONBLOCK);
    writer = openSync(join(folder, 'pipe'), constants.O_WRONLY);
  });

  afterEach(() => closeSync(reader));

  /** The stalled reader has stdout, or stderr. */
  function runStalled(
    options: (string | number)[],
    command: string[],
    stdio: ('pipe' | number)[] = ['pipe', writer, 'pipe'],
  ): KeptProcess {
    const process = start([keeper, 'run', ...options.map(String), '--', ...command], { stdio });
    closeSync(writer);
    return process;
  }

  function readPipe(): Buffer | undefined {
    const chunk = Buffer.alloc(65_536);
    try {
      return chunk.subarray(0, readSync(reader, chunk));
    } catch {
      return undefined;
    }
  }

  it('holds the service up within a bounded memory, and loses nothing', async () => {
    const lines = Array.from({ length: 200_000 }, (_, at) => `line ${at} ${'.'.repeat(60)}\n`).join('');
    await writeFile(join(folder, 'lines'), lines);
    const process = runStalled([], ['sh', '-c', 'cat "$0"; echo done >&2; read x', join(folder, 'lines')]);
    await process.says('runs as');
    let received = '';
    await waitUntil(() => {
      for (let chunk = readPipe(); chunk !== undefined; chunk = readPipe()) received += chunk.toString();
      return received.length >= lines.length;
    });
    expect(received === lines).toBe(true);
    await process.says('done');
    const peakKib = Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${process.pid}/status`, 'utf8'))?.[1]);
    if (!sanitized) expect(peakKib).toBeLessThan(4096);
    process.child.stdin?.end();
    expect(await process.ended).toBe(1);
  });

  it('keeps neither signals nor the log from their way', async () => {
    const process = runStalled(['--log', log()], ['sh', '-c', 'yes "a line" | head -c 5000000; read x']);
    await process.says('runs as');
    // As much as the memory holds is in the log: from here on the service is held up.
    await waitUntil(async () => (await stat(log())).size > 1_000_000);
    process.child.kill('SIGTERM');
    expect(await process.ended).toBe(143);
    expect(process.stderr()).toContain('SIGTERM is passed on to sh');
  });

  it('leaves room for what keeper has to say', async () => {
    const script = 'trap "" USR1; exec yes "a line" >&2';
    const process = runStalled(['--log', log()], ['sh', '-c', script], ['pipe', 'pipe', writer]);
    await waitUntil(async () => existsSync(log()) && (await stat(log())).size > 1_000_000);
    process.child.kill('SIGUSR1');
    await waitUntil(async () => (await read(log())).includes('SIGUSR1 is passed on'));
    let received = '';
    await waitUntil(() => {
      received += readPipe()?.toString() ?? '';
      return received.includes('SIGUSR1 is passed on');
    });
  });

  it('does not keep liveness from ending a service', async () => {
    const page = await healthPage();
    const liveness = ['--liveness', page.target, '--liveness-interval-ms', 10, '--liveness-failures', 2];
    const process = runStalled(['--log', log(), ...liveness], ['sh', '-c', 'yes "a line"']);
    await waitUntil(async () => page.requests > 0 && (await stat(log())).size > 1_000_000);
    page.status = 500;
    expect(await process.ended).toBe(70);
    expect(process.stderr()).toContain('not alive, 2 times in a row');
  });
});

describe('the log file', () => {
  /** A service that writes what it is told, so that a test knows every byte after the first message. */
  async function echo(...options: (string | number)[]): Promise<KeptProcess> {
    const process = run(['--log', log(), ...options], 'cat');
    await process.says('runs as');
    return process;
  }

  async function tell(process: KeptProcess, text: string): Promise<void> {
    const length = process.stdout().length + text.length;
    process.child.stdin?.write(text);
    await waitUntil(() => process.stdout().length === length);
  }

  it('is rotated at the byte', async () => {
    const process = await echo('--log-max-bytes', 400);
    const { size } = await stat(log());
    await tell(process, `${'a'.repeat(400 - size - 1)}\n`);
    expect((await stat(log())).size).toBe(400);
    expect(await readdir(folder)).toEqual(['service.log']);
    await tell(process, '\n');
    expect((await stat(log('.1'))).size).toBe(400);
    expect(await read(log())).toBe('\n');
  });

  it('keeps lines whole, and so many rotated files', async () => {
    const process = await echo('--log-max-bytes', 150, '--log-keep', 2);
    const lines = Array.from({ length: 100 }, (_, at) => `line ${at}\n`);
    await tell(process, lines.join(''));
    expect((await readdir(folder)).sort()).toEqual(['service.log', 'service.log.1', 'service.log.2']);
    const files = [await read(log('.2')), await read(log('.1')), await read(log())];
    for (const text of files) {
      expect(text.length).toBeLessThanOrEqual(150);
      expect(text).toMatch(/^line \d+\n(line \d+\n)*$/);
    }
    expect(lines.join('').endsWith(files.join(''))).toBe(true);
  });

  it('keeps none when none is to be kept, and cuts a line that no file could hold', async () => {
    const process = await echo('--log-max-bytes', 150, '--log-keep', 0);
    await tell(process, `${'x'.repeat(1000)}\n`);
    expect(await readdir(folder)).toEqual(['service.log']);
    expect((await stat(log())).size).toBeLessThanOrEqual(150);
  });

  it('goes on where the last container with this name ended, after its unfinished line', async () => {
    await writeFile(log(), 'cut off');
    const process = await echo();
    await tell(process, 'next\n');
    expect(ofService(await read(log()))).toBe('cut off\nnext\n');
  });

  it('is made anew when someone removes it', async () => {
    const process = await echo();
    await rm(log());
    await tell(process, 'next\n');
    expect(await read(log())).toBe('next\n');
  });

  it('is named after the host, and old files of other hosts are removed at start', async () => {
    const old = ['pay-aa.log', 'pay-aa.log.1', 'pay-b.c.log.12', `pay-${hostname()}.log.3`];
    const kept = ['pay-new.log', 'pay-.log', 'settle-aa.log', 'pay-aa.log.gz', 'pay-aa.txt', 'xpay-aa.log'];
    for (const name of [...old, ...kept]) await writeFile(join(folder, name), 'text\n');
    await mkdir(join(folder, 'pay-folder.log'));
    await symlink('settle-aa.log', join(folder, 'pay-link.log'));
    const eightDaysAgo = new Date(Date.now() - 8 * 24 * 3600 * 1000);
    const all = await readdir(folder);
    for (const name of all)
      if (name !== 'pay-new.log') await utimes(join(folder, name), eightDaysAgo, eightDaysAgo);
    const process = run(['--log', join(folder, 'pay-%h.log')], 'echo', 'hello');
    expect(await process.ended).toBe(0);
    const expected = [...kept, 'pay-folder.log', 'pay-link.log', `pay-${hostname()}.log`];
    expect((await readdir(folder)).sort()).toEqual(expected.sort());
    expect(await read(join(folder, `pay-${hostname()}.log`))).toContain('hello\n');
  });

  it.each([
    ['a folder that is not there', async () => join(folder, 'none/service.log')],
    ['a folder in its place', async () => folder],
    [
      'a pipe in its place',
      async () => {
        execFileSync('mkfifo', [log()]);
        return log();
      },
    ],
    [
      'a link in its place',
      async () => {
        await symlink(join(folder, 'elsewhere'), log());
        return log();
      },
    ],
  ])('is done without, and that is said once, where there is %s', async (_what, place) => {
    const process = run(
      ['--log', await place(), '--log-retry-ms', 1],
      'sh',
      '-c',
      'for i in 1 2 3; do echo $i; done',
    );
    expect(await process.ended).toBe(0);
    expect(process.stdout()).toBe('1\n2\n3\n');
    expect(process.stderr().match(/the log file cannot be written/g)).toHaveLength(1);
  });

  it('is written again once its folder is there, and says how much is missing', async () => {
    const path = join(folder, 'later/service.log');
    const process = run(['--log', path, '--log-retry-ms', 1], 'cat');
    await process.says('cannot be written');
    await tell(process, 'lost\n');
    await mkdir(join(folder, 'later'));
    await waitUntil(async () => {
      await tell(process, 'kept\n');
      return existsSync(path);
    });
    await process.says('the log file is written again');
    expect(await read(path)).toContain('kept\n');
    const missing = Number(/written again, (\d+) lines are missing/.exec(await read(path))?.[1]);
    // The first message, the lost line, and those within the pause.
    const kept = ofService(await read(path)).split('\n').length - 1;
    expect(missing).toBe(1 + process.stdout().split('\n').length - 1 - kept);
  });

  it('waits so long between two attempts', async () => {
    const path = join(folder, 'later/service.log');
    const process = run(['--log', path, '--log-retry-ms', 3_600_000], 'cat');
    await process.says('cannot be written');
    await mkdir(join(folder, 'later'));
    for (let at = 0; at < 50; at++) await tell(process, 'line\n');
    expect(existsSync(path)).toBe(false);
  });

  it('at a size limit of the system stops and resumes while the service goes on', async () => {
    const limited = [
      'prlimit',
      '--fsize=1000:unlimited',
      keeper,
      'run',
      '--log',
      log(),
      '--log-retry-ms',
      '1',
    ];
    const process = start([...limited, '--', 'cat']);
    await process.says('runs as');
    await tell(process, `${'x'.repeat(2000)}\n`);
    await tell(process, 'on stdout\n');
    await process.says('File too large');
    expect((await stat(log())).size).toBe(1000);
    execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=unlimited:unlimited']);
    await waitUntil(async () => {
      await tell(process, 'again\n');
      return (await read(log())).includes('\nagain\n');
    });
    expect(process.stderr().match(/cannot be written/g)).toHaveLength(1);
  });

  it.runIf(canUnshare)('on a full disk stops and resumes while the service goes on', async () => {
    const script = `
      mount -t tmpfs -o size=64k none "$1" && head -c 65536 /dev/zero > "$1/ballast"
      exec "$0" run --log "$1/service.log" --log-retry-ms 1 -- sh -c '
        while read -r line; do
          [ "$line" = free ] && rm "$0/ballast"
          echo "$line"
          [ "$line" = show ] && cat "$0/service.log" >&2
        done' "$1"`;
    const process = start([...NAMESPACE, 'sh', '-c', script, keeper, folder]);
    await process.says('No space left on device');
    await tell(process, 'lost\n');
    await tell(process, 'free\n');
    await waitUntil(async () => {
      await tell(process, 'kept\n');
      return process.stderr().includes('written again');
    });
    await tell(process, 'show\n');
    await waitUntil(() => /^kept$/m.test(process.stderr()));
    expect(process.stderr()).not.toMatch(/^lost$/m);
    expect(process.stdout()).toContain('lost\n');
  });
});

describe('liveness', () => {
  const FAST = ['--liveness-interval-ms', 10, '--liveness-failures', 3];

  it('ends a service that has stopped answering, with code 70, and says so', async () => {
    const server = `
      const server = require('node:http').createServer((request, response) => {
        response.on('finish', () => console.log('answered'));
        response.end('pong');
      });
      server.listen(8080, process.argv[1], () => console.log('pid', process.pid));`;
    const address = freeAddress();
    const options = ['--liveness', `http://${address}:8080/`, '--liveness-timeout-ms', 300, ...FAST];
    const process = run(['--log', log(), ...options], globalThis.process.execPath, '-e', server, address);
    // More than once: keeper may have given up waiting for the first answer of a slow start, which does not count yet.
    await waitUntil(() => (process.stdout().match(/answered/g)?.length ?? 0) > 3);
    const pid = Number(/pid (\d+)/.exec(process.stdout())?.[1]);
    globalThis.process.kill(pid, 'SIGSTOP');
    expect(await process.ended).toBe(70);
    const why =
      'not alive, 3 times in a row; it is killed, to be started anew: no answer: Connection timed out';
    expect(process.stderr()).toContain(why);
    expect(await read(log())).toContain(why);
    expect(isAlive(pid)).toBe(false);
  });

  it('does not count failures within the start window', async () => {
    const page = await healthPage();
    page.status = 503;
    const process = run(['--liveness', page.target, ...FAST], 'cat');
    await waitUntil(() => page.requests > 10);
    expect(isAlive(process.pid)).toBe(true);
    expect(process.stderr()).not.toContain('not alive');
    page.status = 200;
    const before = page.requests;
    await waitUntil(() => page.requests > before + 1);
    page.status = 503;
    expect(await process.ended).toBe(70);
  });

  it('counts from the first failure after the window', async () => {
    const page = await healthPage();
    page.status = 503;
    const process = run(['--liveness', page.target, '--liveness-start-ms', 0, ...FAST], 'cat');
    expect(await process.ended).toBe(70);
    expect(page.requests).toBe(3);
    expect(process.stderr()).toContain('not alive, 1 of 3 times in a row: it answers status 503');
  });

  it('begins to count anew after a success', async () => {
    const page = await healthPage();
    page.status = 503;
    const process = run(['--liveness', page.target, '--liveness-start-ms', 0, ...FAST], 'cat');
    const server = servers[0];
    server?.on('request', () => {
      page.status = (page.requests + 1) % 3 === 0 ? 200 : 503;
    });
    await waitUntil(() => page.requests > 20);
    expect(isAlive(process.pid)).toBe(true);
    expect(process.stderr()).toContain('alive again');
    expect(process.stderr()).not.toContain('it is killed');
  });

  it('does not end a service that is told to stop, whatever the last probe says', async () => {
    let requests = 0;
    let last: Socket | undefined;
    const host = await serve((socket) => {
      requests += 1;
      if (requests === 1) socket.end('HTTP/1.1 200 OK\r\n\r\n');
      else last = socket;
    });
    const once = ['--liveness', `http://${host}/`, '--liveness-interval-ms', 10, '--liveness-failures', 1];
    const script = 'trap "" TERM; while :; do sleep 300; done';
    const process = shell(script, '--stop-timeout-ms', 300, ...once);
    await waitUntil(() => last !== undefined);
    process.child.kill('SIGTERM');
    await process.says('SIGTERM is passed on');
    last?.end('HTTP/1.1 503 Service Unavailable\r\n\r\n');
    expect(await process.ended).toBe(137);
    expect(process.stderr()).not.toContain('not alive');
    expect(requests).toBe(2);
  });

  it('prints nothing of the environment, nor of the arguments', async () => {
    const process = start(
      [
        keeper,
        'run',
        '--log',
        log(),
        '--liveness',
        'file:///none?max-age-seconds=1',
        '--liveness-start-ms',
        '0',
        ...FAST.map(String),
        '--',
        'sleep',
        // A number that no time of a message and no process has.
        '0000000077777.5',
      ],
      { env: { ...globalThis.process.env, SECRET: 'never-to-be-seen' } },
    );
    expect(await process.ended).toBe(70);
    expect(process.stdout() + process.stderr() + (await read(log()))).not.toMatch(
      /never-to-be-seen|SECRET|0000000077777/,
    );
  });
});

describe('an address of this container', () => {
  it('takes the place of its form in the arguments', async () => {
    const process = run(
      [],
      'echo',
      '%{address:127.0.0.0/8}:8080',
      'a%{address:127.0.0.1/32}b%{address:127.0.0.0/8}',
    );
    expect(await process.ended).toBe(0);
    expect(process.stdout()).toBe('127.0.0.1:8080 a127.0.0.1b127.0.0.1\n');
  });

  it('that is not there ends with code 78 and what there is', async () => {
    const process = run([], 'echo', '%{address:203.0.113.0/24}');
    expect(await process.ended).toBe(78);
    expect(process.stdout()).toBe('');
    expect(JSON.parse(process.stderr())).toMatchObject({
      level: 'ERROR',
      message: expect.stringMatching(
        /^no address of this container within 203\.0\.113\.0\/24, there is:.* lo 127\.0\.0\.1/,
      ),
    });
  });

  it.runIf(canUnshare)('that is one of several ends with code 78 and names them', async () => {
    const script =
      'ip address add 10.1.2.3/8 dev lo && ip address add 127.0.0.1/8 dev lo; exec "$0" run -- echo "%{address:0.0.0.0/0}"';
    const process = start(['unshare', '--map-root-user', '--net', 'sh', '-c', script, keeper]);
    expect(await process.ended).toBe(78);
    expect(process.stderr()).toMatch(
      /several addresses of this container within 0\.0\.0\.0\/0, there is:.* lo 10\.1\.2\.3/,
    );
  });

  it('can stand in a target', async () => {
    const page = await healthPage();
    await expectProbe([page.target.replace('127.0.0.1', '%{address:127.0.0.0/8}')], 0, '');
    await expectProbe([page.target.replace('127.0.0.1', 'localhost')], 0, '');
    await expectProbe(
      [page.target.replace('127.0.0.1', '%{address:203.0.113.0/24}')],
      1,
      /^no address of this container/,
    );
  });
});

/** Stands for * in the answers below. */
const ENDLESS = 'X: x\r\n'.repeat(3000);

describe('the probe of HTTP', () => {
  it.each([
    ['HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npong', 0, ''],
    ['HTTP/1.0 200 OK\r\n\r\n', 0, ''],
    ['HTTP/1.1 503 Service Unavailable\r\n\r\n', 1, /^it answers status 503\n$/],
    ['HTTP/1.1 204 No Content\r\n\r\n', 1, /^it answers status 204\n$/],
    ['HTTP/1.1 2000 OK\r\n\r\n', 1, /^it does not speak HTTP\n$/],
    ['220 mail ready\r\n\r\n', 1, /^it does not speak HTTP\n$/],
    ['HTTP/1.1 200 OK\r\n', 1, /^it closed the connection before its answer was whole\n$/],
    ['', 1, /^it closed the connection/],
    ['HTTP/1.1 200 OK\r\n*', 1, /^its answer is longer than 16384 bytes\n$/],
    ['HTTP/1.1 200 OK\r\nX: \0\r\n\r\n', 1, /^it closed the connection/],
  ])('judges the answer %j', async (answer, code, why) => {
    const host = await serve((socket) =>
      socket.once('data', () => socket.end(answer.replace('*', ENDLESS), 'latin1')),
    );
    await expectProbe([`http://${host}/ping`], code, why);
  });

  it('asks once, for that path, and wants the connection closed', async () => {
    let request = '';
    const host = await serve((socket) =>
      socket.once('data', (data) => {
        request = data.toString();
        socket.end('HTTP/1.1 200 OK\r\n\r\n');
      }),
    );
    await expectProbe([`http://${host}/2018-06-01/ping?x=1`], 0, '');
    expect(request.split('\r\n')).toEqual([
      'GET /2018-06-01/ping?x=1 HTTP/1.1',
      `Host: ${host}`,
      'User-Agent: keeper',
      'Connection: close',
      '',
      '',
    ]);
  });

  it('ends at its deadline, however slowly the answer drips', async () => {
    const host = await serve((socket) => {
      const drip = setInterval(() => socket.write('x'), 5);
      socket.on('close', () => clearInterval(drip));
    });
    await expectProbe([`http://${host}/`, '--timeout-ms', 200], 1, /^no answer: Connection timed out\n$/);
  });

  it('says that nobody listens', async () => {
    const host = `${freeAddress()}:8080`;
    const why = new RegExp(`^${host} takes no connection: Connection refused\\n$`);
    await expectProbe([`http://${host}/`], 1, why);
  });
});

/** One OP_MSG with that BSON document; `change` spoils it. */
function opMsg(elements: Buffer[], change: (message: Buffer) => void = () => {}): Buffer {
  const body = Buffer.concat([...elements, Buffer.from([0])]);
  const message = Buffer.concat([Buffer.alloc(25), body]);
  message.writeInt32LE(message.length, 0);
  message.writeInt32LE(77, 4);
  message.writeInt32LE(1, 8);
  message.writeInt32LE(2013, 12);
  message.writeInt32LE(body.length + 4, 21);
  change(message);
  return message;
}

const element = (type: number, name: string, ...value: number[]) =>
  Buffer.concat([Buffer.from([type]), Buffer.from(`${name}\0`), Buffer.from(value)]);

const OK_DOUBLE = element(0x01, 'ok', 0, 0, 0, 0, 0, 0, 0xf0, 0x3f);
/** What a replica set adds: a document with a timestamp and a signature, and a timestamp. */
const CLUSTER_TIME = Buffer.concat([
  element(0x03, '$clusterTime', 24, 0, 0, 0),
  element(0x05, 'hash', 3, 0, 0, 0, 0, 1, 2, 3),
  Buffer.alloc(24 - 4 - 14),
  element(0x11, 'operationTime', 1, 2, 3, 4, 5, 6, 7, 8),
]);

describe('the probe of MongoDB', () => {
  const judged: [string, Buffer, number, string | RegExp][] = [
    ['ok: 1.0', opMsg([OK_DOUBLE]), 0, ''],
    ['ok: 1 as int32', opMsg([element(0x10, 'ok', 1, 0, 0, 0)]), 0, ''],
    ['ok: 1 as int64', opMsg([element(0x12, 'ok', 1, 0, 0, 0, 0, 0, 0, 0)]), 0, ''],
    ['ok: true', opMsg([element(0x08, 'ok', 1)]), 0, ''],
    [
      'a replica set',
      opMsg([CLUSTER_TIME, element(0x02, 'text', 3, 0, 0, 0, 111, 107, 0), OK_DOUBLE]),
      0,
      '',
    ],
    ['ok: 0', opMsg([element(0x01, 'ok', 0, 0, 0, 0, 0, 0, 0, 0)]), 1, /^its answer to ping is not ok: 1\n$/],
    ['no ok', opMsg([element(0x10, 'okay', 1, 0, 0, 0)]), 1, /is not ok: 1/],
    [
      'an ok within another document',
      opMsg([element(0x03, 'x', ...le32(13), ...OK_DOUBLE.subarray(0, 9))]),
      1,
      /not ok/,
    ],
    [
      'a text that claims 4 GB',
      opMsg([element(0x02, 'x', 255, 255, 255, 255), OK_DOUBLE]),
      1,
      /is not ok: 1/,
    ],
    ['an unknown type', opMsg([element(0x55, 'x'), OK_DOUBLE]), 1, /is not ok: 1/],
    ['a name without an end', opMsg([], (m) => m.fill(0x10, 25)), 1, /is not ok: 1/],
    [
      'an ok that the document does not hold whole',
      opMsg([OK_DOUBLE], (m) => m.writeInt32LE(m.readInt32LE(21) - 4, 21)),
      1,
      /is not ok: 1/,
    ],
    ['another request', opMsg([OK_DOUBLE], (m) => m.writeInt32LE(2, 8)), 1, /does not speak/],
    ['another kind', opMsg([OK_DOUBLE], (m) => m.writeInt32LE(1, 12)), 1, /does not speak/],
    ['a length of -1', opMsg([OK_DOUBLE], (m) => m.writeInt32LE(-1, 0)), 1, /does not speak/],
    ['a length of 3', opMsg([OK_DOUBLE], (m) => m.writeInt32LE(3, 0)), 1, /does not speak/],
    ['a document past the end', opMsg([OK_DOUBLE], (m) => m.writeInt32LE(9999, 21)), 1, /does not speak/],
    ['half an answer', opMsg([OK_DOUBLE]).subarray(0, 30), 1, /^it closed the connection/],
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 1, /does not speak/],
  ];

  it.each(judged)('judges %s', async (_what, answer, code, why) => {
    const host = await serve((socket) => socket.once('data', () => socket.end(answer)));
    await expectProbe([`mongo://${host}`], code, why);
  });

  it('asks {ping: 1, $db: "admin"} in one OP_MSG', async () => {
    let question = Buffer.alloc(0);
    const host = await serve((socket) =>
      socket.once('data', (data) => {
        question = data;
        socket.end(opMsg([OK_DOUBLE]));
      }),
    );
    await expectProbe([`mongo://${host}`], 0, '');
    const expected = opMsg([
      element(0x10, 'ping', 1, 0, 0, 0),
      element(0x02, '$db', 6, 0, 0, 0, ...Buffer.from('admin\0')),
    ]);
    expected.writeInt32LE(1, 4);
    expected.writeInt32LE(0, 8);
    expect(question.toString('hex')).toBe(expected.toString('hex'));
  });

  it('stands any answer', async () => {
    const valid = opMsg([CLUSTER_TIME, OK_DOUBLE]);
    let answer: Buffer = valid;
    const host = await serve((socket) => socket.once('data', () => socket.end(answer)));
    const change = fc.record({ at: fc.nat(valid.length - 1), to: fc.integer({ min: 0, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 6 }), fc.nat(valid.length), async (changes, cut) => {
        const spoilt = Buffer.from(valid);
        for (const { at, to } of changes) spoilt[at] = to;
        answer = cut % 3 === 0 ? spoilt.subarray(0, cut) : spoilt;
        const { code, process } = probe(`mongo://${host}`);
        expect([0, 1]).toContain(await code);
        expect(process.stderr()).toBe('');
      }),
      runs(40, 400),
    );
  });
});

function le32(number: number): number[] {
  return [number & 255, (number >> 8) & 255, (number >> 16) & 255, number >>> 24];
}

describe("the probe of Tor's control port", () => {
  const cookie = randomBytes(32);
  let cookieFile: string;

  beforeEach(async () => {
    cookieFile = join(folder, 'control_auth_cookie');
    await writeFile(cookieFile, cookie);
  });

  /** Answers as Tor does, until `answers` says otherwise. */
  async function control(answers: Record<string, string> = {}): Promise<string> {
    const host = await serve((socket) => {
      let received = '';
      socket.on('data', (data) => {
        received += data.toString();
        for (let end = received.indexOf('\r\n'); end >= 0; end = received.indexOf('\r\n')) {
          const command = received.slice(0, end);
          received = received.slice(end + 2);
          socket.write(answers[command] ?? USUAL[command] ?? '515 Authentication failed\r\n', 'latin1');
        }
      });
    });
    return `tor://${host}?cookie=${cookieFile}`;
  }

  const PHASE = 'GETINFO status/bootstrap-phase';
  const CIRCUIT = 'GETINFO status/circuit-established';
  const phase = (percent: string) =>
    `250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=${percent} TAG=x SUMMARY="Done"\r\n250 OK\r\n`;
  const USUAL: Record<string, string> = {
    [`AUTHENTICATE ${cookie.toString('hex')}`]: '250 OK\r\n',
    [PHASE]: phase('100'),
    [CIRCUIT]: '250-status/circuit-established=1\r\n250 OK\r\n',
  };

  it('is healthy with a circuit, bootstrapped', async () => {
    await expectProbe([await control()], 0, '');
  });

  it.each([
    ['is on its way', { [PHASE]: phase('45') }, /^Tor is bootstrapped to 45% only\n$/],
    ['claims 1000', { [PHASE]: phase('1000') }, /^Tor is bootstrapped to 100% only\n$/],
    [
      'has no circuit',
      { [CIRCUIT]: '250-status/circuit-established=0\r\n250 OK\r\n' },
      /^Tor has no circuit\n$/,
    ],
    ['knows no phase', { [PHASE]: '552 Unrecognized key\r\n' }, /^Tor answers: 552 Unrecognized key\n$/],
    [
      'sends what no terminal should see',
      { [PHASE]: '552 \x1b[31m\x07\r\n' },
      /^Tor answers: 552 \?\[31m\?\n$/,
    ],
    ['never comes to an end', { [PHASE]: '250-x\r\n'.repeat(10_000) }, /^its answer is longer than/],
    ['answers short lines', { [PHASE]: '\r\n25\r\n250\r\n552 no\r\n' }, /^Tor answers: 552 no\n$/],
  ])('is not when it %s', async (_what, answers, why) => {
    await expectProbe([await control(answers)], 1, why);
  });

  it('asked whether it answers at all, is healthy on its way too', async () => {
    const answering = (target: string) => target.replace('tor://', 'tor-answers://');
    await expectProbe([answering(await control({ [PHASE]: phase('5') }))], 0, '');
    await expectProbe([answering(await control({ [PHASE]: '552 no\r\n' }))], 1, /^Tor answers: 552 no\n$/);
  });

  it('is not with another cookie, and never shows one', async () => {
    const target = await control();
    await writeFile(cookieFile, randomBytes(32));
    await expectProbe([target], 1, /^Tor answers: 515 Authentication failed\n$/);
    await rm(cookieFile);
    await expectProbe([target], 1, /^the cookie .* cannot be read: No such file or directory\n$/);
  });
});

describe('the probe of a file', () => {
  it('is healthy while it was written lately', async () => {
    const file = join(folder, 'beat');
    await expectProbe([`file://${file}?max-age-seconds=60`], 1, /beat: No such file or directory\n$/);
    await writeFile(file, '');
    await expectProbe([`file://${file}?max-age-seconds=60`], 0, '');
    const then = new Date(Date.now() - 100_000);
    await utimes(file, then, then);
    await expectProbe([`file://${file}?max-age-seconds=60`], 1, /beat was last written 10\d s ago\n$/);
    await expectProbe([`file://${file}?max-age-seconds=160`], 0, '');
  });
});

describe('a check before the service', () => {
  it('lets it start once the check has ended with 0, and passes on what both wrote', async () => {
    await writeFile(join(folder, 'check'), 'echo checked; echo warned >&2\n');
    const process = shell('echo served', '--check', `sh ${join(folder, 'check')}`, '--log', log());
    expect(await process.ended).toBe(0);
    expect(process.stdout()).toBe('checked\nserved\n');
    expect(ofService(process.stderr())).toBe('warned\n');
    expect(ofService(await read(log()))).toMatch(/^(checked\nwarned|warned\nchecked)\nserved\n$/);
  });

  it('is the end where the check fails, with its code', async () => {
    await writeFile(join(folder, 'check'), 'echo no key >&2; exit 3\n');
    const process = shell('echo served', '--check', `sh ${join(folder, 'check')}`);
    expect(await process.ended).toBe(3);
    expect(process.stdout()).toBe('');
    expect(process.stderr()).toContain('no key');
    expect(process.stderr()).toContain('sh ended with code 3');
  });

  it('ends with the check where it is told to stop meanwhile, without a delay', async () => {
    await writeFile(join(folder, 'check'), 'trap "exit 0" TERM; echo checking; sleep 300 & wait\n');
    const process = shell(
      'echo served',
      ...['--check', `sh ${join(folder, 'check')}`, '--stop-delay-ms', 60_000],
    );
    await process.says('checking');
    process.child.kill('SIGTERM');
    expect(await process.ended).toBe(0);
    expect(process.stdout()).toBe('checking\n');
  });

  it.each([[''], [' '], ['word '.repeat(32)]])('is refused with wrong words: "%s"', async (words) => {
    const process = run(['--check', words], 'true');
    expect(await process.ended).toBe(64);
    expect(process.stderr()).toContain('--check needs 1 to 31 words');
  });
});

describe('the delay of a stop', () => {
  const service = 'trap "echo told; exit 0" TERM; echo runs; while :; do sleep 300 & wait; done';

  it('leaves the service alone for so long, and then passes the signal on', async () => {
    const process = shell(service, '--stop-delay-ms', 400);
    await process.says('runs');
    const askedMs = performance.now();
    process.child.kill('SIGTERM');
    expect(await process.ended).toBe(0);
    expect(performance.now() - askedMs).toBeGreaterThan(390);
    expect(process.stdout()).toBe('runs\ntold\n');
    expect(process.stderr()).toContain('SIGTERM is passed on to sh in 400 ms');
  });

  it('is cut short by a second signal, but not by one that is no stop', async () => {
    const process = shell(`trap "echo noted" HUP; ${service}`, '--stop-delay-ms', 600_000);
    await process.says('runs');
    process.child.kill('SIGTERM');
    await process.says('in 600000 ms');
    process.child.kill('SIGHUP');
    await process.says('noted');
    expect(process.stdout()).not.toContain('told');
    process.child.kill('SIGTERM');
    expect(await process.ended).toBe(0);
  });

  it('comes before the stop timeout', async () => {
    const process = shell(
      'trap "" TERM; echo runs; while :; do sleep 300 & wait; done',
      ...['--stop-delay-ms', 300, '--stop-timeout-ms', 100],
    );
    await process.says('runs');
    const askedMs = performance.now();
    process.child.kill('SIGTERM');
    expect(await process.ended).toBe(137);
    expect(performance.now() - askedMs).toBeGreaterThan(390);
  });
});
