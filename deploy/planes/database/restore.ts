/**
 * `database-restore`: puts a backup back, or marks a database that was brought back by other means, and ends. Pay and
 * settle must not run meanwhile.
 */
import { join } from 'node:path';
import { EXIT, runCommand } from '../../cli/arguments.ts';
import { readBackupConfig, withDatabase } from './backup-config.ts';
import { judgeRestore, markAsRestored, restoreBackup } from './restore-backup.ts';
import { RESTORE_HELP, readRestoreOrder } from './restore-order.ts';
import { describeBackup, describeContent } from './words.ts';

await runCommand('database-restore', async () => {
  const order = readRestoreOrder(process.argv.slice(2));
  if (order.kind === 'help') {
    print(RESTORE_HELP);
    return EXIT.ok;
  }
  const config = readBackupConfig(process.env);
  await withDatabase(config, async (db) => {
    if (order.kind === 'in place') {
      await markAsRestored(db, order.backupAtMs);
      print(`marked: what is there is taken for what it was at ${new Date(order.backupAtMs).toISOString()}`);
      return;
    }
    const file = {
      path: join(config.folder, order.file),
      isReplacing: order.isReplacing,
      folder: config.folder,
    };
    if (order.isCheck) {
      print(`${order.file} can be put back: ${describeContent(await judgeRestore(db, file))}`);
      return;
    }
    const { before, ...content } = await restoreBackup(db, file);
    if (before !== null) print(`what was there: ${describeBackup(before).join('\n')}`);
    print(`${order.file} is put back: ${describeContent(content)}`);
  });
  return EXIT.ok;
});

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
