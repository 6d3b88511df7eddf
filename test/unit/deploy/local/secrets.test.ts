import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { accountOf, createAccount } from '../../../../deploy/local/accounts.ts';
import { ensureDevelopmentSecrets, readProductionSecrets } from '../../../../deploy/local/secrets.ts';
import { parseTronAddress } from '../../../../shared/domain/tron-address.ts';

let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'secrets-')), 'secrets');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('development secrets', () => {
  it("are marked, and their owner's alone", () => {
    const { internalAuth, monitoringApiKey, callers } = ensureDevelopmentSecrets(folder);
    for (const file of [internalAuth, monitoringApiKey, ...Object.values(callers)]) {
      expect(readFileSync(file, 'utf8')).toMatch(/^development-[0-9a-f]{64}$/);
      expect(statSync(file).mode & 0o777).toBe(0o600);
    }
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it('stay the same at the next start', () => {
    const first = readFileSync(ensureDevelopmentSecrets(folder).internalAuth, 'utf8');
    expect(readFileSync(ensureDevelopmentSecrets(folder).internalAuth, 'utf8')).toBe(first);
  });

  it('are made again where a killed start left an empty file', () => {
    const { internalAuth } = ensureDevelopmentSecrets(folder);
    writeFileSync(internalAuth, '');
    expect(readFileSync(ensureDevelopmentSecrets(folder).internalAuth, 'utf8')).toMatch(/^development-/);
  });
});

describe('production secrets', () => {
  it('are all asked for at once, and never made', () => {
    expect(() => readProductionSecrets({ ENCRYPTION_KEY_FILE: '/key' })).toThrow(
      'set INTERNAL_AUTH_SECRET_FILE, MONITORING_API_KEY_FILE',
    );
  });
});

describe('accounts', () => {
  it("have the address that TRON's own library gives to the key", () => {
    // Made by tronweb 6.5.1.
    expect(accountOf('C0BDD7C088F832EF58CDCE277D7F8CF6AB0AEDBD557A2B07088BEAA6552D5992\n').address).toBe(
      'TPEehWNrwReYU9D9bLy8fQV9aiioyXzsH8',
    );
  });

  it('are new each time', () => {
    const [first, second] = [createAccount(), createAccount()];
    expect(first.address).not.toBe(second.address);
    expect(parseTronAddress(first.address)).toBe(first.address);
  });

  it('are refused without repeating the key', () => {
    expect(() => accountOf('c0bdd7')).toThrow(/^is not a private key of 64 hex digits$/);
  });
});
