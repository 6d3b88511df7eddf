import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ROTATED_SECRETS, SECRETS } from '../../../../deploy/planes/secrets.ts';
import { KEY_NAMES } from '../../../../shared/runtime/config-keys.ts';

const FOLDER = join(import.meta.dirname, '../../../../deploy/planes');

interface Service {
  readonly image: string;
  readonly networks: readonly string[] | Readonly<Record<string, { readonly aliases?: readonly string[] }>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly { readonly source: string; readonly target: string }[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly labels: Readonly<Record<string, string>>;
  readonly deploy: {
    readonly resources: Readonly<
      Record<'limits' | 'reservations', { readonly memory: string; readonly cpus: string }>
    >;
  };
  readonly restart: string;
  readonly profiles?: readonly string[];
  readonly read_only: boolean;
  readonly cap_drop: readonly string[];
  readonly security_opt: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly dns?: readonly string[];
  readonly ports?: unknown;
  readonly privileged?: unknown;
}

interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<
    Record<
      string,
      { readonly name: string; readonly internal?: boolean; readonly ipam: { config: [{ subnet: string }] } }
    >
  >;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly volumes: Readonly<Record<string, { readonly name: string }>>;
}

/** As an operator who sets nothing has it. */
function readCompose(file: string): ComposeFile {
  const text = readFileSync(join(FOLDER, file), 'utf8').replaceAll(
    /\$\{[A-Z_]+(?::?-([^}]*)|:\?[^}]*)?\}/g,
    (_, standard: string | undefined) => standard ?? '',
  );
  return parse(text, { merge: true }) as ComposeFile;
}

const compose = readCompose('compose.yaml');
const services = Object.entries(compose.services);
const networksOf = ({ networks }: Service) => (Array.isArray(networks) ? networks : Object.keys(networks));
const onNetwork = (name: string) =>
  services.filter(([, service]) => networksOf(service).includes(name)).map(([id]) => id);

function readersOf(secret: string): readonly string[] {
  const reads = ({ secrets = [] }: Service) => secrets.some(({ source }) => source === secret);
  return services.filter(([, service]) => reads(service)).map(([id]) => id);
}

describe('the planes of compose.yaml', () => {
  it('are internal, but for the one network of tor-proxy', () => {
    const open = Object.entries(compose.networks).filter(([, { internal }]) => internal !== true);
    expect(open.map(([name]) => name)).toEqual(['tor_egress']);
    expect(onNetwork('tor_egress')).toEqual(['tor-proxy']);
  });

  it('have the names and subnets that gateways and firewalls know', () => {
    const known = Object.values(compose.networks).map(({ name, ipam }) => `${name} ${ipam.config[0].subnet}`);
    expect(known).toEqual([
      'lucid_wallet_plane 172.30.0.0/16',
      'lucid_ops_plane 172.20.0.0/16',
      'lucid_chain_plane 172.25.0.0/16',
      'lucid_tor_network 172.35.0.0/16',
      'lucid_tor_egress 172.36.0.0/16',
    ]);
    expect(compose.volumes.mongo_payments_data?.name).toBe('lucid_mongo_payments_data');
  });

  it('meet in beta-sidecar alone, which the gateway finds as tron-payment-service', () => {
    // A person's client stands there only while it asks.
    expect(onNetwork('ops_plane')).toEqual(['beta-sidecar', 'operator']);
    expect(compose.services.operator?.networks).toEqual(['ops_plane']);
    expect(compose.services['beta-sidecar']?.networks).toMatchObject({
      ops_plane: { aliases: ['tron-payment-service'] },
    });
  });

  it('let only what talks to TRON reach Tor', () => {
    expect(onNetwork('tor_network')).toEqual(['pay', 'settle', 'health', 'tor-proxy']);
  });

  it('publish nothing', () => {
    expect(services.filter(([, { ports }]) => ports !== undefined)).toEqual([]);
  });
});

