import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../../shared/runtime/config.ts';
import { KEY_NAMES } from '../../../../shared/runtime/config-keys.ts';
import type { FileReader } from '../../../../shared/runtime/secret-files.ts';
import {
  type AwsFunctionName,
  environmentOf,
  readTemplate,
  scheduledHealthInput,
} from '../../../support/aws-template.ts';

const PARAMETERS = {
  ImageRepository: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/lucid',
  ImageVersion: '0.1.0',
  TorProxyHost: '10.40.0.10',
  TorProxyCidr: '10.40.0.10/32',
  MongoUrl: 'mongodb://10.40.0.20,10.40.0.21,10.40.0.22/?replicaSet=rs0&authSource=admin&tls=true',
  MongoCidr: '10.40.0.16/28',
  TronWalletAddress: 'TJRabPrwbZy45sbavfcjinPJC18kjpRTv8',
};
const NAMES: readonly AwsFunctionName[] = ['Pay', 'Settle', 'Health', 'Stats'];
const NEEDS = {
  Pay: ['walletKey', 'encryptionKey', 'callers'],
  Settle: ['walletKey', 'encryptionKey', 'callers'],
  Health: [],
  Stats: ['callers', 'monitoringKey'],
} as const;

/** What README.md says to put there. */
const files: FileReader = {
  read(path) {
    const name = /^\/mnt\/secrets\/(?:api_keys\/)?(\w+)(\.yaml)?$/.exec(path)?.[1] ?? '';
    const texts: Readonly<Record<string, string>> = {
      tron_private_key: '1'.repeat(64),
      encryption_key: '2'.repeat(64),
      internal_auth_secret: 'a'.repeat(64),
      operator_secret: 'b'.repeat(64),
      monitoring_api_key: 'c'.repeat(64),
      mongo_password: 'd'.repeat(32),
      auth_policy:
        'callers: {gateway: {scopes: [pay]}, operator: {secretFiles: [/mnt/secrets/operator_secret], scopes: [operate]}}',
    };
    const text = texts[name];
    return text === undefined ? null : { text, worldReadable: false };
  },
};

describe('the template for AWS', () => {
  it.each(NAMES)('gives %s a configuration with which it starts in production', (name) => {
    const config = readConfig(environmentOf(name, PARAMETERS), { needs: NEEDS[name], files });
    expect(config.environment).toBe('production');
    expect(config.tor.proxy).toEqual({ host: '10.40.0.10', port: 9050 });
    expect(config.warnings).toEqual([]);
  });

  it('sets nothing that is no key of the configuration', () => {
    const known = new Set<string>([...KEY_NAMES, 'CONFIG_DIR']);
    const set = Object.keys(environmentOf('Pay', PARAMETERS));
    expect(set.filter((key) => !known.has(key))).toEqual([]);
  });

  it('leaves the network no way out: no gateway of any kind, no address of the world', () => {
    const text = JSON.stringify(readTemplate().Resources);
    expect(text).not.toMatch(/InternetGateway|NatGateway|TransitGateway|VPCEndpoint|AWS::EC2::EIP/);
    expect(text).not.toContain('0.0.0.0/0');
    expect(text).not.toContain('::/0');
  });

  it('keeps function URLs behind IAM', () => {
    const [, names, made] = readTemplate().Resources['Fn::ForEach::Urls'] as [string, string[], object];
    expect(names).not.toContain('Settle');
    expect(made).toHaveProperty([`\${Name}Url`, 'Properties', 'AuthType'], 'AWS_IAM');
  });

  it('asks health each minute as a function URL would', () => {
    const { requestContext, rawPath } = JSON.parse(scheduledHealthInput()) as {
      readonly rawPath: string;
      readonly requestContext: { readonly http: { readonly method: string; readonly path: string } };
    };
    expect([rawPath, requestContext.http.method, requestContext.http.path]).toEqual([
      '/health',
      'GET',
      '/health',
    ]);
  });
});
