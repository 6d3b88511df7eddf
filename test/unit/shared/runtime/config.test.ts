import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../../shared/runtime/config.ts';
import { ConfigError } from '../../../../shared/runtime/config-error.ts';
import { CONFIG_FILES, fileSpelling, KEY_NAMES, KEYS } from '../../../../shared/runtime/config-keys.ts';
import type { Environment } from '../../../../shared/runtime/config-sources.ts';
import {
  DEVELOPMENT_ENCRYPTION_KEYS,
  DEVELOPMENT_SECRET_PREFIX,
  DEVELOPMENT_WALLET_ADDRESSES,
} from '../../../../shared/runtime/development-keys.ts';
import type { FileReader } from '../../../../shared/runtime/secret-files.ts';

const ROOT = join(import.meta.dirname, '../../../..');
const WALLET = 'TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH';
const MAINNET_USDT = 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t';
const OTHER_CONTRACT = 'TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf';
const GENESIS = 'ab'.repeat(32);

type Files = Record<string, string>;

const SECRETS: Files = {
  '/run/secrets/tron_private_key': `${'1f'.repeat(32)}\n`,
  '/run/secrets/internal_auth_secret': 'an-internal-auth-secret-of-32-bytes-or-more\n',
  '/run/secrets/encryption_key': `${'2e'.repeat(32)}\n`,
  '/run/secrets/mongo_password': 'a-mongo-password\n',
};

function reader(files: Files, worldReadable: readonly string[] = []): FileReader {
  return {
    read: (path) => {
      const text = files[path];
      return text === undefined ? null : { text, worldReadable: worldReadable.includes(path) };
    },
  };
}

/** A production on main net with nothing wrong. */
const PRODUCTION: Environment = {
  MONGO_URL: 'mongodb://mongo:27017/?replicaSet=rs0',
  MONGO_USERNAME: 'lucid',
  TRON_NETWORK: 'mainnet',
  TRON_NODE_URL: 'https://api.trongrid.io',
  TRON_WALLET_ADDRESS: WALLET,
};

/** A development stack on one machine with nothing wrong. */
const DEVELOPMENT: Environment = {
  LUCID_ENV: 'development',
  MONGO_URL: 'mongodb://127.0.0.1:27017/?directConnection=true',
  TRON_NETWORK: 'private',
  TRON_NODE_URL: 'http://127.0.0.1:9090',
  TRON_WALLET_ADDRESS: WALLET,
  TRON_CONTRACT_ADDRESS: OTHER_CONTRACT,
  TRON_GENESIS_BLOCK_ID: GENESIS,
  TOR_ONLY: 'false',
};

const ALL_NEEDS = ['walletKey', 'encryptionKey', 'callers', 'monitoringKey'] as const;

function read(env: Environment, files: Files = SECRETS) {
  return readConfig(env, { needs: ALL_NEEDS, files: reader(files) });
}

function problemsOf(env: Environment, files: Files = SECRETS): ConfigError {
  try {
    read(env, files);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('nothing was found wrong');
}

const keysOf = (error: ConfigError) => error.problems.map(({ key }) => key);

describe('a configuration with nothing wrong', () => {
  it('needs no more than what nobody else can know', () => {
    const config = read(PRODUCTION);
    expect(config).toMatchObject({
      environment: 'production',
      tron: {
        nodeUrls: ['https://api.trongrid.io'],
        usdtContract: MAINNET_USDT,
        confirmationsRequired: 19,
        timeoutMs: 30_000,
        feeLimitMaxMicro: 50_000_000n,
        apiKey: null,
      },
      tor: { proxy: { host: 'tor-proxy', port: 9050 } },
      mongo: { database: 'lucid_payments', maxPoolSize: 10, connectTimeoutMs: 30_000 },
      payments: { payByMs: 3_600_000, stopFile: '/app/configs/STOP' },
      auth: { audience: 'tron-payment-service', tokenLifetimeMaxSeconds: 86_400 },
      circuit: { failureThreshold: 5, recoveryTimeoutMs: 300_000, halfOpenMaxCalls: 3 },
      limits: { USDT: { hourlyMicro: 1_000_000_000n, dailyMicro: 10_000_000_000n } },
      windows: { hourMs: 3_600_000, dayMs: 86_400_000 },
      warnings: [],
    });
    expect(config.mongo.credentials?.password.reveal()).toBe('a-mongo-password');
    expect(config.secrets.walletKey.reveal()).toBe('1f'.repeat(32));
    expect(config.secrets.callers).toMatchObject({ gateway: { scopes: ['pay', 'read'] } });
    expect(config.secrets.monitoringKey).toBeNull();
  });

  it('may do without Tor on one machine, outside production', () => {
    expect(read(DEVELOPMENT).tor.proxy).toBeNull();
  });

  it('cannot be changed, however deep', () => {
    const config = read(PRODUCTION);
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      expect(Object.isFrozen(value)).toBe(true);
      for (const member of Object.values(value)) walk(member);
    };
    walk(config);
  });

  it('lets a permit outlive the call that it is for', () => {
    const config = read({ ...PRODUCTION, TRON_TIMEOUT_SECONDS: '100' });
    // It is begun in the first half of the permit's life.
    expect(config.circuit.permitMs / 2).toBeGreaterThan(config.tron.timeoutMs);
  });

  it('shows no secret when it is printed', () => {
    const printed = JSON.stringify(read(PRODUCTION), (_key, value) =>
      typeof value === 'bigint' ? `${value}` : value,
    );
    for (const text of Object.values(SECRETS)) expect(printed).not.toContain(text.trim());
  });
});

