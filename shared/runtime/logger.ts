import { type DestinationStream, destination, pino } from 'pino';
import type { Config } from './config.ts';
import { describeError } from './error-description.ts';
import { Secret } from './secret.ts';

/** What the rest of the code may do with a log: a record of fields, and a sentence. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  fatal(fields: LogFields, message: string): void;
}

/** `error` may hold anything that was thrown; it is written with its causes. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface LoggerOptions {
  readonly level: Config['log']['level'];
  readonly format: Config['log']['format'];
  readonly service: string;
  readonly functionName: string;
  /** Texts that must not reach the log, however they got into a message. */
  readonly secrets?: readonly Secret[];
  /** Where whole lines go; standard output if left out. */
  readonly write?: (line: string) => void;
}

/** Makes a logger that writes one line a record, at once: a Lambda is frozen as soon as it has answered. */
export function createLogger(options: LoggerOptions): Logger {
  const write = options.write ?? standardOutput();
  const scrub = scrubber(options.secrets ?? []);
  const stream: DestinationStream = {
    write(line) {
      const clean = scrub(line);
      write(options.format === 'json' ? clean : formatAsText(clean));
    },
  };
  return pino(
    {
      level: options.level,
      base: { service: options.service, function: options.functionName },
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: LEVEL_NAMES[label] ?? label.toUpperCase() }) },
      serializers: { error: describeError },
    },
    stream,
  );
}

/** Every secret in a configuration, wherever it stands. */
export function secretsIn(value: unknown): Secret[] {
  if (value instanceof Secret) return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(secretsIn);
}

const LEVEL_NAMES: Readonly<Record<string, string>> = { warn: 'WARNING', fatal: 'CRITICAL' };

/** `eyJ` begins the base64 of every JSON object that starts with a member: a token's header. */
const TOKEN = /eyJ[\w-]*\.[\w-]*\.[\w-]*/g;
const URL_CREDENTIALS = /(\w:\/\/)[^\s/@"]+@/g;
/** A shorter text is no secret of ours, and would blot out ordinary words. */
const SCRUBBED_LENGTH_MIN = 8;

/**
 * The last line of defence: whatever a library put into its message, the secrets of this process, tokens and
 * credentials in addresses leave it blotted out.
 */
export function scrubber(secrets: readonly Secret[]): (text: string) => string {
  const texts = secrets
    // In a JSON line a secret with quotes or backslashes stands escaped.
    .flatMap((secret) => [JSON.stringify(secret.reveal()).slice(1, -1), secret.reveal()])
    .filter((text) => text.length >= SCRUBBED_LENGTH_MIN);
  return (text) =>
    texts
      .reduce((clean, secret) => clean.replaceAll(secret, '[secret]'), text)
      .replace(TOKEN, '[token]')
      .replace(URL_CREDENTIALS, '$1[secret]@');
}

function standardOutput(): (line: string) => void {
  const output = destination({ fd: 1, sync: true });
  return (line) => output.write(line);
}

/** `2026-01-02T03:04:05.678Z INFO pay: message key=value`: the same record for people, still one line. */
function formatAsText(line: string): string {
  const { time, level, message, service: _service, function: functionName, ...fields } = JSON.parse(line);
  const pairs = Object.entries(fields).map(([key, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return `${key}=${/^[\w.:/-]+$/.test(text) ? text : JSON.stringify(text)}`;
  });
  return `${[time, level, `${functionName}: ${message}`, ...pairs].join(' ')}\n`;
}
