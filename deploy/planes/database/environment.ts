import { readFileSync } from 'node:fs';

const PASSWORD_BYTES_MIN = 12;

/** What the database's programs are told by their environment; passwords stand in files. Problems are gathered. */
export class Environment {
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #problems: string[] = [];

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  text(key: string): string | null {
    return this.#env[key]?.trim() || null;
  }

  required(key: string): string {
    const value = this.text(key);
    if (value === null) this.#problems.push(`${key} is missing`);
    return value ?? '';
  }

  hostAndPort(key: string): string {
    const host = this.required(key);
    if (host !== '' && !/^[A-Za-z0-9.-]+:\d{1,5}$/.test(host))
      this.#problems.push(`${key} must be host:port`);
    return host;
  }

  /** False where it is absent. */
  isTrue(key: string): boolean {
    const value = this.text(key);
    if (value !== null && value !== 'true' && value !== 'false')
      this.#problems.push(`${key} must be true or false`);
    return value === 'true';
  }

  /** @param key names the file */
  password(key: string): string {
    const path = this.required(key);
    if (path === '') return '';
    try {
      const secret = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
      if (Buffer.byteLength(secret) >= PASSWORD_BYTES_MIN) return secret;
      this.#problems.push(`${key}: the file holds fewer than ${PASSWORD_BYTES_MIN} bytes`);
    } catch (error) {
      this.#problems.push(`${key}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
    }
    return '';
  }

  /** @throws Error that names every key that is missing or wrong, and repeats no secret. */
  check(): void {
    if (this.#problems.length > 0)
      throw new Error(`configuration is not usable: ${this.#problems.join('; ')}`);
  }
}
