import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PaymentClient } from '../../deploy/cli/payment-client.ts';
import { authorize } from '../../deploy/cli/running-stack.ts';
import { createRecipient } from '../../deploy/local/accounts.ts';
import { accessOf } from '../../deploy/planes/access.ts';
import { backUp, restore } from '../../deploy/planes/backup.ts';
import { listRunning, sidecarUrls } from '../../deploy/planes/containers.ts';
import type { Planes } from '../../deploy/planes/planes.ts';
import { checkHealth, type Finding } from '../../deploy/planes/scripts/health-check.ts';
import type { PayBody, PaymentView } from '../../functions/pay/schema.ts';
import { waitUntil } from '../support/wait-until.ts';
import { chainLedger, clientOf, containerOf, OPTIONS, openPlanes } from './support/running-planes.ts';

/** What was signed before a restore can land for this long: nothing is read before. */
const LIVES = { TRON_EXPIRATION_SECONDS: '30', TRON_EXPIRATION_MARGIN_SECONDS: '5' };
const PATIENCE = { deadlineMs: 300_000 };

let planes: Planes;
let client: PaymentClient;
let to = '';

beforeAll(async () => {
  planes = await openPlanes({ settings: { ...OPTIONS.settings, ...LIVES } });
  await planes.up({ isShown: false });
  rmSync(planes.folders.backups, { recursive: true, force: true });
  client = await clientOf(planes);
  to = createRecipient(planes.folders.secrets);
});

afterAll(async () => {
  await (await openPlanes()).up({ isShown: false });
});

interface Answer {
  readonly status: number;
  readonly body: Partial<PaymentView> & {
    readonly code?: string;
    readonly payments?: readonly PaymentView[];
  };
}

async function ask(
  caller: string,
  method: 'GET' | 'POST',
  path: string,
  order?: object,
  key?: string,
): Promise<Answer> {
  const { functionUrl } = await sidecarUrls(planes);
  const request = {
    method,
    path,
    ...(order === undefined ? {} : { body: JSON.stringify(order) }),
    ...(key === undefined ? {} : { idempotencyKey: key }),
  };
  const response = await fetch(`${functionUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${await authorize(await accessOf(planes), request, { caller })}`,
      ...(order === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    ...(order === undefined ? {} : { body: request.body ?? '' }),
  });
  return { status: response.status, body: (await response.json()) as Answer['body'] };
}

const order = (amount: string): PayBody => ({ to, amount, asset: 'USDT' });
const keyOf = (amount: string) => `drill-${to}-${amount}`;

async function pay(amount: string): Promise<PaymentView> {
  const payment = await client.pay(order(amount), { ...PATIENCE, idempotencyKey: keyOf(amount) });
  return client.follow(payment, { ...PATIENCE, onAnswer() {} });
}

/** As a gateway that was never answered sends it again. */
const replay = (amount: string) => ask('gateway', 'POST', '/pay', order(amount), keyOf(amount));
const resume = () =>
  ask('operator', 'POST', '/pay/breaker', { action: 'resume', reason: 'the history is read' });
/** How the development chain misbehaves, told beside Tor. */
async function faults(method: 'POST' | 'DELETE', fault?: object): Promise<void> {
  const { addresses } = await containerOf(planes, 'devchain');
  const response = await fetch(`http://${addresses.lucid_tor_egress}:9091/faults`, {
    method,
    ...(fault === undefined ? {} : { body: JSON.stringify(fault) }),
  });
  expect(response.ok).toBe(true);
}
const backups = (kind: string) => readdirSync(planes.folders.backups).filter((name) => name.startsWith(kind));
const quiet = (): void => {};
/** Once a second: each question goes through the whole system. */
const untilIsSo = (condition: () => Promise<boolean>, timeoutMs: number) =>
  waitUntil(async () => (await condition()) || (await sleep(1_000, false)), timeoutMs);

/** What health says of the breaker; on a machine that is busy elsewhere it may have to be asked again. */
async function breakerHealth(): Promise<Finding | undefined> {
  let found: Finding | undefined;
  await untilIsSo(async () => {
    found = (await checkHealth(planes)).find(({ component }) => component === 'circuit_breaker');
    return found !== undefined;
  }, 180_000);
  return found;
}

