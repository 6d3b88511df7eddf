import { inspect } from 'node:util';

const REDACTED = '[secret]';

/**
 * A text that must never be shown. Every ordinary way of printing, logging, joining or cloning it gives
 * `[secret]` or nothing; `reveal()` is the only way in, so that each use can be found by name.
 */
export class Secret {
  // A private field is invisible to JSON, to spreading, to structuredClone and to inspect's showHidden.
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    Object.freeze(this);
  }

  /** The text itself. Hand it straight to what needs it and keep no copy. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
