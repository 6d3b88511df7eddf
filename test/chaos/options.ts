/** The command line of `npm run chaos`. */
import { randomInt } from 'node:crypto';
import { resolve } from 'node:path';
import { parseOptions, UsageError } from '../../deploy/cli/arguments.ts';
import { parseTronAddress } from '../../shared/domain/tron-address.ts';

export interface ChaosOptions {
  readonly kills: number;
  readonly seed: string;
  /** Instances of pay, by round in turn. */
  readonly instances: readonly number[];
  /** Rounds at a time. */
  readonly worlds: number;
  readonly reportFile: string;
  /** Goes on where a run with the same seed was cut off. */
  readonly resume: boolean;
  readonly otherNode: OtherNode | undefined;
}

/** A chain that is not ours: it is paid on, and never made to fail. */
export interface OtherNode {
  readonly url: string;
  readonly keyFile: string;
  readonly usdtAddress: string;
}

export const CHAOS_HELP = `npm run chaos -- [options]

Kills the functions that pay, at every step and at any instant, under load and while the chain, the database and the
sidecar fail as well; then asks the chain whether every promise was kept. It aims where few have died so far. In half
of the rounds two nodes agree to deny transactions that they have taken. Everything runs on loopback.

  --kills N         how many processes to kill                         (300)
  --seed S          decides what happens when; printed at the start    (random)
  --instances LIST  instances of pay, by round in turn                 (2,8)
  --worlds N        rounds at a time, each with parts of its own       (2)
  --report FILE     where the JSON report goes                         (.local/chaos/report.json)
  --resume          go on with the run of that seed that was cut off

Another TRON node instead of the development chain, on this machine or a private network, with a wallet that may
lose what it holds (the chain itself is then not made to fail):
  --node URL        full node with its solidity API
  --key-file FILE   private key of the paying wallet, 64 hex digits
  --usdt ADDRESS    the token's contract there
`;

const KILLS_DEFAULT = 300;
const KILLS_MAX = 10_000_000;
const INSTANCES_MAX = 16;
const WORLDS_MAX = 16;

/** @throws UsageError */
export function readOptions(args: readonly string[], root: string): ChaosOptions | 'help' {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const values = parseOptions(args, {
    kills: text,
    seed: text,
    instances: text,
    worlds: text,
    report: text,
    resume: flag,
    node: text,
    'key-file': text,
    usdt: text,
    help: flag,
  });
  if (values.help) return 'help';
  if (values.resume && values.seed === undefined) {
    throw new UsageError('--resume needs the --seed of the run that it goes on with');
  }
  const otherNode = readNode(values.node, values['key-file'], values.usdt);
  return {
    kills: readCount('--kills', values.kills ?? String(KILLS_DEFAULT), KILLS_MAX),
    seed: readSeed(values.seed),
    instances: (values.instances ?? '2,8')
      .split(',')
      .map((item) => readCount('--instances', item.trim(), INSTANCES_MAX)),
    // Two ledgers that pay from one wallet would take each other's payments for theft.
    worlds: otherNode === undefined ? readCount('--worlds', values.worlds ?? '2', WORLDS_MAX) : 1,
    reportFile: resolve(root, values.report ?? '.local/chaos/report.json'),
    resume: values.resume,
    otherNode,
  };
}

function readSeed(text: string | undefined): string {
  if (text === undefined) return String(randomInt(1_000_000));
  if (/^[A-Za-z0-9._-]{1,64}$/.test(text)) return text;
  throw new UsageError('--seed takes 1 to 64 letters, digits, dots, dashes');
}

function readCount(flag: string, text: string, max: number): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= max) return count;
  throw new UsageError(`${flag} takes whole numbers from 1 to ${max}, not "${text}"`);
}

function readNode(
  url: string | undefined,
  keyFile: string | undefined,
  usdt: string | undefined,
): OtherNode | undefined {
  if (url === undefined && keyFile === undefined && usdt === undefined) return undefined;
  if (url === undefined || keyFile === undefined || usdt === undefined) {
    throw new UsageError('--node, --key-file and --usdt go together');
  }
  if (!URL.canParse(url)) throw new UsageError(`--node takes a URL, not "${url}"`);
  const usdtAddress = parseTronAddress(usdt);
  if (usdtAddress === undefined) throw new UsageError(`--usdt takes an address in base58, not "${usdt}"`);
  return { url, keyFile: resolve(keyFile), usdtAddress };
}
