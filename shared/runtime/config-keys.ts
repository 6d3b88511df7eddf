import {
  address,
  amount,
  blockId,
  type Form,
  flag,
  httpUrl,
  httpUrls,
  integer,
  logLevel,
  mongoUrl,
  name,
  oneOf,
  path,
  paths,
  seconds,
  socksProxy,
} from './config-forms.ts';
import { TRON_NETWORKS } from './tron-networks.ts';

/** The files of the configuration folder. Each key has its place in exactly one of them. */
export const CONFIG_FILES = [
  'app_config.yaml',
  'tron_config.yaml',
  'circuit_breaker.yaml',
  'logging.yaml',
] as const;
export type ConfigFile = (typeof CONFIG_FILES)[number];

/** One setting: the file that may hold it, its form, and what stands where nobody sets it. */
export interface Key<T> {
  readonly file: ConfigFile;
  readonly form: Form<T>;
  /** `required`: somebody must set it. `null`: it may be absent. A text is read as if somebody had set it. */
  readonly otherwise: 'required' | null | { readonly text: string };
}

const required = <T>(file: ConfigFile, form: Form<T>): Key<T> => ({ file, form, otherwise: 'required' });
const optional = <T>(file: ConfigFile, form: Form<T>): Key<T | null> => ({ file, form, otherwise: null });
const standard = <T>(file: ConfigFile, form: Form<T>, text: string): Key<T> => ({
  file,
  form,
  otherwise: { text },
});

const APP = 'app_config.yaml';
const TRON = 'tron_config.yaml';
const BREAKER = 'circuit_breaker.yaml';
const LOGGING = 'logging.yaml';

/**
 * Every setting by the name of its environment variable; in a file it is spelt in lower case. What each one
 * means is told in `deploy/env.example`.
 */
