import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { startDevChain } from '../../../deploy/devchain/dev-chain.ts';

const MAIN = join(import.meta.dirname, '../../../deploy/devchain/main.ts');

type Running = { readonly process: ChildProcess; readonly url: string; readonly faultsUrl: string };

let folder: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'devchain-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  await rm(folder, { recursive: true, force: true });
});

function launch(args: readonly string[]): {
  child: ChildProcess;
  ended: Promise<{ code: number | null; err: string }>;
} {
  const child = spawn(process.execPath, [MAIN, '--data', folder, '--faults-port', '0', ...args]);
  children.push(child);
  let err = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    err += chunk.toString();
  });
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, err }));
  return { child, ended };
}

async function start(args: readonly string[] = []): Promise<Running> {
  const { child, ended } = launch(['--port', '0', '--interval', '0.05', ...args]);
  let out = '';
  const ready = new Promise<Running>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      const line = /^READY (.*)$/m.exec(out)?.[1];
      if (line !== undefined) resolve({ process: child, ...(JSON.parse(line) as Omit<Running, 'process'>) });
    });
  });
  return Promise.race([
    ready,
    ended.then(({ err }) => {
      throw new Error(`the chain did not start: ${err}`);
    }),
  ]);
}

type Block = { blockID: string; block_header: { raw_data: { number: number; timestamp: number } } };

async function ask(url: string, path: string, body: unknown = {}): Promise<Block> {
  const response = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
  return (await response.json()) as Block;
}

describe('the chain as a process', () => {
  it('comes back after kill -9 with every block that it ever showed', async () => {
    const seen = new Map<number, string>();
    let solidSeen = 0;
    for (let round = 0; round < 6; round++) {
      const running = await start();
      for (const [number, id] of seen) {
        expect((await ask(running.url, '/wallet/getblockbynum', { num: number })).blockID).toBe(id);
      }
      const solid = (await ask(running.url, '/walletsolidity/getnowblock')).block_header.raw_data.number;
      expect(solid).toBeGreaterThanOrEqual(solidSeen);
      const exited = once(running.process, 'exit');
      const killAt = performance.now() + 150 + 37 * round;
      try {
        for (;;) {
          const block = await ask(running.url, '/wallet/getnowblock');
          const { number } = block.block_header.raw_data;
          seen.set(number, block.blockID);
          solidSeen = (await ask(running.url, '/walletsolidity/getnowblock')).block_header.raw_data.number;
          if (performance.now() > killAt) running.process.kill('SIGKILL');
          await sleep(3);
        }
      } catch {
        // The connection broke off: it is dead.
      }
      await exited;
    }
    expect(seen.size).toBeGreaterThan(6);
  });

  it('ends with 0 on SIGTERM, and goes on where it was', async () => {
    const first = await start();
    const before = await ask(first.url, '/wallet/getnowblock');
    first.process.kill('SIGTERM');
    const [code] = (await once(first.process, 'exit')) as [number];
    expect(code).toBe(0);
    const again = await start();
    const after = await ask(again.url, '/wallet/getnowblock');
    expect(after.block_header.raw_data.number).toBeGreaterThanOrEqual(before.block_header.raw_data.number);
  });

  it('begins anew with --fresh', async () => {
    const first = await start();
    const old = await ask(first.url, '/wallet/getblockbynum', { num: 1 });
    first.process.kill('SIGTERM');
    await once(first.process, 'exit');
    const again = await start(['--fresh']);
    expect((await ask(again.url, '/wallet/getblockbynum', { num: 1 })).blockID).not.toBe(old.blockID);
  });

  it.each([
    [
      'another seed',
      ['--port', '0', '--seed', 'other'],
      /^devchain: the chain in .* was made with the seed "development".*\n$/,
    ],
    [
      'a bad interval',
      ['--port', '0', '--interval', '0'],
      /^devchain: --interval must be a number from 0\.05 .*\n$/,
    ],
    ['a flag that is none', ['--prot', '1'], /^devchain: Unknown option '--prot'.*\n$/],
  ])('refuses %s in one line and ends with 1', async (_what, args, line) => {
    const first = await start();
    first.process.kill('SIGTERM');
    await once(first.process, 'exit');
    const { code, err } = await launch(args).ended;
    expect(err).toMatch(line);
    expect(code).toBe(1);
  });

  it('refuses a busy port in one line, and leaves the data alone', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? String(address.port) : '';
    const { code, err } = await launch(['--port', port, '--fresh']).ended;
    server.close();
    expect(err).toBe(
      `devchain: port ${port} on 127.0.0.1 is in use: stop what listens there, or choose another port\n`,
    );
    expect(code).toBe(1);
  });

  it('keeps its own time with --clock-offset', async () => {
    const running = await start(['--clock-offset', '-3600']);
    const { timestamp } = (await ask(running.url, '/wallet/getnowblock')).block_header.raw_data;
    expect(Math.abs(Date.now() - 3_600_000 - timestamp)).toBeLessThan(60_000);
  });
});

it('a second chain on the same data is refused, on whatever ports, and the first goes on', async () => {
  const dataFolder = join(folder, 'locked');
  const first = await startDevChain({ dataFolder, intervalMs: null });
  try {
    await expect(startDevChain({ dataFolder, intervalMs: null })).rejects.toThrow(
      `a chain already runs on ${dataFolder} (pid ${process.pid})`,
    );
    await first.produceBlock();
  } finally {
    await first.close();
  }
  const next = await startDevChain({ dataFolder, intervalMs: null });
  await next.close();
});
