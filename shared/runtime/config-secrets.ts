import { parse } from 'yaml';
import type { ConfigProblem } from './config-error.ts';
import { name as nameForm } from './config-forms.ts';
import { DEVELOPMENT_ENCRYPTION_KEYS, DEVELOPMENT_SECRET_PREFIX } from './development-keys.ts';
import { Secret } from './secret.ts';
import { explainReadFailure, type FileReader } from './secret-files.ts';

/** What a caller may do. `read` sees payments and figures, `pay` makes payments, the others come later. */
export const SCOPES = ['pay', 'read', 'approve', 'operate'] as const;
export type Scope = (typeof SCOPES)[number];

/** Someone who may call, by the `kid` of its tokens. */
export interface Caller {
  /** One secret, or two while they are being changed; each at least 256 bits. */
  readonly secrets: readonly Secret[];
  readonly scopes: readonly Scope[];
}

/** By name. Without a prototype, so that no name finds what nobody wrote. */
export type Callers = Readonly<Record<string, Caller>>;

/** The keys for signed bytes at rest, each 32 bytes as 64 lower-case hex characters, none of them twice. */
export interface EncryptionKeys {
  /** Seals, and opens what it has sealed. */
  readonly current: Secret;
  /** These only open: the last key while its seals are being replaced, or the next one while instances are. */
  readonly others: readonly Secret[];
}

/** The caller that the deployment document knows: its secret is `internal_auth_secret`. */
export const GATEWAY_CALLER = 'gateway';

// HMAC with SHA-256 is only as strong as its key, and RFC 7518 section 3.2 asks for 256 bits.
const AUTH_SECRET_BYTES_MIN = 32;

/** Reads secrets from files and gathers what is wrong with them, the contents never named. */
export class SecretReader {
  readonly problems: ConfigProblem[] = [];
  readonly warnings: string[] = [];
  readonly #files: FileReader;
  readonly #production: boolean;

  constructor(files: FileReader, production: boolean) {
    this.#files = files;
    this.#production = production;
  }

  /** 32 bytes as hex, as TRON wallets export it. Revealed as 64 lower-case hex characters. */
  readWalletKey(key: string, path: string): Secret | undefined {
    const needs = 'a file with the private key as 64 hex characters';
    const text = this.#readText(key, path, needs);
    if (text === undefined) return undefined;
    if (!/^[0-9a-fA-F]{64}$/.test(text) || /^0+$/.test(text))
      return this.#refuse(key, 'is no private key', needs);
    return new Secret(text.toLowerCase());
  }

  readEncryptionKeys(currentPath: string, otherPaths: readonly string[]): EncryptionKeys | undefined {
    const current = this.#readEncryptionKey('ENCRYPTION_KEY_FILE', currentPath);
    const others: Secret[] = [];
    for (const path of otherPaths) {
      const at = `ENCRYPTION_KEY_OTHER_FILES: ${path}`;
      const other = this.#readEncryptionKey(at, path);
      if (other === undefined) continue;
      const isKnown = [current, ...others].some((known) => known?.reveal() === other.reveal());
      // Two names for one key: whoever believes that the old one is gone would still need it.
      if (isKnown) this.#refuse(at, 'holds a key that is named already', 'a key of its own');
      else others.push(other);
    }
    return current === undefined ? undefined : { current, others };
  }

