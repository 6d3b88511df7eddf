import { fromBase58, isHex } from './encoding.ts';

/**
 * Requests of most endpoints are read by java-tron's `JsonFormat` into a protobuf message, and its complaints come
 * back with line and column. This reads flat requests the same way, with the same words.
 */

/** How a field of a request is read; unknown fields are skipped. `address` is base58 where visible, else hex. */
export type RequestField = 'int64' | 'bytes' | 'address' | 'bool';
export type RequestShape = Readonly<Record<string, RequestField>>;
export type RequestOf<S extends RequestShape> = {
  readonly [K in keyof S]: S[K] extends 'int64' ? bigint : S[K] extends 'bool' ? boolean : string;
};

/** An error that nodes answer with HTTP 200 and `{"Error": "class …"}`. */
export class JavaError extends Error {
  override readonly name = 'JavaError';

  constructor(javaClass: string, message: string) {
    super(`class ${javaClass} : ${message}`);
  }
}

const PARSE_EXCEPTION = 'org.tron.core.services.http.JsonFormat$ParseException';
const TOKEN = /[a-zA-Z_][0-9a-zA-Z_+-]*|[.]?[0-9+-][0-9a-zA-Z_.+-]*|"(?:[^"\n\\]|\\.)*(?:"|\\?$)|\S/gm;

type Token = { readonly text: string; readonly line: number; readonly column: number };

/** Reads a request. @throws JavaError */
export function readRequest<S extends RequestShape>(text: string, shape: S, visible: boolean): RequestOf<S> {
  const result: Record<string, unknown> = {};
  for (const [name, kind] of Object.entries(shape)) {
    result[name] = kind === 'int64' ? 0n : kind === 'bool' ? false : '';
  }
  const tokens = new Tokens(text);
  tokens.expect('{');
  while (tokens.current.text !== '}') {
    const name = unquote(tokens.take().text);
    tokens.expect(':');
    const kind = shape[name];
    if (kind === undefined) tokens.skipValue();
    else result[name] = readValue(tokens, kind, visible);
    if (tokens.current.text === ',') tokens.take();
    else if (tokens.current.text !== '}') throw tokens.error('Expected "}".');
  }
  return result as RequestOf<S>;
}

function readValue(tokens: Tokens, kind: RequestField, visible: boolean): unknown {
  const { text } = tokens.current;
  if (kind === 'int64') {
    if (!/^-?\d{1,18}$/.test(text)) {
      throw tokens.error(`Couldn't parse integer: For input string: "${text}"`);
    }
    tokens.take();
    return BigInt(text);
  }
  if (kind === 'bool') {
    tokens.take();
    return text === 'true';
  }
  if (!text.startsWith('"')) throw tokens.error('Expected string.');
  // The real reader has moved on when it finds the content bad, but reports the place of the value.
  const at = tokens.current;
  const value = unquote(tokens.take().text);
  if (kind === 'address' && visible) {
    try {
      return fromBase58(value);
    } catch {
      throw tokens.error('INVALID base58 String, Illegal character', at);
    }
  }
  if (!isHex(value)) throw tokens.error('INVALID hex String', at);
  return value.toLowerCase();
}

function unquote(text: string): string {
  return text.startsWith('"') ? text.slice(1, text.endsWith('"') && text.length > 1 ? -1 : undefined) : text;
}

class Tokens {
  readonly #tokens: Token[] = [];
  #next = 0;
  readonly #end: Token;

  constructor(text: string) {
    let line = 1;
    let lineStart = 0;
    let scanned = 0;
    for (const match of text.matchAll(TOKEN)) {
      for (; scanned < match.index; scanned++) {
        if (text[scanned] === '\n') {
          line += 1;
          lineStart = scanned + 1;
        }
      }
      this.#tokens.push({ text: match[0], line, column: match.index - lineStart + 1 });
    }
    this.#end = { text: '', line, column: text.length - lineStart + 1 };
  }

  get current(): Token {
    return this.#tokens[this.#next] ?? this.#end;
  }

  take(): Token {
    const token = this.current;
    this.#next += 1;
    return token;
  }

  expect(text: string): void {
    if (this.current.text !== text) throw this.error(`Expected "${text}".`);
    this.take();
  }

  skipValue(): void {
    let depth = 0;
    do {
      const { text } = this.take();
      if (text === '') throw this.error('Expected "}".');
      if (text === '{' || text === '[') depth += 1;
      if (text === '}' || text === ']') depth -= 1;
    } while (depth > 0);
  }

  error(message: string, at: Token = this.current): JavaError {
    return new JavaError(PARSE_EXCEPTION, `${at.line}:${at.column}: ${message}`);
  }
}