describe('the secrets', () => {
  it('are read only by a function that needs them', () => {
    const opened: string[] = [];
    const files: FileReader = {
      read: (path) => {
        opened.push(path);
        return reader(SECRETS).read(path);
      },
    };
    const config = readConfig(PRODUCTION, { needs: [], files });
    expect(config.secrets).toEqual({});
    expect(opened.filter((path) => path.startsWith('/run/secrets'))).toEqual(['/run/secrets/mongo_password']);
  });

  it.each<[string, string, string, RegExp]>([
    ['TRON_PRIVATE_KEY_FILE', '/run/secrets/tron_private_key', 'xyz', /is no private key/],
    ['TRON_PRIVATE_KEY_FILE', '/run/secrets/tron_private_key', '0'.repeat(64), /is no private key/],
    ['TRON_PRIVATE_KEY_FILE', '/run/secrets/tron_private_key', '', /which is empty/],
    ['TRON_PRIVATE_KEY_FILE', '/run/secrets/tron_private_key', '\n', /which is empty/],
    ['ENCRYPTION_KEY_FILE', '/run/secrets/encryption_key', '2e'.repeat(31), /is not 32 bytes/],
    ['ENCRYPTION_KEY_FILE', '/run/secrets/encryption_key', 'a'.repeat(44), /is not 32 bytes/],
    ['INTERNAL_AUTH_SECRET_FILE', '/run/secrets/internal_auth_secret', 'x'.repeat(31), /is too short/],
    [
      'INTERNAL_AUTH_SECRET_FILE',
      '/run/secrets/internal_auth_secret',
      `${'x'.repeat(40)}\ny`,
      /more than one line/,
    ],
    ['MONGO_PASSWORD_FILE', '/run/secrets/mongo_password', 'lucid', /is too short/],
  ])('%s names a file that does not hold one (%s, case %#)', (key, path, text, problem) => {
    const error = problemsOf(PRODUCTION, { ...SECRETS, [path]: text });
    expect(keysOf(error)).toEqual([key]);
    expect(error.problems[0]?.problem).toMatch(problem);
    if (text.trim() !== '') expect(error.message).not.toContain(text);
  });

  it('that are not there are all named, with where they were looked for', () => {
    const error = problemsOf(PRODUCTION, {});
    expect(keysOf(error).sort()).toEqual([
      'ENCRYPTION_KEY_FILE',
      'INTERNAL_AUTH_SECRET_FILE',
      'MONGO_PASSWORD_FILE',
      'TRON_PRIVATE_KEY_FILE',
    ]);
    expect(error.message).toContain('/run/secrets/tron_private_key, which is not there');
  });

  it('that cannot be read say why', () => {
    const denied = Object.assign(new Error('EACCES: permission denied, open …'), { code: 'EACCES' });
    const files: FileReader = {
      read: (path) => {
        if (path === '/run/secrets/encryption_key') throw denied;
        return reader(SECRETS).read(path);
      },
    };
    expect(() => readConfig(PRODUCTION, { needs: ALL_NEEDS, files })).toThrow(
      /ENCRYPTION_KEY_FILE names .*, but this process may not read it/,
    );
  });

  it('may end with a newline, of either kind', () => {
    for (const end of ['', '\n', '\r\n']) {
      const path = '/run/secrets/tron_private_key';
      const config = read(PRODUCTION, { ...SECRETS, [path]: `${'1F'.repeat(32)}${end}` });
      expect(config.secrets.walletKey.reveal()).toBe('1f'.repeat(32));
    }
  });

  it('may be an encryption key in base64', () => {
    const base64 = Buffer.from('2e'.repeat(32), 'hex').toString('base64');
    const config = read(PRODUCTION, { ...SECRETS, '/run/secrets/encryption_key': base64 });
    expect(config.secrets.encryptionKey.current.reveal()).toBe('2e'.repeat(32));
  });

  it('may be more encryption keys, which only open', () => {
    const others = { '/s/old': `${'3D'.repeat(32)}\n`, '/s/next': '4c'.repeat(32) };
    const env = { ...PRODUCTION, ENCRYPTION_KEY_OTHER_FILES: '/s/old, /s/next' };
    const { encryptionKey } = read(env, { ...SECRETS, ...others }).secrets;
    expect(encryptionKey.current.reveal()).toBe('2e'.repeat(32));
    expect(encryptionKey.others.map((key) => key.reveal())).toEqual(['3d'.repeat(32), '4c'.repeat(32)]);
    expect(read(PRODUCTION).secrets.encryptionKey.others).toEqual([]);
  });

  it('that are no further encryption keys are all named, and what they hold is not', () => {
    const files = {
      ...SECRETS,
      '/s/short': '3d'.repeat(31),
      '/s/current': '2E'.repeat(32),
      '/s/old': '3d'.repeat(32),
      '/s/again': Buffer.from('3d'.repeat(32), 'hex').toString('base64'),
      '/s/development': DEVELOPMENT_ENCRYPTION_KEYS[0] ?? '',
    };
    const named = ['/s/none', '/s/short', '/s/current', '/s/old', '/s/again', '/s/development'];
    const error = problemsOf({ ...PRODUCTION, ENCRYPTION_KEY_OTHER_FILES: named.join(',') }, files);
    expect(error.problems.map(({ key, problem }) => [key, problem])).toEqual([
      ['ENCRYPTION_KEY_OTHER_FILES: /s/none', 'names /s/none, which is not there'],
      ['ENCRYPTION_KEY_OTHER_FILES: /s/short', 'is not 32 bytes'],
      ['ENCRYPTION_KEY_OTHER_FILES: /s/current', 'holds a key that is named already'],
      ['ENCRYPTION_KEY_OTHER_FILES: /s/again', 'holds a key that is named already'],
      ['ENCRYPTION_KEY_OTHER_FILES: /s/development', 'is the well-known development key'],
    ]);
    expect(error.message).not.toMatch(/3d3d|2e2e|PT09/i);
  });

  it.each<[string, string, string, Environment]>([
    ['ENCRYPTION_KEY_FILE', 'TRON_PRIVATE_KEY_FILE', '/run/secrets/encryption_key', {}],
    ['INTERNAL_AUTH_SECRET_FILE', 'TRON_PRIVATE_KEY_FILE', '/run/secrets/internal_auth_secret', {}],
    ['MONGO_PASSWORD_FILE', 'TRON_PRIVATE_KEY_FILE', '/run/secrets/mongo_password', {}],
    ['ENCRYPTION_KEY_OTHER_FILES', 'TRON_PRIVATE_KEY_FILE', '/s/x', { ENCRYPTION_KEY_OTHER_FILES: '/s/x' }],
    ['MONITORING_API_KEY_FILE', 'TRON_PRIVATE_KEY_FILE', '/s/x', { MONITORING_API_KEY_FILE: '/s/x' }],
    ['TRON_API_KEY_FILE', 'TRON_PRIVATE_KEY_FILE', '/s/x', { TRON_API_KEY_FILE: '/s/x' }],
  ])('serve one purpose each: %s may not hold what %s does', (key, owner, path, env) => {
    const error = problemsOf({ ...PRODUCTION, ...env }, { ...SECRETS, [path]: '1F'.repeat(32) });
    expect(error.problems).toEqual([
      { key, problem: `holds the same as ${owner}`, needs: 'a secret of its own' },
    ]);
  });

  it("may not be a monitoring key that is also a caller's", () => {
    const text = SECRETS['/run/secrets/internal_auth_secret'] ?? '';
    const error = problemsOf(
      { ...PRODUCTION, MONITORING_API_KEY_FILE: '/s/x' },
      { ...SECRETS, '/s/x': text },
    );
    expect(error.message).toContain('MONITORING_API_KEY_FILE holds the same as INTERNAL_AUTH_SECRET_FILE');
    expect(error.message).not.toContain(text.trim());
  });

  it('that everybody can read are warned of', () => {
    const files = reader(SECRETS, ['/run/secrets/tron_private_key']);
    expect(readConfig(PRODUCTION, { needs: ALL_NEEDS, files }).warnings).toEqual([
      'TRON_PRIVATE_KEY_FILE: every user of this machine can read /run/secrets/tron_private_key',
    ]);
  });
});

