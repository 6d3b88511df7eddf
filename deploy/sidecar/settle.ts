import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { buildScheduledEvent, traceIdOf } from './event.ts';
import { invokeFunction } from './invoke.ts';
import type { Metrics } from './metrics.ts';
import type { FunctionPool } from './pool.ts';
import { readResult } from './response.ts';
import type { RunReason } from './schedule.ts';

export interface SettleOptions {
  readonly pool: FunctionPool;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Invokes `settle` once, as EventBridge would. Never throws: what goes wrong is logged and counted. */
export async function runSettle({ pool, logger, metrics }: SettleOptions, reason: RunReason): Promise<void> {
  const id = randomUUID();
  const nowMs = Date.now();
  const startedAtMs = performance.now();
  const outcome = await invokeFunction(pool, buildScheduledEvent(id, nowMs), traceIdOf(id, nowMs));
  const durationMs = Math.round(performance.now() - startedAtMs);
  if (outcome.kind !== 'answered') {
    metrics.countSettleRun(reason, outcome.kind === 'refused' ? outcome.reason : outcome.kind);
    logger.warn({ eventId: id, reason: outcome.reason }, 'settle did not run to its end');
    return;
  }
  metrics.observeInvoke('settle', durationMs);
  const result = readResult(outcome.answer);
  if (result.kind === 'failure') {
    metrics.countSettleRun(reason, result.code);
    logger.warn({ eventId: id, durationMs, code: result.code, reason: result.reason }, 'settle failed');
    return;
  }
  metrics.countSettleRun(reason, 'ok');
  logger.debug({ eventId: id, durationMs, report: result.value }, 'settle ran');
}
