import { connectMongo } from '../../shared/adapters/mongo/connect.ts';
import { mongoPaymentReports } from '../../shared/adapters/mongo/payment-reports.ts';
import { systemClock } from '../../shared/adapters/system/system-clock.ts';
import { socksProbe } from '../../shared/adapters/system/tor-check.ts';
import { tronChainStatus } from '../../shared/adapters/tron/chain-status.ts';
import { composeNodes } from '../../shared/adapters/tron/compose-nodes.ts';
import { startFunction } from '../../shared/runtime/lambda.ts';
import { buildHealthApp } from './app.ts';

/** Who asks waits `HEALTH_CHECK_TIMEOUT`; the answer must be on its way before that. */
const SHARE_OF_TIMEOUT = 0.8;

export const handler = await startFunction({
  name: 'health',
  needs: [],
  async build({ config }) {
    const { health, mongo, tor, tron } = config;
    const deadlineMs = Math.floor(health.timeoutMs * SHARE_OF_TIMEOUT);
    const { db } = connectMongo({
      ...mongo,
      connectTimeoutMs: Math.min(mongo.connectTimeoutMs, deadlineMs),
      serverSelectionTimeoutMs: Math.min(mongo.serverSelectionTimeoutMs, deadlineMs),
    });
    return {
      app: buildHealthApp({
        reports: mongoPaymentReports(db),
        chain: tronChainStatus({
          // Each node gets its share, so that a silent one leaves time to ask the next.
          nodes: composeNodes(config, 'health', Math.floor(deadlineMs / tron.nodeUrls.length)),
          genesisBlockId: tron.genesisBlockId,
          usdtContract: tron.usdtContract,
        }),
        tor: tor.proxy === null ? null : socksProbe(tor.proxy, deadlineMs),
        clock: systemClock,
        circuit: config.circuit,
        wallet: tron.walletAddress,
        walletMinimumMicro: tron.walletMinimumMicro,
        deadlineMs,
      }),
    };
  },
});