describe.each(services)('%s in compose.yaml', (name, service) => {
  it('has no more rights than it needs', () => {
    expect(service.read_only).toBe(true);
    expect(service.cap_drop).toEqual(['ALL']);
    expect(service.security_opt).toEqual(['no-new-privileges:true']);
    expect(service.privileged).toBeUndefined();
    // What Docker's resolver does not know goes no further than the container.
    expect(service.dns).toEqual(['127.0.0.1']);
    for (const mount of service.tmpfs ?? []) expect(mount).toMatch(/noexec,nosuid,nodev,size=\d+m/);
  });

  it('has limits, and labels that say the same', () => {
    const { limits, reservations } = service.deploy.resources;
    expect(limits).toEqual({
      memory: expect.any(String),
      cpus: expect.any(String),
      pids: expect.any(Number),
    });
    expect(service.labels['com.lucid.resource.limits.memory']).toBe(limits.memory);
    expect(service.labels['com.lucid.resource.limits.cpu']).toBe(limits.cpus);
    expect(service.labels['com.lucid.resource.reservations.memory']).toBe(reservations.memory);
    expect(service.labels['com.lucid.resource.reservations.cpu']).toBe(reservations.cpus);
  });

  it('is probed and started without a shell', () => {
    for (const words of [
      service.healthcheck?.test ?? ['CMD'],
      service.entrypoint ?? [],
      service.command ?? [],
    ]) {
      expect(words).not.toContain('CMD-SHELL');
      expect(words).not.toContain('sh');
    }
  });

  it('finds each secret that its environment names, and no secret stands in it', () => {
    const targets = (service.secrets ?? []).map(({ target }) => target);
    const files = Object.entries(service.environment ?? {}).filter(
      ([key, value]) => key.endsWith('_FILE') && value !== '',
    );
    for (const [, path] of files) if (path.startsWith('/run/secrets/')) expect(targets).toContain(path);
    const plain = Object.entries(service.environment ?? {}).filter(
      ([key]) => !key.endsWith('_FILE') && !key.endsWith('_FILES'),
    );
    expect(plain.filter(([key]) => /PASSWORD|PRIVATE_KEY|SECRET|API_KEY/.test(key))).toEqual([]);
    expect(plain.filter(([, value]) => /mongodb:\/\/[^/]*@/.test(String(value)))).toEqual([]);
  });

  it(
    name === 'pay' || name === 'settle' ? 'sees the wallet\u2019s key' : 'does not see the wallet\u2019s key',
    () => {
      const sources = (service.secrets ?? []).map(({ source }) => source);
      expect(sources.includes('tron_private_key')).toBe(name === 'pay' || name === 'settle');
    },
  );
});

describe('the secrets of compose.yaml', () => {
  it('are those that development makes and production asks for', () => {
    const files = Object.values(compose.secrets).map(({ file }) => file.replace('./configs/secrets/', ''));
    expect(files.sort()).toEqual(Object.keys(SECRETS).sort());
  });

  it('give the key of stored transactions to who seals and opens them alone', () => {
    expect(readersOf('encryption_key')).toEqual(['pay', 'settle', 'reencrypt']);
  });
});

describe('a secret that is being changed', () => {
  it.each(ROTATED_SECRETS)('has a second %s given to who reads the first, and nothing else', (secret) => {
    const { services: changed, secrets, ...others } = readCompose(`compose.rotate-${secret}.yaml`);
    const [name, target] = [`${secret}_other`, `/run/secrets/${secret}_other`];
    const isKey = secret === 'encryption_key';
    const change = {
      secrets: [{ source: name, target }],
      ...(isKey ? { environment: { ENCRYPTION_KEY_OTHER_FILES: target } } : {}),
    };
    // A client that signs as a caller has one secret at any time.
    const readers = readersOf(secret).filter((id) => id !== 'operator');
    expect(changed).toEqual(Object.fromEntries(readers.map((id) => [id, change])));
    expect(secrets).toEqual({ [name]: { file: `./configs/secrets/${name}` } });
    expect(Object.keys(others).filter((key) => !key.startsWith('x-'))).toEqual([]);
  });

  it('of a caller is named by its policy already', () => {
    const policy = readFileSync(join(FOLDER, 'configs/tron-payment/auth_policy.yaml'), 'utf8');
    const { callers } = parse(policy) as {
      readonly callers: Readonly<Record<string, { readonly secretFiles: readonly string[] }>>;
    };
    expect(Object.values(callers).map(({ secretFiles }) => secretFiles)).toEqual(
      ['internal_auth_secret', 'approver_secret', 'operator_secret'].map((name) => [
        `/run/secrets/${name}`,
        `/run/secrets/${name}_other`,
      ]),
    );
  });
});

