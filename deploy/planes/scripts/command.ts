/** What the scripts share: how they are called, and how they end. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Planes } from '../planes.ts';
import { DEFAULT_PLANES_DIR } from '../state.ts';

/**
 * Runs a script against the planes that are described by `--production` or by `--state DIR`. What else stands on its
 * command line are its words; a script that takes none refuses them.
 * Exit code 0 where all is as it should be, 1 where something is not, or the script failed.
 */
export async function runScript(
  name: string,
  work: (planes: Planes, print: (line: string) => void, words: readonly string[]) => Promise<boolean>,
  { takesWords = false }: { readonly takesWords?: boolean } = {},
): Promise<void> {
  const print = (line: string) => void process.stdout.write(`${line}\n`);
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: takesWords,
      options: {
        production: { type: 'boolean', default: false },
        state: { type: 'string', default: DEFAULT_PLANES_DIR },
      },
    });
    const planes = await Planes.open(
      { isProduction: values.production, stateDir: resolve(values.state) },
      print,
    );
    process.exitCode = (await work(planes, print, positionals)) ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

/** Columns as wide as what stands in them. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
