/**
 * The very images that AWS Lambda would run, with their own entrypoint and with the environment of deploy/aws, under
 * AWS's emulator mounted from outside as its documentation tells for images that hold none. On a network that leads
 * nowhere; nothing of this is AWS.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureRie } from '../../build/rie.ts';
import { authorize, type StackAccess } from '../../deploy/cli/running-stack.ts';
import { devAccounts, usdtAddress } from '../../deploy/devchain/accounts.ts';
import { DEFAULT_SEED } from '../../deploy/devchain/dev-chain.ts';
import { genesisBlock } from '../../deploy/devchain/genesis.ts';
import { createAccount } from '../../deploy/local/accounts.ts';
import { Engine } from '../../deploy/planes/engine.ts';
import { ensureDevelopmentSecrets } from '../../deploy/planes/secrets.ts';
import { own, ownerHere } from '../../deploy/planes/state.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { type AwsFunctionName, environmentOf, scheduledHealthInput } from '../support/aws-template.ts';
import { waitUntil } from '../support/wait-until.ts';

const NETWORK = 'lucid-aws-test';
const ADDRESSES = {
  mongo: '172.23.0.10',
  devchain: '172.23.0.11',
  Pay: '172.23.0.20',
  Settle: '172.23.0.21',
  Health: '172.23.0.22',
  Stats: '172.23.0.23',
} as const;
const WALLET = devAccounts(DEFAULT_SEED)[0]?.address ?? '';
const INVOKE_PATH = '/2015-03-31/functions/function/invocations';

let engine: Engine;
let folder: string;
let access: StackAccess;

const image = (name: string) =>
  `${process.env.LUCID_IMAGES || 'pickme/lucid'}:${name}-${packageJson.version}`;

beforeAll(async () => {
  engine = await Engine.find([], {}, console.log);
  folder = mkdtempSync(join(tmpdir(), 'aws-'));
  access = makeSecrets(folder);
  await removeAll();
  await engine.docker(['network', 'create', '--internal', '--subnet', '172.23.0.0/24', NETWORK]);
  await start('mongo', [image('mongo-stand-in')]);
  const chain = ['--interval', '1', '--data', '/data/chain', '--host', '0.0.0.0', '--port', '9090'];
  await start('devchain', [image('devchain'), ...chain]);
  const environment = { MONGO_HOST: `${ADDRESSES.mongo}:27017`, MONGO_DATABASE: 'lucid_payments' };
  await waitUntil(() => runOnce(image('database-init'), environment), 180_000);
  const { path } = await ensureRie();
  await Promise.all((['Pay', 'Settle', 'Health', 'Stats'] as const).map((name) => startFunction(name, path)));
});

afterAll(async () => {
  await removeAll();
  rmSync(folder, { recursive: true, force: true });
});

describe('an image on Lambda', () => {
  it('pays what a function URL brings, and settles at the event of the schedule', async () => {
    const { address: to } = createAccount();
    const body = JSON.stringify({ to, amount: '2.5', asset: 'USDT' });
    const taken = await callUrl('Pay', { method: 'POST', path: '/pay', idempotencyKey: 'aws-1', body });
    expect(taken).toMatchObject({ statusCode: 201 });
    const { id } = JSON.parse(taken.body) as { readonly id: string };
    await waitUntil(async () => {
      const report = await invoke('Settle', scheduledEvent());
      expect(report).toMatchObject({ errors: 0, visited: expect.any(Number) });
      const asked = await callUrl('Pay', { method: 'GET', path: `/pay/${id}` });
      return (JSON.parse(asked.body) as { readonly status: string }).status === 'confirmed';
    }, 180_000);
  });

  it('takes its token from X-Internal-Auth, because IAM signs in Authorization', async () => {
    const event = urlEvent({ method: 'GET', path: '/pay/unknown' }, {});
    expect(await invoke('Pay', event)).toMatchObject({ statusCode: 401 });
    expect(await callUrl('Pay', { method: 'GET', path: '/pay/unknown' })).toMatchObject({ statusCode: 404 });
  });

  it('tells how it is, asked by the rule that asks it each minute', async () => {
    expect(await invoke('Health', scheduledHealthInput())).toMatchObject({ statusCode: 200 });
  });

  it('counts', async () => {
    const counted = await callUrl('Stats', { method: 'GET', path: '/stats' });
    expect(counted).toMatchObject({ statusCode: 200 });
    expect(JSON.parse(counted.body)).toHaveProperty('limits');
  });
});

interface UrlRequest {
  readonly method: string;
  readonly path: string;
  readonly idempotencyKey?: string;
  readonly body?: string;
}

interface UrlAnswer {
  readonly statusCode: number;
  readonly body: string;
}

async function callUrl(name: AwsFunctionName, request: UrlRequest): Promise<UrlAnswer> {
  const token = await authorize(access, request);
  return (await invoke(name, urlEvent(request, { 'x-internal-auth': token }))) as UrlAnswer;
}

/** As a function URL with IAM brings it: the signature stands where a token would. */
function urlEvent(
  { method, path, idempotencyKey, body }: UrlRequest,
  headers: Record<string, string>,
): string {
  const domainName = 'abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws';
  return JSON.stringify({
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: '',
    headers: {
      ...headers,
      host: domainName,
      authorization: 'AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261126/eu-central-1/lambda/aws4_request',
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    requestContext: {
      accountId: '123456789012',
      apiId: 'abcdefghijklmnopqrstuvwxyz012345',
      authentication: null,
      authorizer: {
        iam: {
          accountId: '123456789012',
          callerId: 'AIDAEXAMPLE',
          userArn: 'arn:aws:iam::123456789012:role/gateway',
        },
      },
      domainName,
      domainPrefix: 'abcdefghijklmnopqrstuvwxyz012345',
      http: { method, path, protocol: 'HTTP/1.1', sourceIp: '10.30.0.5', userAgent: 'gateway' },
      requestId: 'e1506fd5-9e7b-434f-bd42-4f8fa224b599',
      routeKey: '$default',
      stage: '$default',
      time: '26/Nov/2026:02:00:00 +0000',
      timeEpoch: 1_795_658_400_000,
    },
    ...(body === undefined ? {} : { body }),
    isBase64Encoded: false,
  });
}

/** What EventBridge sends for a rule with a rate, as its documentation shows it. */
function scheduledEvent(): string {
  return JSON.stringify({
    version: '0',
    id: '53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa',
    'detail-type': 'Scheduled Event',
    source: 'aws.events',
    account: '123456789012',
    time: '2026-11-26T02:00:00Z',
    region: 'eu-central-1',
    resources: ['arn:aws:events:eu-central-1:123456789012:rule/lucid-SettleEveryMinute'],
    detail: {},
  });
}

async function invoke(name: AwsFunctionName, event: string): Promise<unknown> {
  const response = await fetch(`http://${ADDRESSES[name]}:8080${INVOKE_PATH}`, {
    method: 'POST',
    body: event,
  });
  return response.json();
}

/** One function, as AWS documents it: RIE before what the image itself would start. */
async function startFunction(name: AwsFunctionName, rie: string): Promise<void> {
  const reference = image(name.toLowerCase());
  const [inspected] = await engine.inspect<{
    readonly Config: { readonly Entrypoint: readonly string[]; readonly Cmd: readonly string[] };
  }>([reference]);
  const { Entrypoint = [], Cmd = [] } = inspected?.Config ?? {};
  const fromTemplate = environmentOf(name, {
    ImageRepository: 'unused',
    ImageVersion: 'unused',
    TorProxyHost: '172.23.0.99',
    TorProxyCidr: '172.23.0.99/32',
    MongoUrl: `mongodb://${ADDRESSES.mongo}:27017/?directConnection=true`,
    MongoCidr: '172.23.0.0/24',
    TronNodeUrl: `http://${ADDRESSES.devchain}:9090`,
    TronWalletAddress: WALLET,
    TronContractAddress: usdtAddress(DEFAULT_SEED),
  });
  // What is otherwise: a chain and a database of tests, which no production would take, and no Tor in between.
  const environment = {
    ...fromTemplate,
    LUCID_ENV: 'development',
    TRON_NETWORK: 'private',
    TRON_GENESIS_BLOCK_ID: genesisBlock(DEFAULT_SEED).id,
    TRON_CONFIRMATIONS_REQUIRED: '1',
    PAYMENT_REVISIT_SECONDS: '1',
    MONGO_USERNAME: '',
    TOR_ONLY: 'false',
  };
  const mounts = [
    '--volume',
    `${rie}:/aws-lambda/aws-lambda-rie:ro`,
    '--volume',
    `${folder}:/mnt/secrets:ro`,
  ];
  const options = [
    ...mounts,
    ...variables(environment),
    '--read-only',
    '--tmpfs',
    '/tmp',
    '--cap-drop',
    'ALL',
  ];
  await start(name, [
    ...options,
    '--entrypoint',
    '/aws-lambda/aws-lambda-rie',
    reference,
    ...Entrypoint,
    ...Cmd,
  ]);
  const url = `http://${ADDRESSES[name]}:8080/`;
  await waitUntil(() => fetch(url).then(isAnswer, () => false), 180_000);
}

/** RIE knows no such path, and invokes nothing for it. */
async function isAnswer(response: Response): Promise<boolean> {
  await response.arrayBuffer();
  return true;
}

async function start(name: keyof typeof ADDRESSES, words: readonly string[]): Promise<void> {
  const place = ['--name', `${NETWORK}-${name}`, '--network', NETWORK, '--ip', ADDRESSES[name]];
  await engine.docker(['run', '--detach', ...place, ...words]);
}

/** Whether it ended well. */
async function runOnce(reference: string, environment: Readonly<Record<string, string>>): Promise<boolean> {
  return engine.docker(['run', '--rm', '--network', NETWORK, ...variables(environment), reference]).then(
    () => true,
    () => false,
  );
}

function variables(environment: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(environment).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
}

/** The folder that EFS would mount: every secret by its name, and who may call. */
function makeSecrets(path: string): StackAccess {
  const owner = ownerHere();
  mkdirSync(path, { recursive: true });
  ensureDevelopmentSecrets(path, owner);
  const policy = join(path, 'auth_policy.yaml');
  writeFileSync(policy, 'callers: {gateway: {scopes: [pay, read]}}\n', { mode: 0o400 });
  for (const file of ['', 'api_keys', 'auth_policy.yaml']) own(join(path, file), owner);
  chmodSync(path, 0o500);
  return {
    url: '',
    audience: 'tron-payment-service',
    callerSecretFiles: { gateway: join(path, 'internal_auth_secret') },
  };
}

async function removeAll(): Promise<void> {
  const quietly = (args: readonly string[]) => engine.docker(args).catch(() => '');
  await quietly(['rm', '--force', ...Object.keys(ADDRESSES).map((name) => `${NETWORK}-${name}`)]);
  await quietly(['network', 'rm', NETWORK]);
}
