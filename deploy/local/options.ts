/** The command line of `npm start`. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseTronAddress } from '../../shared/domain/tron-address.ts';
import { parseOptions, UsageError } from '../cli/arguments.ts';
import { DEFAULT_STATE_DIR } from './state.ts';

/** The chain that the stack pays on. */
export type ChainOptions =
  | {
      readonly kind: 'development';
      readonly intervalSeconds: number;
      readonly solidLag: number | undefined;
      readonly seed: string;
      readonly port: number;
      readonly faultsPort: number;
    }
  | {
      readonly kind: 'node';
      readonly url: string;
      readonly keyFile: string;
      readonly usdtAddress: string;
      /** Every byte to that node goes through this SOCKS proxy; undefined only for a node on loopback. */
      readonly torProxy: string | undefined;
    };

export type StartOptions = {
  readonly stateDir: string;
  readonly port: number;
  readonly opsPort: number;
  readonly chain: ChainOptions;
  readonly fresh: boolean;
  /** Pay the two demonstration payments. */
  readonly payDemo: boolean;
  /** End after them, with their outcome as the exit code. */
  readonly once: boolean;
  readonly verbose: boolean;
};

export const START_HELP = `npm start -- [options]

Runs the whole system on this machine, on loopback alone, and pays 25 USDT and 3 TRX to show that it works.

  --once              end when both payments are confirmed: exit code 0, or 1 when they are not
  --fresh             forget the payments and the chain of earlier starts
  --port N            where the functions answer                      (8090)
  --ops-port N        health and metrics of the sidecar itself        (8091)
  --state DIR         where payments, chain, secrets and logs are kept (.local)
  --verbose           show what the parts log, which always stands in DIR/logs

The development chain:
  --interval SECONDS  time between two blocks                         (1)
  --solid-lag N       how many blocks the solid head is behind        (the chain's default)
  --seed TEXT         identity of a new chain
  --chain-port N      the node                                        (9090)
  --faults-port N     what makes the node misbehave                   (9091)

Another TRON node instead of it (a private java-tron, a test net; never pays without --pay-demo):
  --node URL          full node with its solidity API
  --key-file FILE     private key of the paying wallet, 64 hex digits
  --usdt ADDRESS      the USDT contract on that network
  --tor-proxy URL     socks5h://HOST:PORT; needed unless the node is on loopback
  --pay-demo          pay the 25 USDT and 3 TRX: that is your money
`;

/** Of the well-known accounts that production refuses. */
export const DEVELOPMENT_SEED = 'development';

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  once: { type: 'boolean' },
  fresh: { type: 'boolean' },
  port: { type: 'string' },
  'ops-port': { type: 'string' },
  state: { type: 'string' },
  verbose: { type: 'boolean' },
  interval: { type: 'string' },
  'solid-lag': { type: 'string' },
  seed: { type: 'string' },
  'chain-port': { type: 'string' },
  'faults-port': { type: 'string' },
  node: { type: 'string' },
  'key-file': { type: 'string' },
  usdt: { type: 'string' },
  'tor-proxy': { type: 'string' },
  'pay-demo': { type: 'boolean' },
} as const;

const ONLY_WITH_NODE = ['key-file', 'usdt', 'tor-proxy', 'pay-demo'] as const;
const ONLY_WITHOUT_NODE = ['fresh', 'interval', 'solid-lag', 'seed', 'chain-port', 'faults-port'] as const;

/**
 * Reads the command line; undefined when it asks for help.
 *
 * @throws UsageError
 */