describe('the policy of callers', () => {
  const env = { ...PRODUCTION, AUTH_POLICY_FILE: '/app/configs/auth_policy.yaml' };
  const withPolicy = (policy: string): Files => ({
    ...SECRETS,
    '/app/configs/auth_policy.yaml': policy,
    '/s/one': 'the-first-secret-of-thirty-two-bytes-or-more',
    '/s/two': 'the-second-secret-of-thirty-two-bytes-or-more',
  });

  it('gives each caller its secrets and scopes', () => {
    const policy = `
callers:
  gateway: {scopes: [pay, read]}
  operator: {secretFiles: [/s/one, /s/two], scopes: [operate, approve]}`;
    const { callers } = read(env, withPolicy(policy)).secrets;
    expect(Object.keys(callers)).toEqual(['gateway', 'operator']);
    expect(callers.operator?.scopes).toEqual(['operate', 'approve']);
    expect(callers.operator?.secrets.map((secret) => secret.reveal().slice(0, 10))).toEqual([
      'the-first-',
      'the-second',
    ]);
    expect(callers.gateway?.secrets[0]?.reveal()).toContain('an-internal');
    expect(callers.constructor).toBeUndefined();
  });

  it('need not change while a secret is being changed: a second file that is not there is none', () => {
    const policy = 'callers: {operator: {secretFiles: [/s/one, /s/none], scopes: [operate]}}';
    expect(read(env, withPolicy(policy)).secrets.callers.operator?.secrets).toHaveLength(1);
    const wrong = { ...withPolicy(policy), '/s/none': 'short' };
    expect(problemsOf(env, wrong).message).toMatch(/operator: \/s\/none.* is too short/);
  });

  it.each<[string, string, RegExp]>([
    ['no YAML', 'callers: {', /names no callers/],
    ['no callers', 'callers: {}', /names no callers/],
    ['another member', 'callers: {gateway: {scopes: [pay]}}\nother: 1', /names no callers/],
    ['an unknown scope', 'callers: {gateway: {scopes: [pay, root]}}', /wrong scopes/],
    ['no scope', 'callers: {gateway: {scopes: []}}', /wrong scopes/],
    ['no secret', 'callers: {operator: {scopes: [pay]}}', /has no secretFiles/],
    [
      'three secrets',
      'callers: {o: {secretFiles: [/s/one, /s/two, /s/three], scopes: [pay]}}',
      /is not a caller/,
    ],
    ['a misspelt member', 'callers: {o: {secretFile: [/s/one], scopes: [pay]}}', /is not a caller/],
    [
      'a name that no log should carry',
      'callers: {"a b\\n": {secretFiles: [/s/one], scopes: [pay]}}',
      /is not a caller/,
    ],
    [
      'a secret that is not there',
      'callers: {o: {secretFiles: [/s/none, /s/one], scopes: [pay]}}',
      /which is not there/,
    ],
    [
      'one secret for two callers',
      'callers: {a: {secretFiles: [/s/one], scopes: [pay]}, b: {secretFiles: [/s/one], scopes: [read]}}',
      /AUTH_POLICY_FILE: b shares a secret with a/,
    ],
    [
      'one secret twice',
      'callers: {a: {secretFiles: [/s/one, /s/one], scopes: [pay]}}',
      /the same secret twice/,
    ],
  ])('is refused with %s', (_case, policy, problem) => {
    expect(problemsOf(env, withPolicy(policy)).message).toMatch(problem);
  });
});

