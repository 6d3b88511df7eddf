import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAccount } from '../../deploy/local/accounts.ts';
import { startStack, type TestStack } from '../support/stack.ts';

/** Eight processes of `pay`, each the bundle under the real RIE, asked through the sidecar all at once. */

const INSTANCES = 8;

let stack: TestStack;

beforeAll(async () => {
  stack = await startStack({ payInstances: INSTANCES });
});
afterAll(() => stack?.stop());

interface Told {
  readonly status: number;
  readonly id?: string;
  readonly code?: string;
}

/** Asks until the answer is one: whoever is told to come again does so with the same key and body. */
async function askUntilAnswered(key: string, body: string): Promise<Told> {
  for (;;) {
    const answer = await stack.post('/pay', body, { key });
    const told = { ...((await answer.json()) as { id?: string; code?: string }), status: answer.status };
    if (answer.ok || told.code === 'limit_exceeded') return told;
    expect(['payment_in_flight', 'throttled', 'too_busy', 'outcome_unknown']).toContain(told.code);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    await sleep(200);
  }
}

async function read(path: string) {
  return (await (await stack.get(path)).json()) as Record<string, unknown>;
}

async function movedTo(to: string): Promise<bigint[]> {
  const answer = await fetch(`${stack.faultsUrl}/ledger`);
  const moved = (await answer.json()) as { to: string; amountMicro: string }[];
  return moved.filter((transfer) => transfer.to === to).map(({ amountMicro }) => BigInt(amountMicro));
}

const hour = async () => {
  const { limits } = (await read('/stats?period=hour')) as {
    limits: { USDT: { hour: { used: string; remaining: string } } };
  };
  return limits.USDT.hour;
};

async function untilConfirmed(id: string): Promise<void> {
  for (;;) {
    const { status } = await read(`/pay/${id}`);
    if (status === 'confirmed') return;
    expect(['accepted', 'signed', 'broadcast']).toContain(status);
    await sleep(200);
  }
}

describe('eight instances', () => {
  it('make one payment of two hundred posts of one key at once', async () => {
    const to = createAccount().address;
    const body = JSON.stringify({ to, amount: '100', asset: 'USDT', reference: 'one of two hundred' });
    const key = randomUUID();

    const told = await Promise.all(Array.from({ length: 200 }, () => askUntilAnswered(key, body)));

    const [id, ...others] = new Set(told.map((each) => each.id));
    expect(others).toEqual([]);
    await untilConfirmed(String(id));
    expect(await movedTo(to)).toEqual([100_000_000n]);
    expect(await hour()).toMatchObject({ used: '100', remaining: '900' });
    const working = Array.from({ length: INSTANCES }, (_, index) => stack.logs(`pay-${index + 1}`)).filter(
      (lines) => lines.some((line) => line.includes(String(id))),
    );
    expect(working.length).toBeGreaterThan(1);
  });

  it('commit the rest of a limit of 1,000 to the micro-unit, and never more', async () => {
    const to = createAccount().address;
    // What is left is 900: seventy-two of these, of a hundred that are asked for.
    const body = JSON.stringify({ to, amount: '12.5', asset: 'USDT' });

    const told = await Promise.all(Array.from({ length: 100 }, () => askUntilAnswered(randomUUID(), body)));

    const admitted = told.flatMap(({ status, id }) => (status < 300 && id !== undefined ? [id] : []));
    expect(new Set(admitted).size).toBe(72);
    for (const id of admitted) await untilConfirmed(id);
    const moved = await movedTo(to);
    expect(moved.reduce((sum, amountMicro) => sum + amountMicro, 0n)).toBe(900_000_000n);
    expect(await hour()).toMatchObject({ used: '1000', remaining: '0' });
    const last = await askUntilAnswered(
      randomUUID(),
      JSON.stringify({ to, amount: '0.000001', asset: 'USDT' }),
    );
    expect(last).toMatchObject({ status: 429, limit: 'hourly', remaining: '0' });
  });
});
