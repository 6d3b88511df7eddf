import { systemClock } from '../../shared/adapters/system/system-clock.ts';
import { composePayments } from '../../shared/composition/compose-engine.ts';
import { Authenticator } from '../../shared/runtime/auth.ts';
import { startFunction } from '../../shared/runtime/lambda.ts';
import { buildApp } from './app.ts';

/** Lambda's entry: takes payments. */
export const handler = await startFunction({
  name: 'pay',
  needs: ['walletKey', 'encryptionKey', 'callers'],
  async build({ config }) {
    const authenticator = new Authenticator({
      ...config.auth,
      callers: config.secrets.callers,
      monitoringKey: null,
      nowMs: systemClock.nowMs,
    });
    return { app: buildApp({ ...composePayments(config), authenticator }) };
  },
});
