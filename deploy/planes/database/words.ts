import { basename } from 'node:path';
import type { BackupContent } from './backup-file.ts';
import type { Backup } from './take-backup.ts';

/** What a person has to know of a backup that was made: a line each. */
export function describeBackup({ path, fileBytes, ...content }: Backup): readonly string[] {
  return [
    `${basename(path)}: ${describeContent(content)}; ${describeBytes(fileBytes)}`,
    'It holds orders in clear and signed transactions under the encryption key: keep it as you keep the database,',
    'and that key with it. It was read back, and is whole.',
  ];
}

export function describeContent({ header, counts }: BackupContent): string {
  const { takenAtMs, consistency } = header;
  return `as of ${new Date(takenAtMs).toISOString()} (${consistency}), payments and batches: ${counts.payments}`;
}

function describeBytes(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB'];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return `${(bytes / 1_000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}