describe('a backup', () => {
  it('is made while payments are, and belongs to the user of the containers alone', async () => {
    expect((await pay('1.1')).status).toBe('confirmed');
    await backUp(planes, quiet);
    const [file = '', ...others] = backups('backup-');
    expect(others).toEqual([]);
    const { mode, uid, size } = statSync(join(planes.folders.backups, file));
    expect([mode & 0o777, uid]).toEqual([0o600, planes.owner.uid]);
    expect(size).toBeGreaterThan(500);
  });

  it('that is damaged, or would go over what is there, costs no request', async () => {
    const [file = ''] = backups('backup-');
    mkdirSync(planes.folders.backups, { recursive: true });
    const damaged = join(planes.folders.backups, 'damaged');
    writeFileSync(damaged, 'no backup', { mode: 0o644 });
    const lines: string[] = [];
    await expect(restore(planes, ['damaged', '--replace'], (line) => lines.push(line))).rejects.toThrow();
    await expect(restore(planes, [file], (line) => lines.push(line))).rejects.toThrow();
    // It would say that it stops the functions.
    expect(lines).toEqual([]);
    expect((await pay('1.2')).status).toBe('confirmed');
  });
});

describe('a backup that is put back', () => {
  const expectPaused = async () => {
    const health = await breakerHealth();
    expect(health?.isHealthy).toBe(false);
    expect(health?.reason).toContain('paused by restore');
    const { status, body } = await replay('2.1');
    expect([status, body.code]).toEqual([503, 'payments_paused']);
    expect((await replay('1.1')).body.status).toBe('confirmed');
  };

  it('in the place of what is there leaves a backup of that, is paused, and says so', async () => {
    const [file = ''] = backups('backup-');
    for (const amount of ['2.1', '2.2', '2.3']) expect((await pay(amount)).status).toBe('confirmed');
    // For as long as it stands still, what was signed before may land.
    await faults('POST', { kind: 'stall-solid', durationMs: 600_000 });
    await restore(planes, [join(planes.folders.backups, file), '--replace'], quiet);
    expect(backups('before-restore-')).toHaveLength(1);
    await expectPaused();
    const { status, body } = await resume();
    expect([status, body.code]).toEqual([409, 'not_reconciled']);
    await faults('DELETE');
  });

  it('on a machine that has nothing starts the database alone: nobody pays from an empty one', async () => {
    const [file = ''] = backups('backup-');
    await planes.down({ isShown: false });
    rmSync(join(planes.folders.data, 'mongo_payments'), { recursive: true });
    await restore(planes, [file], quiet);
    // As an operator does whose own tools have brought the folder back.
    await restore(planes, ['--in-place', new Date().toISOString()], quiet);
    expect((await listRunning(planes)).map(({ service }) => service)).toEqual(['mongo']);
    await planes.up({ isShown: false });
    await expectPaused();
  });

  it('can be resumed once it has found out what was paid since', async () => {
    await untilIsSo(async () => (await resume()).status === 200, 480_000);
    const { payments = [] } = (await ask('operator', 'GET', '/pay?limit=200')).body;
    const recovered = payments.filter(({ history }) => history.some(({ event }) => event === 'recovered'));
    expect(
      recovered
        .filter((payment) => payment.to === to)
        .map(({ amount }) => amount)
        .sort(),
    ).toEqual(['1.2', '2.1', '2.2', '2.3']);
  });

  it('pays nothing again that was paid since the backup, whoever asks for it', async () => {
    for (const amount of ['1.2', '2.1', '2.2', '2.3']) {
      const { status, body } = await replay(amount);
      expect([status, body.status]).toEqual([202, 'awaiting_approval']);
    }
    const [same, another] = [await replay('2.1'), await replay('2.2')];
    const ruling = { outcome: 'paid', reason: 'the gateway had asked for it before the restore' };
    expect((await ask('operator', 'POST', `/pay/${same.body.id}/resolve`, ruling)).body.status).toBe(
      'confirmed',
    );
    // That it is another payment which happens to be equal: it is paid then.
    const approval = { reason: 'asked for twice, on purpose' };
    expect((await ask('approver', 'POST', `/pay/${another.body.id}/approve`, approval)).status).toBeLessThan(
      300,
    );
    await untilIsSo(async () => (await replay('2.2')).body.status === 'confirmed', 300_000);
    expect((await pay('3.1')).status).toBe('confirmed');

    const paid = (await chainLedger(planes)).filter((entry) => entry.to === to);
    expect(paid.map(({ amountMicro }) => amountMicro).sort()).toEqual(
      ['1.1', '1.2', '2.1', '2.2', '2.2', '2.3', '3.1'].map((amount) => `${amount.replace('.', '')}00000`),
    );
  });

  it('is healthy again in every part, and its books and its wallet agree', async () => {
    await untilIsSo(async () => (await checkHealth(planes)).every(({ isHealthy }) => isHealthy), 480_000);
  });
});
