/**
 * beta-sidecar, the only door between the ops plane and the functions. Its settings are environment variables,
 * see `config.ts`.
 */
import type { Logger } from 'pino';
import { ConfigError, readConfig } from './config.ts';
import { createLogger, type Sidecar, startSidecar } from './sidecar.ts';

let logger: Logger = createLogger({ logLevel: 'info', serviceName: 'beta-sidecar', plane: 'wallet' });
try {
  const config = readConfig(process.env);
  logger = createLogger(config);
  const sidecar = await startSidecar(config, { logger });
  endOnSignals(sidecar);
  logger.info({ functionUrl: sidecar.functionUrl, opsUrl: sidecar.opsUrl }, 'listening');
} catch (error) {
  logger.fatal(explain(error));
  process.exit(1);
}

/** The first signal drains, a second one ends at once. */
function endOnSignals(sidecar: Sidecar): void {
  let asked = false;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (asked) process.exit(1);
    asked = true;
    logger.info({ signal }, 'asked to end');
    const drained = await sidecar.close();
    if (!drained) logger.error('the shutdown bound passed with requests under way');
    process.exit(drained ? 0 : 1);
  };
  process.on('SIGTERM', (signal) => void end(signal));
  process.on('SIGINT', (signal) => void end(signal));
}

/** One line for the one who starts it; what is not foreseen keeps its stack. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, port, address } = error as Error & { code?: string; port?: number; address?: string };
  if (code === 'EADDRINUSE')
    return `port ${port} on ${address} is in use; set SERVICE_PORT or OPS_PORT to a free one`;
  if (code !== undefined || error instanceof ConfigError || error.cause !== undefined) return error.message;
  return error.stack ?? error.message;
}
