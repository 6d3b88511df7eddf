/** A caller's secret and the encryption key, changed at once on planes that run, step by step as docs/operations.md says. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorize } from '../../deploy/cli/running-stack.ts';
import { createRecipient } from '../../deploy/local/accounts.ts';
import { accessOf } from '../../deploy/planes/access.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { rollOut } from '../../deploy/planes/scripts/deploy.ts';
import { own } from '../../deploy/planes/state.ts';
import { clientOf, openPlanes } from './support/running-planes.ts';

const CALLER = 'operator_secret';
const KEY = 'encryption_key';
/** At once, so that every instance of `pay` is asked, also one that has done nothing yet. */
const ASKED = 8;
const PATIENCE_MS = 300_000;

let planes: Planes;
let folder = '';
beforeAll(async () => {
  planes = await openPlanes();
  folder = mkdtempSync(join(tmpdir(), 'rotation-'));
});
afterAll(() => {
  for (const name of [CALLER, KEY]) rmSync(pathOf(`${name}_other`), { force: true });
  rmSync(folder, { recursive: true });
});

const pathOf = (name: string) => join(planes.folders.secrets, name);

function makeOther(name: string): void {
  const path = pathOf(`${name}_other`);
  writeFileSync(path, randomBytes(32).toString('hex'), { mode: 0o400 });
  own(path, planes.owner);
}

/** Whatever becomes of the file, a secret for a client to sign with. */
function keep(name: string): string {
  const path = join(folder, randomUUID());
  writeFileSync(path, readFileSync(pathOf(name)));
  return path;
}

async function replaceInstances(): Promise<void> {
  planes = await openPlanes();
  await rollOut(planes, () => {});
}

/** What several requests at once are answered that are signed with that secret: each status once. */
async function statusesWith(secretFile: string): Promise<readonly number[]> {
  const access = { ...(await accessOf(planes)), callerSecretFiles: { operator: secretFile } };
  const path = '/pay?limit=1';
  const ask = async () => {
    const token = await authorize(access, { method: 'GET', path }, { caller: 'operator' });
    const response = await fetch(`${access.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
    await response.arrayBuffer();
    return response.status;
  };
  return [...new Set(await Promise.all(Array.from({ length: ASKED }, ask)))];
}

async function payOnce(): Promise<string> {
  const client = await clientOf(planes);
  const order = { to: createRecipient(planes.folders.secrets), amount: '0.5', asset: 'USDT' } as const;
  const taken = await client.pay(order, { idempotencyKey: randomUUID(), deadlineMs: PATIENCE_MS });
  return (await client.follow(taken, { deadlineMs: PATIENCE_MS, onAnswer: () => {} })).status;
}

/** What it says. @throws CommandFailed where something is left under another key */
function reencrypt(): Promise<string> {
  return planes.engine.compose(['run', '--rm', '--no-deps', '-T', 'reencrypt']);
}

describe('a change of secrets', () => {
  it('has two that are good, and then the new one alone; what is stored stays readable', async () => {
    makeOther(CALLER);
    makeOther(KEY);
    const [old, next] = [keep(CALLER), keep(`${CALLER}_other`)];
    expect([await statusesWith(old), await statusesWith(next)]).toEqual([[200], [401]]);
    expect(await payOnce()).toBe('confirmed');

    await replaceInstances();
    expect([await statusesWith(old), await statusesWith(next)]).toEqual([[200], [200]]);
    expect(await payOnce()).toBe('confirmed');

    renameSync(pathOf(`${CALLER}_other`), pathOf(CALLER));
    renameSync(pathOf(KEY), pathOf(`${KEY}_was`));
    renameSync(pathOf(`${KEY}_other`), pathOf(KEY));
    renameSync(pathOf(`${KEY}_was`), pathOf(`${KEY}_other`));
    // Instances that read their secrets only now have those which they were started with.
    expect([await statusesWith(old), await statusesWith(next)]).toEqual([[200], [200]]);
    await replaceInstances();
    expect([await statusesWith(old), await statusesWith(next)]).toEqual([[401], [200]]);
    expect(await payOnce()).toBe('confirmed');

    expect(await reencrypt()).toMatch(/ [1-9]\d* re-encrypted, 0 unreadable\n0 left under another key/);
    rmSync(pathOf(`${KEY}_other`));
    await replaceInstances();
    expect(await reencrypt()).toMatch(/ 0 re-encrypted, 0 unreadable\n0 left under another key/);
    expect(await payOnce()).toBe('confirmed');
  });
});
