import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { waitUntil } from './wait-until.ts';

/** A process under test: what it has written so far, and how it ends. */
export type KeptProcess = {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Waits until stdout or stderr holds the text. */
  readonly says: (text: string) => Promise<void>;
  /** The exit code, or the name of the signal, once it has ended and all it wrote was read. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
};

export function startProcess(command: readonly string[], options: SpawnOptions = {}): KeptProcess {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: 'pipe', ...options });
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout?.on('data', (chunk: Buffer) => chunks.stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => chunks.stderr.push(chunk));
  const stdout = () => Buffer.concat(chunks.stdout).toString('latin1');
  const stderr = () => Buffer.concat(chunks.stderr).toString('latin1');
  return {
    pid: child.pid ?? 0,
    child,
    stdout,
    stderr,
    says: (text) =>
      waitUntil(() => stdout().includes(text) || stderr().includes(text)).catch(() => {
        throw new Error(
          `it did not say "${text}", but "${stdout().slice(-500)}" and "${stderr().slice(-500)}"`,
        );
      }),
    ended: once(child, 'close').then(([code, signal]) => code ?? signal),
  };
}
