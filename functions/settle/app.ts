import { type App, createApp } from '../../shared/runtime/app.ts';
import type { Authenticator } from '../../shared/runtime/auth.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { type SettleReport, settle } from '../../shared/usecases/settle.ts';
import { SettleReportView } from './schema.ts';

export interface SettleAppParts {
  readonly engine: Engine;
  readonly authenticator: Authenticator;
  readonly logger: Logger;
}

// A run stops taking up payments early enough for its last one to be finished within the function's 30 s, be it
// by a walk of many blocks; the schedule brings the next run.
const RUN_MS_MAX = 10_000;
const PAYMENTS_MAX = 500;

/** Settles once, within bounds. */
export function settleOnce({ engine, logger }: Omit<SettleAppParts, 'authenticator'>): Promise<SettleReport> {
  const bounds = { deadlineMs: engine.clock.nowMs() + RUN_MS_MAX, paymentsMax: PAYMENTS_MAX };
  return settle(engine, bounds, (paymentId, error) =>
    logger.error({ paymentId, error }, 'a visit to a payment failed; it is visited again'),
  );
}

/** `POST /settle`: what the schedule does by itself, now. */
export function buildApp({ engine, authenticator, logger }: SettleAppParts): App {
  const app = createApp({ authenticator });
  app.post(
    '/settle',
    {
      config: { access: { scope: 'operate' } },
      schema: { summary: 'Settle now', response: { 200: SettleReportView } },
    },
    () => settleOnce({ engine, logger }),
  );
  return app;
}
