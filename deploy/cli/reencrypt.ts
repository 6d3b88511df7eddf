/**
 * `npm run reencrypt`: seals every stored transaction anew that another key than the current one has sealed.
 *
 * Exit codes: 0 nothing is left under another key, 1 something is, or it broke off, 2 wrong usage.
 */
import { resolve } from 'node:path';
import { composeReencryption } from '../../shared/composition/compose-reencryption.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import { type ReencryptionReport, reencrypt } from '../../shared/usecases/reencrypt.ts';
import { DEFAULT_STATE_DIR } from '../local/state.ts';
import { EXIT, parseOptions, runCommand } from './arguments.ts';
import { findRunningStack } from './running-stack.ts';

const HELP = `npm run reencrypt -- [options]

Seals every stored transaction anew, under the key of ENCRYPTION_KEY_FILE, that one of ENCRYPTION_KEY_OTHER_FILES
has sealed. It runs beside the functions, and may be broken off and run again. Its last line says whether the other
keys may be removed.

  --state DIR   of the running stack whose environment is used                         (.local)
  --env         use this command's own environment instead, which must be that of the function settle

Exit code 0: nothing is left under another key · 1: something is, or it broke off · 2: wrong usage
`;

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  env: { type: 'boolean', default: false },
  state: { type: 'string', default: DEFAULT_STATE_DIR },
} as const;

const PROGRESS_EVERY_MS = 2_000;

await runCommand('npm run reencrypt', async () => {
  const values = parseOptions(process.argv.slice(2), OPTIONS);
  if (values.help === true) {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  const environment = values.env ? process.env : findRunningStack(resolve(values.state)).settleEnvironment;
  const config = readConfig(environment, { needs: ['encryptionKey'] });
  for (const warning of config.warnings) process.stderr.write(`warning: ${warning}\n`);

  let toldAtMs = performance.now();
  const report = await reencrypt(composeReencryption(config), {
    onProgress({ attempts, reencrypted }) {
      if (performance.now() < toldAtMs + PROGRESS_EVERY_MS) return;
      toldAtMs = performance.now();
      print(`… transactions: ${attempts} seen, ${reencrypted} re-encrypted`);
    },
    onUnreadable(paymentId, attemptNumber, reason) {
      print(`${paymentId}, attempt ${attemptNumber}, cannot be opened: ${reason}`);
    },
  });
  print(
    `transactions: ${report.attempts} seen, ${report.reencrypted} re-encrypted, ${report.unreadable} unreadable`,
  );
  print(conclude(report));
  return report.left === 0 ? EXIT.ok : EXIT.failed;
});

function conclude({ left, unreadable }: ReencryptionReport): string {
  if (left === 0) return '0 left under another key: ENCRYPTION_KEY_OTHER_FILES may be emptied now';
  const why =
    left > unreadable
      ? 'an instance still seals under another key; restart it and run this again'
      : 'no configured key opens them; name their key in ENCRYPTION_KEY_OTHER_FILES and run this again';
  return `${left} left under another key: remove no key (${why})`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
