import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from '../../../../deploy/sidecar/config.ts';

const minimal = {
  FUNCTION_PAY: 'pay:8080',
  FUNCTION_SETTLE: 'settle:8080',
  FUNCTION_HEALTH: 'health:8080',
  FUNCTION_STATS: 'stats:8080',
  ACL_POLICY_FILE: '/app/configs/wallet_plane.acl',
};

describe('the configuration', () => {
  it('has defaults for everything but the functions and the policy', () => {
    expect(readConfig(minimal)).toEqual({
      serviceName: 'beta-sidecar',
      plane: 'wallet',
      logLevel: 'info',
      bindAddress: '0.0.0.0',
      servicePort: 8090,
      opsPort: 8080,
      functions: {
        pay: [{ host: 'pay', port: 8080 }],
        settle: [{ host: 'settle', port: 8080 }],
        health: [{ host: 'health', port: 8080 }],
        stats: [{ host: 'stats', port: 8080 }],
      },
      aclPolicyFile: '/app/configs/wallet_plane.acl',
      settleIntervalMs: 10_000,
      functionTimeoutMs: 30_000,
      queueMax: 100,
      queueTimeoutMs: 5_000,
      stateDir: undefined,
      shutdownTimeoutMs: 35_000,
    });
  });

  it("takes several instances, IPv6 ones and the seed's upper-case level", () => {
    const config = readConfig({ ...minimal, FUNCTION_PAY: '127.0.0.1:9001, [::1]:9002', LOG_LEVEL: 'INFO' });
    expect(config.functions.pay).toEqual([
      { host: '127.0.0.1', port: 9001 },
      { host: '::1', port: 9002 },
    ]);
    expect(config.logLevel).toBe('info');
  });

  it('takes an empty value, as compose passes an unset variable, for an absent one', () => {
    expect(readConfig({ ...minimal, SERVICE_PORT: '', STATE_DIR: '' }).servicePort).toBe(8090);
  });

  it('names all wrong keys together', () => {
    const wrong = {
      SERVICE_PORT: '80x',
      OPS_PORT: '70000',
      BIND_ADDRESS: 'localhost',
      FUNCTION_PAY: 'pay',
      FUNCTION_SETTLE: 'settle:0',
      FUNCTION_HEALTH: 'a:1,,b:2',
      LOG_LEVEL: 'loud',
      SETTLE_INTERVAL_MS: '10',
      FUNCTION_TIMEOUT_SECONDS: '1.5',
      QUEUE_MAX: '-1',
    };
    let problems: readonly string[] = [];
    try {
      readConfig(wrong);
    } catch (error) {
      if (error instanceof ConfigError) problems = error.problems;
    }
    for (const key of [...Object.keys(wrong), 'FUNCTION_STATS', 'ACL_POLICY_FILE']) {
      expect(problems.filter((problem) => problem.startsWith(`${key} `))).toHaveLength(1);
    }
  });

  it.each([
    [{ SERVICE_PORT: '9000', OPS_PORT: '9000' }, 'SERVICE_PORT and OPS_PORT must differ'],
    [{ FUNCTION_SETTLE: 'pay:8080' }, 'pay:8080 cannot serve pay and settle'],
  ])('refuses %o', (changes, message) => {
    expect(() => readConfig({ ...minimal, ...changes })).toThrow(message);
  });
});