  /** 32 bytes as hex or base64. Revealed as 64 lower-case hex characters. */
  #readEncryptionKey(key: string, path: string): Secret | undefined {
    const needs = 'a file with 32 random bytes as hex or base64 (openssl rand -hex 32)';
    const text = this.#readText(key, path, needs);
    if (text === undefined) return undefined;
    const hex = /^[0-9a-fA-F]{64}$/.test(text)
      ? text.toLowerCase()
      : /^[A-Za-z0-9+/]{43}=$/.test(text)
        ? Buffer.from(text, 'base64').toString('hex')
        : undefined;
    if (hex === undefined) return this.#refuse(key, 'is not 32 bytes', needs);
    if (this.#production && DEVELOPMENT_ENCRYPTION_KEYS.includes(hex)) {
      return this.#refuse(key, 'is the well-known development key', needs);
    }
    return new Secret(hex);
  }

  /** Any text, at least so many bytes long. */
  readTextSecret(key: string, path: string, bytesMin: number): Secret | undefined {
    const needs = `a file with one line of at least ${bytesMin} bytes (openssl rand -hex 32)`;
    const text = this.#readText(key, path, needs);
    if (text === undefined) return undefined;
    if (/[\r\n]/.test(text)) return this.#refuse(key, 'has more than one line', needs);
    if (Buffer.byteLength(text) < bytesMin) return this.#refuse(key, 'is too short', needs);
    if (this.#production && text.startsWith(DEVELOPMENT_SECRET_PREFIX)) {
      return this.#refuse(key, 'is a well-known development secret', needs);
    }
    return new Secret(text);
  }

  /**
   * The callers of the policy file, or the gateway alone where there is none. In the file the gateway may leave
   * out `secretFiles`; then its secret is the one of `INTERNAL_AUTH_SECRET_FILE`. The second file of a caller may be
   * missing: it is there only while the secret is being changed, and the policy need not change with it.
   */
  readCallers(policyPath: string | null, gatewaySecretPath: string): Callers {
    const callers: Record<string, Caller> = Object.create(null);
    const gatewaySecret = () =>
      this.readTextSecret('INTERNAL_AUTH_SECRET_FILE', gatewaySecretPath, AUTH_SECRET_BYTES_MIN);
    if (policyPath === null) {
      const secret = gatewaySecret();
      if (secret !== undefined) callers[GATEWAY_CALLER] = { secrets: [secret], scopes: ['pay', 'read'] };
      return callers;
    }
    for (const [caller, entry] of this.#readPolicy(policyPath)) {
      const at = `AUTH_POLICY_FILE: ${caller}`;
      const scopes = entry.scopes.filter((scope) => SCOPES.some((known) => known === scope)) as Scope[];
      if (scopes.length !== entry.scopes.length || scopes.length === 0) {
        this.#refuse(at, 'has wrong scopes', `a list of ${SCOPES.join(', ')}`);
      }
      if (entry.secretFiles === undefined && caller !== GATEWAY_CALLER) {
        this.#refuse(at, 'has no secretFiles', 'one secret file, or two while they are being changed');
        continue;
      }
      const secrets =
        entry.secretFiles === undefined
          ? [gatewaySecret()]
          : entry.secretFiles
              .filter((path, index) => index === 0 || this.#isThere(path))
              .map((path) => this.readTextSecret(`${at}: ${path}`, path, AUTH_SECRET_BYTES_MIN));
      callers[caller] = { secrets: secrets.filter((secret) => secret !== undefined), scopes };
    }
    this.#refuseSharedSecrets(callers);
    return callers;
  }

  #readPolicy(path: string): [string, { secretFiles: string[] | undefined; scopes: string[] }][] {
    const key = 'AUTH_POLICY_FILE';
    const needs = 'YAML of the form "callers: {NAME: {secretFiles: [PATH], scopes: [pay, read]}}"';
    const text = this.#readText(key, path, needs, false);
    if (text === undefined) return [];
    let callers: unknown;
    try {
      const policy: unknown = parse(text);
      if (isRecord(policy) && Object.keys(policy).length === 1) callers = policy.callers;
    } catch {
      callers = undefined;
    }
    if (!isRecord(callers) || Object.keys(callers).length === 0) {
      this.#refuse(key, 'names no callers', needs);
      return [];
    }
    return Object.entries(callers).flatMap(([caller, entry]) => {
      const scopes = isRecord(entry) ? entry.scopes : undefined;
      const secretFiles = isRecord(entry) ? entry.secretFiles : undefined;
      const known =
        isRecord(entry) && Object.keys(entry).every((word) => word === 'scopes' || word === 'secretFiles');
      const filesFit =
        secretFiles === undefined ||
        (isTexts(secretFiles) && secretFiles.length >= 1 && secretFiles.length <= 2);
      if (!known || nameForm.read(caller) === undefined || !isTexts(scopes) || !filesFit) {
        this.#refuse(`${key}: ${caller}`, 'is not a caller', needs);
        return [];
      }
      return [[caller, { scopes, secretFiles: isTexts(secretFiles) ? secretFiles : undefined }]];
    });
  }

  /** With a secret in common, each of two callers could sign as the other. */
  #refuseSharedSecrets(callers: Callers): void {
    const owners = new Map<string, string>();
    for (const [caller, { secrets }] of Object.entries(callers)) {
      for (const secret of secrets) {
        const owner = owners.get(secret.reveal());
        if (owner !== undefined) {
          this.#refuse(
            `AUTH_POLICY_FILE: ${caller}`,
            owner === caller ? 'names the same secret twice' : `shares a secret with ${owner}`,
            'secrets of its own',
          );
        }
        owners.set(secret.reveal(), caller);
      }
    }
  }

  /** Also what cannot be read is there. */
  #isThere(path: string): boolean {
    try {
      return this.#files.read(path) !== null;
    } catch {
      return true;
    }
  }

  #readText(key: string, path: string, needs: string, secret = true): string | undefined {
    let file: ReturnType<FileReader['read']>;
    try {
      file = this.#files.read(path);
    } catch (error) {
      return this.#refuse(key, `names ${path}, but ${explainReadFailure(error)}`, needs);
    }
    if (file === null) return this.#refuse(key, `names ${path}, which is not there`, needs);
    // Editors and `echo` end a file with a newline that belongs to no secret.
    const text = file.text.replace(/\r?\n$/, '');
    if (text.trim() === '') return this.#refuse(key, `names ${path}, which is empty`, needs);
    if (secret && file.worldReadable)
      this.warnings.push(`${key}: every user of this machine can read ${path}`);
    return text;
  }

  #refuse(key: string, problem: string, needs: string): undefined {
    this.problems.push({ key, problem, needs });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string' && entry !== '');
}
