import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { composeEnvironment, type FunctionName } from '../../deploy/local/environment.ts';
import { ensureDevelopmentSecrets, putSecret } from '../../deploy/local/secrets.ts';
import { functionUrlEvent } from './event.ts';
import { medianOf } from './measure.ts';
import type { Stage } from './stage.ts';

const DIST = resolve(import.meta.dirname, '../../dist');
const ROUNDS = 5;

export interface ColdInvoke {
  readonly name: string;
  /** Median of the first invoke's duration; undefined with a reason when there was nothing to measure. */
  readonly p50Ms: number | undefined;
  readonly ratioToEmpty: number | undefined;
  readonly note: string;
}

interface Candidate {
  readonly name: string;
  readonly taskRoot: string;
  readonly env: Record<string, string>;
  readonly event: string;
}

/**
 * The first invoke of fresh instances, in turns: an empty handler, and bundles with a request that needs their
 * whole start but neither database nor chain.
 */
export async function measureColdInvokes(stage: Stage, subjectDir: string): Promise<ColdInvoke[]> {
  const taskRoot = stage.makeFolder('empty');
  writeFileSync(join(taskRoot, 'handler.mjs'), 'export const handler = async () => ({ statusCode: 204 });\n');
  const empty: Candidate = { name: 'empty handler', taskRoot, env: {}, event: '{}' };
  // Tells how much of a start is the framework's, whatever the function adds.
  const subject = { name: 'fastify alone', taskRoot: subjectDir, env: {}, event: eventOf('POST', '/pay') };
  const pay = candidateOf(stage, 'pay', 'GET', '/pay/none');
  const health = candidateOf(stage, 'health', 'GET', '/health/live');
  const present = [empty, subject, pay, health].filter(({ taskRoot: folder }) =>
    existsSync(join(folder, 'handler.mjs')),
  );

  const durations = new Map<string, number[]>(present.map(({ name }) => [name, []]));
  const notes = new Map<string, string>();
  // One round more, not counted: it fills the page cache.
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const candidate of present) {
      const { durationMs, note } = await invokeOnce(stage, candidate);
      if (round >= 0) durations.get(candidate.name)?.push(durationMs);
      notes.set(candidate.name, note);
    }
  }
  const emptyMs = medianOf(durations.get(empty.name) ?? []);
  return [empty, subject, pay, health].map(({ name }) => {
    const measured = durations.get(name);
    if (measured === undefined) {
      return { name, p50Ms: undefined, ratioToEmpty: undefined, note: 'no bundle in dist/: npm run build' };
    }
    const p50Ms = medianOf(measured);
    return { name, p50Ms, ratioToEmpty: p50Ms / emptyMs, note: notes.get(name) ?? '' };
  });
}

async function invokeOnce(stage: Stage, candidate: Candidate): Promise<{ durationMs: number; note: string }> {
  const instance = await stage.startRie('cold', candidate.taskRoot, candidate.env);
  const startedMs = performance.now();
  const response = await fetch(instance.invokeUrl, { method: 'POST', body: candidate.event });
  const text = await response.text();
  const durationMs = performance.now() - startedMs;
  await instance.stop();
  const { statusCode, errorMessage } = JSON.parse(text) as { statusCode?: number; errorMessage?: string };
  return { durationMs, note: `answered ${statusCode ?? `an error: ${errorMessage}`}` };
}

function candidateOf(stage: Stage, name: FunctionName, method: string, path: string): Candidate {
  const folder = stage.makeFolder('secrets');
  const env = composeEnvironment(name, {
    network: 'private',
    nodeUrl: 'http://127.0.0.1:9',
    genesisBlockId: '0'.repeat(64),
    // Well-formed addresses of nobody's: the zero account and the contract of the main net.
    usdtAddress: 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t',
    walletAddress: 'TMVQGm1qAQYVdetCeGRRkTWYYrLXuHK2HC',
    walletKeyFile: putSecret(folder, 'wallet_key', `${'0'.repeat(63)}1`),
    torProxy: undefined,
    lucidEnv: 'development',
    configDir: folder,
    secrets: ensureDevelopmentSecrets(folder),
    mongoUrl: 'mongodb://127.0.0.1:9/',
    settings: {},
  });
  return { name, taskRoot: join(DIST, name), env, event: eventOf(method, path) };
}

function eventOf(method: string, path: string): string {
  return JSON.stringify(functionUrlEvent({ method, path }));
}
