/**
 * `node deploy/planes/scripts/test-restart.ts`: ends the process inside each container, as a crash does, and waits
 * until the container is healthy again. (A container that is stopped is not restarted, and does not show anything.)
 * Asserts that no payment is lost, nor one that had ended any other than it was; development also pays during each crash,
 * and follows those payments to their end. For development and tests: it needs root, and it does crash the services.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PaymentView } from '../../../functions/pay/schema.ts';
import { isFinished } from '../../cli/payment-client.ts';
import { createClient } from '../../cli/running-stack.ts';
import { createRecipient } from '../../local/accounts.ts';
import { accessOf, listPayments } from '../access.ts';
import { type Container, listContainers, listRunning } from '../containers.ts';
import type { Planes } from '../planes.ts';
import { formatTable, runScript } from './command.ts';

export interface Restart {
  readonly service: string;
  readonly container: string;
  /** From the crash until it is healthy again; undefined where it is not within the patience. */
  readonly healthyAfterMs: number | undefined;
}

const PATIENCE_MS = 120_000;
const POLL_MS = 50;

/** Crashes every container of a service, one after the other. */
export async function crashService(planes: Planes, service: string): Promise<readonly Restart[]> {
  const restarts: Restart[] = [];
  for (const container of await listRunning(planes, service)) {
    restarts.push(await crash(planes, container));
  }
  return restarts;
}

async function crash(planes: Planes, { id, name, service, pid, startedAtMs }: Container): Promise<Restart> {
  const crashedAtMs = performance.now();
  // keeper's child: keeper itself, as process 1, ends with it.
  const [inside = pid] = childrenOf(pid);
  process.kill(inside, 'SIGKILL');
  while (performance.now() - crashedAtMs < PATIENCE_MS) {
    await sleep(POLL_MS);
    const now = (await listContainers(planes, service)).find((container) => container.id === id);
    const isNew = now?.isRunning === true && now.startedAtMs > startedAtMs;
    if (isNew && (now.health === 'healthy' || now.health === 'none')) {
      return { service, container: name, healthyAfterMs: performance.now() - crashedAtMs };
    }
  }
  return { service, container: name, healthyAfterMs: undefined };
}

function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** The services that run for good; the ones that run once have ended. */
export async function runningServices(planes: Planes): Promise<readonly string[]> {
  const running = await listRunning(planes);
  return [...new Set(running.map(({ service }) => service))].sort();
}

type Known = Pick<PaymentView, 'id' | 'status'>;

/** One line for each payment that is there no more, or that had ended and is now something else. */
export function findLosses(before: readonly Known[], after: readonly Known[]): readonly string[] {
  const now = new Map(after.map(({ id, status }) => [id, status]));
  return before.flatMap(({ id, status }) => {
    const found = now.get(id);
    if (found === undefined) return [`${id} is lost; it was ${status}`];
    return found === status || !isFinished({ status }) ? [] : [`${id} was ${status}, and is ${found}`];
  });
}

/** Pays a little, whatever crashes meanwhile. @returns what went wrong, or null */
async function pay(planes: Planes, number: number): Promise<string | null> {
  const amount = `0.${String(number + 1).padStart(2, '0')}`;
  const persistence = { deadlineMs: 2 * PATIENCE_MS };
  try {
    const client = createClient(await accessOf(planes));
    const order = { to: createRecipient(planes.folders.secrets), amount, asset: 'USDT' } as const;
    const payment = await client.pay(order, { ...persistence, idempotencyKey: randomUUID() });
    const { id, status } = await client.follow(payment, { ...persistence, onAnswer() {} });
    return status === 'confirmed' ? null : `${id}, made during a crash, is ${status}`;
  } catch (error) {
    return `a payment of ${amount} USDT during a crash: ${error instanceof Error ? error.message : String(error)}`;
  }
}

if (import.meta.main) {
  await runScript('test-restart', async (planes, print) => {
    const before = await listPayments(planes);
    const paying: Promise<string | null>[] = [];
    const restarts: Restart[] = [];
    for (const service of await runningServices(planes)) {
      if (!planes.isProduction) paying.push(pay(planes, paying.length));
      for (const restart of await crashService(planes, service)) {
        restarts.push(restart);
        const { container, healthyAfterMs } = restart;
        print(
          formatTable([
            healthyAfterMs === undefined
              ? ['✘', container, `not healthy ${PATIENCE_MS / 1_000} s after the crash`]
              : ['✔', container, `healthy ${(healthyAfterMs / 1_000).toFixed(1)} s after the crash`],
          ]),
        );
      }
    }
    const failed = (await Promise.all(paying)).filter((reason) => reason !== null);
    const losses = [...findLosses(before, await listPayments(planes)), ...failed];
    for (const loss of losses) print(`✘ ${loss}`);
    if (losses.length === 0)
      print(`✔ ${before.length} payments are as they were, ${paying.length} were made meanwhile`);
    const areBack = restarts.every(({ healthyAfterMs }) => healthyAfterMs !== undefined);
    return restarts.length > 0 && areBack && losses.length === 0;
  });
}
