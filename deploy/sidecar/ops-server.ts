import { createServer, type Server } from 'node:http';
import type { FunctionName } from './config.ts';
import type { RequestTimeouts } from './function-server.ts';
import type { Metrics } from './metrics.ts';
import type { FunctionPool } from './pool.ts';

export interface OpsServerOptions {
  readonly pools: ReadonlyMap<FunctionName, FunctionPool>;
  readonly metrics: Metrics;
  readonly isDraining: () => boolean;
  readonly timeouts?: Partial<RequestTimeouts>;
}

/** Its requests are a few lines, and the process that answers them is the door. */
const REQUEST_MS_MAX = 10_000;
const CHECK_INTERVAL_MS = 1_000;
/**
 * Far more than probe and scrape at once, so that the container's probe finds a place; and few enough to take neither
 * memory nor descriptors from the door. One that sends nothing ends after `REQUEST_MS_MAX`.
 */
export const OPS_CONNECTIONS_MAX = 256;

/**
 * The sidecar's own `/health` and `/metrics`, apart from the functions' of the same names. `/health/live` tells that
 * the process answers, whatever is behind it: for who ends a process that does not.
 */
export function createOpsServer({ pools, metrics, isDraining, timeouts }: OpsServerOptions): Server {
  const patience = {
    headersTimeout: timeouts?.headersMs ?? REQUEST_MS_MAX,
    requestTimeout: timeouts?.requestMs ?? REQUEST_MS_MAX,
    connectionsCheckingInterval: timeouts?.checkIntervalMs ?? CHECK_INTERVAL_MS,
  };
  const server = createServer(patience, async (request, response) => {
    const path = request.url?.split('?', 1)[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else if (path === '/health') {
      const health = readHealth(pools, isDraining());
      response
        .writeHead(health.status === 'healthy' ? 200 : 503, {
          'content-type': 'application/json',
          'cache-control': 'no-store',
        })
        .end(JSON.stringify(health));
    } else if (path === '/health/live') {
      response.writeHead(200, { 'cache-control': 'no-store' }).end();
    } else if (path === '/metrics') {
      const text = await metrics.registry.metrics();
      response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(text);
    } else {
      response.writeHead(404).end();
    }
  });
  server.maxConnections = OPS_CONNECTIONS_MAX;
  return server;
}

interface Health {
  readonly status: 'healthy' | 'unhealthy';
  readonly reasons: readonly string[];
  readonly functions: Readonly<Record<string, object>>;
}

/** Healthy: it takes requests, and each function has an instance that lives. */
function readHealth(pools: ReadonlyMap<FunctionName, FunctionPool>, isDraining: boolean): Health {
  const reasons = isDraining ? ['shutting down'] : [];
  const functions: Record<string, object> = {};
  for (const [name, pool] of pools) {
    const counts = pool.counts();
    functions[name] = counts;
    if (counts.live === 0) reasons.push(`${name}: none of ${counts.known} known instances answers`);
  }
  return { status: reasons.length === 0 ? 'healthy' : 'unhealthy', reasons, functions };
}
