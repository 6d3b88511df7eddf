import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startChildPart } from '../../../deploy/local/child-part.ts';
import { PartLog } from '../../../deploy/local/part-log.ts';
import { composeStackId, endMarked, findMarked, isOfStart } from '../../../deploy/local/processes.ts';
import {
  type PartSpec,
  type RestartPolicy,
  Supervisor,
  type SupervisorEvent,
} from '../../../deploy/local/supervisor.ts';

const QUICK: RestartPolicy = { pauseMsMin: 10, pauseMsMax: 40, deathsMax: 3, windowMs: 60_000 };

let folder: string;
let stackId: string;
let events: SupervisorEvent[];
let onEvent: (event: SupervisorEvent) => unknown;
let supervisor: Supervisor;

beforeEach((context) => {
  folder = mkdtempSync(join(tmpdir(), 'supervisor-'));
  // Another run of these tests on this machine has the same tasks.
  stackId = composeStackId('test', `${process.pid}-${context.task.id}`);
  events = [];
  onEvent = () => {};
  supervisor = new Supervisor({
    onEvent: (event) => {
      events.push(event);
      onEvent(event);
    },
    policy: QUICK,
  });
});

afterEach(async () => {
  await supervisor.stop();
  await endMarked(isOfStart(stackId), { graceMs: 0 });
  rmSync(folder, { recursive: true, force: true });
});

function fakePart(name: string, args: readonly string[] = [], overrides: Partial<PartSpec> = {}): PartSpec {
  const log = new PartLog(join(folder, `${name}.log`));
  return {
    name,
    drainOrder: 0,
    stopTimeoutMs: 60_000,
    log,
    start: () =>
      startChildPart({
        command: process.execPath,
        args: [join(import.meta.dirname, 'fake-part.ts'), ...args],
        env: { TPF_STACK_ID: stackId },
        log: (line) => log.write(line),
        readReady: (line) => (line.startsWith('READY') ? true : undefined),
        readyTimeoutMs: 60_000,
        stopTimeoutMs: 1_000,
      }),
    ...overrides,
  };
}

function until<T>(look: () => T | undefined | false, what: string): Promise<T> {
  return expect
    .poll(look, { timeout: 30_000, interval: 10, message: what })
    .toBeTruthy()
    .then(() => look() as T);
}

/** Ends a part by itself, with code 7; it is known to run, so that its end is no failure to start. */
function letDie(name: string): void {
  process.kill(supervisor.pidOf(name) ?? 0, 'SIGUSR2');
}

const typesOf = (found: readonly SupervisorEvent[]) => found.map(({ type }) => type);

describe('a part that dies', () => {
  it('is reported with its signal and started again', async () => {
    await supervisor.start(fakePart('chain'));
    const firstPid = supervisor.pidOf('chain');
    process.kill(firstPid ?? 0, 'SIGKILL');

    await until(() => events.some(({ type }) => type === 'restarted'), 'a restart');
    expect(typesOf(events)).toEqual(['died', 'restarting', 'restarted']);
    expect(events[0]).toMatchObject({ part: 'chain', reason: 'was killed by SIGKILL' });
    expect(supervisor.pidOf('chain')).toEqual(expect.any(Number));
    expect(supervisor.pidOf('chain')).not.toBe(firstPid);
  });

  it('is reported with its exit code and last words', async () => {
    await supervisor.start(fakePart('chain'));
    letDie('chain');

    const died = await until(() => events.find((event) => event.type === 'died'), 'a death');
    expect(died.reason).toBe('ended with code 7');
    await until(() => died.log.tail(5).includes('something went wrong'), 'its last words');
  });

  it('is waited for longer each time, and given up when it keeps dying', async () => {
    // As soon as it runs, each time.
    onEvent = ({ type }) => type === 'restarted' && letDie('chain');
    await supervisor.start(fakePart('chain'));
    letDie('chain');

    const failure = await supervisor.failed;
    expect(failure.message).toBe('chain ended with code 7');
    const pauses = events.flatMap((event) => (event.type === 'restarting' ? [event.afterMs] : []));
    expect(pauses).toEqual([10, 20, 40]);
    expect(events.at(-1)).toMatchObject({ type: 'gave-up', part: 'chain', deaths: 4 });
  });

  it('counts a restart that fails as another death', async () => {
    const good = fakePart('chain');
    let starts = 0;
    await supervisor.start({
      ...good,
      start: () => {
        starts += 1;
        return starts === 1 ? good.start() : Promise.reject(new Error('the port is busy'));
      },
    });
    process.kill(supervisor.pidOf('chain') ?? 0, 'SIGKILL');

    const failure = await supervisor.failed;
    expect(failure.message).toBe('chain did not start again: the port is busy');
    expect(starts).toBe(4);
  });

  it('stays dead once the stack is being stopped', async () => {
    await supervisor.start(fakePart('chain'));
    await supervisor.stop();

    expect(events).toEqual([]);
    expect(findMarked(isOfStart(stackId))).toEqual([]);
  });
});

