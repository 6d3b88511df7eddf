import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAccount } from '../../../deploy/local/accounts.ts';
import { findMarked, isOfStart, readStartTicks, STACK_ID_VARIABLE } from '../../../deploy/local/processes.ts';
import type { PayBody } from '../../../functions/pay/schema.ts';
import { startStack, type TestStack } from '../../support/stack.ts';

const PARTS = ['database', 'chain', 'pay-1', 'pay-2', 'settle', 'health', 'stats', 'sidecar'];
const DEADLINE_MS = 120_000;

let stack: TestStack;
let stackId: string;

beforeAll(async () => {
  stack = await startStack({ storedDatabase: true });
  stackId = process.env[STACK_ID_VARIABLE] ?? '';
});

afterAll(() => stack?.stop());

const pay = (order: Omit<PayBody, 'to'>) =>
  stack.client.pay(
    { ...order, to: createAccount().address },
    { idempotencyKey: randomUUID(), deadlineMs: DEADLINE_MS },
  );
const untilEnd = (payment: Awaited<ReturnType<typeof pay>>) =>
  stack.client.follow(payment, { deadlineMs: DEADLINE_MS, onAnswer: () => {} });

/** Field 5 of proc(5)'s stat. */
const processGroupOf = (pid: number) =>
  readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ')[2];

describe('the local stack', () => {
  it.each(['USDT', 'TRX'] as const)('pays %s to the end', async (asset) => {
    const payment = await untilEnd(await pay({ asset, amount: '1.5' }));
    expect(payment).toMatchObject({ status: 'confirmed', asset, amount: '1.5' });
  });

  it('runs each part in a process group of its own, out of the reach of a Ctrl-C', () => {
    const groups = [...PARTS, 'guard'].map((part) => processGroupOf(stack.pidOf(part) ?? 0));
    expect(new Set(groups).size).toBe(PARTS.length + 1);
    expect(groups).not.toContain(processGroupOf(process.pid));
  });

  it.each(['database', 'chain', 'pay-1', 'settle'])(
    'confirms a payment although the %s is killed meanwhile',
    async (part) => {
      const payment = await pay({ asset: 'TRX', amount: '0.1' });
      await stack.kill(part);
      expect(await untilEnd(payment)).toMatchObject({ status: 'confirmed' });
    },
  );

  // After its own unclean end the sidecar waits for what it may have invoked: the last of these, to wait for nothing.
  it('has its sidecar again after a kill', async () => {
    await stack.kill('sidecar');
    expect((await fetch(`${stack.opsUrl}/metrics`)).status).toBe(200);
  });
});

describe('stopping the local stack', () => {
  it('leaves no process', async () => {
    const pids = [...PARTS, 'guard'].map((part) => stack.pidOf(part) ?? 0);
    expect(pids.every((pid) => readStartTicks(pid) !== undefined)).toBe(true);

    await stack.stop();
    expect(pids.filter((pid) => readStartTicks(pid) !== undefined)).toEqual([]);
    // What the parts have started themselves carries the mark as well.
    expect(findMarked(isOfStart(stackId))).toEqual([]);
  });
});
