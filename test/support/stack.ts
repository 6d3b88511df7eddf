/**
 * The whole stack for tests: the same parts as `npm start`, on free ports, with a quick chain, a database in
 * memory and a state folder that goes away.
 *
 *     const stack = await startStack();
 *     afterAll(() => stack.stop());
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { PaymentClient, RequestToSign } from '../../deploy/cli/payment-client.ts';
import { authorize, createClient } from '../../deploy/cli/running-stack.ts';
import { Console } from '../../deploy/local/console.ts';
import type { NetworkFacts } from '../../deploy/local/environment.ts';
import { type ChainOptions, DEVELOPMENT_SEED } from '../../deploy/local/options.ts';
import { findFreePort } from '../../deploy/local/ports.ts';
import type { SecretFiles } from '../../deploy/local/secrets.ts';
import { LocalStack } from '../../deploy/local/stack.ts';
import type { SupervisorEvent } from '../../deploy/local/supervisor.ts';

export type TestStackOptions = {
  /** Time between two blocks. */
  readonly intervalSeconds?: number;
  readonly solidLag?: number;
  readonly settleIntervalMs?: number;
  /** Settings of the functions, by their keys: `{ CIRCUIT_BREAKER_HOURLY_LIMIT: '5' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Keeps payments over a death of the database, which one in memory does not. */
  readonly storedDatabase?: boolean;
  readonly payInstances?: number;
  /** A chain that runs already, and where faults are ordered on it; a chain of the stack's own where left out. */
  readonly chain?: { readonly node: Extract<ChainOptions, { kind: 'node' }>; readonly faultsUrl: string };
};

export type PostOptions = {
  /** Of its own where it is left out. */
  readonly key?: string;
  readonly caller?: string;
  /** In place of the one that is made for this request. */
  readonly token?: string;
};

export type TestStack = {
  /** Where the functions answer, without a trailing slash. */
  readonly url: string;
  /** The sidecar's own health and metrics. */
  readonly opsUrl: string;
  /** What makes the development chain misbehave. */
  readonly faultsUrl: string;
  readonly facts: NetworkFacts;
  readonly secrets: SecretFiles;
  /** Pays and follows as the gateway. */
  readonly client: PaymentClient;
  /** A token for one request, of the gateway where no caller is named. */
  token(request: RequestToSign, caller?: string): Promise<string>;
  /** A signed `POST`; an empty body is none. */
  post(path: string, body: string, options?: PostOptions): Promise<Response>;
  /** A signed `GET`; the path may have a query. */
  get(path: string, caller?: string): Promise<Response>;
  /** `database`, `chain`, `pay-1`, `pay-2`, `settle`, `health`, `stats`, `sidecar`, `guard`. */
  pidOf(part: string): number | undefined;
  /** Kills a part by SIGKILL; resolves once it runs again. */
  kill(part: string): Promise<void>;
  /** The lines that a part has logged so far. */
  logs(part: string): readonly string[];
  /** Drains and removes everything. */
  stop(): Promise<void>;
};

const RESTART_TIMEOUT_MS = 60_000;

/** @throws what `LocalStack.up` throws; by then everything is stopped. */
export async function startStack(options: TestStackOptions = {}): Promise<TestStack> {
  const stateDir = mkdtempSync(join(tmpdir(), 'tpf-stack-'));
  const lines = new Map<string, string[]>();
  const listeners = new Set<(event: SupervisorEvent) => void>();
  const taken = new Set<number>();
  const stack = new LocalStack(
    {
      stateDir,
      port: await findFreePort(taken),
      opsPort: await findFreePort(taken),
      chain: options.chain?.node ?? {
        kind: 'development',
        intervalSeconds: options.intervalSeconds ?? 0.3,
        solidLag: options.solidLag,
        seed: DEVELOPMENT_SEED,
        port: await findFreePort(taken),
        faultsPort: await findFreePort(taken),
      },
      fresh: false,
      settleIntervalMs: options.settleIntervalMs ?? 200,
      memoryDatabase: options.storedDatabase !== true,
      payInstances: options.payInstances,
      settings: options.settings ?? {},
      onLogLine: (part, line) => {
        const kept = lines.get(part) ?? [];
        lines.set(part, kept);
        kept.push(line);
      },
    },
    new Console(new Writable({ write: (_chunk, _encoding, done) => done() })),
    (event) => {
      for (const listener of listeners) listener(event);
    },
  );
  const stop = async () => {
    await stack.down();
    rmSync(stateDir, { recursive: true, force: true });
  };

  const info = await stack.up().catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  const faultsUrl = options.chain?.faultsUrl ?? info.faultsUrl;
  if (faultsUrl === undefined) throw new Error('a development chain has a faults endpoint');
  const { url } = info.access;
  const token: TestStack['token'] = async (request, caller) =>
    authorize(info.access, request, caller === undefined ? {} : { caller });
  return {
    url,
    opsUrl: info.opsUrl,
    faultsUrl,
    facts: info.facts,
    secrets: info.secrets,
    client: createClient(info.access),
    token,
    async post(path, body, { key = randomUUID(), caller, token: given } = {}) {
      const signed = given ?? (await token({ method: 'POST', path, idempotencyKey: key, body }, caller));
      return fetch(url + path, {
        method: 'POST',
        ...(body === '' ? {} : { body }),
        headers: {
          authorization: `Bearer ${signed}`,
          ...(body === '' ? {} : { 'content-type': 'application/json' }),
          'idempotency-key': key,
        },
      });
    },
    async get(path, caller) {
      const signed = await token({ method: 'GET', path: path.split('?')[0] ?? path }, caller);
      return fetch(url + path, { headers: { authorization: `Bearer ${signed}` } });
    },
    pidOf: (part) => stack.pidOf(part),
    kill: (part) => killAndWait(stack, part, listeners),
    logs: (part) => lines.get(part) ?? [],
    stop,
  };
}

function killAndWait(
  stack: LocalStack,
  part: string,
  listeners: Set<(event: SupervisorEvent) => void>,
): Promise<void> {
  const pid = stack.pidOf(part);
  if (pid === undefined) return Promise.reject(new Error(`${part} is not a process that runs now`));
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      listeners.delete(listener);
      reject(new Error(`${part} did not run again after ${RESTART_TIMEOUT_MS / 1000} s`));
    }, RESTART_TIMEOUT_MS);
    const listener = (event: SupervisorEvent) => {
      if (event.part !== part || event.type !== 'restarted') return;
      clearTimeout(late);
      listeners.delete(listener);
      resolve();
    };
    listeners.add(listener);
    process.kill(pid, 'SIGKILL');
  });
}
