import { systemClock } from '../../shared/adapters/system/system-clock.ts';
import { composeEngine } from '../../shared/composition/compose-engine.ts';
import { Authenticator } from '../../shared/runtime/auth.ts';
import { startFunction } from '../../shared/runtime/lambda.ts';
import { boundedSettler, buildApp } from './app.ts';

/** Lambda's entry: drives unfinished payments on, by schedule. */
export const handler = await startFunction({
  name: 'settle',
  needs: ['walletKey', 'encryptionKey', 'callers'],
  async build({ config, logger }) {
    const authenticator = new Authenticator({
      ...config.auth,
      callers: config.secrets.callers,
      monitoringKey: null,
      nowMs: systemClock.nowMs,
    });
    const settleOnce = boundedSettler(composeEngine(config), logger);
    return { app: buildApp({ settleOnce, authenticator }), onSchedule: settleOnce };
  },
});
