import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endMarked, findMarked, isOfFolder, isOfStart, signal } from '../../../deploy/local/processes.ts';

type Report = { readonly stackId: string; readonly guard: number; readonly parts: readonly number[] };

let folder: string;
let stack: ChildProcess;
let stderr: string;
let reports: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'guard-'));
});

afterEach(async () => {
  stack.kill('SIGKILL');
  for (const line of reports) signal(parse(line).guard, 'SIGKILL');
  const first = reports[0];
  if (first !== undefined) await endMarked(isOfFolder(parse(first).stackId), { graceMs: 0 });
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a stack of fake parts in a process of its own and waits until it is up. */
async function startStack(): Promise<Report> {
  reports = [];
  stderr = '';
  stack = spawn(process.execPath, [join(import.meta.dirname, 'fake-stack.ts'), folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (stack.stdout === null || stack.stderr === null) throw new Error('no pipes');
  stack.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  createInterface({ input: stack.stdout }).on('line', (line) => {
    if (/^(UP|GUARD) /.test(line)) reports.push(line);
  });
  return parse(await until(() => reports.find((line) => line.startsWith('UP ')), 'the stack to be up'));
}

function parse(line: string): Report {
  return JSON.parse(line.slice(line.indexOf('{'))) as Report;
}

async function until<T>(look: () => T | undefined | false, what: string): Promise<T> {
  await expect.poll(look, { timeout: 60_000, interval: 20, message: what }).toBeTruthy();
  return look() as T;
}

const alive = (pid: number) => signal(pid, 0 as unknown as NodeJS.Signals);

describe('the guard', () => {
  it('ends parts and grandchildren when the supervisor is killed, those that ignore SIGTERM too', async () => {
    const { stackId, guard } = await startStack();
    await until(() => findMarked(isOfStart(stackId)).length === 4, 'two parts with a child each');

    stack.kill('SIGKILL');
    await once(stack, 'exit');
    await until(() => findMarked(isOfStart(stackId)).length === 0, 'no process left');
    await until(() => !alive(guard), 'the end of the guard');
    expect(stderr).toMatch(
      new RegExp(`The supervisor \\(pid ${stack.pid}\\) died; ended what it left: .*node \\d+`),
    );
  });

  it('is started anew when it is killed, and the new one does its work', async () => {
    const { stackId, guard } = await startStack();
    process.kill(guard, 'SIGKILL');
    const second = parse(
      await until(() => reports.find((line) => line.startsWith('GUARD ')), 'another guard'),
    );
    expect(second.guard).not.toBe(guard);

    stack.kill('SIGKILL');
    await until(() => findMarked(isOfStart(stackId)).length === 0, 'no process left');
  });

  it('does not end on a signal, since the stack has not', async () => {
    const { guard } = await startStack();
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(guard, name);

    // Were it to end, another one would be reported well before this next start is up and gone.
    process.kill(stack.pid ?? 0, 0);
    expect(alive(guard)).toBe(true);
    await expect.poll(() => reports.length, { timeout: 500 }).toBe(1);
  });

  it('leaves the processes of the next start on the same folder alone', async () => {
    const first = await startStack();
    const firstStack = stack;
    firstStack.kill('SIGKILL');
    await once(firstStack, 'exit');
    // The first guard still waits for those that ignore SIGTERM.
    const second = await startStack();

    await until(() => findMarked(isOfStart(first.stackId)).length === 0, 'the end of the first');
    await until(() => !alive(first.guard), 'the end of the first guard');
    expect(findMarked(isOfStart(second.stackId)).length).toBe(4);
  });
});

describe('a state folder', () => {
  it('is refused to a second stack while the first one lives', async () => {
    await startStack();
    const second = spawn(process.execPath, [join(import.meta.dirname, 'fake-stack.ts'), folder], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    second.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
    const [code] = await once(second, 'close');

    expect(code).toBe(1);
    expect(said).toContain(`a stack already runs on ${folder} (pid ${stack.pid})`);
  });
});
