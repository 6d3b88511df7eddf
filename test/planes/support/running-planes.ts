/**
 * The planes that the tests of one run share: up once before them, down after them. Everything is in test mode: no
 * network that anything could leave by, nothing published.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { PaymentClient } from '../../../deploy/cli/payment-client.ts';
import { authorize, createClient, type StackAccess } from '../../../deploy/cli/running-stack.ts';
import type { LedgerEntry } from '../../../deploy/devchain/ledger.ts';
import { accessOf } from '../../../deploy/planes/access.ts';
import { type Container, listRunning } from '../../../deploy/planes/containers.ts';
import { Planes, type PlanesOptions } from '../../../deploy/planes/planes.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
export const STATE_DIR = join(ROOT, '.local/planes-test');

/** Many payments in an hour, lives that are short, and nothing else that production has not. */
export const OPTIONS: PlanesOptions = {
  isProduction: false,
  isTest: true,
  stateDir: STATE_DIR,
  mongo: process.env.PLANES_MONGO_ARCHIVE ? 'official' : 'stand-in',
  settings: {
    CIRCUIT_BREAKER_HOURLY_LIMIT: '100000',
    CIRCUIT_BREAKER_DAILY_LIMIT: '100000',
    CIRCUIT_BREAKER_RECOVERY_TIMEOUT: '5',
  },
};

export function openPlanes(changes: Partial<PlanesOptions> = {}): Promise<Planes> {
  return Planes.open({ ...OPTIONS, ...changes }, console.log);
}

/** The running containers of a service, the only one of it where one is expected. */
export async function containerOf(planes: Planes, service: string): Promise<Container> {
  const [container] = await listRunning(planes, service);
  if (container === undefined) throw new Error(`${service} is not running`);
  return container;
}

export async function clientOf(planes: Planes): Promise<PaymentClient> {
  return createClient(await accessOf(planes));
}

/** A signed `POST`, asked once. @param token another one than the gateway's for this very request */
export async function post(
  access: StackAccess,
  request: { readonly path: string; readonly key: string; readonly body: string },
  token?: string,
): Promise<Response> {
  const { path, key, body } = request;
  const signed = token ?? (await authorize(access, { method: 'POST', path, idempotencyKey: key, body }));
  return fetch(`${access.url}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${signed}`,
      'idempotency-key': key,
      'content-type': 'application/json',
    },
    body,
  });
}

/** The development chain's own record of transfers, asked beside Tor: the tests' judge. */
export async function chainLedger(planes: Planes): Promise<readonly LedgerEntry[]> {
  const { addresses } = await containerOf(planes, 'devchain');
  const response = await fetch(`http://${addresses.lucid_tor_egress}:9091/ledger`);
  return (await response.json()) as readonly LedgerEntry[];
}

const run = promisify(execFile);

let compiled: Promise<string> | undefined;

/** The program that tells what a container's process can do; compiled once. */
export function probeProgram(): Promise<string> {
  compiled ??= compileProbe();
  return compiled;
}

async function compileProbe(): Promise<string> {
  const source = join(import.meta.dirname, 'probe.c');
  const folder = join(ROOT, '.cache/probe');
  const program = join(folder, createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16));
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const work = `${program}.${process.pid}`;
  await run('cc', ['-static', '-O2', '-Wall', '-Wextra', '-Werror', '-o', work, source]);
  renameSync(work, program);
  return program;
}

/** Runs the probe as the container's own user, in its namespaces and cgroups; answers its one word. */
export async function probe(
  planes: Planes,
  { pid }: Container,
  ...words: readonly (string | number)[]
): Promise<string> {
  const program = await probeProgram();
  const { stdout } = await run(program, [String(pid), String(planes.owner.uid), ...words.map(String)], {
    timeout: 60_000,
  });
  return stdout.trim();
}
