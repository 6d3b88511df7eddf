import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findFreePort } from '../../../../deploy/local/ports.ts';
import { pathsOf, writeStackFile } from '../../../../deploy/local/state.ts';
import { Authenticator } from '../../../../shared/runtime/auth.ts';
import { Secret } from '../../../../shared/runtime/secret.ts';
import { hashRequest } from '../../../../shared/runtime/token.ts';

const CLI = resolve(import.meta.dirname, '../../../../deploy/cli');
const TO = 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t';
const SECRET = 'development-0123456789abcdef0123456789abcdef';

let folder: string;
let running: string;
let bodyFile: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cli-'));
  running = join(folder, 'running');
  bodyFile = join(folder, 'body');
  const secretFile = join(folder, 'secret');
  mkdirSync(running);
  writeFileSync(secretFile, `${SECRET}\n`);
  writeFileSync(bodyFile, '{"to":"T"}\n');
  // This process stands for the supervisor: the file counts as long as it lives. Nothing listens on the port.
  const url = `http://127.0.0.1:${await findFreePort(new Set())}`;
  writeStackFile(pathsOf(running), {
    url,
    opsUrl: url,
    nodeUrl: url,
    walletAddress: TO,
    usdtAddress: TO,
    genesisBlockId: '00',
    audience: 'tron-payment-service',
    settleEnvironment: {},
    callerSecretFiles: { gateway: secretFile },
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Outcome = { readonly code: number; readonly stdout: string; readonly stderr: string };

function run(command: 'token' | 'pay' | 'reencrypt', ...args: string[]): Promise<Outcome> {
  return new Promise((done) => {
    execFile(process.execPath, [join(CLI, `${command}.ts`), ...args], (error, stdout, stderr) => {
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const authenticator = new Authenticator({
  callers: { gateway: { secrets: [new Secret(SECRET)], scopes: ['pay', 'read'] } },
  audience: 'tron-payment-service',
  tokenLifetimeMaxSeconds: 86_400,
  monitoringKey: null,
  nowMs: () => Date.now(),
});
const identify = (token: string) =>
  authenticator.identify({ authorization: `Bearer ${token.trim()}`, internalAuth: undefined }, false);

describe.concurrent('npm run token', () => {
  it('prints a token that the service takes for a GET', async () => {
    const { code, stdout } = await run('token', '--state', running);
    expect(code).toBe(0);
    expect(await identify(stdout)).toMatchObject({ caller: 'gateway', requestHash: null });
  });

  it('binds a token for a POST to its path, key and body', async () => {
    const { stdout } = await run('token', '--state', running, '--key', 'k-1', '--body-file', bodyFile);
    const body = Buffer.from('{"to":"T"}\n');
    expect(await identify(stdout)).toMatchObject({
      requestHash: hashRequest({ method: 'POST', path: '/pay', idempotencyKey: 'k-1', body }),
    });
  });

  it.each([
    [['--nonsense'], "Unknown option '--nonsense'"],
    [['--method', 'post'], '--method post: must be in capital letters'],
    [['--method', 'GET', '--key', 'k'], 'a GET has no body and no key'],
    [['--path', 'pay'], '--path pay: must begin with /'],
    [['--body', '{}', '--body-file', 'f'], 'either --body or --body-file'],
    [['--body-file', '/nonexistent'], '--body-file: ENOENT'],
    [['--lifetime', '86401'], '--lifetime 86401: must be from 1 to 86400 seconds'],
  ])('refuses %j with exit code 2 and one line', async (args, message) => {
    const { code, stdout, stderr } = await run('token', ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`npm run token: ${message}`);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('names the callers that there are', async () => {
    const { code, stderr } = await run('token', '--state', running, '--caller', 'nobody');
    expect(code).toBe(1);
    expect(stderr).toBe('npm run token: the stack knows no caller "nobody", only gateway\n');
  });

  it('says to start a stack where none is running', async () => {
    const { code, stderr } = await run('token', '--state', folder);
    expect(code).toBe(1);
    expect(stderr).toBe('npm run token: no stack is running here; start one with: npm start\n');
  });
});

describe.concurrent('npm run pay', () => {
  it.each([
    [[], '--to and --amount are needed'],
    [['--to', TO.replace('TR7', 'TR8'), '--amount', '1'], 'is not a TRON address'],
    [['--to', TO, '--amount', '1e3'], '--amount 1e3: must be a decimal string'],
    [['--to', TO, '--amount', '0'], '--amount 0: must be above zero'],
    [['--to', TO, '--amount', '1', '--asset', 'BTC'], '--asset BTC: must be one of USDT, TRX'],
    [['--to', TO, '--amount', '1', '--timeout', '0'], '--timeout 0: must be a whole number of seconds'],
    [['pay', '--to', TO], "Unexpected argument 'pay'"],
  ])('refuses %j with exit code 2 and one line', async (args, message) => {
    const { code, stderr } = await run('pay', ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('says to start a stack where none is running', async () => {
    const { code, stderr } = await run('pay', '--state', folder, '--to', TO, '--amount', '1');
    expect(code).toBe(1);
    expect(stderr).toBe('npm run pay: no stack is running here; start one with: npm start\n');
  });

  it('calls a payment open, and tells its key, where no sure answer comes', async () => {
    const args = ['--state', running, '--to', TO, '--amount', '1', '--key', 'k-9', '--timeout', '3'];
    const { code, stderr } = await run('pay', ...args);
    expect(code).toBe(3);
    expect(stderr).toContain('ECONNREFUSED');
    expect(stderr).toContain('it may be paid or not: ask again with --key k-9');
  });
});

describe.concurrent('npm run reencrypt', () => {
  it('says to start a stack where none is running', async () => {
    const { code, stderr } = await run('reencrypt', '--state', folder);
    expect(code).toBe(1);
    expect(stderr).toBe('npm run reencrypt: no stack is running here; start one with: npm start\n');
  });

  it('refuses what it does not know with exit code 2 and one line', async () => {
    const { code, stderr } = await run('reencrypt', '--everything');
    expect(code).toBe(2);
    expect(stderr).toContain("npm run reencrypt: Unknown option '--everything'");
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
