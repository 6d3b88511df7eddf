import { describe, expect, it } from 'vitest';
import {
  composeEnvironment,
  type EnvironmentInput,
  FUNCTION_NAMES,
  settingsOf,
} from '../../../../deploy/local/environment.ts';
import { KEY_NAMES } from '../../../../shared/runtime/config-keys.ts';

const INPUT: EnvironmentInput = {
  network: 'private',
  nodeUrl: 'http://127.0.0.1:9090',
  genesisBlockId: '00',
  usdtAddress: 'T-usdt',
  walletAddress: 'T-wallet',
  walletKeyFile: '/secrets/tron_private_key',
  torProxy: undefined,
  lucidEnv: 'development',
  configDir: '/config',
  otherEncryptionKeyFiles: '/secrets/old_key',
  mongoUrl: 'mongodb://127.0.0.1/',
  settings: {},
  secrets: {
    internalAuth: '/secrets/internal_auth_secret',
    callers: {},
    encryptionKey: '/secrets/encryption_key',
    monitoringApiKey: '/secrets/monitoring_api_key',
    authPolicy: '/secrets/auth_policy.yaml',
  },
};

const namesWith = (key: string) => FUNCTION_NAMES.filter((name) => key in composeEnvironment(name, INPUT));

describe('the environment of a function', () => {
  it('holds the secrets that the function needs and no others', () => {
    expect(namesWith('TRON_PRIVATE_KEY_FILE')).toEqual(['pay', 'settle']);
    expect(namesWith('ENCRYPTION_KEY_FILE')).toEqual(['pay', 'settle']);
    expect(namesWith('ENCRYPTION_KEY_OTHER_FILES')).toEqual(['pay', 'settle']);
    expect(namesWith('MONITORING_API_KEY_FILE')).toEqual(['stats']);
    expect(namesWith('INTERNAL_AUTH_SECRET_FILE')).not.toContain('health');
  });

  it('uses only keys that the configuration knows', () => {
    const known: readonly string[] = [...KEY_NAMES, 'CONFIG_DIR'];
    for (const name of FUNCTION_NAMES) {
      expect(Object.keys(composeEnvironment(name, INPUT)).filter((key) => !known.includes(key))).toEqual([]);
    }
  });

  it('goes through Tor exactly where there is a proxy', () => {
    expect(composeEnvironment('pay', INPUT)).toMatchObject({ TOR_ONLY: 'false' });
    expect(composeEnvironment('pay', { ...INPUT, torProxy: 'socks5h://127.0.0.1:9050' })).toMatchObject({
      TOR_ONLY: 'true',
      TOR_PROXY: 'socks5h://127.0.0.1:9050',
    });
  });

  it('leaves the confirmations of a public network at the standard', () => {
    expect(composeEnvironment('pay', INPUT)).toMatchObject({ TRON_CONFIRMATIONS_REQUIRED: '1' });
    expect(composeEnvironment('pay', { ...INPUT, network: 'nile' })).not.toHaveProperty(
      'TRON_CONFIRMATIONS_REQUIRED',
    );
  });

  it('takes settings, but never over what the stack knows better', () => {
    const settings = { CIRCUIT_BREAKER_HOURLY_LIMIT: '5', TRON_NODE_URL: 'https://elsewhere.example' };
    expect(composeEnvironment('pay', { ...INPUT, settings })).toMatchObject({
      CIRCUIT_BREAKER_HOURLY_LIMIT: '5',
      TRON_NODE_URL: 'http://127.0.0.1:9090',
    });
  });
});

describe('settings of an operator', () => {
  it('are the known keys that are set, secrets of single functions excepted', () => {
    expect(
      settingsOf({
        PATH: '/bin',
        LOG_LEVEL: 'DEBUG',
        MONGO_USERNAME: '',
        TRON_PRIVATE_KEY_FILE: '/key',
        MONITORING_API_KEY_FILE: '/key',
      }),
    ).toEqual({ LOG_LEVEL: 'DEBUG' });
  });
});
