/** What the command line tools share: how they read their arguments and how they end. */
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';

export const EXIT = {
  ok: 0,
  /** It did not work, and nothing was paid. */
  failed: 1,
  usage: 2,
  /** Money may have moved or may still move. */
  open: 3,
} as const;

/** The command line is wrong; the message says how, in one line. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/**
 * `parseArgs`, strict and without positional arguments.
 *
 * @throws UsageError
 */
export function parseOptions<const Options extends ParseArgsOptionsConfig>(
  args: readonly string[],
  options: Options,
) {
  return asUsage(() => parseArgs({ args: [...args], options, strict: true, allowPositionals: false })).values;
}

/**
 * The same, with positional arguments.
 *
 * @throws UsageError
 */
export function parseWords<const Options extends ParseArgsOptionsConfig>(
  args: readonly string[],
  options: Options,
) {
  return asUsage(() => parseArgs({ args: [...args], options, strict: true, allowPositionals: true }));
}

function asUsage<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    // What follows the first sentence explains how to quote.
    const message = error instanceof Error ? error.message : String(error);
    throw new UsageError(message.split(/\. |\n/)[0] ?? message);
  }
}

/**
 * Runs a command: its exit code, or a failure in one line on standard error.
 *
 * @param name as the person typed it, `npm run pay`.
 */
export async function runCommand(name: string, command: () => Promise<number>): Promise<never> {
  try {
    // Not by `exitCode`: an idle connection would keep the process for seconds.
    process.exit(await command());
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const isUsage = error instanceof UsageError;
    process.stderr.write(`${name}: ${message}${isUsage ? ` (${name} -- --help lists the options)` : ''}\n`);
    process.exit(isUsage ? EXIT.usage : EXIT.failed);
  }
}
