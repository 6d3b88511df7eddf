import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { ensureRie } from '../../build/rie.ts';
import { type RieInstance, startRieInstance } from '../../deploy/local/rie-instance.ts';
import { freePorts } from '../support/ports.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const READY_TIMEOUT_MS = 30_000;

/** All that a benchmark starts. What was started ends with `close`, last things first. */
export class Stage {
  /** For files of one run. */
  readonly folder = mkdtempSync(join(tmpdir(), 'bench-'));
  readonly #closers: (() => Promise<void>)[] = [];

  /** Bundles a file as the functions are bundled, and answers the bundle's folder. */
  async bundle(entry: string, name: string): Promise<string> {
    const outdir = join(this.folder, name);
    await build({
      entryPoints: { handler: resolve(import.meta.dirname, entry) },
      outdir,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node24',
      banner: {
        js: "import{createRequire as $require}from'node:module';const require=$require(import.meta.url);",
      },
      logLevel: 'warning',
    });
    return outdir;
  }

  async startRie(
    name: string,
    taskRoot: string,
    env: Record<string, string> = {},
  ): Promise<RieInstance & { port: number }> {
    const [port = 0, runtimePort = 0] = await freePorts(2);
    const { path } = await ensureRie();
    const options = { name, riePath: path, nodePath: process.execPath, taskRoot, port, runtimePort, env };
    const instance = await startRieInstance({ ...options, timeoutSeconds: 30, memoryMb: 512, log: () => {} });
    this.onClose(instance.stop);
    return { ...instance, port };
  }

  /** Starts a program and waits until something listens on its port. */
  async startProgram(
    command: string,
    args: readonly string[],
    port: number,
    options: { cwd?: string; env?: Record<string, string> } = {},
  ): Promise<void> {
    const child = spawn(command, args, {
      cwd: options.cwd ?? ROOT,
      env: { PATH: process.env.PATH, ...options.env },
      stdio: 'ignore',
    });
    this.onClose(() => endChild(child));
    let failure: Error | undefined;
    child.once('error', (error) => {
      failure = error;
    });
    const deadlineMs = Date.now() + READY_TIMEOUT_MS;
    while (!(await answers(port))) {
      if (failure !== undefined) throw failure;
      if (child.exitCode !== null)
        throw new Error(`${args.at(0)} ended with ${child.exitCode} before it was ready`);
      if (Date.now() > deadlineMs)
        throw new Error(`${args.at(0)} was not ready in ${READY_TIMEOUT_MS / 1_000} s`);
      await sleep(50);
    }
  }

  /** The sidecar as it is deployed, a process of its own, with `pay` on these ports. Answers the function URL. */
  async startSidecar(payPorts: readonly number[]): Promise<string> {
    const aclFile = join(this.folder, 'bench.acl');
    writeFileSync(aclFile, 'allow * POST pay /pay');
    const [servicePort = 0, opsPort = 0, ...unused] = await freePorts(5);
    await this.startProgram(process.execPath, ['deploy/sidecar/main.ts'], servicePort, {
      env: {
        BIND_ADDRESS: '127.0.0.1',
        SERVICE_PORT: String(servicePort),
        OPS_PORT: String(opsPort),
        FUNCTION_PAY: payPorts.map((port) => `127.0.0.1:${port}`).join(),
        FUNCTION_SETTLE: `127.0.0.1:${unused[0]}`,
        FUNCTION_HEALTH: `127.0.0.1:${unused[1]}`,
        FUNCTION_STATS: `127.0.0.1:${unused[2]}`,
        ACL_POLICY_FILE: aclFile,
        SETTLE_INTERVAL_MS: '3600000',
      },
    });
    return `http://127.0.0.1:${servicePort}`;
  }

  makeFolder(name: string): string {
    const folder = join(this.folder, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  onClose(close: () => Promise<void>): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Plays a benchmark; whatever it started ends with it, also where it is interrupted. */
export async function onStage(play: (stage: Stage) => Promise<void>): Promise<void> {
  const stage = new Stage();
  const interrupt = (): void => {
    void stage.close().then(() => process.exit(130));
  };
  process.once('SIGINT', interrupt);
  try {
    await play(stage);
  } finally {
    process.off('SIGINT', interrupt);
    await stage.close();
  }
}

async function answers(port: number): Promise<boolean> {
  try {
    await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(500) });
    return true;
  } catch {
    return false;
  }
}

/** Asks a process to end, and makes it after a while. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const forced = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await ended;
  clearTimeout(forced);
}
