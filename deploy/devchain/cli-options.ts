import { parseArgs } from 'node:util';
import { DEFAULT_INTERVAL_MS, DEFAULT_SEED, DEFAULT_SOLID_LAG, type DevChainOptions } from './dev-chain.ts';

export const USAGE = `A TRON chain for one machine, that tronweb pays on.

  node deploy/devchain/main.ts [options]

  --port N           the node's port (default 9090; 0: any free one)
  --faults-port N    the port that faults are ordered on (default 9091; 0: any free one)
  --host ADDRESS     the address to listen on (default 127.0.0.1)
  --data DIR         where the blocks are stored (default .local/chain)
  --interval S       seconds between blocks, 0.05 or more (default ${DEFAULT_INTERVAL_MS / 1_000})
  --solid-lag N      blocks by which the solid head lags behind (default ${DEFAULT_SOLID_LAG})
  --clock-offset S   seconds by which the chain's clock is ahead, may be negative (default 0)
  --seed TEXT        which accounts and which genesis (default ${DEFAULT_SEED})
  --fresh            delete the stored blocks first
  --help             show this
`;

const INTERVAL_MIN_SECONDS = 0.05;
const SOLID_LAG_MAX = 1_000;

/** Reads the command line. @returns 'help' when that was asked. @throws TypeError in one clear line. */
export function readCliOptions(args: readonly string[], defaultDataFolder: string): DevChainOptions | 'help' {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: joinNegativeValues(args),
    options: {
      port: text,
      'faults-port': text,
      host: text,
      data: text,
      interval: text,
      'solid-lag': text,
      'clock-offset': text,
      seed: text,
      fresh: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return 'help';
  const port = (name: 'port' | 'faults-port', fallback: number): number =>
    readNumber(name, values[name], fallback, { least: 0, most: 65_535, whole: true });
  return {
    host: values.host ?? '127.0.0.1',
    port: port('port', 9090),
    faultsPort: port('faults-port', 9091),
    dataFolder: values.data ?? defaultDataFolder,
    seed: values.seed ?? DEFAULT_SEED,
    intervalMs: Math.round(
      1_000 *
        readNumber('interval', values.interval, DEFAULT_INTERVAL_MS / 1_000, {
          least: INTERVAL_MIN_SECONDS,
          most: 3_600,
        }),
    ),
    solidLag: readNumber('solid-lag', values['solid-lag'], DEFAULT_SOLID_LAG, {
      least: 0,
      most: SOLID_LAG_MAX,
      whole: true,
    }),
    clockOffsetMs: Math.round(
      1_000 * readNumber('clock-offset', values['clock-offset'], 0, { least: -1e9, most: 1e9 }),
    ),
    fresh: values.fresh === true,
  };
}

/** `--clock-offset -30`: parseArgs takes a value that begins with a dash only behind an equals sign. */
function joinNegativeValues(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const before = joined.at(-1);
    if (/^-\d/.test(arg) && before?.startsWith('--') === true && !before.includes('=')) {
      joined[joined.length - 1] = `${before}=${arg}`;
    } else {
      joined.push(arg);
    }
  }
  return joined;
}

function readNumber(
  name: string,
  text: string | undefined,
  fallback: number,
  bounds: { readonly least: number; readonly most: number; readonly whole?: boolean },
): number {
  if (text === undefined) return fallback;
  const number = text.trim() === '' ? Number.NaN : Number(text);
  const { least, most, whole = false } = bounds;
  if (!(number >= least && number <= most) || (whole && !Number.isInteger(number))) {
    throw new TypeError(
      `--${name} must be a ${whole ? 'whole ' : ''}number from ${least} to ${most}, not "${text}"`,
    );
  }
  return number;
}
