import { isIP } from 'node:net';
import { LIMIT_WINDOWS } from '../domain/limits.ts';
import { formatAmount } from '../domain/money.ts';
import type { ConfigProblem } from './config-error.ts';
import type { Values } from './config-keys.ts';
import { DEVELOPMENT_WALLET_ADDRESSES } from './development-keys.ts';
import { NETWORK_FACTS } from './tron-networks.ts';

/** A value that could not be read is absent; the rules that need it keep silent, for that is reported already. */
type ReadValues = Partial<Values>;

/** What is wrong between several keys, each of which is well written by itself. */
export function judgeTogether(values: ReadValues): ConfigProblem[] {
  return [
    ...judgeNetwork(values),
    ...judgeTimes(values),
    ...judgeConnections(values),
    ...judgeAmounts(values),
    ...judgeFees(values),
    ...(values.LUCID_ENV === 'production' ? judgeProduction(values) : []),
  ];
}

/** All TRON nodes in the order in which they are asked. */
export function nodeUrls(values: ReadValues): readonly string[] {
  return [
    ...(values.TRON_NODE_URL === undefined ? [] : [values.TRON_NODE_URL]),
    ...(values.TRON_FALLBACK_NODE_URLS ?? []),
  ];
}

/** What a transfer may burn beside its fee limit, in sun: bandwidth, and the recipient's activation. */
const FEE_BESIDE_LIMIT_MICRO = 3_000_000n;

/** The most that one payment may burn, in sun: it is reserved where the network could not be asked. */
export function feeReserveMicro({ TRON_FEE_LIMIT_MAX_TRX }: Pick<Values, 'TRON_FEE_LIMIT_MAX_TRX'>): bigint {
  return TRON_FEE_LIMIT_MAX_TRX + FEE_BESIDE_LIMIT_MICRO;
}

function judgeNetwork(values: ReadValues): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const network = values.TRON_NETWORK;
  if (network === undefined) return problems;
  const facts = NETWORK_FACTS[network];

  if (network === 'mainnet' && values.LUCID_ENV !== undefined && values.LUCID_ENV !== 'production') {
    problems.push({
      key: 'TRON_NETWORK',
      problem: `is mainnet, where money is real, in a ${values.LUCID_ENV} environment`,
      needs: 'LUCID_ENV=production beside mainnet, or a test network',
    });
  }

  const contract = values.TRON_CONTRACT_ADDRESS;
  if (contract === null && facts.usdtContract === null) {
    problems.push({
      key: 'TRON_CONTRACT_ADDRESS',
      problem: `is not set, and ${network} has no USDT contract that everybody means`,
      needs: "the USDT contract's address",
    });
  }
  // On the main net there is one true USDT; another contract here is a slip, or somebody's attack.
  if (contract && facts.usdtContract !== null && contract !== facts.usdtContract) {
    problems.push({
      key: 'TRON_CONTRACT_ADDRESS',
      problem: `is not the USDT contract of ${network}`,
      needs: `${facts.usdtContract}, or to be left out`,
    });
  }

  const genesis = values.TRON_GENESIS_BLOCK_ID;
  if (genesis === null && facts.genesisBlockId === null) {
    problems.push({
      key: 'TRON_GENESIS_BLOCK_ID',
      problem: 'is not set, and nobody but you knows it for a private network',
      needs: 'the id of block 0, 64 lower-case hex characters',
    });
  }
  if (genesis && facts.genesisBlockId !== null && genesis !== facts.genesisBlockId) {
    problems.push({
      key: 'TRON_GENESIS_BLOCK_ID',
      problem: `is not the genesis block of ${network}`,
      needs: `${facts.genesisBlockId}, or to be left out`,
    });
  }
  if (values.TRON_WALLET_ADDRESS !== undefined && values.TRON_WALLET_ADDRESS === contract) {
    problems.push({
      key: 'TRON_WALLET_ADDRESS',
      problem: "is the contract's address",
      needs: 'the address of the wallet that pays',
    });
  }
  return problems;
}

