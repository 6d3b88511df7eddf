/** The planes' containers as the engine sees them. */
import type { Planes } from './planes.ts';

/** Docker's own words for how a container is. */
export type Health = 'none' | 'starting' | 'healthy' | 'unhealthy';

export interface Container {
  readonly id: string;
  readonly name: string;
  /** As compose.yaml names it. */
  readonly service: string;
  readonly image: string;
  readonly isRunning: boolean;
  readonly exitCode: number;
  readonly health: Health;
  /** Of its first process, on this machine; 0 while it is not running. */
  readonly pid: number;
  readonly restarts: number;
  readonly createdAtMs: number;
  readonly startedAtMs: number;
  /** Network → its address there. */
  readonly addresses: Readonly<Record<string, string>>;
  readonly limits: { readonly memoryBytes: number; readonly nanoCpus: number; readonly pids: number };
}

interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly RestartCount: number;
  readonly Created: string;
  readonly Config: { readonly Image: string; readonly Labels: Readonly<Record<string, string>> };
  readonly State: {
    readonly Running: boolean;
    readonly ExitCode: number;
    readonly Pid: number;
    readonly StartedAt: string;
    readonly Health?: { readonly Status: Health };
  };
  readonly HostConfig: {
    readonly Memory: number;
    readonly NanoCpus: number;
    readonly PidsLimit: number | null;
  };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>> };
}

/** All containers of the planes, ended ones among them; or those of one service. */
export async function listContainers(planes: Planes, service?: string): Promise<readonly Container[]> {
  return inspectContainers(planes, await planes.engine.containers(service));
}

/** These containers, as they are now. */
export async function inspectContainers(
  planes: Planes,
  ids: readonly string[],
): Promise<readonly Container[]> {
  const found = await planes.engine.inspect<Inspected>(ids);
  return found.map(({ Id, Name, RestartCount, Created, Config, State, HostConfig, NetworkSettings }) => ({
    id: Id,
    name: Name.replace(/^\//, ''),
    service: Config.Labels['com.docker.compose.service'] ?? '',
    image: Config.Image,
    isRunning: State.Running,
    exitCode: State.ExitCode,
    health: State.Health?.Status ?? 'none',
    pid: State.Pid,
    restarts: RestartCount,
    createdAtMs: Date.parse(Created),
    startedAtMs: Date.parse(State.StartedAt),
    addresses: Object.fromEntries(
      Object.entries(NetworkSettings.Networks).map(([name, { IPAddress }]) => [name, IPAddress]),
    ),
    limits: {
      memoryBytes: HostConfig.Memory,
      nanoCpus: HostConfig.NanoCpus,
      pids: HostConfig.PidsLimit ?? 0,
    },
  }));
}

/** Those that run now. */
export async function listRunning(planes: Planes, service?: string): Promise<readonly Container[]> {
  return (await listContainers(planes, service)).filter(({ isRunning }) => isRunning);
}

/** Where the function URLs answer on the ops plane. On Linux the machine itself reaches that bridge. */
export async function sidecarUrls(
  planes: Planes,
): Promise<{ readonly functionUrl: string; readonly opsUrl: string }> {
  const { addresses } = await planes.requireRunning();
  const address = addresses.lucid_ops_plane;
  return { functionUrl: `http://${address}:8090`, opsUrl: `http://${address}:8080` };
}
