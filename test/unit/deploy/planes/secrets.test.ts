import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ensureDevelopmentSecrets,
  judgeProductionSecrets,
  SECRETS,
} from '../../../../deploy/planes/secrets.ts';

const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secrets-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function put(name: string, text: string, mode = 0o400): void {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
}

function putGood(): void {
  for (const [at, name] of Object.keys(SECRETS).entries())
    put(name, name === 'mongo_keyfile' ? 'c2VjcmV0' : String(10 + at).repeat(32));
}

describe('secrets of development', () => {
  it('are made once, each for its owner alone', () => {
    ensureDevelopmentSecrets(folder, owner);
    const first = Object.keys(SECRETS).map((name) => readFileSync(join(folder, name), 'utf8'));
    for (const name of Object.keys(SECRETS)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o400);
    ensureDevelopmentSecrets(folder, owner);
    expect(Object.keys(SECRETS).map((name) => readFileSync(join(folder, name), 'utf8'))).toEqual(first);
    // No two are the same: each serves one purpose.
    expect(new Set(first).size).toBe(first.length);
  });

  it('are never good enough for production', () => {
    ensureDevelopmentSecrets(folder, owner);
    const problems = judgeProductionSecrets(folder, owner).join('\n');
    for (const name of ['internal_auth_secret', 'operator_secret', 'approver_secret', 'monitoring_api_key']) {
      expect(problems).toMatch(new RegExp(`${name} is a development secret`));
    }
  });
});

describe('secrets of production', () => {
  it('are good where each is there, of its form, and closed to others', () => {
    putGood();
    expect(judgeProductionSecrets(folder, owner)).toEqual([]);
  });

  it('that are missing are named all at once, with their form, and none is made', () => {
    const problems = judgeProductionSecrets(folder, owner);
    expect(problems).toHaveLength(Object.keys(SECRETS).length);
    expect(problems[0]).toMatch(/tron_private_key is missing: the wallet's private key, 64 hex characters$/);
    expect(judgeProductionSecrets(folder, owner)).toHaveLength(problems.length);
  });

  it('that are wrong are named without a word of what is in them', () => {
    putGood();
    put('tron_private_key', 'zz-not-a-key');
    put('mongo_password', 'a long enough one', 0o444);
    const problems = judgeProductionSecrets(folder, { ...owner });
    expect(problems).toEqual([
      expect.stringMatching(/tron_private_key is not of its form/),
      expect.stringMatching(/chmod 0400 .*mongo_password$/),
    ]);
    expect(problems.join()).not.toContain('zz-not-a-key');
    expect(judgeProductionSecrets(folder, { uid: owner.uid + 1, gid: 0 }).join()).toMatch(
      /belongs to another user/,
    );
  });

  it('that are there while one is being changed are looked at like the others, and missed by nobody', () => {
    putGood();
    put('approver_secret_other', 'too short');
    put('encryption_key_other', 'ef'.repeat(32), 0o440);
    expect(judgeProductionSecrets(folder, owner)).toEqual([
      expect.stringMatching(/approver_secret_other is not of its form: at least 32 bytes/),
      expect.stringMatching(/chmod 0400 .*encryption_key_other$/),
    ]);
    put('approver_secret_other', readFileSync(join(folder, 'operator_secret'), 'utf8'));
    chmodSync(join(folder, 'encryption_key_other'), 0o400);
    expect(judgeProductionSecrets(folder, owner)).toEqual([
      `${join(folder, 'approver_secret_other')} holds the same as operator_secret: each serves one purpose`,
    ]);
  });

  it('are no folders, which an engine makes where it is told to bind a file that is not there', () => {
    putGood();
    rmSync(join(folder, 'mongo_password'));
    mkdirSync(join(folder, 'mongo_password'));
    expect(judgeProductionSecrets(folder, owner)).toEqual([
      `${join(folder, 'mongo_password')} cannot be read (EISDIR): at least 12 bytes: openssl rand -hex 24`,
    ]);
  });

  it('are each another one, but for keys that there are none of', () => {
    putGood();
    put('operator_secret', 'ab'.repeat(32));
    put('approver_secret', `${'ab'.repeat(32)}\n`);
    put('api_keys/tron_grid_api_key', '\n');
    expect(judgeProductionSecrets(folder, owner)).toEqual([
      `${join(folder, 'approver_secret')} holds the same as operator_secret: each serves one purpose`,
    ]);
  });
});
