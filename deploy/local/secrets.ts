/**
 * The secrets of a local stack. Outside production they are made here, at the first start, each marked as a
 * development secret that production refuses; in production they are the operator's own files.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import {
  DEVELOPMENT_ENCRYPTION_KEYS,
  DEVELOPMENT_SECRET_PREFIX,
} from '../../shared/runtime/development-keys.ts';

/** Absolute paths of files that hold one secret each. */
export type SecretFiles = {
  /** The gateway signs its tokens with it. */
  readonly internalAuth: string;
  /** Callers whose secrets are known here, the gateway among them, by the name that stands in their tokens. */
  readonly callers: Readonly<Record<string, string>>;
  /** Seals the signed bytes of payments in the database. */
  readonly encryptionKey: string;
  /** Opens `/metrics` without a token. */
  readonly monitoringApiKey: string;
  /** The policy file: which caller may do what. No secret, but it names the files of the callers' secrets. */
  readonly authPolicy: string | undefined;
};

/** Makes what is not there yet; what is there stays, or tokens and stored payments would become unreadable. */
export function ensureDevelopmentSecrets(folder: string): SecretFiles {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const [encryptionKey] = DEVELOPMENT_ENCRYPTION_KEYS;
  if (encryptionKey === undefined) throw new Error('there is no development encryption key');
  const internalAuth = ensureSecret(folder, 'internal_auth_secret', randomText);
  const operator = ensureSecret(folder, 'operator_secret', randomText);
  const authPolicy = join(folder, 'auth_policy.yaml');
  const callers = {
    gateway: { scopes: ['pay', 'read'] },
    operator: { secretFiles: [operator], scopes: ['read', 'approve', 'operate'] },
  };
  writeFileSync(authPolicy, stringify({ callers }), { mode: 0o600 });
  return {
    internalAuth,
    callers: { gateway: internalAuth, operator },
    encryptionKey: ensureSecret(folder, 'encryption_key', () => encryptionKey),
    monitoringApiKey: ensureSecret(folder, 'monitoring_api_key', randomText),
    authPolicy,
  };
}

/**
 * The operator's own files, as the environment names them.
 *
 * @throws Error with one line that names all variables that are missing.
 */
export function readProductionSecrets(env: Readonly<Record<string, string | undefined>>): SecretFiles {
  const names = ['INTERNAL_AUTH_SECRET_FILE', 'ENCRYPTION_KEY_FILE', 'MONITORING_API_KEY_FILE'] as const;
  const missing = names.filter((name) => !env[name]);
  if (missing.length > 0) {
    throw new Error(`LUCID_ENV=production takes no development secrets: set ${missing.join(', ')}`);
  }
  const [internalAuth = '', encryptionKey = '', monitoringApiKey = ''] = names.map((name) =>
    resolve(env[name] ?? ''),
  );
  const policy = env.AUTH_POLICY_FILE;
  return {
    internalAuth,
    callers: { gateway: internalAuth },
    encryptionKey,
    monitoringApiKey,
    authPolicy: policy ? resolve(policy) : undefined,
  };
}

/** Writes a secret over what was there; the file is its owner's alone. Answers its path. */
export function putSecret(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

/** Writes a secret where there is none; the file is its owner's alone. Answers its path. */
function ensureSecret(folder: string, name: string, make: () => string): string {
  const path = join(folder, name);
  try {
    writeFileSync(path, make(), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    // A start that was killed between the two steps of a write leaves an empty file.
    if (readFileSync(path, 'utf8') === '') writeFileSync(path, make(), { mode: 0o600 });
  }
  return path;
}

function randomText(): string {
  return `${DEVELOPMENT_SECRET_PREFIX}${randomBytes(32).toString('hex')}`;
}
