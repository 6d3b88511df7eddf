import { basename } from 'node:path';
import { parseWords, UsageError } from '../../cli/arguments.ts';

/** What a person may ask the restore for. */
export type AskedRestore =
  | { readonly kind: 'help' }
  | {
      readonly kind: 'file';
      /** In the folder of backups. */
      readonly file: string;
      readonly isReplacing: boolean;
      /** Only say whether it could be done. */
      readonly isCheck: boolean;
    }
  | { readonly kind: 'in place'; readonly backupAtMs: number };

export const RESTORE_HELP = `restore FILE [--replace]     puts back a backup, which is in the folder of backups
restore --in-place TIME      the database was brought back by other means, and is as it was at TIME

  --replace        what is there may go; a backup of it is made before
  --check          only says whether it could be done
  --in-place TIME  with its zone: 2026-01-31T04:30:00Z`;

/** A time of which only one reading is possible. */
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;

/** @throws UsageError */
export function readRestoreOrder(args: readonly string[]): AskedRestore {
  const { values, positionals } = parseWords(args, OPTIONS);
  const { help, replace, check, 'in-place': time } = values;
  if (help === true) return { kind: 'help' };
  const [file, ...more] = positionals;
  if (time !== undefined) {
    if (file !== undefined || replace || check)
      throw new UsageError('--in-place stands alone: no file is read');
    const backupAtMs = TIME.test(time) ? Date.parse(time) : Number.NaN;
    if (Number.isNaN(backupAtMs))
      throw new UsageError('--in-place needs a time with its zone, such as 2026-01-31T04:30:00Z');
    return { kind: 'in place', backupAtMs };
  }
  if (file === undefined || more.length > 0) throw new UsageError('say which file, and one alone');
  if (file !== basename(file) || file.startsWith('.'))
    throw new UsageError(`${file}: name a file in the folder of backups, without a path`);
  return { kind: 'file', file, isReplacing: replace, isCheck: check };
}

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  replace: { type: 'boolean', default: false },
  check: { type: 'boolean', default: false },
  'in-place': { type: 'string' },
} as const;
