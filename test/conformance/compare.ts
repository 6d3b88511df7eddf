import { toBase58 } from '../../deploy/devchain/encoding.ts';

/** What a node said. */
export type Answer = { readonly status: number; readonly type: string; readonly answer: unknown };

/** Recorded addresses (20 bytes in hex) and what stands for them on the node that is examined. */
export type Aliases = ReadonlyMap<string, string>;

/**
 * Fields whose value is another on every chain: hashes, times, heights, signatures. Their kind and length must
 * agree, their value need not. Everything else (fees, codes, messages, results, addresses by their part in the
 * play) must be equal.
 */
const VARYING = new Set([
  'blockID',
  'txTrieRoot',
  'parentHash',
  'witness_signature',
  'ref_block_bytes',
  'ref_block_hash',
  'txID',
  'txid',
  'id',
  'hash',
  'signature',
  'raw_data_hex',
]);
/** Times and heights: a positive number on both sides. */
const MOVING = new Set([
  'number',
  'timestamp',
  'expiration',
  'blockNumber',
  'blockTimeStamp',
  'create_time',
  'latest_opration_time',
  'latest_consume_time',
  'latest_consume_free_time',
  'latest_consume_time_for_energy',
  'balance',
  'allowance',
]);
/** Usage falls with time, so a run at another pace ends a few units apart. */
const DECAYING = new Set(['freeNetUsed', 'free_net_usage', 'net_usage', 'NetUsed', 'EnergyUsed']);
const DECAY_TOLERANCE = 6;

/** Every difference between the recorded answer and this one, as readable lines; none when they agree. */
export function differences(
  recorded: Answer,
  actual: Answer,
  aliases: Aliases,
  allowed: readonly string[],
): string[] {
  const found: string[] = [];
  if (recorded.status !== actual.status) found.push(`status ${actual.status}, recorded ${recorded.status}`);
  if (normaliseType(recorded.type) !== normaliseType(actual.type)) {
    found.push(`content type ${actual.type}, recorded ${recorded.type}`);
  }
  const [mine, theirs] = [
    substitute(
      actual.answer,
      [...aliases].map(([alias, address]) => [address, alias] as const),
    ),
    substitute(
      recorded.answer,
      [...aliases].map(([alias]) => [alias, alias] as const),
    ),
  ];
  if (typeof theirs === 'string' && typeof mine === 'string') compareHtml(theirs, mine, found);
  else compareValues('', '', theirs, mine, found, new Set(allowed));
  return found;
}

function compareValues(
  path: string,
  key: string,
  recorded: unknown,
  actual: unknown,
  found: string[],
  allowed: ReadonlySet<string>,
): void {
  if (allowed.has(path)) return;
  if (Array.isArray(recorded) && Array.isArray(actual)) {
    if (recorded.length !== actual.length && !allowed.has(`${path}[]`)) {
      found.push(`${path} has ${actual.length} elements, recorded ${recorded.length}`);
    }
    recorded.slice(0, actual.length).forEach((item: unknown, i) => {
      compareValues(`${path}[${i}]`, key, item, actual[i], found, allowed);
    });
    return;
  }
  if (isRecord(recorded) && isRecord(actual)) {
    for (const name of new Set([...Object.keys(recorded), ...Object.keys(actual)])) {
      const at = path === '' ? name : `${path}.${name}`;
      if (allowed.has(at)) continue;
      if (!(name in actual)) found.push(`${at} is absent`);
      else if (!(name in recorded)) found.push(`${at} ought to be absent`);
      else compareValues(at, name, recorded[name], actual[name], found, allowed);
    }
    return;
  }
  if (typeof recorded !== typeof actual) {
    found.push(`${path} is ${show(actual)}, recorded ${show(recorded)}`);
    return;
  }
  if (!agree(key, recorded, actual)) found.push(`${path} is ${show(actual)}, recorded ${show(recorded)}`);
}

function agree(key: string, recorded: unknown, actual: unknown): boolean {
  if (recorded === actual) return true;
  if (typeof recorded === 'string' && typeof actual === 'string') {
    if (VARYING.has(key)) return recorded.length === actual.length;
    return withoutIdentities(readable(key, recorded)) === withoutIdentities(readable(key, actual));
  }
  if (typeof recorded === 'number' && typeof actual === 'number') {
    if (MOVING.has(key)) return actual > 0;
    return DECAYING.has(key) && Math.abs(recorded - actual) <= DECAY_TOLERANCE;
  }
  return false;
}

/** Messages travel as hex; `transaction` of broadcasthex is JSON inside a text. */
function readable(key: string, text: string): string {
  if (/message$/i.test(key) && /^([0-9a-f]{2})+$/.test(text))
    return Buffer.from(text, 'hex').toString('utf8');
  return text;
}

/** Hashes, signatures, addresses and times inside a text say who and when, not what. */
function withoutIdentities(text: string): string {
  return text
    .replace(/\b[0-9a-f]{130}\b/g, '<signature>')
    .replace(/\b[0-9a-f]{64}\b/g, '<hash>')
    .replace(/\bT[1-9A-HJ-NP-Za-km-z]{33}\b/g, '<address>')
    .replace(/("ref_block_(?:bytes|hash)": )"[0-9a-f]+"/g, '$1<reference>')
    .replace(/\b1\d{12}\b/g, '<time>');
}

function compareHtml(recorded: string, actual: string, found: string[]): void {
  const title = (html: string): string | undefined => /<title>(.*?)<\/title>/s.exec(html)?.[1];
  if (title(recorded) !== title(actual)) found.push(`title ${title(actual)}, recorded ${title(recorded)}`);
}

/** Puts names in place of addresses, in hex and in base58. */
function substitute(answer: unknown, pairs: readonly (readonly [address: string, name: string])[]): unknown {
  let text = JSON.stringify(answer);
  for (const [address, name] of pairs) {
    text = text.replaceAll(address, `<${name}>`).replaceAll(toBase58(`41${address}`), `<58:${name}>`);
  }
  return JSON.parse(text) as unknown;
}

function normaliseType(type: string): string {
  return type.toLowerCase().replaceAll(' ', '');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'absent';
  return text.length <= 160 ? text : `${text.slice(0, 160)}…`;
}
