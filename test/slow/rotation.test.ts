import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { RequestToSign } from '../../deploy/cli/payment-client.ts';
import { authorize } from '../../deploy/cli/running-stack.ts';
import { createAccount } from '../../deploy/local/accounts.ts';
import { startStack, type TestStack } from '../support/stack.ts';
import { waitUntil } from '../support/wait-until.ts';

/**
 * Secrets are read at a cold start. They are changed by replacing instances one by one, while all of them answer:
 * here the bundles under the real emulator, through the sidecar.
 */

const REENCRYPT = resolve(import.meta.dirname, '../../deploy/cli/reencrypt.ts');
const PAYS = ['pay-1', 'pay-2'] as const;

let folder: string;
let stack: TestStack;
let otherKey: string;

type SignedPost = RequestToSign & { readonly idempotencyKey: string; readonly body: string };

const newSecret = (name: string) => {
  const path = join(folder, name);
  writeFileSync(path, `development-${randomBytes(32).toString('hex')}`, { mode: 0o600 });
  return path;
};
const newKey = () => randomBytes(32).toString('hex');
const put = (path: string, text: string) => writeFileSync(path, text, { mode: 0o600 });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tpf-rotation-'));
  otherKey = join(folder, 'other_key');
  put(otherKey, newKey());
  stack = await startStack({ settings: { ENCRYPTION_KEY_OTHER_FILES: otherKey } });
});
afterAll(async () => {
  await stack?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Pays with a token signed by this secret; where nobody has time for it yet, it is asked again. */
async function pay(secretFile: string): Promise<Response> {
  const body = JSON.stringify({ to: createAccount().address, amount: '1.5', asset: 'USDT' });
  const request = { method: 'POST', path: '/pay', idempotencyKey: randomUUID(), body };
  for (;;) {
    const answer = await ask(secretFile, request);
    if (answer.status !== 429 && answer.status !== 503) return answer;
    await answer.arrayBuffer();
  }
}

async function ask(secretFile: string, request: SignedPost): Promise<Response> {
  const access = {
    url: stack.url,
    audience: 'tron-payment-service',
    callerSecretFiles: { gateway: secretFile },
  };
  return fetch(`${stack.url}/pay`, {
    method: 'POST',
    body: request.body,
    headers: {
      authorization: `Bearer ${await authorize(access, request)}`,
      'content-type': 'application/json',
      'idempotency-key': request.idempotencyKey,
    },
  });
}

async function statusesOf(secretFile: string): Promise<Set<number>> {
  // More than there are instances, all at once, so that each of them is asked.
  const answers = await Promise.all(Array.from({ length: 8 }, () => pay(secretFile)));
  return new Set(answers.map(({ status }) => status));
}

describe('the environment of running instances', () => {
  it('holds no secret, only the files that do', async () => {
    // The emulator starts the function's own process at the first invocation.
    expect(await statusesOf(stack.secrets.internalAuth)).toEqual(new Set([201]));
    const files = [
      stack.facts.walletKeyFile,
      stack.secrets.encryptionKey,
      otherKey,
      stack.secrets.internalAuth,
    ];
    const secrets = files.map((file) => readFileSync(file, 'utf8').trim());
    let processes: string[] = [];
    // Two of pay and one of settle, each an emulator and the function itself.
    await waitUntil(() => {
      processes = processesWith(`TRON_PRIVATE_KEY_FILE=${stack.facts.walletKeyFile}`);
      return processes.length >= 6;
    });
    for (const shown of processes) {
      for (const secret of secrets) expect(shown.includes(secret), 'a process shows a secret').toBe(false);
    }
  });
});

/** Environment and command line of every process that has this variable. */
function processesWith(variable: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      if (!environment.split('\0').includes(variable)) return [];
      return [environment + readFileSync(`/proc/${pid}/cmdline`, 'utf8')];
    } catch {
      // It has ended meanwhile, or is somebody else's.
      return [];
    }
  });
}

describe("a caller's secret", () => {
  it('is changed without one refused request of who uses the right one', async () => {
    const old = stack.secrets.internalAuth;
    const next = newSecret('next_auth_secret');
    const setPolicy = (...secretFiles: string[]) =>
      put(
        stack.secrets.authPolicy ?? '',
        stringify({
          callers: {
            gateway: { secretFiles, scopes: ['pay', 'read'] },
            operator: {
              secretFiles: [stack.secrets.callers.operator],
              scopes: ['read', 'approve', 'operate'],
            },
          },
        }),
      );
    expect(await statusesOf(old)).toEqual(new Set([201]));
    expect(await statusesOf(next)).toEqual(new Set([401]));

    // Both are named; as long as not every instance knows that, callers keep to the old one.
    setPolicy(old, next);
    expect(await statusesOf(next)).toEqual(new Set([401]));
    for (const part of PAYS) {
      await stack.kill(part);
      expect(await statusesOf(old)).toEqual(new Set([201]));
    }
    expect(await statusesOf(next)).toEqual(new Set([201]));

    // All callers have the new one.
    setPolicy(next);
    for (const part of PAYS) {
      await stack.kill(part);
      expect(await statusesOf(next)).toEqual(new Set([201]));
    }
    expect(await statusesOf(old)).toEqual(new Set([401]));
    setPolicy(old);
    for (const part of PAYS) await stack.kill(part);
  });
});

describe('the encryption key', () => {
  it('is changed while payments are under way, and none of them comes to harm', async () => {
    const parts = [...PAYS, 'settle'];
    const oldKey = readFileSync(stack.secrets.encryptionKey, 'utf8');
    const nextKey = newKey();
    // Forgotten by the node, so that the stored bytes are needed again after each step.
    const drop = (count: number) =>
      fetch(`${stack.faultsUrl}/faults`, { method: 'POST', body: JSON.stringify({ kind: 'drop', count }) });
    const paid: string[] = [];
    const payOne = async () => {
      await drop(1);
      const answer = await pay(stack.secrets.internalAuth);
      expect(answer.status).toBe(201);
      paid.push(((await answer.json()) as { id: string }).id);
    };

    await payOne();
    // First every instance can open what the next key seals; only then any instance seals with it.
    put(otherKey, nextKey);
    for (const part of parts) {
      await stack.kill(part);
      await payOne();
    }
    put(stack.secrets.encryptionKey, nextKey);
    put(otherKey, oldKey);
    for (const part of parts) {
      await stack.kill(part);
      await payOne();
    }
    const { code, lines } = await reencrypt();
    expect(lines.at(-1)).toBe('0 left under another key: ENCRYPTION_KEY_OTHER_FILES may be emptied now');
    expect(code).toBe(0);
    // The old key is gone for good.
    put(otherKey, newKey());
    for (const part of parts) await stack.kill(part);
    await payOne();

    for (const id of paid) {
      const options = { deadlineMs: 180_000, onAnswer: () => {} };
      expect(await stack.client.follow(await stack.client.get(id), options)).toMatchObject({
        status: 'confirmed',
      });
    }
    expect((await reencrypt()).lines).toHaveLength(2);
  });
});

function reencrypt(): Promise<{ code: number; lines: string[] }> {
  const state = dirname(dirname(stack.secrets.encryptionKey));
  return new Promise((done) => {
    execFile(process.execPath, [REENCRYPT, '--state', state], (error, stdout) => {
      done({ code: error === null ? 0 : Number(error.code), lines: stdout.trim().split('\n') });
    });
  });
}
