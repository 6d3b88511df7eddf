import { join } from 'node:path';
import type { AmountPolicy } from '../domain/amount-policy.ts';
import type { CircuitRules } from '../domain/circuit.ts';
import type { AssetLimits, LimitWindows } from '../domain/limits.ts';
import type { Asset } from '../domain/money.ts';
import type { TronAddress } from '../domain/tron-address.ts';
import { ConfigError, type ConfigProblem } from './config-error.ts';
import type { ProxyAddress } from './config-forms.ts';
import { KEY_NAMES, KEYS, type KeyName, type Values } from './config-keys.ts';
import { feeReserveMicro, judgeTogether, nodeUrls } from './config-rules.ts';
import { type Callers, type EncryptionKeys, SecretReader } from './config-secrets.ts';
import { type Environment, readSources, type Sources } from './config-sources.ts';
import type { Secret } from './secret.ts';
import { diskFiles, type FileReader } from './secret-files.ts';
import { NETWORK_FACTS, type TronNetwork } from './tron-networks.ts';

/** The secrets that a function can ask for. Each is given to those alone that need it. */
export interface Secrets {
  /** The wallet's private key: 64 lower-case hex characters. */
  readonly walletKey: Secret;
  /** The keys for signed bytes at rest. */
  readonly encryptionKey: EncryptionKeys;
  /** Who may call, with which secrets and scopes. */
  readonly callers: Callers;
  /** The key that Prometheus shows for `/metrics` and `/stats`; null where none is set. */
  readonly monitoringKey: Secret | null;
}
export type Need = keyof Secrets;

/** Everything that can be set, read and checked once a cold start, and frozen. Times are milliseconds. */
export interface Config {
  readonly environment: 'production' | 'development' | 'test';
  readonly service: { readonly name: string; readonly port: number; readonly apiGatewayUrl: string };
  readonly log: {
    readonly level: 'debug' | 'info' | 'warn' | 'error' | 'fatal';
    readonly format: 'json' | 'text';
  };
  readonly payments: {
    /** How long after its acceptance a payment may still be tried. */
    readonly payByMs: number;
    /** The pause between two visits of `settle` to one unfinished payment. */
    readonly revisitMs: number;
    /** While this file is there, no new payment is taken or signed. */
    readonly stopFile: string;
    /** How long after its end a payment whose attempts never landed is looked at once more. */
    readonly recheckMs: number;
    /** The pause between two audits of the books and the wallet. */
    readonly auditIntervalMs: number;
    /** How long a payment waits for approval. */
    readonly approveByMs: number;
    readonly amounts: AmountPolicy;
    readonly recipients: { readonly allow: string | null; readonly deny: string | null };
  };
  readonly tron: {
    readonly network: TronNetwork;
    /** The first is the one that is asked; the others witness, and stand in. */
    readonly nodeUrls: readonly string[];
    /** For TronGrid nodes only; must go to no other host. */
    readonly apiKey: Secret | null;
    readonly walletAddress: TronAddress;
    readonly usdtContract: TronAddress;
    /** 64 lower-case hex characters. */
    readonly genesisBlockId: string;
    readonly confirmationsRequired: number;
    /** How long one call of the network may take, over all the nodes and rounds that it needs. */
    readonly timeoutMs: number;
    /** How far ahead a transaction's expiration is set. */
    readonly expirationMs: number;
    /** How far past its expiration a solid head must be before absence proves anything. */
    readonly expirationMarginMs: number;
    /** The most TRX, in sun, that one payment's `fee_limit` may say. */
    readonly feeLimitMaxMicro: bigint;
    /** The most that one payment may burn in all, in sun. */
    readonly feeReserveMicro: bigint;
    /** Health warns below this balance of TRX, in sun. */
    readonly walletMinimumMicro: bigint;
  };
  readonly tor: {
    /**
     * The SOCKS5 proxy that every byte to a node goes through, names included; null only where all nodes stand
     * on this machine or a private network and this is not production.
     */
    readonly proxy: ProxyAddress | null;
  };
  readonly mongo: {
    /** Without user name and password. */
    readonly url: string;
    readonly database: string;
    readonly credentials: { readonly username: string; readonly password: Secret } | null;
    readonly connectTimeoutMs: number;
    readonly serverSelectionTimeoutMs: number;
    readonly maxPoolSize: number;
  };
  readonly auth: { readonly audience: string; readonly tokenLifetimeMaxSeconds: number };
  readonly circuit: CircuitRules;
  readonly limits: Readonly<Record<Asset, AssetLimits>>;
  readonly windows: LimitWindows;
  /** The cap of all fees over a rolling day, in sun. */
  readonly feeLimitDailyMicro: bigint;
  readonly health: {
    readonly intervalMs: number;
    readonly timeoutMs: number;
    readonly retries: number;
    readonly startPeriodMs: number;
  };
  /** What is allowed but unwise; logged once a cold start. */
  readonly warnings: readonly string[];
}

