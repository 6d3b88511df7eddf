/**
 * What each function sees as its environment. The keys are told in `deploy/env.example`; this is the one place
 * where the local stack and the function tests compose them. A function gets the secrets that it needs and no
 * others: the wallet's key goes to `pay` and `settle` alone.
 */
import type { Need } from '../../shared/runtime/config.ts';
import { KEY_NAMES } from '../../shared/runtime/config-keys.ts';
import type { TronNetwork } from '../../shared/runtime/tron-networks.ts';
import type { SecretFiles } from './secrets.ts';

export const FUNCTION_NAMES = ['pay', 'settle', 'health', 'stats'] as const;
export type FunctionName = (typeof FUNCTION_NAMES)[number];

/** The secrets that each function asks for, as its handler says. */
export const FUNCTION_NEEDS: Readonly<Record<FunctionName, readonly Need[]>> = {
  pay: ['walletKey', 'encryptionKey', 'callers'],
  settle: ['walletKey', 'encryptionKey', 'callers'],
  health: [],
  stats: ['callers', 'monitoringKey'],
};

export const AUTH_AUDIENCE = 'tron-payment-service';
export const MONGO_DATABASE = 'lucid_payments';

/** The network that the stack pays on. */
export type NetworkFacts = {
  readonly network: TronNetwork;
  readonly nodeUrl: string;
  readonly genesisBlockId: string;
  readonly usdtAddress: string;
  readonly walletAddress: string;
  readonly walletKeyFile: string;
  /** Undefined for a node on loopback. */
  readonly torProxy: string | undefined;
};

export type EnvironmentInput = NetworkFacts & {
  readonly lucidEnv: 'production' | 'development' | 'test';
  /** Folder with the four YAML files; an absent file sets nothing. */
  readonly configDir: string;
  readonly secrets: SecretFiles;
  /** As the operator's `ENCRYPTION_KEY_OTHER_FILES` says it, while the key of the database is being replaced. */
  readonly otherEncryptionKeyFiles?: string | undefined;
  readonly mongoUrl: string;
  /** Settings that nothing here decides, such as a limit. */
  readonly settings: Readonly<Record<string, string>>;
};

/** Whatever runs on the same machine answers soon or not at all; well within the time of an invocation. */
const LOCAL_SETTINGS: Readonly<Record<string, string>> = {
  MONGO_CONNECTION_TIMEOUT: '5',
  MONGO_SERVER_SELECTION_TIMEOUT: '5',
};

/** The standards are a public network's. Here a block is as final as the solid head says, and nobody waits long. */
const PRIVATE_NETWORK_SETTINGS: Readonly<Record<string, string>> = {
  TRON_CONFIRMATIONS_REQUIRED: '1',
  TRON_TIMEOUT_SECONDS: '10',
  PAYMENT_REVISIT_SECONDS: '1',
  CIRCUIT_BREAKER_RECOVERY_TIMEOUT: '10',
};

export function composeEnvironment(name: FunctionName, input: EnvironmentInput): Record<string, string> {
  const paysOut = name === 'pay' || name === 'settle';
  const common = {
    LUCID_ENV: input.lucidEnv,
    SERVICE_NAME: 'tron-payment-service',
    CONFIG_DIR: input.configDir,
    MONGO_URL: input.mongoUrl,
    MONGO_DATABASE,
    TRON_NETWORK: input.network,
    TRON_NODE_URL: input.nodeUrl,
    TRON_GENESIS_BLOCK_ID: input.genesisBlockId,
    TRON_CONTRACT_ADDRESS: input.usdtAddress,
    TRON_WALLET_ADDRESS: input.walletAddress,
    TOR_ONLY: String(input.torProxy !== undefined),
    ...(input.torProxy === undefined ? {} : { TOR_PROXY: input.torProxy }),
  };
  const auth = {
    AUTH_AUDIENCE,
    INTERNAL_AUTH_SECRET_FILE: input.secrets.internalAuth,
    ...(input.secrets.authPolicy === undefined ? {} : { AUTH_POLICY_FILE: input.secrets.authPolicy }),
  };
  const wallet = {
    TRON_PRIVATE_KEY_FILE: input.walletKeyFile,
    ENCRYPTION_KEY_FILE: input.secrets.encryptionKey,
    ...(input.otherEncryptionKeyFiles ? { ENCRYPTION_KEY_OTHER_FILES: input.otherEncryptionKeyFiles } : {}),
  };
  return {
    ...LOCAL_SETTINGS,
    ...(input.network === 'private' ? PRIVATE_NETWORK_SETTINGS : {}),
    ...input.settings,
    ...common,
    ...(name === 'health' ? {} : auth),
    ...(name === 'stats' ? { MONITORING_API_KEY_FILE: input.secrets.monitoringApiKey } : {}),
    ...(paysOut ? wallet : {}),
  };
}

/**
 * The settings of an operator's own environment (`CIRCUIT_BREAKER_HOURLY_LIMIT=5 npm start`), for the functions.
 * What the stack composes itself wins over them.
 */
export function settingsOf(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const key of KEY_NAMES) {
    const text = env[key];
    // Each function gets those secrets alone that it needs: from `composeEnvironment`.
    if (text && !FUNCTION_SECRETS.includes(key)) settings[key] = text;
  }
  return settings;
}

const FUNCTION_SECRETS: readonly string[] = [
  'TRON_PRIVATE_KEY_FILE',
  'ENCRYPTION_KEY_FILE',
  'ENCRYPTION_KEY_OTHER_FILES',
  'INTERNAL_AUTH_SECRET_FILE',
  'AUTH_POLICY_FILE',
  'MONITORING_API_KEY_FILE',
];
