import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from 'vitest';
import type { FakeRie } from '../../support/fake-rie.ts';
import { freePort } from '../../support/ports.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { ask, closeAll, createFolder, createGate, onClose, startFake } from './harness.ts';

/** Of the test that waits for it: in so long, even on a busy machine, what is to happen before has happened. */
const TIMEOUT_SECONDS = 5;

afterEach(closeAll);

interface Run {
  readonly child: ChildProcess;
  readonly lines: Record<string, unknown>[];
  readonly exit: Promise<number | string>;
  /** Where it listens, from the line that tells it. */
  listening(): Promise<{ readonly functionUrl: string; readonly opsUrl: string }>;
}

/** `node deploy/sidecar/main.ts` as an operator starts it. */
function run(env: Record<string, string>): Run {
  const child = spawn(process.execPath, ['deploy/sidecar/main.ts'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: Record<string, unknown>[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)));
  const exit = new Promise<number | string>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? '')),
  );
  onClose(async () => {
    child.kill('SIGKILL');
    await exit;
  });
  const listening: Run['listening'] = async () => {
    const find = () => lines.find(({ msg }) => msg === 'listening');
    await waitUntil(() => find() !== undefined);
    return { functionUrl: String(find()?.functionUrl), opsUrl: String(find()?.opsUrl) };
  };
  return { child, lines, exit, listening };
}

async function environment(
  pay: FakeRie | undefined,
  changes: Record<string, string> = {},
): Promise<Record<string, string>> {
  const folder = createFolder();
  const aclFile = join(folder, 'test.acl');
  writeFileSync(aclFile, 'allow * * pay /**');
  const idle = await freePort();
  return {
    BIND_ADDRESS: '127.0.0.1',
    SERVICE_PORT: '0',
    OPS_PORT: '0',
    FUNCTION_PAY: `127.0.0.1:${pay?.port ?? 1}`,
    FUNCTION_SETTLE: `localhost:${idle}`,
    FUNCTION_HEALTH: '127.0.0.1:2',
    FUNCTION_STATS: '127.0.0.1:3',
    ACL_POLICY_FILE: aclFile,
    FUNCTION_TIMEOUT_SECONDS: '30',
    QUEUE_TIMEOUT_MS: '60000',
    STATE_DIR: join(folder, 'state'),
    ...changes,
  };
}

describe('the program', () => {
  it('says in one line what is wrong with its configuration, and exits 1', async () => {
    const { lines, exit } = run({ SERVICE_PORT: 'x', QUEUE_MAX: '-1' });
    expect(await exit).toBe(1);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 'fatal' });
    expect(lines[0]?.msg).toMatch(/SERVICE_PORT .*QUEUE_MAX .*|FUNCTION_PAY/);
  });

  it.each(['SERVICE_PORT', 'OPS_PORT'])('says in one line that its %s is taken, and exits 1', async (key) => {
    const other = createServer();
    const port = await new Promise<number>((resolve) => {
      other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port));
    });
    onClose(() => new Promise((resolve) => other.close(resolve)));
    const { lines, exit } = run(await environment(undefined, { [key]: String(port) }));
    expect(await exit).toBe(1);
    const fatal = lines.filter(({ level }) => level === 'fatal');
    expect(fatal.map(({ msg }) => msg)).toEqual([
      `port ${port} on 127.0.0.1 is in use; set SERVICE_PORT or OPS_PORT to a free one`,
    ]);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('on %s answers what is under way and exits 0', async (signal) => {
    const gate = createGate();
    const rie = await startFake(async () => {
      await gate.opened;
      return { result: 'ok' };
    });
    const { child, exit, lines, listening } = run(await environment(rie));
    const { functionUrl } = await listening();
    const begun = ask(functionUrl, '/pay');
    await waitUntil(() => rie.inFlight === 1);
    child.kill(signal);
    await waitUntil(() => lines.some(({ msg }) => msg === 'draining'));
    gate.open();
    expect((await begun).status).toBe(200);
    expect(await exit).toBe(0);
  });

  it('after a kill waits one function timeout before it invokes an instance that may still be busy', async () => {
    const gate = createGate();
    const rie = await startFake(async () => {
      await gate.opened;
      return { result: 'ok' };
    });
    const env = await environment(rie, { FUNCTION_TIMEOUT_SECONDS: String(TIMEOUT_SECONDS) });
    const first = run(env);
    const cut = ask((await first.listening()).functionUrl, '/pay').catch(() => 'cut');
    await waitUntil(() => rie.inFlight === 1);
    first.child.kill('SIGKILL');
    expect([await first.exit, await cut]).toEqual(['SIGKILL', 'cut']);

    const startedMs = performance.now();
    const second = run(env);
    const { functionUrl, opsUrl } = await second.listening();
    const waiting = ask(functionUrl, '/pay');
    await waitUntil(async () => /queue_depth\{function="pay"\} 1/.test((await ask(opsUrl, '/metrics')).text));
    // The first process's invoke ends inside the time that the function may take.
    gate.open();
    expect((await waiting).status).toBe(200);
    expect(rie.crashed).toBe(false);
    expect(performance.now() - startedMs).toBeGreaterThan(TIMEOUT_SECONDS * 1_000);
    second.child.kill('SIGTERM');
    expect(await second.exit).toBe(0);
    expect(existsSync(join(env.STATE_DIR ?? '', 'sidecar.running'))).toBe(false);
  });
});
