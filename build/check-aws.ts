/**
 * `npm run check:aws`: cfn-lint over deploy/aws/template.yaml. The linter is a Python program; it is installed once,
 * in an environment of its own under `.cache`.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const ROOT_DIR = resolve(import.meta.dirname, '..');
const TEMPLATE = join(ROOT_DIR, 'deploy/aws/template.yaml');
const LINTER = 'cfn-lint==1.58.0';
const LINTER_DIR = join(ROOT_DIR, '.cache', LINTER);
const MAIN = 'import sys; from cfnlint.runner import main; sys.exit(main())';
const INSTALL_TIMEOUT_MS = 300_000;
const LINT_TIMEOUT_MS = 60_000;

/** The linter cannot be had here; the message says why in one line. */
export class NoLinter extends Error {
  constructor(error: unknown) {
    const { code, stderr, message } = error as Error & { code?: string | number; stderr?: string };
    const reason = code === 'ENOENT' ? 'there is no python3' : (stderr?.trim().split('\n').at(-1) ?? message);
    super(`${LINTER} cannot be installed: ${reason}`);
    this.name = 'NoLinter';
  }
}

/** @returns what the linter has to say, a line or more for each finding; empty where all is well. @throws NoLinter */
export async function lintTemplate(): Promise<string> {
  const python = await ensureLinter();
  const args = ['-c', MAIN, '--format', 'parseable', '--include-checks', 'I', '--', TEMPLATE];
  return run(python, args, { timeout: LINT_TIMEOUT_MS }).then(
    ({ stdout }) => stdout.trim(),
    ({ stdout, stderr }: { stdout?: string; stderr?: string }) => `${stdout ?? ''}${stderr ?? ''}`.trim(),
  );
}

/** @returns the interpreter that finds it. */
async function ensureLinter(): Promise<string> {
  const python = join(LINTER_DIR, 'bin/python3');
  if (existsSync(python)) return python;
  // Beside and renamed, so that what is there is whole; its programs name the folder, its modules do not.
  const work = `${LINTER_DIR}.${process.pid}`;
  await mkdir(dirname(work), { recursive: true });
  try {
    const options = { timeout: INSTALL_TIMEOUT_MS };
    await run('python3', ['-m', 'venv', work], options);
    await run(join(work, 'bin/python3'), ['-m', 'pip', 'install', '--quiet', LINTER], options);
    await rename(work, LINTER_DIR);
  } catch (error) {
    if (!existsSync(python)) throw new NoLinter(error);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return python;
}

if (import.meta.main) {
  const findings = await lintTemplate();
  if (findings !== '') {
    console.error(findings);
    process.exitCode = 1;
  }
}
