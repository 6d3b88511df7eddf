import { connectMongo } from '../../shared/adapters/mongo/connect.ts';
import { mongoPaymentReports } from '../../shared/adapters/mongo/payment-reports.ts';
import { systemClock } from '../../shared/adapters/system/system-clock.ts';
import { Authenticator } from '../../shared/runtime/auth.ts';
import { startFunction } from '../../shared/runtime/lambda.ts';
import { buildStatsApp } from './app.ts';

export const handler = await startFunction({
  name: 'stats',
  needs: ['callers', 'monitoringKey'],
  async build({ config }) {
    const { auth, circuit, feeLimitDailyMicro, limits, secrets, windows } = config;
    const { db } = connectMongo(config.mongo);
    return {
      app: buildStatsApp({
        reports: mongoPaymentReports(db),
        rules: { circuit, feeLimitDailyMicro, limits, windows },
        authenticator: new Authenticator({
          ...auth,
          callers: secrets.callers,
          monitoringKey: secrets.monitoringKey,
          nowMs: systemClock.nowMs,
        }),
      }),
    };
  },
});
