import { composeEnvironment } from '../../deploy/local/environment.ts';
import { ensureDevelopmentSecrets, putSecret } from '../../deploy/local/secrets.ts';
import { addressOfKey } from '../../shared/adapters/tron/tron-signer.ts';
import type { ConfigWith } from '../../shared/runtime/config.ts';
import type { Stage } from './stage.ts';

export const ENGINE_NEEDS = ['walletKey', 'encryptionKey', 'callers'] as const;
export type EngineConfig = ConfigWith<(typeof ENGINE_NEEDS)[number]>;

/** Somebody; nobody's account on any chain. */
export const RECIPIENT = 'TDaDHQxnFPamQVVeptVogMJzoacHDpMXSo';

const WALLET_KEY = `${'0'.repeat(63)}1`;
/** USDT on the main net: a well-formed contract address. */
const CONTRACT = 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t';
/** So that no run comes near a limit. */
const LIMIT = '1000000000';

/** What `pay` sees as its environment, with keys of nobody's. */
export function engineEnvironment(
  stage: Stage,
  at: {
    readonly mongoUrl: string;
    readonly database: string;
    readonly nodeUrl: string;
    readonly genesisBlockId: string;
  },
): Record<string, string> {
  const folder = stage.makeFolder('secrets');
  const environment = composeEnvironment('pay', {
    network: 'private',
    nodeUrl: at.nodeUrl,
    genesisBlockId: at.genesisBlockId,
    usdtAddress: CONTRACT,
    walletAddress: addressOfKey(WALLET_KEY) ?? '',
    walletKeyFile: putSecret(folder, 'wallet_key', WALLET_KEY),
    torProxy: undefined,
    lucidEnv: 'development',
    configDir: folder,
    secrets: ensureDevelopmentSecrets(folder),
    mongoUrl: at.mongoUrl,
    settings: {
      CIRCUIT_BREAKER_HOURLY_LIMIT: LIMIT,
      CIRCUIT_BREAKER_DAILY_LIMIT: LIMIT,
      CIRCUIT_BREAKER_DAILY_FEE_LIMIT: LIMIT,
    },
  });
  return { ...environment, MONGO_DATABASE: at.database };
}