export function readStartOptions(args: readonly string[]): StartOptions | undefined {
  const values = parseOptions(args, OPTIONS);
  if (values.help === true) return undefined;

  const withNode = values.node !== undefined;
  for (const name of withNode ? ONLY_WITHOUT_NODE : ONLY_WITH_NODE) {
    if (values[name] === undefined) continue;
    if (name === 'fresh') {
      throw new UsageError('--fresh is refused with --node: what was paid on that network stays paid');
    }
    throw new UsageError(`--${name} makes sense only ${withNode ? 'without' : 'together with'} --node`);
  }

  const port = readPort(values.port, '--port', 8090);
  const opsPort = readPort(values['ops-port'], '--ops-port', 8091);
  const chain: ChainOptions =
    values.node === undefined
      ? {
          kind: 'development',
          intervalSeconds: readNumber(values.interval, '--interval', 1, { min: 0.05, max: 3600 }),
          solidLag:
            values['solid-lag'] === undefined
              ? undefined
              : readInteger(values['solid-lag'], '--solid-lag', { min: 0, max: 1000 }),
          seed: values.seed ?? DEVELOPMENT_SEED,
          port: readPort(values['chain-port'], '--chain-port', 9090),
          faultsPort: readPort(values['faults-port'], '--faults-port', 9091),
        }
      : readNode(values.node, values['key-file'], values.usdt, values['tor-proxy']);

  const ports = [port, opsPort, ...(chain.kind === 'development' ? [chain.port, chain.faultsPort] : [])];
  const twice = ports.find((candidate, index) => ports.indexOf(candidate) !== index);
  if (twice !== undefined) throw new UsageError(`port ${twice} is given to two parts`);

  const once = values.once === true;
  if (once && withNode && values['pay-demo'] !== true) {
    throw new UsageError('--once pays, and with --node that is your money: say --pay-demo as well');
  }
  return {
    stateDir: resolve(values.state ?? DEFAULT_STATE_DIR),
    port,
    opsPort,
    chain,
    fresh: values.fresh === true,
    payDemo: !withNode || values['pay-demo'] === true,
    once,
    verbose: values.verbose === true,
  };
}

function readNode(
  node: string,
  keyFile: string | undefined,
  usdtAddress: string | undefined,
  torProxy: string | undefined,
): ChainOptions {
  if (keyFile === undefined || usdtAddress === undefined) {
    throw new UsageError('--node needs --key-file FILE and --usdt ADDRESS');
  }
  const url = URL.canParse(node) ? new URL(node) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new UsageError(`--node ${node}: must be an http or https address`);
  }
  if (torProxy === undefined && !isLoopback(url.hostname)) {
    throw new UsageError(
      `--node ${node} is not on this machine: say --tor-proxy socks5h://127.0.0.1:9050, since nothing goes there around Tor`,
    );
  }
  if (torProxy !== undefined && !/^socks5h:\/\/[^/]+:\d+$/.test(torProxy)) {
    throw new UsageError(`--tor-proxy ${torProxy}: must look like socks5h://127.0.0.1:9050`);
  }
  if (parseTronAddress(usdtAddress) === undefined) {
    throw new UsageError(`--usdt ${usdtAddress}: is not a TRON address`);
  }
  try {
    readFileSync(keyFile);
  } catch (error) {
    throw new UsageError(`--key-file: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { kind: 'node', url: node.replace(/\/$/, ''), keyFile: resolve(keyFile), usdtAddress, torProxy };
}

/** Whether a host name of a URL is this machine and no other. */
export function isLoopback(hostname: string): boolean {
  return /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname);
}

function readPort(text: string | undefined, flag: string, fallback: number): number {
  return text === undefined ? fallback : readInteger(text, flag, { min: 1, max: 65_535 });
}

type Range = { readonly min: number; readonly max: number };

function readInteger(text: string, flag: string, { min, max }: Range): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new UsageError(`${flag} ${text}: must be a whole number from ${min} to ${max}`);
  }
  return value;
}

function readNumber(text: string | undefined, flag: string, fallback: number, { min, max }: Range): number {
  if (text === undefined) return fallback;
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new UsageError(`${flag} ${text}: must be a number from ${min} to ${max}`);
  }
  return value;
}