describe('a part that does not start', () => {
  it('is named with the reason, and not tried again', async () => {
    const broken = fakePart('chain', ['--no-such-flag']);

    await expect(supervisor.start(broken)).rejects.toThrow(
      'chain did not start: ended with code 1 before it was ready',
    );
    expect(broken.log.tail(20).join('\n')).toContain('--no-such-flag');
    expect(events).toEqual([]);
  });

  it('is named when its program is absent', async () => {
    const log = new PartLog(join(folder, 'chain.log'));
    const start = () =>
      startChildPart({
        command: join(folder, 'absent'),
        args: [],
        env: {},
        log: () => {},
        readReady: () => true,
        readyTimeoutMs: 1_000,
        stopTimeoutMs: 1_000,
      });

    await expect(
      supervisor.start({ name: 'chain', drainOrder: 0, stopTimeoutMs: 1_000, log, start }),
    ).rejects.toThrow(/chain did not start: spawn .*absent ENOENT/);
  });

  it('is killed when it is not ready in time', async () => {
    const start = () =>
      startChildPart({
        command: process.execPath,
        args: [join(import.meta.dirname, 'fake-part.ts'), '--mute'],
        env: { TPF_STACK_ID: stackId },
        log: () => {},
        readReady: () => undefined,
        readyTimeoutMs: 300,
        stopTimeoutMs: 1_000,
      });

    await expect(supervisor.start(fakePart('chain', [], { start }))).rejects.toThrow(
      'was not ready after 0.3 s',
    );
    await until(() => findMarked(isOfStart(stackId)).length === 0, 'its end');
  });
});

describe('stopping', () => {
  it('drains by order, those of one order together', async () => {
    const out = join(folder, 'order');
    for (const [name, drainOrder] of [
      ['database', 3],
      ['chain', 2],
      ['pay', 1],
      ['sidecar', 0],
    ] as const) {
      await supervisor.start(fakePart(name, ['--out', out, '--name', name], { drainOrder }));
    }

    await supervisor.stop();
    expect(readFileSync(out, 'utf8').trim().split('\n')).toEqual(['sidecar', 'pay', 'chain', 'database']);
  });

  it('kills a part that does not listen', async () => {
    await supervisor.start(fakePart('chain', ['--deaf']));
    const startedAtMs = performance.now();

    await supervisor.stop();
    // By its own bound of a second, long before that of the supervisor.
    expect(performance.now() - startedAtMs).toBeLessThan(30_000);
    expect(findMarked(isOfStart(stackId))).toEqual([]);
  });

  it('does not wait for a stop that hangs', async () => {
    const deaf = fakePart('chain', ['--deaf'], { stopTimeoutMs: 100 });
    await supervisor.start({
      ...deaf,
      start: async () => ({ ...(await deaf.start()), stop: () => new Promise<void>(() => {}) }),
    });

    await supervisor.stop();
    await until(() => findMarked(isOfStart(stackId)).length === 0, 'its end');
  });

  it('ends a part that is about to restart', async () => {
    await supervisor.start(fakePart('chain'));
    process.kill(supervisor.pidOf('chain') ?? 0, 'SIGKILL');
    await until(() => events.some(({ type }) => type === 'restarting'), 'the pause before a restart');

    await supervisor.stop();
    await until(() => findMarked(isOfStart(stackId)).length === 0, 'its end');
  });
});
