/** The secrets of the planes: which there are, what each must look like, and how development makes them. */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  DEVELOPMENT_ENCRYPTION_KEYS,
  DEVELOPMENT_SECRET_PREFIX,
} from '../../shared/runtime/development-keys.ts';
import { devAccounts } from '../devchain/accounts.ts';
import { DEFAULT_SEED } from '../devchain/dev-chain.ts';
import { type Owner, own } from './state.ts';

interface SecretForm {
  /** Told to who has to make it. */
  readonly form: string;
  readonly isGood: (text: string) => boolean;
  readonly develop: () => string;
}

const bytesMin = (count: number) => (text: string) => Buffer.byteLength(text) >= count;
const token: SecretForm = {
  form: 'at least 32 bytes: openssl rand -hex 32',
  isGood: bytesMin(32),
  develop: () => `${DEVELOPMENT_SECRET_PREFIX}${randomBytes(32).toString('hex')}`,
};
const password: SecretForm = {
  form: 'at least 12 bytes: openssl rand -hex 24',
  isGood: bytesMin(12),
  develop: () => randomBytes(24).toString('hex'),
};

/** Every secret by its file, as `compose.yaml` names them. */
export const SECRETS: Readonly<Record<string, SecretForm>> & Readonly<Record<RotatedSecret, SecretForm>> = {
  tron_private_key: {
    form: "the wallet's private key, 64 hex characters",
    isGood: (text) => /^(0x)?[0-9a-fA-F]{64}$/.test(text),
    develop: () => devAccounts(DEFAULT_SEED)[0]?.privateKey ?? '',
  },
  encryption_key: {
    form: '32 random bytes as hex: openssl rand -hex 32',
    isGood: (text) => /^([0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=)$/.test(text),
    develop: () => DEVELOPMENT_ENCRYPTION_KEYS[0] ?? '',
  },
  internal_auth_secret: token,
  operator_secret: token,
  approver_secret: token,
  mongo_keyfile: {
    form: '6 to 1024 base64 characters: openssl rand -base64 756',
    isGood: (text) => /^[A-Za-z0-9+/=\s]{6,1024}$/.test(text),
    develop: () => randomBytes(192).toString('base64'),
  },
  mongo_root_password: password,
  mongo_password: password,
  mongo_stats_password: password,
  'api_keys/tron_grid_api_key': {
    form: "TronGrid's key, or a file with a line break alone where there is none",
    isGood: () => true,
    develop: () => '\n',
  },
  'api_keys/monitoring_api_key': token,
};

/**
 * Of these there is a second one, `NAME_other`, while it is being changed: `compose.rotate-NAME.yaml` gives it to who reads
 * the first.
 */
export const ROTATED_SECRETS = [
  'internal_auth_secret',
  'operator_secret',
  'approver_secret',
  'encryption_key',
] as const;
export type RotatedSecret = (typeof ROTATED_SECRETS)[number];

/** Those that are being changed. */
export function findRotations(folder: string): readonly RotatedSecret[] {
  return ROTATED_SECRETS.filter((name) => existsSync(join(folder, `${name}_other`)));
}

/** Makes those that are missing; what is there stays, or stored payments would become unreadable. */
export function ensureDevelopmentSecrets(folder: string, owner: Owner): void {
  for (const [name, { develop }] of Object.entries(SECRETS)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (readSecret(path) === undefined) writeFileSync(path, develop(), { mode: 0o600 });
    chmodSync(path, 0o400);
    own(path, owner);
  }
}

/**
 * Looks at the operator's own files; makes none.
 *
 * @returns one line for each that is missing, of a wrong form, the same as another, or open to others. No line repeats a
 *   secret.
 */
export function judgeProductionSecrets(folder: string, owner: Owner): string[] {
  const owners = new Map<string, string>();
  const others = findRotations(folder).map((name) => [`${name}_other`, SECRETS[name]] as const);
  return [...Object.entries(SECRETS), ...others].flatMap(([name, { form, isGood }]) => {
    const path = join(folder, name);
    let text: string | undefined;
    try {
      text = readSecret(path);
    } catch (error) {
      return [`${path} cannot be read (${(error as NodeJS.ErrnoException).code}): ${form}`];
    }
    if (text === undefined) return [`${path} is missing: ${form}`];
    const { mode, uid } = statSync(path);
    const problems: string[] = [];
    const secret = text.trim();
    if (!isGood(secret)) problems.push(`${path} is not of its form: ${form}`);
    if (text.startsWith(DEVELOPMENT_SECRET_PREFIX)) problems.push(`${path} is a development secret: ${form}`);
    // But for a key that there is none of.
    const other = secret === '' ? undefined : owners.get(secret);
    if (other !== undefined) problems.push(`${path} holds the same as ${other}: each serves one purpose`);
    owners.set(secret, name);
    if (uid !== owner.uid) problems.push(`${path} belongs to another user: chown ${owner.uid} ${path}`);
    if ((mode & 0o777) !== 0o400)
      problems.push(`${path} must be readable by its owner alone: chmod 0400 ${path}`);
    return problems;
  });
}

function readSecret(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8');
    return text === '' ? undefined : text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