/** The configuration of a function that needs these secrets and sees no others. */
export type ConfigWith<N extends Need> = Config & { readonly secrets: Pick<Secrets, N> };

const CONFIG_DIR_DEFAULT = '/app/configs';

/**
 * A half-open call is dialled in the first half of its permit's life, or not at all, and ends within the second: each
 * half is longer than a call by this much.
 */
const PERMIT_SPARE_MS = 15_000;

/**
 * Reads all of the configuration: the environment, the YAML files of `CONFIG_DIR`, and the secret files.
 * @param options.needs the secrets that this function uses; the files of others are not even opened
 * @throws ConfigError naming every problem at once, and no value
 */
export function readConfig<const N extends Need>(
  env: Environment,
  options: { readonly needs: readonly N[]; readonly files?: FileReader },
): ConfigWith<N> {
  const files = options.files ?? diskFiles;
  const configDir = env.CONFIG_DIR || CONFIG_DIR_DEFAULT;
  const sources = readSources(env, configDir, files);
  const { values, problems } = readValues(sources);
  const reader = new SecretReader(files, values.LUCID_ENV !== 'development' && values.LUCID_ENV !== 'test');
  const secrets = readSecrets(values, options.needs, reader);
  const all = [
    ...sources.problems,
    ...problems,
    ...judgeTogether(values),
    ...reader.problems,
    ...judgeSecrets(values, secrets),
  ];
  // Without a problem every value was read; this is the one place where that is put into words for the compiler.
  if (all.length > 0) throw new ConfigError(all);
  const config = assemble(values as Values, configDir, secrets, [...sources.warnings, ...reader.warnings]);
  return deepFreeze({ ...config, secrets: secrets.wanted as Pick<Secrets, N> });
}

function readValues(sources: Sources): { values: Partial<Values>; problems: ConfigProblem[] } {
  const values: Partial<Record<KeyName, unknown>> = {};
  const problems: ConfigProblem[] = [];
  for (const key of KEY_NAMES) {
    const { form, otherwise } = KEYS[key];
    const set = sources.texts.get(key);
    if (set === undefined) {
      if (otherwise === 'required') problems.push({ key, problem: 'is not set', needs: form.needs });
      else values[key] = otherwise === null ? null : form.read(otherwise.text);
      continue;
    }
    const value = form.read(set.text);
    if (value === undefined) {
      problems.push({ key, problem: `(from ${set.source}) is malformed`, needs: form.needs });
    } else values[key] = value;
  }
  return { values: values as Partial<Values>, problems };
}

interface ReadSecrets {
  readonly wanted: Partial<Secrets>;
  readonly mongoPassword: Secret | undefined;
  readonly tronApiKey: Secret | undefined;
}

