import type { Logger } from 'pino';
import { pino } from 'pino';
import { openAclFile } from './acl-file.ts';
import { FUNCTION_NAMES, type FunctionName, type SidecarConfig } from './config.ts';
import { followDraining } from './draining.ts';
import { Fleet, type FleetOptions } from './fleet.ts';
import { FunctionServer, type FunctionServerOptions, listen } from './function-server.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { createOpsServer } from './ops-server.ts';
import { FunctionPool } from './pool.ts';
import { connectRie } from './rie-client.ts';
import { setRunMark } from './run-mark.ts';
import { startSchedule } from './schedule.ts';
import { runSettle } from './settle.ts';

export interface Sidecar {
  readonly functionUrl: string;
  readonly opsUrl: string;
  /**
   * Drains: no new requests, those under way and queued are finished within the configured bound. Answers
   * whether all of them were.
   */
  close(): Promise<boolean>;
}

/** What a test replaces; production uses the defaults. */
export interface SidecarDeps
  extends Partial<Pick<FleetOptions, 'resolve' | 'resolveIntervalMs' | 'probeIntervalMs'>> {
  readonly logger?: Logger;
  readonly timeouts?: FunctionServerOptions['timeouts'];
  readonly aclPollIntervalMs?: number;
}

/** @throws when a port is taken, the policy is broken or `stateDir` cannot be written. */
export async function startSidecar(config: SidecarConfig, deps: SidecarDeps = {}): Promise<Sidecar> {
  const logger = deps.logger ?? createLogger(config);
  let metrics: Metrics | undefined;
  const acl = openAclFile(config.aclPolicyFile, {
    logger,
    onReload: (outcome) => metrics?.countAclReload(outcome),
    ...(deps.aclPollIntervalMs === undefined ? {} : { pollIntervalMs: deps.aclPollIntervalMs }),
  });
  const releases: (() => void)[] = [acl.close];
  const releaseAll = (): void => {
    for (const release of releases.reverse()) release();
    releases.length = 0;
  };

  try {
    const runMark = setRunMark(config.stateDir);
    if (runMark.foundUnclean) {
      logger.warn(
        { waitMs: config.functionTimeoutMs },
        'the last run ended uncleanly, its invokes may still be running',
      );
    }
    const pools = createPools(config, runMark.foundUnclean, logger);
    releases.push(() => {
      for (const pool of pools.values()) pool.destroy();
    });
    metrics = createMetrics(pools);
    if (config.stateDir !== undefined) {
      releases.push(followDraining(config.stateDir, { pools, logger }));
    }

    const fleet = new Fleet({ pools, endpoints: config.functions, logger, ...deps });
    releases.push(() => fleet.stop());
    await fleet.start();

    const settlePool = pools.get('settle');
    const settleOptions = settlePool && { pool: settlePool, logger, metrics };
    const schedule =
      settleOptions && startSchedule(config.settleIntervalMs, (reason) => runSettle(settleOptions, reason));
    releases.push(() => void schedule?.stop());

    const timeouts = deps.timeouts === undefined ? {} : { timeouts: deps.timeouts };
    const functions = new FunctionServer({
      pools,
      acl,
      logger,
      metrics,
      onAccepted: () => schedule?.kick(),
      ...timeouts,
    });
    let draining = false;
    const ops = createOpsServer({
      pools,
      metrics,
      isDraining: () => draining,
      ...timeouts,
    });
    releases.push(() => {
      for (const server of [functions.server, ops]) {
        server.close();
        server.closeAllConnections();
      }
    });
    const functionPort = await listen(functions.server, config.servicePort, config.bindAddress);
    const opsPort = await listen(ops, config.opsPort, config.bindAddress);

    const close = async (): Promise<boolean> => {
      draining = true;
      logger.info('draining');
      const ended = [functions.drain(), schedule?.stop()].map((end) => Promise.resolve(end));
      const drained = await within(
        config.shutdownTimeoutMs,
        Promise.all(ended).then(() => Promise.all([...pools.values()].map((pool) => pool.drain()))),
      );
      // Whatever clients have not read yet: the pools take no lease from here on.
      if ([...pools.values()].every((pool) => pool.isQuiet())) runMark.clear();
      releaseAll();
      logger.info({ drained }, 'closed');
      return drained;
    };
    let closing: Promise<boolean> | undefined;
    return {
      functionUrl: `http://${urlHost(config.bindAddress)}:${functionPort}`,
      opsUrl: `http://${urlHost(config.bindAddress)}:${opsPort}`,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    releaseAll();
    throw error;
  }
}

/**
 * Lines wait for up to a tenth of a second, to be written together: a system call for each would cost a request
 * about as much as its routing, access check and event do. Pino writes what waits when the process exits.
 */
export function createLogger(config: Pick<SidecarConfig, 'logLevel' | 'serviceName' | 'plane'>): Logger {
  return pino(
    {
      level: config.logLevel,
      base: { part: 'beta-sidecar', service: config.serviceName, plane: config.plane },
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    pino.destination({ sync: false, minLength: 4_096, periodicFlush: 100 }),
  );
}

function createPools(config: SidecarConfig, hold: boolean, logger: Logger): Map<FunctionName, FunctionPool> {
  const nowMs = (): number => performance.now();
  const holdUntilMs = hold ? nowMs() + config.functionTimeoutMs : 0;
  const deployed = FUNCTION_NAMES.filter((name) => config.functions[name].length > 0);
  return new Map(
    deployed.map((functionName) => [
      functionName,
      new FunctionPool({
        functionName,
        functionTimeoutMs: config.functionTimeoutMs,
        queueMax: config.queueMax,
        queueTimeoutMs: config.queueTimeoutMs,
        connect: (address) => connectRie(address, config.functionTimeoutMs),
        onForeign: (address) =>
          logger.warn({ function: functionName, address }, 'an instance of another function answers here'),
        nowMs,
        holdUntilMs,
      }),
    ]),
  );
}

async function within(boundMs: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), boundMs);
  });
  const done = await Promise.race([work.then(() => true), bound]);
  clearTimeout(timer);
  return done;
}

/** A URL that reaches a server bound to this address from the same machine. */
function urlHost(bindAddress: string): string {
  if (bindAddress === '0.0.0.0') return '127.0.0.1';
  if (bindAddress === '::') return '[::1]';
  return bindAddress.includes(':') ? `[${bindAddress}]` : bindAddress;
}