function judgeTimes(values: ReadValues): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const expirationMs = values.TRON_EXPIRATION_SECONDS;
  if (expirationMs !== undefined && values.TRON_TIMEOUT_SECONDS !== undefined) {
    if (values.TRON_TIMEOUT_SECONDS >= expirationMs) {
      problems.push({
        key: 'TRON_TIMEOUT_SECONDS',
        problem: 'is not shorter than TRON_EXPIRATION_SECONDS, so a transaction could expire during one call',
        needs: 'fewer seconds than TRON_EXPIRATION_SECONDS',
      });
    }
  }
  if (expirationMs !== undefined && values.PAYMENT_PAY_BY_SECONDS !== undefined) {
    if (values.PAYMENT_PAY_BY_SECONDS < expirationMs) {
      problems.push({
        key: 'PAYMENT_PAY_BY_SECONDS',
        problem: 'is shorter than TRON_EXPIRATION_SECONDS, so no attempt would have its full time',
        needs: 'at least as many seconds as TRON_EXPIRATION_SECONDS',
      });
    }
  }
  if (values.HEALTH_CHECK_TIMEOUT !== undefined && values.HEALTH_CHECK_INTERVAL !== undefined) {
    if (values.HEALTH_CHECK_TIMEOUT > values.HEALTH_CHECK_INTERVAL) {
      problems.push({
        key: 'HEALTH_CHECK_TIMEOUT',
        problem: 'is longer than HEALTH_CHECK_INTERVAL, so checks would pile up',
        needs: 'at most as many seconds as HEALTH_CHECK_INTERVAL',
      });
    }
  }
  const { CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS: hourMs, CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS: dayMs } =
    values;
  if (hourMs !== undefined && dayMs !== undefined && hourMs > dayMs) {
    problems.push({
      key: 'CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS',
      problem: 'is longer than CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS',
      needs: 'at most as many seconds as that',
    });
  }
  return problems;
}

/** An amount that may never be paid is not one that could be approved. */
function judgeAmounts(values: ReadValues): ConfigProblem[] {
  return (['USDT', 'TRX'] as const).flatMap((asset) => {
    const max = values[`PAYMENT_MAX_${asset}`];
    const approvalAbove = values[`PAYMENT_APPROVAL_ABOVE_${asset}`];
    if (!max || !approvalAbove || approvalAbove < max) return [];
    return [
      {
        key: `PAYMENT_APPROVAL_ABOVE_${asset}`,
        problem: `is not below PAYMENT_MAX_${asset}, so nothing would ever be approved`,
        needs: 'less than that, or to be left out',
      },
    ];
  });
}

/** A cap of nothing is meant: nothing may be paid. */
function judgeFees(values: ReadValues): ConfigProblem[] {
  const { CIRCUIT_BREAKER_DAILY_FEE_LIMIT: dailyMicro, TRON_FEE_LIMIT_MAX_TRX } = values;
  if (!dailyMicro || TRON_FEE_LIMIT_MAX_TRX === undefined) return [];
  const reserveMicro = feeReserveMicro({ TRON_FEE_LIMIT_MAX_TRX });
  if (dailyMicro >= reserveMicro) return [];
  return [
    {
      key: 'CIRCUIT_BREAKER_DAILY_FEE_LIMIT',
      problem:
        'is below what one payment reserves at most, TRON_FEE_LIMIT_MAX_TRX and what it burns beside that, so ' +
        'none would be taken while the network is away, or with Prefer: respond-async',
      needs: `at least ${formatAmount(reserveMicro)}, or a lower TRON_FEE_LIMIT_MAX_TRX`,
    },
  ];
}

/**
 * Without Tor a connection may only go to an address that is written as a number and cannot leave the machine or
 * its private network. A name would be looked up first, and that look-up alone tells the network whom we call.
 */