export const KEYS = {
  // The safest is the standard: what nobody declared a test is production.
  LUCID_ENV: standard(APP, oneOf('production', 'development', 'test'), 'production'),
  SERVICE_NAME: standard(APP, name, 'tron-payment-service'),
  SERVICE_PORT: standard(APP, integer(1, 65_535), '8090'),
  API_GATEWAY_URL: standard(APP, httpUrl, 'http://api-gateway:8080'),
  STOP_FILE: optional(APP, path),
  PAYMENT_PAY_BY_SECONDS: standard(APP, seconds(5, 86_400), '3600'),
  PAYMENT_REVISIT_SECONDS: standard(APP, seconds(1, 300), '3'),
  PAYMENT_RECHECK_SECONDS: standard(APP, seconds(1, 86_400), '3600'),
  AUDIT_INTERVAL_SECONDS: standard(APP, seconds(1, 3_600), '60'),
  PAYMENT_MAX_USDT: optional(APP, amount('USDT')),
  PAYMENT_MAX_TRX: optional(APP, amount('TRX')),
  PAYMENT_APPROVAL_ABOVE_USDT: optional(APP, amount('USDT')),
  PAYMENT_APPROVAL_ABOVE_TRX: optional(APP, amount('TRX')),
  PAYMENT_APPROVE_BY_SECONDS: standard(APP, seconds(5, 604_800), '86400'),
  RECIPIENT_ALLOW_FILE: optional(APP, path),
  RECIPIENT_DENY_FILE: optional(APP, path),

  MONGO_URL: required(APP, mongoUrl),
  MONGO_DATABASE: standard(APP, name, 'lucid_payments'),
  MONGO_USERNAME: optional(APP, name),
  MONGO_PASSWORD_FILE: standard(APP, path, '/run/secrets/mongo_password'),
  MONGO_CONNECTION_TIMEOUT: standard(APP, seconds(1, 300), '30'),
  MONGO_SERVER_SELECTION_TIMEOUT: standard(APP, seconds(1, 300), '30'),
  MONGO_MAX_POOL_SIZE: standard(APP, integer(1, 100), '10'),

  INTERNAL_AUTH_SECRET_FILE: standard(APP, path, '/run/secrets/internal_auth_secret'),
  AUTH_POLICY_FILE: optional(APP, path),
  AUTH_AUDIENCE: standard(APP, name, 'tron-payment-service'),
  JWT_ALGORITHM: standard(APP, oneOf('HS256'), 'HS256'),
  JWT_EXPIRATION_HOURS: standard(APP, integer(1, 24, 'hours'), '24'),
  ENCRYPTION_KEY_FILE: standard(APP, path, '/run/secrets/encryption_key'),
  ENCRYPTION_KEY_OTHER_FILES: optional(APP, paths),
  MONITORING_API_KEY_FILE: optional(APP, path),

  TOR_ONLY: standard(APP, flag, 'true'),
  TOR_PROXY: standard(APP, socksProxy, 'socks5://tor-proxy:9050'),

  HEALTH_CHECK_INTERVAL: standard(APP, seconds(1, 3_600), '30'),
  HEALTH_CHECK_TIMEOUT: standard(APP, seconds(1, 300), '10'),
  HEALTH_CHECK_RETRIES: standard(APP, integer(1, 100), '3'),
  HEALTH_CHECK_START_PERIOD: standard(APP, seconds(0, 3_600), '40'),

  TRON_NETWORK: required(TRON, oneOf(...TRON_NETWORKS)),
  TRON_NODE_URL: required(TRON, httpUrl),
  TRON_FALLBACK_NODE_URLS: optional(TRON, httpUrls),
  TRON_API_KEY_FILE: optional(TRON, path),
  TRON_PRIVATE_KEY_FILE: standard(TRON, path, '/run/secrets/tron_private_key'),
  TRON_WALLET_ADDRESS: required(TRON, address),
  TRON_CONTRACT_ADDRESS: optional(TRON, address),
  TRON_GENESIS_BLOCK_ID: optional(TRON, blockId),
  TRON_CONFIRMATIONS_REQUIRED: standard(TRON, integer(1, 1_000, 'blocks'), '19'),
  TRON_TIMEOUT_SECONDS: standard(TRON, seconds(1, 120), '30'),
  TRON_EXPIRATION_SECONDS: standard(TRON, seconds(5, 3_600), '300'),
  TRON_EXPIRATION_MARGIN_SECONDS: standard(TRON, seconds(1, 3_600), '60'),
  TRON_FEE_LIMIT_MAX_TRX: standard(TRON, amount('TRX', 15_000_000_000n), '50'),
  WALLET_MINIMUM_TRX: standard(TRON, amount('TRX'), '100'),

  CIRCUIT_BREAKER_DAILY_LIMIT: standard(BREAKER, amount('USDT'), '10000'),
  CIRCUIT_BREAKER_HOURLY_LIMIT: standard(BREAKER, amount('USDT'), '1000'),
  CIRCUIT_BREAKER_TRX_DAILY_LIMIT: standard(BREAKER, amount('TRX'), '10000'),
  CIRCUIT_BREAKER_TRX_HOURLY_LIMIT: standard(BREAKER, amount('TRX'), '1000'),
  CIRCUIT_BREAKER_DAILY_FEE_LIMIT: standard(BREAKER, amount('TRX'), '10000'),
  CIRCUIT_BREAKER_FAILURE_THRESHOLD: standard(BREAKER, integer(1, 1_000), '5'),
  CIRCUIT_BREAKER_RECOVERY_TIMEOUT: standard(BREAKER, seconds(1, 86_400), '300'),
  CIRCUIT_BREAKER_HALF_OPEN_MAX_CALLS: standard(BREAKER, integer(1, 100), '3'),
  CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS: standard(BREAKER, seconds(1, 3_600), '3600'),
  CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS: standard(BREAKER, seconds(1, 86_400), '86400'),

  LOG_LEVEL: standard(LOGGING, logLevel, 'INFO'),
  LOG_FORMAT: standard(LOGGING, oneOf('json', 'text'), 'json'),
} as const satisfies Record<string, Key<unknown>>;

export type KeyName = keyof typeof KEYS;

/** The values of all keys, each with the type that its form reads. */
export type Values = { readonly [K in KeyName]: (typeof KEYS)[K] extends Key<infer T> ? T : never };

export const KEY_NAMES = Object.keys(KEYS) as readonly KeyName[];

/** How a key is spelt in its file. */
export function fileSpelling(key: KeyName): string {
  return key.toLowerCase();
}
