import { isIP } from 'node:net';

/** The functions behind the sidecar. Each has a pool of instances, a path space and a host name of its own. */
export const FUNCTION_NAMES = ['pay', 'settle', 'health', 'stats'] as const;
export type FunctionName = (typeof FUNCTION_NAMES)[number];

/** Where instances of one function answer: every address that `host` resolves to is one instance. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface SidecarConfig {
  readonly serviceName: string;
  /** The plane that the functions live on; a label for logs and metrics. */
  readonly plane: string;
  readonly logLevel: LogLevel;
  readonly bindAddress: string;
  /** Function URLs. 0 takes any free port. */
  readonly servicePort: number;
  /** The sidecar's own `/health` and `/metrics`. 0 takes any free port. */
  readonly opsPort: number;
  /** A function without endpoints is not deployed: its routes answer 404 and health does not ask for it. */
  readonly functions: Readonly<Record<FunctionName, readonly Endpoint[]>>;
  readonly aclPolicyFile: string;
  readonly settleIntervalMs: number;
  /** What the instances run with as `AWS_LAMBDA_FUNCTION_TIMEOUT`. */
  readonly functionTimeoutMs: number;
  /** Requests that may wait for an instance, for each function. */
  readonly queueMax: number;
  readonly queueTimeoutMs: number;
  /**
   * Keeps the mark by which an unclean end is known at the next start, so that it must outlive the process; and the
   * files by which instances are drained before they are removed.
   */
  readonly stateDir: string | undefined;
  readonly shutdownTimeoutMs: number;
}

/** Thrown by `readConfig`: every key that is wrong, not only the first. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`configuration is not usable: ${problems.join('; ')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/**
 * Reads the environment once.
 *
 * @throws ConfigError naming all wrong keys together.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): SidecarConfig {
  const problems: string[] = [];
  // An empty value is what compose passes for an unset variable.
  const text = (key: string): string | undefined => env[key]?.trim() || undefined;

  const integer = (key: string, fallback: number, min: number, max: number): number => {
    const value = text(key);
    if (value === undefined) return fallback;
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    problems.push(`${key} must be a whole number from ${min} to ${max}, not "${value}"`);
    return fallback;
  };

  const endpoints = (key: string): readonly Endpoint[] => {
    const value = text(key);
    if (value === undefined) {
      problems.push(`${key} is missing: host:port, or several separated by commas`);
      return [];
    }
    return value.split(',').flatMap((item) => {
      const endpoint = readEndpoint(item.trim());
      if (endpoint !== undefined) return [endpoint];
      problems.push(`${key} must be host:port, or several separated by commas, not "${item.trim()}"`);
      return [];
    });
  };

  const bindAddress = text('BIND_ADDRESS') ?? '0.0.0.0';
  if (isIP(bindAddress) === 0) problems.push(`BIND_ADDRESS must be an IP address, not "${bindAddress}"`);

  const level = (text('LOG_LEVEL') ?? 'info').toLowerCase();
  const logLevel = LOG_LEVELS.find((known) => known === level);
  if (logLevel === undefined)
    problems.push(`LOG_LEVEL must be one of ${LOG_LEVELS.join(', ')}, not "${level}"`);

  const aclPolicyFile = text('ACL_POLICY_FILE');
  if (aclPolicyFile === undefined) problems.push('ACL_POLICY_FILE is missing');

  const servicePort = integer('SERVICE_PORT', 8090, 0, 65_535);
  const opsPort = integer('OPS_PORT', 8080, 0, 65_535);
  if (servicePort !== 0 && servicePort === opsPort) problems.push('SERVICE_PORT and OPS_PORT must differ');

  const functionTimeoutMs = integer('FUNCTION_TIMEOUT_SECONDS', 30, 1, 900) * 1_000;
  const functions: Record<FunctionName, readonly Endpoint[]> = {
    pay: endpoints('FUNCTION_PAY'),
    settle: endpoints('FUNCTION_SETTLE'),
    health: endpoints('FUNCTION_HEALTH'),
    stats: endpoints('FUNCTION_STATS'),
  };
  // Two pools that share an instance would invoke it twice at once, which ends it.
  const owners = new Map<string, FunctionName>();
  for (const name of FUNCTION_NAMES) {
    for (const { host, port } of functions[name]) {
      const address = `${host}:${port}`;
      const owner = owners.get(address);
      if (owner !== undefined && owner !== name)
        problems.push(`${address} cannot serve ${owner} and ${name}`);
      owners.set(address, name);
    }
  }

  const config: SidecarConfig = {
    serviceName: text('SERVICE_NAME') ?? 'beta-sidecar',
    plane: text('PLANE') ?? 'wallet',
    logLevel: logLevel ?? 'info',
    bindAddress,
    servicePort,
    opsPort,
    functions,
    aclPolicyFile: aclPolicyFile ?? '',
    settleIntervalMs: integer('SETTLE_INTERVAL_MS', 10_000, 100, 3_600_000),
    functionTimeoutMs,
    queueMax: integer('QUEUE_MAX', 100, 0, 10_000),
    queueTimeoutMs: integer('QUEUE_TIMEOUT_MS', 5_000, 1, 900_000),
    stateDir: text('STATE_DIR'),
    shutdownTimeoutMs: integer('SHUTDOWN_TIMEOUT_MS', functionTimeoutMs + 5_000, 0, 999_999_999),
  };
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config);
}

/** `host:port` or `[v6]:port`; undefined when it is neither. */
function readEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)):(\d{1,5})$/.exec(
    text,
  );
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port >= 1 && port <= 65_535)) return undefined;
  if (match?.[1] !== undefined && isIP(host) !== 6) return undefined;
  return { host, port };
}