describe('the programs of compose.yaml that make backups and put them back', () => {
  const programs = ['database-backup', 'database-restore'];

  it('run when they are asked to, and not at a start', () => {
    const optional = services.filter(([, { profiles }]) => profiles !== undefined).map(([id]) => id);
    expect(optional).toEqual([...programs, 'reencrypt', 'operator']);
    for (const name of [...programs, 'reencrypt']) expect(compose.services[name]?.restart).toBe('no');
  });

  it('see no secret but their own: a backup that of who reads, a restore that of who may remove', () => {
    const seen = programs.map((name) =>
      (compose.services[name]?.secrets ?? []).map(({ source }) => source).join(),
    );
    expect(seen).toEqual(['mongo_stats_password', 'mongo_root_password']);
  });
});

describe('the functions of compose.yaml', () => {
  it.each(['pay', 'settle', 'health', 'stats'])(
    '%s waits for what it needs, and knows its settings',
    (name) => {
      const { depends_on: needs = {}, environment = {} } = compose.services[name] as Service;
      expect(needs.mongo?.condition).toBe('service_healthy');
      expect(needs['database-init']?.condition).toBe('service_completed_successfully');
      expect(needs['beta-sidecar']?.condition).toBe('service_healthy');
      expect(needs['tor-proxy']?.condition).toBe(name === 'stats' ? undefined : 'service_healthy');
      const lambda = Object.keys(environment).filter((key) => key.startsWith('AWS_') || key === 'CONFIG_DIR');
      const foreign = Object.keys(environment).filter(
        (key) => !KEY_NAMES.includes(key as never) && !lambda.includes(key),
      );
      expect(foreign).toEqual([]);
    },
  );

  it('run with every setting of the former deployment that has a meaning here', () => {
    const environment = compose.services.pay?.environment ?? {};
    for (const key of FORMER_SETTINGS) expect(environment).toHaveProperty(key);
    expect(environment).toMatchObject({
      TOR_ONLY: 'true',
      TOR_PROXY: 'socks5://tor-proxy:9050',
      JWT_ALGORITHM: 'HS256',
    });
  });
});

const FORMER_SETTINGS = [
  ...['LUCID_ENV', 'SERVICE_NAME', 'SERVICE_PORT', 'API_GATEWAY_URL', 'LOG_LEVEL', 'LOG_FORMAT'],
  ...['TRON_NETWORK', 'TRON_NODE_URL', 'TRON_PRIVATE_KEY_FILE', 'TRON_CONTRACT_ADDRESS'],
  ...['TRON_CONFIRMATIONS_REQUIRED', 'TRON_TIMEOUT_SECONDS', 'MONGO_URL', 'MONGO_DATABASE'],
  ...['MONGO_CONNECTION_TIMEOUT', 'MONGO_SERVER_SELECTION_TIMEOUT', 'MONGO_MAX_POOL_SIZE'],
  ...['INTERNAL_AUTH_SECRET_FILE', 'JWT_ALGORITHM', 'JWT_EXPIRATION_HOURS', 'ENCRYPTION_KEY_FILE'],
  ...['TOR_ONLY', 'TOR_PROXY', 'CIRCUIT_BREAKER_DAILY_LIMIT', 'CIRCUIT_BREAKER_HOURLY_LIMIT'],
  ...[
    'CIRCUIT_BREAKER_FAILURE_THRESHOLD',
    'CIRCUIT_BREAKER_RECOVERY_TIMEOUT',
    'CIRCUIT_BREAKER_HALF_OPEN_MAX_CALLS',
  ],
  ...['HEALTH_CHECK_INTERVAL', 'HEALTH_CHECK_TIMEOUT', 'HEALTH_CHECK_RETRIES', 'HEALTH_CHECK_START_PERIOD'],
];
