import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findFreePort } from '../../../deploy/local/ports.ts';
import { buildNursery, type NurseryPrograms } from '../../chaos/bundles.ts';
import { Nursery } from '../../chaos/nursery-process.ts';
import { isAlive } from '../../support/is-alive.ts';
import { waitUntil } from '../../support/wait-until.ts';

/** Tells who answers, and draws from every source of chance that an instance has. */
const HANDLER = `
import { randomBytes, randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
export const handler = {
  loadAll: async () => {},
  coldStart: async () => async (event) => {
    if (event.die) {
      writeSync(3, JSON.stringify({ event: 'dying', pid: process.pid, place: 'before the end' }) + '\\n');
      process.kill(process.pid, 'SIGKILL');
    }
    const draws = [Math.random(), randomUUID(), randomBytes(8).toString('hex')];
    return { pid: process.pid, parent: process.ppid, dieAt: process.env.CHAOS_DIE_AT, draws };
  },
};`;

interface Answer {
  readonly pid: number;
  readonly parent: number;
  readonly dieAt: string;
  readonly draws: readonly unknown[];
}

describe('a nursery of instances', { timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'nursery-'));
  const logFd = openSync(join(folder, 'log'), 'a');
  const taken = new Set<number>();
  let programs: NurseryPrograms;
  let nursery: Nursery;

  beforeAll(async () => {
    writeFileSync(join(folder, 'handler.mjs'), HANDLER);
    programs = await buildNursery(folder);
    nursery = new Nursery({ programs, folder, environment: {}, logFd });
  });
  afterAll(() => {
    nursery?.stop();
    closeSync(logFd);
    rmSync(folder, { recursive: true, force: true });
  });

  async function bear(dieAt = 0) {
    const port = await findFreePort(taken);
    const child = await nursery.bear({ port, dieAt, countFrom: '', places: [] });
    const invoke = async (event: unknown): Promise<Answer> => {
      const url = `http://127.0.0.1:${port}/2015-03-31/functions/function/invocations`;
      const response = await fetch(url, { method: 'POST', body: JSON.stringify(event) });
      return (await response.json()) as Answer;
    };
    await waitUntil(() =>
      invoke({}).then(
        () => true,
        () => false,
      ),
    );
    return { child, invoke };
  }

  it('bears processes of their own, which share no chance', async () => {
    const children = await Promise.all([bear(7), bear(8), bear(9)]);
    const answers = await Promise.all(children.map(({ invoke }) => invoke({})));
    expect(new Set(answers.map(({ pid }) => pid)).size).toBe(3);
    expect(new Set(answers.map(({ parent }) => parent)).size).toBe(1);
    expect(answers.map(({ dieAt }) => dieAt)).toEqual(['7', '8', '9']);
    expect(new Set(answers.flatMap(({ draws }) => draws)).size).toBe(9);
    for (const { child } of children) child.signal('SIGKILL');
    await Promise.all(children.map(({ child }) => child.died));
    expect(answers.map(({ pid }) => isAlive(pid))).toEqual([false, false, false]);
  });

  it('tells how a child died, and where it killed itself', async () => {
    const killed = await bear();
    killed.child.signal('SIGKILL');
    expect(await killed.child.died).toEqual({ signal: 'SIGKILL', code: 0, lastWords: null });
    const suicide = await bear();
    await suicide.invoke({ die: true }).catch(() => {});
    expect(await suicide.child.died).toEqual({ signal: 'SIGKILL', code: 0, lastWords: 'before the end' });
  });

  it('does not start where its children would share random bytes', async () => {
    const drawing = join(folder, 'drawing');
    mkdirSync(drawing);
    const handler = HANDLER.replace('loadAll: async () => {}', 'loadAll: async () => { randomUUID(); }');
    writeFileSync(join(drawing, 'handler.mjs'), handler);
    const careless = new Nursery({ programs, folder: drawing, environment: {}, logFd });
    await expect(careless.bear({ port: 1, dieAt: 0, countFrom: '', places: [] })).rejects.toThrow(
      'a nursery ended',
    );
  });
});