function judgeConnections(values: ReadValues): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const urls = nodeUrls(values);
  if (values.TOR_ONLY === false && urls.some((url) => !isPrivateHost(new URL(url).hostname))) {
    problems.push({
      key: 'TOR_ONLY',
      problem: 'is false while a TRON node is not on this machine or a private network',
      needs: 'true, or only node addresses such as http://127.0.0.1:9090 or http://10.0.0.5:8090',
    });
  }
  // Two answers of one node must not pass for two witnesses.
  const hosts = urls.map((url) => new URL(url).host);
  if (new Set(hosts).size < hosts.length) {
    problems.push({
      key: 'TRON_FALLBACK_NODE_URLS',
      problem: 'names a node twice, or the one of TRON_NODE_URL again',
      needs: 'different nodes, operated independently',
    });
  }
  return problems;
}

function judgeProduction(values: ReadValues): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  if (values.TOR_ONLY === false) {
    problems.push({
      key: 'TOR_ONLY',
      problem: 'is false in production',
      needs: 'true, or LUCID_ENV=development with a test network',
    });
  }
  for (const [key, urls] of [
    ['TRON_NODE_URL', values.TRON_NODE_URL === undefined ? [] : [values.TRON_NODE_URL]],
    ['TRON_FALLBACK_NODE_URLS', values.TRON_FALLBACK_NODE_URLS ?? []],
  ] as const) {
    // An exit relay reads and changes what is not encrypted; an onion service is encrypted by its address.
    if (urls.some((url) => url.startsWith('http:') && !new URL(url).hostname.endsWith('.onion'))) {
      problems.push({
        key,
        problem: 'is not encrypted in production',
        needs: 'https://, or http:// to an .onion address',
      });
    }
  }
  if (values.MONGO_USERNAME === null) {
    problems.push({
      key: 'MONGO_USERNAME',
      problem: 'is not set in production',
      needs: "the database user's name, with MONGO_PASSWORD_FILE beside it",
    });
  }
  if (values.TRON_WALLET_ADDRESS && DEVELOPMENT_WALLET_ADDRESSES.includes(values.TRON_WALLET_ADDRESS)) {
    problems.push({
      key: 'TRON_WALLET_ADDRESS',
      problem: 'is a development account whose key everybody knows',
      needs: 'a wallet of your own',
    });
  }
  if ((values.TRON_CONFIRMATIONS_REQUIRED ?? 19) < 19) {
    problems.push({
      key: 'TRON_CONFIRMATIONS_REQUIRED',
      problem: 'is below 19 in production, where a block is final once 19 of 27 representatives built on it',
      needs: 'at least 19',
    });
  }
  if ((values.TRON_EXPIRATION_SECONDS ?? 300_000) < 120_000) {
    problems.push({
      key: 'TRON_EXPIRATION_SECONDS',
      problem: 'is so short in production that a clock a little behind leaves no time to be included',
      needs: 'at least 120',
    });
  }
  const windows = [
    ['CIRCUIT_BREAKER_HOURLY_WINDOW_SECONDS', LIMIT_WINDOWS.hourMs],
    ['CIRCUIT_BREAKER_DAILY_WINDOW_SECONDS', LIMIT_WINDOWS.dayMs],
  ] as const;
  for (const [key, standardMs] of windows) {
    if (values[key] !== undefined && values[key] !== standardMs) {
      problems.push({
        key,
        problem: 'is shortened in production; that is for tests',
        needs: `${standardMs / 1000}, or to be left out`,
      });
    }
  }
  return problems;
}

/** Loopback, or private use by RFC 1918 and RFC 4193. Link-local is not: cloud metadata answers there. */
function isPrivateHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  if (host === 'localhost') return true;
  const family = isIP(host);
  if (family === 4) {
    const [first = 0, second = 0] = host.split('.').map(Number);
    return (
      first === 127 ||
      first === 10 ||
      (first === 172 && second >= 16 && second <= 31) ||
      (first === 192 && second === 168)
    );
  }
  return family === 6 && (host === '::1' || /^f[cd][0-9a-f]{2}:/.test(host));
}
