/**
 * `node deploy/planes/scripts/validate-resources.ts`: each container's limits, as the kernel holds them, beside those
 * of the compose files, and what it uses of them: memory, processes, its folders of logs and its temporary ones. Ends
 * with exit code 1 where a limit differs. Linux; the kernel's own numbers need root.
 */
import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Container, listRunning } from '../containers.ts';
import type { Planes } from '../planes.ts';
import { formatTable, runScript } from './command.ts';

export interface ResourceUse {
  readonly container: string;
  readonly memory: { readonly asked: number; readonly held: number; readonly used: number };
  /** Cores; and how many periods of 100 ms they were withheld in, since the container started. */
  readonly cpus: { readonly asked: number; readonly held: number; readonly throttled: number };
  readonly pids: { readonly asked: number; readonly held: number; readonly used: number };
  readonly logBytes: number;
  readonly tmpBytes: number;
  readonly differences: readonly string[];
}

interface ComposeService {
  readonly deploy?: {
    readonly resources?: {
      readonly limits?: { readonly memory?: string; readonly cpus?: number | string; readonly pids?: number };
    };
  };
  readonly volumes?: readonly { readonly source?: string; readonly target: string }[];
  /** `FOLDER:OPTIONS` */
  readonly tmpfs?: readonly string[];
}

/** Reads all running containers. */
export async function readResources(planes: Planes): Promise<readonly ResourceUse[]> {
  const text = await planes.engine.compose(['config', '--format', 'json']);
  const { services } = JSON.parse(text) as { readonly services: Readonly<Record<string, ComposeService>> };
  const running = await listRunning(planes);
  return running.map((container) => readOne(container, services[container.service] ?? {}));
}

function readOne(container: Container, { deploy, volumes = [], tmpfs = [] }: ComposeService): ResourceUse {
  const limits = deploy?.resources?.limits ?? {};
  const asked = {
    memory: Number(limits.memory ?? 0),
    cpus: Number(limits.cpus ?? 0),
    pids: Number(limits.pids ?? 0),
  };
  const kernel = readKernel(container);
  const differences = (['memory', 'cpus', 'pids'] as const).flatMap((name) =>
    kernel[name] === asked[name]
      ? []
      : [`${name}: ${asked[name]} is asked for, the kernel holds ${kernel[name]}`],
  );
  const logs = volumes.find(({ target }) => target === '/app/logs')?.source;
  return {
    container: container.name,
    memory: { asked: asked.memory, held: kernel.memory, used: kernel.memoryUsed },
    cpus: { asked: asked.cpus, held: kernel.cpus, throttled: kernel.cpuThrottled },
    pids: { asked: asked.pids, held: kernel.pids, used: kernel.pidsUsed },
    logBytes: logs === undefined ? 0 : folderBytes(logs),
    tmpBytes: tmpfs
      .map((mount) => usedBytes(`/proc/${container.pid}/root${mount.split(':', 1)[0]}`))
      .reduce((sum, bytes) => sum + bytes, 0),
    differences,
  };
}

/** What the kernel holds a container to, and what it has used. */
export interface KernelAccount {
  readonly memory: number;
  readonly memoryUsed: number;
  /** Cores. */
  readonly cpus: number;
  readonly cpuUsedMs: number;
  /** In how many periods it had used up its time. */
  readonly cpuThrottled: number;
  readonly pids: number;
  readonly pidsUsed: number;
}

/** By cgroup version 2 or, on older machines, 1. */
export function readKernel({ pid, limits }: Container): KernelAccount {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
  const unified = lines.find((line) => line.startsWith('0::'))?.slice('0::'.length);
  const root = '/sys/fs/cgroup';
  if (unified !== undefined && existsSync(join(root, unified, 'memory.max'))) {
    const read = (file: string) => readFileSync(join(root, unified, file), 'utf8').trim();
    const [quota = 'max', period = '1'] = read('cpu.max').split(' ');
    const time = read('cpu.stat');
    return {
      memory: Number(read('memory.max')),
      memoryUsed: Number(read('memory.current')),
      cpus: quota === 'max' ? 0 : Number(quota) / Number(period),
      cpuUsedMs: fieldOf(time, 'usage_usec') / 1e3,
      cpuThrottled: fieldOf(time, 'nr_throttled'),
      pids: Number(read('pids.max')),
      pidsUsed: Number(read('pids.current')),
    };
  }
  const readText = (controller: string, file: string): string => {
    const line = lines.find((entry) => (entry.split(':')[1] ?? '').split(',').includes(controller));
    const path = join(root, controller, line?.split(':').slice(2).join(':') ?? '', file);
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : 'NaN';
  };
  const read = (controller: string, file: string): number => Number(readText(controller, file));
  return {
    memory: read('memory', 'memory.limit_in_bytes'),
    memoryUsed: read('memory', 'memory.usage_in_bytes'),
    // A kernel that has no quotas for processor time holds none; then what the engine was told has to do.
    cpus: read('cpu', 'cpu.cfs_quota_us') / read('cpu', 'cpu.cfs_period_us') || limits.nanoCpus / 1e9,
    cpuUsedMs: read('cpuacct', 'cpuacct.usage') / 1e6,
    cpuThrottled: fieldOf(readText('cpu', 'cpu.stat'), 'nr_throttled'),
    pids: read('pids', 'pids.max'),
    pidsUsed: read('pids', 'pids.current'),
  };
}

/** Of a file with a name and a number a line. */
function fieldOf(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

function folderBytes(folder: string): number {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(folder, entry.name)).size, 0);
}

function usedBytes(path: string): number {
  const { blocks, bfree, bsize } = statfsSync(path);
  return (blocks - bfree) * bsize;
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)}M`;

if (import.meta.main) {
  await runScript('validate-resources', async (planes, print) => {
    const uses = await readResources(planes);
    print(
      formatTable([
        ['container', 'memory', 'of', 'cpus', 'throttled', 'pids', 'of', 'logs', 'tmp'],
        ...uses.map(({ container, memory, cpus, pids, logBytes, tmpBytes }) => [
          ...[container, mebibytes(memory.used), mebibytes(memory.held), String(cpus.held)],
          ...[
            String(cpus.throttled),
            String(pids.used),
            String(pids.held),
            mebibytes(logBytes),
            mebibytes(tmpBytes),
          ],
        ]),
      ]),
    );
    const differences = uses.flatMap(({ container, differences }) =>
      differences.map((text) => `${container}: ${text}`),
    );
    for (const difference of differences) print(`✘ ${difference}`);
    if (uses.length === 0) print('nothing is running');
    return uses.length > 0 && differences.length === 0;
  });
}