/** A path that could not be read is reported already; its secret is passed over. */
function readSecrets(values: Partial<Values>, needs: readonly Need[], reader: SecretReader): ReadSecrets {
  const wanted: { -readonly [K in Need]?: Secrets[K] } = {};
  if (needs.includes('walletKey') && values.TRON_PRIVATE_KEY_FILE !== undefined) {
    const key = reader.readWalletKey('TRON_PRIVATE_KEY_FILE', values.TRON_PRIVATE_KEY_FILE);
    if (key !== undefined) wanted.walletKey = key;
  }
  if (needs.includes('encryptionKey') && values.ENCRYPTION_KEY_FILE !== undefined) {
    const keys = reader.readEncryptionKeys(
      values.ENCRYPTION_KEY_FILE,
      values.ENCRYPTION_KEY_OTHER_FILES ?? [],
    );
    if (keys !== undefined) wanted.encryptionKey = keys;
  }
  if (
    needs.includes('callers') &&
    values.AUTH_POLICY_FILE !== undefined &&
    values.INTERNAL_AUTH_SECRET_FILE !== undefined
  ) {
    wanted.callers = reader.readCallers(values.AUTH_POLICY_FILE, values.INTERNAL_AUTH_SECRET_FILE);
  }
  if (needs.includes('monitoringKey')) {
    wanted.monitoringKey = values.MONITORING_API_KEY_FILE
      ? (reader.readTextSecret('MONITORING_API_KEY_FILE', values.MONITORING_API_KEY_FILE, 32) ?? null)
      : null;
  }
  return {
    wanted,
    mongoPassword:
      values.MONGO_USERNAME && values.MONGO_PASSWORD_FILE
        ? reader.readTextSecret('MONGO_PASSWORD_FILE', values.MONGO_PASSWORD_FILE, 12)
        : undefined,
    tronApiKey: values.TRON_API_KEY_FILE
      ? reader.readTextSecret('TRON_API_KEY_FILE', values.TRON_API_KEY_FILE, 8)
      : undefined,
  };
}

/** One secret for two purposes: whoever must be given it for the one has it for the other, too. */
function judgeSecrets(values: Partial<Values>, secrets: ReadSecrets): ConfigProblem[] {
  const { wanted, mongoPassword, tronApiKey } = secrets;
  const { current, others = [] } = wanted.encryptionKey ?? {};
  const callersKey = values.AUTH_POLICY_FILE ? 'AUTH_POLICY_FILE' : 'INTERNAL_AUTH_SECRET_FILE';
  const purposes: readonly (readonly [string, readonly (Secret | null | undefined)[]])[] = [
    ['TRON_PRIVATE_KEY_FILE', [wanted.walletKey]],
    ['ENCRYPTION_KEY_FILE', [current]],
    ['ENCRYPTION_KEY_OTHER_FILES', others],
    [callersKey, Object.values(wanted.callers ?? {}).flatMap((caller) => caller.secrets)],
    ['MONITORING_API_KEY_FILE', [wanted.monitoringKey]],
    ['MONGO_PASSWORD_FILE', [mongoPassword]],
    ['TRON_API_KEY_FILE', [tronApiKey]],
  ];
  const owners = new Map<string, string>();
  return purposes.flatMap(([key, held]) => {
    // In either case of its letters a key in hex is the same.
    const texts = held.flatMap((secret) => (secret ? [secret.reveal().toLowerCase()] : []));
    const shared = texts.map((text) => owners.get(text)).filter((owner) => owner !== undefined);
    for (const text of texts) owners.set(text, key);
    return shared.map((owner) => ({
      key,
      problem: `holds the same as ${owner}`,
      needs: 'a secret of its own',
    }));
  });
}

