/**
 * `database-backup`: makes a backup of the payments database in the folder of backups, and ends. It only reads, and may
 * be run while payments are made.
 */
import { EXIT, parseOptions, runCommand } from '../../cli/arguments.ts';
import { readBackupConfig, withDatabase } from './backup-config.ts';
import { takeBackup } from './take-backup.ts';
import { describeBackup } from './words.ts';

await runCommand('database-backup', async () => {
  parseOptions(process.argv.slice(2), {});
  const config = readBackupConfig(process.env);
  const backup = await withDatabase(config, (db) =>
    takeBackup(db, { folder: config.folder, kind: 'backup' }),
  );
  process.stdout.write(`${describeBackup(backup).join('\n')}\n`);
  return EXIT.ok;
});