describe('the files', () => {
  const withFile = (name: string, text: string): Files => ({ ...SECRETS, [`/app/configs/${name}`]: text });

  it('set what the environment does not, which wins', () => {
    const text = 'circuit_breaker_daily_limit: 10000.10\ncircuit_breaker_hourly_limit: 7\n';
    const { limits } = read(
      { ...PRODUCTION, CIRCUIT_BREAKER_HOURLY_LIMIT: '8' },
      withFile('circuit_breaker.yaml', text),
    );
    expect(limits.USDT).toEqual({ dailyMicro: 10_000_100_000n, hourlyMicro: 8_000_000n });
  });

  it('may write lists as lists', () => {
    const text = 'tron_fallback_node_urls:\n  - https://a.example\n  - https://b.example/\n';
    expect(read(PRODUCTION, withFile('tron_config.yaml', text)).tron.nodeUrls).toEqual([
      'https://api.trongrid.io',
      'https://a.example',
      'https://b.example',
    ]);
  });

  it('do not count an empty variable as one that is set', () => {
    const { log } = read({ ...PRODUCTION, LOG_LEVEL: '' }, withFile('logging.yaml', 'log_level: ERROR'));
    expect(log.level).toBe('error');
  });

  it.each<[string, string, string, RegExp]>([
    ['is no YAML', 'logging.yaml', 'log_level: [', /logging.yaml is not valid YAML/],
    ['is no mapping', 'logging.yaml', '- log_level', /logging.yaml is not a mapping/],
    [
      'gives a key twice',
      'logging.yaml',
      'log_level: INFO\nlog_level: DEBUG',
      /logging.yaml is not valid YAML/,
    ],
    [
      'misspells a key',
      'circuit_breaker.yaml',
      'circuit_breaker_daily_limt: 5',
      /circuit_breaker_daily_limt is not a key; it needs a known key; circuit_breaker_daily_limit is the nearest/,
    ],
    [
      'has a key of another file',
      'logging.yaml',
      'tron_network: nile',
      /TRON_NETWORK stands in logging.yaml; it needs its place in tron_config.yaml/,
    ],
    [
      'nests a value',
      'logging.yaml',
      'log_level: {is: INFO}',
      /LOG_LEVEL \(in logging.yaml\) is not a single value/,
    ],
    [
      'has a value of another form',
      'logging.yaml',
      'log_level: LOUD',
      /LOG_LEVEL \(from logging.yaml\) is malformed/,
    ],
  ])('are refused when one %s', (_case, name, text, problem) => {
    expect(problemsOf(PRODUCTION, withFile(name, text)).message).toMatch(problem);
  });

  it('that ship with the deployment are right but for the wallet and the user of the database', () => {
    const folder = join(ROOT, 'deploy/planes/configs/tron-payment');
    const shipped = Object.fromEntries(
      [...CONFIG_FILES, 'auth_policy.yaml'].map((name) => [
        `/app/configs/${name}`,
        readFileSync(join(folder, name), 'utf8'),
      ]),
    );
    const files = {
      ...SECRETS,
      ...shipped,
      '/run/secrets/api_keys/monitoring_api_key': 'm'.repeat(40),
      '/run/secrets/operator_secret': 'o'.repeat(40),
      '/run/secrets/approver_secret': 'a'.repeat(40),
    };
    // The one nobody else can know; the other is another one for each function.
    expect(keysOf(problemsOf({}, files)).sort()).toEqual(['MONGO_USERNAME', 'TRON_WALLET_ADDRESS']);
    const config = read({ TRON_WALLET_ADDRESS: WALLET, MONGO_USERNAME: 'lucid' }, files);
    expect(config.environment).toBe('production');
  });

  it('that ship with the deployment name every key, set or in a comment', () => {
    const folder = join(ROOT, 'deploy/planes/configs/tron-payment');
    for (const file of CONFIG_FILES) {
      const text = readFileSync(join(folder, file), 'utf8');
      const named = [...text.matchAll(/^(?:# )?([a-z_]+):(?: |$)/gm)].map((match) => match[1]);
      const expected = KEY_NAMES.filter((key) => KEYS[key].file === file).map(fileSpelling);
      expect(named.filter((name) => expected.includes(name ?? '')).sort()).toEqual(expected.sort());
    }
  });
});

describe('deploy/env.example', () => {
  it('lists exactly the keys that are read, each with its standard value', () => {
    const text = readFileSync(join(ROOT, 'deploy/env.example'), 'utf8');
    const listed = new Map([...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map((match) => [match[1], match[2]]));
    expect([...listed.keys()].sort()).toEqual([...KEY_NAMES, 'CONFIG_DIR'].sort());
    for (const key of KEY_NAMES) {
      const { otherwise } = KEYS[key];
      if (otherwise !== null && otherwise !== 'required')
        expect([key, listed.get(key)]).toEqual([key, otherwise.text]);
    }
  });
});

describe('what is malformed', () => {
  /** For each key texts that do not fit it. */
  const WRONG: Partial<Record<(typeof KEY_NAMES)[number], readonly string[]>> = {
    LUCID_ENV: ['prod', 'PRODUCTION'],
    SERVICE_NAME: ['a b', '-a', 'ä'],
    SERVICE_PORT: ['0', '65536', '80.5', '-1', '1e3', '0x50'],
    API_GATEWAY_URL: ['api-gateway:8080', 'ftp://a', 'http://u:p@a'],
    STOP_FILE: ['STOP', './STOP'],
    PAYMENT_PAY_BY_SECONDS: ['4', '86401', '1h'],
    PAYMENT_RECHECK_SECONDS: ['0', '86401'],
    PAYMENT_APPROVE_BY_SECONDS: ['4', '604801'],
    PAYMENT_MAX_USDT: ['-1', '1e3'],
    PAYMENT_APPROVAL_ABOVE_TRX: ['1,000'],
    RECIPIENT_ALLOW_FILE: ['allow.txt'],
    RECIPIENT_DENY_FILE: ['./deny.txt'],
    CIRCUIT_BREAKER_DAILY_FEE_LIMIT: ['none', '1.0000001'],
    MONGO_URL: [
      'http://mongo',
      'mongodb://lucid:lucid@mongo:27017/lucid_payments',
      'mongodb://mongo/?w=1',
      'mongodb://mongo/?a=b&timeoutMS=5',
      'mongodb://mongo/?readPreference=secondary',
      'mongodb://',
      'mongodb://a b',
    ],
    MONGO_DATABASE: ['a/b', 'a$b'],
    MONGO_MAX_POOL_SIZE: ['0', '101'],
    MONGO_CONNECTION_TIMEOUT: ['0', '301', '1.5'],
    ENCRYPTION_KEY_OTHER_FILES: ['old_key', '/s/old,', ',', '/s/old,./next'],
    JWT_ALGORITHM: ['HS512', 'none', 'RS256'],
    JWT_EXPIRATION_HOURS: ['0', '25'],
    TOR_ONLY: ['yes', '1', 'False'],
    TOR_PROXY: [
      'tor-proxy:9050',
      'http://tor-proxy:9050',
      'socks5://tor-proxy',
      'socks5://u:p@tor:9050',
      'socks4://t:1',
    ],
    TRON_NETWORK: ['main', 'Mainnet'],
    TRON_NODE_URL: [
      'api.trongrid.io',
      'https://key@api.trongrid.io',
      'https://a/?key=1',
      'file:///etc/passwd',
    ],
    TRON_FALLBACK_NODE_URLS: ['https://a,', ',', 'https://a b', 'https://a,b'],
    TRON_WALLET_ADDRESS: [
      'TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYh',
      `41${'0'.repeat(40)}`,
      '1BoatSLRHtKNngkdXEeobR76b53LETtpyT',
    ],
    TRON_GENESIS_BLOCK_ID: ['1ebf', 'AB'.repeat(32)],
    TRON_CONFIRMATIONS_REQUIRED: ['0', '1001'],
    TRON_TIMEOUT_SECONDS: ['0', '121'],
    TRON_FEE_LIMIT_MAX_TRX: ['15000.000001', '1e2', '1,5'],
    CIRCUIT_BREAKER_DAILY_LIMIT: ['1e4', '-1', '0.0000001', '1,000', 'NaN', '9223372036855', ' 5', '01'],
    CIRCUIT_BREAKER_TRX_HOURLY_LIMIT: ['Infinity', '+5', '.5', '5.'],
    CIRCUIT_BREAKER_FAILURE_THRESHOLD: ['0', 'five'],
    CIRCUIT_BREAKER_RECOVERY_TIMEOUT: ['0', '86401'],
    CIRCUIT_BREAKER_HALF_OPEN_MAX_CALLS: ['0', '101'],
    LOG_LEVEL: ['LOUD', '7'],
    LOG_FORMAT: ['pretty', 'JSON'],
    HEALTH_CHECK_TIMEOUT: ['0', '-5'],
  };
  const wrongKeys = Object.keys(WRONG) as (typeof KEY_NAMES)[number][];

  it.each(wrongKeys.flatMap((key) => (WRONG[key] ?? []).map((text) => [key, text] as const)))(
    '%s=%s is named, and its value is not',
    (key, text) => {
      const error = problemsOf({ ...PRODUCTION, [key]: text });
      expect(keysOf(error)).toContain(key);
      // A short text such as "0" stands in the words around it.
      if (text.length > 10) expect(error.message).not.toContain(text);
    },
  );

  it('is reported completely, whatever is wrong together', () => {
    const wrongSet = fc
      .subarray(wrongKeys, { minLength: 1 })
      .chain((keys) =>
        fc.tuple(fc.constant(keys), fc.tuple(...keys.map((key) => fc.constantFrom(...(WRONG[key] ?? []))))),
      );
    fc.assert(
      fc.property(wrongSet, fc.subarray(Object.keys(SECRETS)), ([keys, texts], missing) => {
        const env = { ...PRODUCTION, ...Object.fromEntries(keys.map((key, index) => [key, texts[index]])) };
        const files = Object.fromEntries(Object.entries(SECRETS).filter(([path]) => !missing.includes(path)));
        const error = problemsOf(env, files);
        for (const key of keys) expect(keysOf(error)).toContain(key);
        for (const path of missing) expect(error.message).toContain(`${path}, which is not there`);
        // And nothing is reported twice.
        expect(new Set(keysOf(error)).size).toBe(keysOf(error).length);
      }),
    );
  });

  it('in CONFIG_DIR is named beside the rest', () => {
    const error = problemsOf({ ...PRODUCTION, CONFIG_DIR: 'configs', LOG_LEVEL: 'LOUD' });
    expect(keysOf(error)).toEqual(['CONFIG_DIR', 'LOG_LEVEL']);
  });

  it('is a slip in the name of a variable, of which there is a warning', () => {
    expect(read({ ...PRODUCTION, CIRCUIT_BREAKER_DAILY_LIMT: '5' }).warnings).toEqual([
      'CIRCUIT_BREAKER_DAILY_LIMT is not a key of this service and changes nothing',
    ]);
  });
});

describe('a limit or a node that the environment and a file name differently', () => {
  const files: Files = {
    ...SECRETS,
    '/app/configs/circuit_breaker.yaml':
      'circuit_breaker_daily_limit: 5000\ncircuit_breaker_hourly_limit: 900',
    '/app/configs/logging.yaml': 'log_level: ERROR',
  };
  const env = {
    CIRCUIT_BREAKER_DAILY_LIMIT: '10000',
    CIRCUIT_BREAKER_HOURLY_LIMIT: '900',
    LOG_LEVEL: 'INFO',
  };

  it('is as the environment has it, and of that there is a warning', () => {
    const config = read({ ...PRODUCTION, ...env }, files);
    expect(config.limits.USDT.dailyMicro).toBe(10_000_000_000n);
    expect(config.warnings).toEqual([
      'CIRCUIT_BREAKER_DAILY_LIMIT is 10000 in the environment, which wins, and 5000 in circuit_breaker.yaml',
    ]);
  });

  it('is none in development, whose environment is laid over the files of production', () => {
    expect(read({ ...DEVELOPMENT, ...env }, files).warnings).toEqual([]);
  });
});

describe('what does not go together', () => {
  it.each<[string, Environment, string]>([
    ['main net outside production', { ...PRODUCTION, LUCID_ENV: 'development' }, 'TRON_NETWORK'],
    [
      'another USDT on main net',
      { ...PRODUCTION, TRON_CONTRACT_ADDRESS: OTHER_CONTRACT },
      'TRON_CONTRACT_ADDRESS',
    ],
    [
      'another genesis on main net',
      { ...PRODUCTION, TRON_GENESIS_BLOCK_ID: GENESIS },
      'TRON_GENESIS_BLOCK_ID',
    ],
    [
      'a private network without genesis',
      { ...DEVELOPMENT, TRON_GENESIS_BLOCK_ID: '' },
      'TRON_GENESIS_BLOCK_ID',
    ],
    [
      'a test network without a contract',
      { ...DEVELOPMENT, TRON_CONTRACT_ADDRESS: '' },
      'TRON_CONTRACT_ADDRESS',
    ],
    [
      'a wallet that is the contract',
      { ...DEVELOPMENT, TRON_WALLET_ADDRESS: OTHER_CONTRACT },
      'TRON_WALLET_ADDRESS',
    ],
    [
      'no Tor in production',
      {
        ...DEVELOPMENT,
        LUCID_ENV: 'production',
        MONGO_USERNAME: 'u',
        TRON_CONFIRMATIONS_REQUIRED: '19',
        TRON_NODE_URL: 'https://127.0.0.1:9090',
      },
      'TOR_ONLY',
    ],
    [
      'a node in the clear in production',
      { ...PRODUCTION, TRON_NODE_URL: 'http://api.trongrid.io' },
      'TRON_NODE_URL',
    ],
    [
      'a second node in the clear',
      { ...PRODUCTION, TRON_FALLBACK_NODE_URLS: 'http://a.example' },
      'TRON_FALLBACK_NODE_URLS',
    ],
    [
      'a host that only looks like an onion',
      { ...PRODUCTION, TRON_NODE_URL: 'http://a.onion.example' },
      'TRON_NODE_URL',
    ],
    [
      'one node for two witnesses',
      { ...PRODUCTION, TRON_FALLBACK_NODE_URLS: 'https://api.trongrid.io/' },
      'TRON_FALLBACK_NODE_URLS',
    ],
    ['a database without a user in production', { ...PRODUCTION, MONGO_USERNAME: '' }, 'MONGO_USERNAME'],
    [
      'few confirmations in production',
      { ...PRODUCTION, TRON_CONFIRMATIONS_REQUIRED: '18' },
      'TRON_CONFIRMATIONS_REQUIRED',
    ],
    [
      'a transaction that expires before it can be included in production',
      { ...PRODUCTION, TRON_TIMEOUT_SECONDS: '30', TRON_EXPIRATION_SECONDS: '119' },
      'TRON_EXPIRATION_SECONDS',
    ],
    [
      'a short hour in production',
      { ...PRODUCTION, CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS: '60' },
      'CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS',
    ],
    [
      'a short day in production',
      { ...PRODUCTION, CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS: '3600' },
      'CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS',
    ],
    [
      'an hour longer than the day',
      { ...DEVELOPMENT, CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS: '60' },
      'CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS',
    ],
    [
      'a call longer than a transaction lives',
      { ...PRODUCTION, TRON_TIMEOUT_SECONDS: '120', TRON_EXPIRATION_SECONDS: '120' },
      'TRON_TIMEOUT_SECONDS',
    ],
    [
      'a payment shorter than an attempt',
      { ...PRODUCTION, PAYMENT_PAY_BY_SECONDS: '299' },
      'PAYMENT_PAY_BY_SECONDS',
    ],
    [
      'fees of a day that are less than what one payment may burn',
      { ...PRODUCTION, CIRCUIT_BREAKER_DAILY_FEE_LIMIT: '52.999999' },
      'CIRCUIT_BREAKER_DAILY_FEE_LIMIT',
    ],
    [
      'a fee of one payment that is more than the fees of a day, which nobody has set',
      { ...PRODUCTION, TRON_FEE_LIMIT_MAX_TRX: '9997.000001' },
      'CIRCUIT_BREAKER_DAILY_FEE_LIMIT',
    ],
    [
      'a check longer than its interval',
      { ...PRODUCTION, HEALTH_CHECK_INTERVAL: '9' },
      'HEALTH_CHECK_TIMEOUT',
    ],
  ])('is refused: %s', (_case, env, key) => {
    expect(keysOf(problemsOf(env))).toEqual([key]);
  });

  it('names both keys of fees that do not go together, and how much is needed', () => {
    const env = { ...PRODUCTION, CIRCUIT_BREAKER_DAILY_FEE_LIMIT: '10', TRON_FEE_LIMIT_MAX_TRX: '7.5' };
    expect(problemsOf(env).message).toMatch(
      /CIRCUIT_BREAKER_DAILY_FEE_LIMIT is below .* TRON_FEE_LIMIT_MAX_TRX.*at least 10\.5\b/,
    );
  });

  it.each([
    ['as much as one payment may burn', '53', 53_000_000n],
    ['nothing, which is how nothing may be paid', '0', 0n],
  ])('lets the fees of a day be %s', (_case, text, feeLimitDailyMicro) => {
    const config = read({ ...PRODUCTION, CIRCUIT_BREAKER_DAILY_FEE_LIMIT: text });
    expect(config).toMatchObject({ feeLimitDailyMicro, tron: { feeReserveMicro: 53_000_000n } });
  });

  it.each([
    'http://127.0.0.1:9090',
    'http://localhost:9090',
    'http://[::1]:9090',
    'http://10.1.2.3',
    'http://172.16.0.1',
    'http://172.31.255.1:8090',
    'http://192.168.1.1',
    'http://[fd00::1]:8090',
  ])('may be reached without Tor: %s', (url) => {
    expect(read({ ...DEVELOPMENT, TRON_NODE_URL: url }).tor.proxy).toBeNull();
  });

  it.each([
    'https://api.trongrid.io',
    'https://nile.trongrid.io',
    'http://devchain:9090',
    'http://127.0.0.1.example:9090',
    'http://localhost.example',
    'http://8.8.8.8',
    'http://172.32.0.1',
    'http://192.169.0.1',
    'http://169.254.169.254',
    'http://0.0.0.0:9090',
    'http://[2001:db8::1]',
    'http://[fe80::1]',
    'http://[::ffff:8.8.8.8]',
    'http://abcdefghijklmnop.onion',
  ])('may not be reached without Tor: %s', (url) => {
    expect(keysOf(problemsOf({ ...DEVELOPMENT, TRON_NODE_URL: url }))).toEqual(['TOR_ONLY']);
    expect(keysOf(problemsOf({ ...DEVELOPMENT, TRON_FALLBACK_NODE_URLS: url }))).toEqual(['TOR_ONLY']);
  });

  it('does not concern an onion service, which is encrypted by its address', () => {
    const url = `http://${'a'.repeat(56)}.onion`;
    expect(read({ ...PRODUCTION, TRON_NODE_URL: url }).tron.nodeUrls).toEqual([url]);
  });
});

describe('what everybody knows', () => {
  it.each(Object.keys(SECRETS).filter((path) => !/private_key|encryption/.test(path)))(
    'is refused in production: a development secret in %s',
    (path) => {
      const files = { ...SECRETS, [path]: `${DEVELOPMENT_SECRET_PREFIX}${'a'.repeat(40)}` };
      expect(problemsOf(PRODUCTION, files).message).toContain('is a well-known development secret');
      expect(() => read({ ...DEVELOPMENT, MONGO_USERNAME: 'u' }, files)).not.toThrow();
    },
  );

  it('is refused in production: the development encryption key, in both of its forms', () => {
    for (const key of DEVELOPMENT_ENCRYPTION_KEYS) {
      for (const text of [key, key.toUpperCase(), Buffer.from(key, 'hex').toString('base64')]) {
        const files = { ...SECRETS, '/run/secrets/encryption_key': text };
        expect(keysOf(problemsOf(PRODUCTION, files))).toEqual(['ENCRYPTION_KEY_FILE']);
        expect(() => read(DEVELOPMENT, files)).not.toThrow();
      }
    }
  });

  it.each(DEVELOPMENT_WALLET_ADDRESSES)('is refused in production: the development account %s', (address) => {
    expect(keysOf(problemsOf({ ...PRODUCTION, TRON_WALLET_ADDRESS: address }))).toEqual([
      'TRON_WALLET_ADDRESS',
    ]);
    expect(() => read({ ...DEVELOPMENT, TRON_WALLET_ADDRESS: address })).not.toThrow();
  });
});