function assemble(
  values: Values,
  configDir: string,
  secrets: ReadSecrets,
  warnings: readonly string[],
): Config {
  const facts = NETWORK_FACTS[values.TRON_NETWORK];
  return {
    environment: values.LUCID_ENV,
    service: { name: values.SERVICE_NAME, port: values.SERVICE_PORT, apiGatewayUrl: values.API_GATEWAY_URL },
    log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
    payments: {
      payByMs: values.PAYMENT_PAY_BY_SECONDS,
      revisitMs: values.PAYMENT_REVISIT_SECONDS,
      stopFile: values.STOP_FILE ?? join(configDir, 'STOP'),
      recheckMs: values.PAYMENT_RECHECK_SECONDS,
      auditIntervalMs: values.AUDIT_INTERVAL_SECONDS,
      approveByMs: values.PAYMENT_APPROVE_BY_SECONDS,
      amounts: {
        maxMicro: { USDT: values.PAYMENT_MAX_USDT, TRX: values.PAYMENT_MAX_TRX },
        approvalAboveMicro: {
          USDT: values.PAYMENT_APPROVAL_ABOVE_USDT,
          TRX: values.PAYMENT_APPROVAL_ABOVE_TRX,
        },
      },
      recipients: { allow: values.RECIPIENT_ALLOW_FILE, deny: values.RECIPIENT_DENY_FILE },
    },
    tron: {
      network: values.TRON_NETWORK,
      nodeUrls: nodeUrls(values),
      apiKey: secrets.tronApiKey ?? null,
      walletAddress: values.TRON_WALLET_ADDRESS,
      // One of the two is there: `judgeTogether` saw to it.
      usdtContract: values.TRON_CONTRACT_ADDRESS ?? (facts.usdtContract as TronAddress),
      genesisBlockId: values.TRON_GENESIS_BLOCK_ID ?? (facts.genesisBlockId as string),
      confirmationsRequired: values.TRON_CONFIRMATIONS_REQUIRED,
      timeoutMs: values.TRON_TIMEOUT_SECONDS,
      expirationMs: values.TRON_EXPIRATION_SECONDS,
      expirationMarginMs: values.TRON_EXPIRATION_MARGIN_SECONDS,
      feeLimitMaxMicro: values.TRON_FEE_LIMIT_MAX_TRX,
      feeReserveMicro: feeReserveMicro(values),
      walletMinimumMicro: values.WALLET_MINIMUM_TRX,
    },
    tor: { proxy: values.TOR_ONLY ? values.TOR_PROXY : null },
    mongo: {
      url: values.MONGO_URL,
      database: values.MONGO_DATABASE,
      credentials:
        values.MONGO_USERNAME === null || secrets.mongoPassword === undefined
          ? null
          : { username: values.MONGO_USERNAME, password: secrets.mongoPassword },
      connectTimeoutMs: values.MONGO_CONNECTION_TIMEOUT,
      serverSelectionTimeoutMs: values.MONGO_SERVER_SELECTION_TIMEOUT,
      maxPoolSize: values.MONGO_MAX_POOL_SIZE,
    },
    auth: { audience: values.AUTH_AUDIENCE, tokenLifetimeMaxSeconds: values.JWT_EXPIRATION_HOURS * 3600 },
    circuit: {
      failureThreshold: values.CIRCUIT_BREAKER_FAILURE_THRESHOLD,
      recoveryTimeoutMs: values.CIRCUIT_BREAKER_RECOVERY_TIMEOUT,
      halfOpenMaxCalls: values.CIRCUIT_BREAKER_HALF_OPEN_MAX_CALLS,
      permitMs: 2 * (values.TRON_TIMEOUT_SECONDS + PERMIT_SPARE_MS),
    },
    limits: {
      USDT: {
        hourlyMicro: values.CIRCUIT_BREAKER_HOURLY_LIMIT,
        dailyMicro: values.CIRCUIT_BREAKER_DAILY_LIMIT,
      },
      TRX: {
        hourlyMicro: values.CIRCUIT_BREAKER_TRX_HOURLY_LIMIT,
        dailyMicro: values.CIRCUIT_BREAKER_TRX_DAILY_LIMIT,
      },
    },
    feeLimitDailyMicro: values.CIRCUIT_BREAKER_DAILY_FEE_LIMIT,
    windows: {
      hourMs: values.CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS,
      dayMs: values.CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS,
    },
    health: {
      intervalMs: values.HEALTH_CHECK_INTERVAL,
      timeoutMs: values.HEALTH_CHECK_TIMEOUT,
      retries: values.HEALTH_CHECK_RETRIES,
      startPeriodMs: values.HEALTH_CHECK_START_PERIOD,
    },
    warnings,
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
