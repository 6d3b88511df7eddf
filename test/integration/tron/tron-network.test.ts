import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { blockIdOf as headerHash, merkleRoot } from '../../../shared/adapters/tron/block-hash.ts';
import { withCallDeadline } from '../../../shared/adapters/tron/call-deadline.ts';
import { directDialer } from '../../../shared/adapters/tron/dialer.ts';
import { nodeClient } from '../../../shared/adapters/tron/node-client.ts';
import { bytesField, integerField, lengthDelimited } from '../../../shared/adapters/tron/protobuf.ts';
import { tronNetwork } from '../../../shared/adapters/tron/tron-network.ts';
import {
  provesAbsenceByTwoNodes,
  provesAbsenceByWalk,
  type Transfer,
} from '../../../shared/domain/transfer-evidence.ts';
import { addressFromHex, addressToHex, addressToWord } from '../../../shared/domain/tron-address.ts';
import { NOTHING_IN_FLIGHT, type PaymentNetwork } from '../../../shared/ports/payment-network.ts';
import { type Answer, type FakeNode, Reply, startFakeNode } from '../../support/fake-node.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { recordedAnswer } from '../../unit/shared/adapters/recorded-answers.ts';

const START_MS = 1_795_454_000_000;
/** Reads asked for at one time: streams on one Tor circuit. */
const OPEN_MAX = 9;

function address(hex: string) {
  const found = addressFromHex(hex);
  if (found === undefined) throw new Error(`no address: ${hex}`);
  return found;
}

const transfer: Transfer = {
  asset: 'USDT',
  amountMicro: 5n,
  sender: address('41cf703cc905054463a9e31a6f36d20845ef8bf8be'),
  recipient: address('411c115bd3f3383083ff6db6ff51157590e254c2f0'),
  contract: address('41a2620d757b1e17514dc5a0cdb7af67a4e1e34433'),
};
/** The account that the node in good health has, and what it holds. */
const holder = { address: transfer.sender, contract: transfer.contract };
const HOLDINGS = { USDT: 1_000_000n, TRX: 50_000_000n };
const trxTransfer: Transfer = { ...transfer, asset: 'TRX', amountMicro: 1_000_000n };

const TX = recordedAnswer('fn-gettransactionbyid-trx');
const TX_ID = String(TX.txID);

// --- a small chain, block by block, in the form in which nodes show it ---

type ShownBlock = ReturnType<typeof seal>;

/** Blocks as they were made, by chain and number: an id depends on all blocks before it. */
const made = new Map<string, ShownBlock>();

function seal(header: Record<string, unknown>, transactions?: readonly unknown[]) {
  const raw_data = { ...header, txTrieRoot: merkleRoot(transactions ?? []) };
  const shown = { blockID: headerHash(raw_data), block_header: { raw_data } };
  return transactions === undefined ? shown : { ...shown, transactions };
}

function block(
  number: number,
  change: { seed?: string; parentHash?: string; timestamp?: number; transactions?: unknown[] } = {},
): ShownBlock {
  const { seed = 'main', transactions } = change;
  const isPlain = Object.keys(change).every((key) => key === 'seed');
  const known = made.get(`${seed}/${number}`);
  if (isPlain && known !== undefined) return known;
  const parentHash = change.parentHash ?? (number === 0 ? '0'.repeat(64) : blockIdOf(number - 1, seed));
  const timestamp = change.timestamp ?? START_MS + number * 3_000;
  const witness_address = `41${createHash('sha256').update(seed).digest('hex').slice(24)}`;
  const shown = seal(
    number === 0 ? { parentHash, witness_address } : { number, parentHash, timestamp, witness_address },
    transactions,
  );
  if (isPlain) made.set(`${seed}/${number}`, shown);
  return shown;
}

function blockIdOf(number: number, seed = 'main'): string {
  return block(number, { seed }).blockID;
}

const SOLID_HEIGHT = 100;
const solidHead = {
  number: SOLID_HEIGHT,
  blockId: blockIdOf(SOLID_HEIGHT),
  timestampMs: START_MS + SOLID_HEIGHT * 3_000,
};

function blocksUpTo(height: number, replaced: Record<number, unknown> = {}, seed = 'main'): Answer {
  return ({ num = 0 }: { num?: number }) => replaced[num] ?? (num > height ? {} : block(num, { seed }));
}

/** Headers as `getblock` shows them: the newest one where no number is given. */
function headersUpTo(height: number, seed = 'main'): Answer {
  return ({ id_or_num = String(height) }: { id_or_num?: string }) => {
    const number = Number(id_or_num);
    return number > height ? {} : block(number, { seed });
  };
}

/** A contract's answers by the function that is called. */
function contract(answers: Record<string, unknown>): Answer {
  return ({ function_selector }: { function_selector?: string }) => answers[function_selector ?? ''];
}

function called(word: bigint) {
  return {
    result: { result: true },
    energy_used: 500,
    constant_result: [word.toString(16).padStart(64, '0')],
  };
}

const REVERTED = recordedAnswer('fn-triggerconstant-nosuchfunction');
const calls = {
  'transfer(address,uint256)': recordedAnswer('fn-triggerconstant-transfer'),
  'isBlackListed(address)': called(0n),
  'balanceOf(address)': called(1_000_000n),
};

function account(balance: number) {
  return ({ address: asked }: { address?: string }) => ({ address: asked, balance });
}

/** A node in good health: a table to be changed by each test. */
function goodNode(): Record<string, Answer> {
  return {
    '/wallet/getblockbynum': blocksUpTo(SOLID_HEIGHT + 20),
    '/wallet/getblock': block(SOLID_HEIGHT + 20),
    '/walletsolidity/getblock': headersUpTo(SOLID_HEIGHT),
    '/walletsolidity/getblockbynum': blocksUpTo(SOLID_HEIGHT),
    '/wallet/getchainparameters': recordedAnswer('fn-getchainparameters'),
    '/wallet/getaccountresource': recordedAnswer('fn-getaccountresource'),
    '/wallet/getaccount': account(1),
    '/walletsolidity/getaccount': account(50_000_000),
    '/wallet/triggerconstantcontract': contract(calls),
    '/walletsolidity/triggerconstantcontract': contract(calls),
    '/walletsolidity/gettransactionbyid': {},
    '/walletsolidity/gettransactioninfobyid': {},
  };
}

let nodes: [FakeNode, FakeNode];
let nowMs: number;
let rejections: unknown[];
const noteRejection = (reason: unknown) => rejections.push(reason);

beforeEach(async () => {
  nowMs = START_MS;
  rejections = [];
  process.on('unhandledRejection', noteRejection);
  nodes = [await startFakeNode(goodNode()), await startFakeNode(goodNode())];
});

afterEach(async () => {
  vi.useRealTimers();
  for (const node of nodes) {
    expect(node.openMax()).toBeLessThanOrEqual(OPEN_MAX);
    await node.close();
  }
  // Rejections that nobody handles are reported once all that is pending has run.
  await sleep(0);
  process.off('unhandledRejection', noteRejection);
  expect(rejections).toEqual([]);
});

function network(count: 1 | 2 = 2, feeLimitMaxMicro = 100_000_000n): PaymentNetwork {
  const dialer = directDialer();
  return tronNetwork({
    nodes: nodes
      .slice(0, count)
      .map(({ url }) => nodeClient({ url, dialer, purpose: 'test', timeoutMs: 60_000 })),
    genesisBlockId: blockIdOf(0),
    feeLimitMaxMicro,
    clock: { nowMs: () => nowMs, sleep: () => Promise.resolve() },
  });
}

/** The first node breaks in every way at once: each read fails, the genesis block included. */
function breakNode(node: FakeNode, reply: Answer = new Reply(503, 'no')): void {
  for (const path of Object.keys(node.table)) node.table[path] = reply;
}

function makeForeign(node: FakeNode): void {
  node.table['/wallet/getblockbynum'] = blocksUpTo(SOLID_HEIGHT, {}, 'another network');
}

function set(node: FakeNode, path: string, answer: Answer): void {
  node.table[path] = answer;
}

/** Lets a node's solid chain end at a height. */
function showSolid(node: FakeNode, height: number, seed?: string): void {
  set(node, '/walletsolidity/getblock', headersUpTo(height, seed));
  set(node, '/walletsolidity/getblockbynum', blocksUpTo(height, {}, seed));
}

function paths(node: FakeNode): string[] {
  return node.asked.map(({ path }) => path);
}

const unavailable = expect.objectContaining({ code: 'chain_unavailable' });

describe('reading from the first node that answers', () => {
  it('asks the second one only when the first fails', async () => {
    expect(await network().readSolidHead()).toEqual(solidHead);
    expect(nodes[1].asked).toEqual([]);
    breakNode(nodes[0]);
    expect(await network().readSolidHead()).toEqual(solidHead);
  });

  it('leaves out a node of another network, whatever it answers', async () => {
    makeForeign(nodes[0]);
    nodes[0].table['/walletsolidity/getblock'] = block(999);
    expect(await network().readSolidHead()).toEqual(solidHead);
    await expect(network(1).readSolidHead()).rejects.toThrow(/belongs to another network/);
  });

  it('takes a busy node’s {"Error"} for no answer, not for an empty one', async () => {
    breakNode(nodes[0], { Error: 'class java.lang.IllegalAccessException : lack of computing resources' });
    expect(await network().prepareTransfer(transfer, NOTHING_IN_FLIGHT)).toMatchObject({
      referenceBlock: solidHead,
    });
  });

  it('fails as chain_unavailable when all are away', async () => {
    for (const node of nodes) breakNode(node);
    const away = network();
    await expect(away.readSolidHead()).rejects.toEqual(unavailable);
    await expect(away.prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toEqual(unavailable);
    await expect(away.prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT)).rejects.toEqual(unavailable);
    await expect(away.takeTestimony(TX_ID, null)).rejects.toEqual(unavailable);
    await expect(away.walkSolidBlocks(1, START_MS, null)).rejects.toEqual(unavailable);
    await expect(away.readHoldings(holder, null)).rejects.toEqual(unavailable);
  });

  it('checks a node’s network once', async () => {
    const settled = network(1);
    await settled.readSolidHead();
    await settled.readSolidHead();
    expect(paths(nodes[0]).filter((path) => path === '/wallet/getblockbynum')).toHaveLength(1);
  });
});

describe('holdings', () => {
  it('are asked of every node, each after its solid head', async () => {
    const all = await network().readHoldings(holder, solidHead);
    expect(all.map(({ node }) => node)).toEqual(nodes.map(({ port }) => `127.0.0.1:${port}`));
    for (const holdings of all) expect(holdings).toMatchObject({ solidHead, amounts: HOLDINGS });
    for (const node of nodes) {
      const [genesis, head, ...rest] = paths(node);
      expect([genesis, head]).toEqual(['/wallet/getblockbynum', '/walletsolidity/getblock']);
      expect(rest.sort()).toEqual([
        '/walletsolidity/getaccount',
        '/walletsolidity/getblock',
        '/walletsolidity/triggerconstantcontract',
      ]);
    }
  });

  it('are not told by a node that lags behind the known solid block, and not missed of one that fails', async () => {
    const ahead = { ...solidHead, number: SOLID_HEIGHT + 1, blockId: blockIdOf(SOLID_HEIGHT + 1) };
    expect(await network(1).readHoldings(holder, ahead)).toEqual([]);
    breakNode(nodes[0]);
    expect(await network().readHoldings(holder, solidHead)).toHaveLength(1);
  });

  it('are none of TRX where the account does not exist', async () => {
    nodes[0].table['/walletsolidity/getaccount'] = {};
    const [holdings] = await network(1).readHoldings(holder, null);
    expect(holdings?.amounts).toEqual({ ...HOLDINGS, TRX: 0n });
  });
});

describe('a node that is silent', () => {
  it('is given up where another one has answered long ago', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      breakNode(nodes[0], () => new Promise(() => {}));
      const asking = network().takeTestimony(TX_ID, null);
      await waitUntil(() => vi.getTimerCount() === 1);
      await vi.advanceTimersByTimeAsync(14_999);
      expect(vi.getTimerCount()).toBe(1);
      await vi.advanceTimersByTimeAsync(1);
      expect((await asking).map(({ node }) => node)).toEqual([`127.0.0.1:${nodes[1].port}`]);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a call as a whole', () => {
  // Tried again where this machine stood still for the whole of the call.
  it('leaves a node time to answer where the one before it never does', { retry: 5 }, async () => {
    breakNode(nodes[0], () => new Promise(() => {}));
    const bounded = withCallDeadline(network(), 2_000);
    expect(await bounded.readSolidHead()).toEqual(solidHead);
  });

  it('ends in time however many rounds and nodes are left, and then dials nobody', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    for (const node of nodes) {
      const { table } = node;
      const slow = (path: string) => {
        const answer = table[path];
        table[path] = async (body: Record<string, unknown>) => {
          vi.setSystemTime(Date.now() + 1_000);
          return typeof answer === 'function' ? answer(body) : answer;
        };
      };
      slow('/walletsolidity/getblock');
      slow('/walletsolidity/getblockbynum');
    }
    const bounded = withCallDeadline(network(), 60_000);
    await expect(bounded.takeTestimony(TX_ID, solidHead)).resolves.toHaveLength(2);
    // Sixty blocks take eight rounds, longer than a node's part.
    await expect(bounded.walkSolidBlocks(30, START_MS + 90 * 3_000, null)).rejects.toEqual(unavailable);
    const asked = nodes.map((node) => node.asked.length);
    await sleep(50);
    expect(nodes.map((node) => node.asked.length)).toEqual(asked);
  });
});

describe('testimony', () => {
  it('has none of a node that lags behind the known solid block, which is no failure of it', async () => {
    const ahead = { ...solidHead, number: SOLID_HEIGHT + 1, blockId: blockIdOf(SOLID_HEIGHT + 1) };
    expect(await network(1).takeTestimony(TX_ID, ahead)).toEqual([]);
    // One backend of a load balancer told the head, another one is asked for the block.
    set(nodes[0], '/walletsolidity/getblock', ({ id_or_num }: { id_or_num?: string }) =>
      id_or_num === undefined ? block(SOLID_HEIGHT) : {},
    );
    expect(await network(1).takeTestimony(TX_ID, solidHead)).toEqual([]);
    expect(await network().takeTestimony(TX_ID, solidHead)).toHaveLength(1);
  });

  it('is asked of every node, each time for its solid head before anything else', async () => {
    const testimonies = await network().takeTestimony(TX_ID, solidHead);
    expect(testimonies.map(({ node }) => node)).toEqual(nodes.map(({ port }) => `127.0.0.1:${port}`));
    for (const testimony of testimonies) {
      expect(testimony).toMatchObject({ solidHead, headNumber: SOLID_HEIGHT, transaction: null, info: null });
    }
    for (const node of nodes) {
      const [genesis, head, ...rest] = paths(node);
      expect([genesis, head]).toEqual(['/wallet/getblockbynum', '/walletsolidity/getblock']);
      expect(rest.sort()).toEqual([
        '/walletsolidity/getblock',
        '/walletsolidity/gettransactionbyid',
        '/walletsolidity/gettransactioninfobyid',
      ]);
    }
  });

  it('asks for headers alone, not for the transactions in them', async () => {
    await network(1).takeTestimony(TX_ID, solidHead);
    const asked = nodes[0].asked.filter(({ path }) => path === '/walletsolidity/getblock');
    expect(asked.map(({ body }) => body)).toEqual([
      { detail: false },
      { id_or_num: String(SOLID_HEIGHT), detail: false },
    ]);
  });

  it('asks for the transaction only once the head has been answered', async () => {
    let answerHead: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      answerHead = resolve;
    });
    const headAsked = new Promise<void>((resolve) => {
      nodes[0].table['/walletsolidity/getblock'] = async () => {
        resolve();
        await held;
        return block(SOLID_HEIGHT);
      };
    });
    const testimony = network(1).takeTestimony(TX_ID, null);
    await headAsked;
    expect(paths(nodes[0])).toEqual(['/wallet/getblockbynum', '/walletsolidity/getblock']);
    answerHead();
    await testimony;
    expect(paths(nodes[0])).toContain('/walletsolidity/gettransactionbyid');
  });

  it('shows what was found, by its bytes, with its block and the height of the node', async () => {
    nodes[0].table['/walletsolidity/gettransactionbyid'] = TX;
    nodes[0].table['/walletsolidity/gettransactioninfobyid'] = recordedAnswer(
      'fn-gettransactioninfobyid-trx',
    );
    const holder = block(51, { transactions: [TX] });
    set(nodes[0], '/walletsolidity/getblockbynum', blocksUpTo(SOLID_HEIGHT, { 51: holder }));
    const [testimony] = await network(1).takeTestimony(TX_ID, null);
    expect(testimony).toMatchObject({
      headNumber: SOLID_HEIGHT + 20,
      transaction: { txId: TX_ID, contractRet: 'SUCCESS' },
      info: { txId: TX_ID, blockNumber: 51 },
      block: { number: 51, blockId: holder.blockID, txIds: [TX_ID], isBound: true },
    });
    // Solid blocks alone: a node shows pending transactions too, where it is asked for them.
    const asked = paths(nodes[0]).filter((path) => path.includes('gettransaction'));
    expect(asked.every((path) => path.startsWith('/walletsolidity/'))).toBe(true);
  });

  it('has no block where the backend that is asked for it is not that far', async () => {
    set(nodes[0], '/walletsolidity/gettransactionbyid', TX);
    set(nodes[0], '/walletsolidity/gettransactioninfobyid', recordedAnswer('fn-gettransactioninfobyid-trx'));
    set(nodes[0], '/walletsolidity/getblockbynum', blocksUpTo(50));
    expect(await network(1).takeTestimony(TX_ID, null)).toMatchObject([
      { block: null, info: { txId: TX_ID } },
    ]);
  });

  it.each<[string, (node: FakeNode) => void]>([
    [
      'shows another block in its place',
      (node) => {
        node.table['/walletsolidity/getblock'] = headersUpTo(SOLID_HEIGHT, 'a fork');
      },
    ],
    ['belongs to another network', makeForeign],
    ['is away', breakNode],
    [
      'fails the question for the transaction',
      (node) => {
        node.table['/walletsolidity/gettransactionbyid'] = { Error: 'busy' };
      },
    ],
    [
      'answers it with an object of another kind',
      (node) => {
        node.table['/walletsolidity/gettransactionbyid'] = { error: 'rate limit' };
      },
    ],
    [
      'fails the question for its info',
      (node) => {
        node.table['/walletsolidity/gettransactioninfobyid'] = new Reply(429, '');
      },
    ],
    [
      'shows no solid head',
      (node) => {
        node.table['/walletsolidity/getblock'] = {};
      },
    ],
  ])('leaves out a node that %s; one alone proves no absence', async (_, spoil) => {
    spoil(nodes[0]);
    const testimonies = await network().takeTestimony(TX_ID, solidHead);
    expect(testimonies.map(({ node }) => node)).toEqual([`127.0.0.1:${nodes[1].port}`]);
    expect(provesAbsenceByTwoNodes(testimonies, START_MS, 0)).toBe(false);
    spoil(nodes[1]);
    await expect(network().takeTestimony(TX_ID, solidHead)).rejects.toEqual(unavailable);
  });
});

describe('a node that fails', () => {
  const isAsked = async (both: PaymentNetwork, index: 0 | 1) => {
    const before = nodes[index].asked.length;
    await both.readSolidHead();
    return nodes[index].asked.length > before;
  };

  it('is asked last for a while: one that is silent would take its part of the time of every call', async () => {
    const table = { ...nodes[0].table };
    const both = network();
    expect(await isAsked(both, 0)).toBe(true);
    breakNode(nodes[0]);
    expect(await isAsked(both, 0)).toBe(true);
    Object.assign(nodes[0].table, table);

    for (let call = 0; call < 20; call += 1) expect(await isAsked(both, 0)).toBe(false);

    expect(await isAsked(both, 0)).toBe(true);
    expect(await isAsked(both, 1)).toBe(false);
  });

  it('is asked still where the others fail, too', async () => {
    const table = { ...nodes[0].table };
    const both = network();
    for (const node of nodes) breakNode(node);
    await expect(both.readSolidHead()).rejects.toEqual(unavailable);
    Object.assign(nodes[0].table, table);
    await both.readSolidHead();
    breakNode(nodes[0]);
    Object.assign(nodes[1].table, table);
    expect(await isAsked(both, 1)).toBe(true);
  });
});

describe('what nodes answer to a broadcast', () => {
  const code = (name: string) => ({ result: false, code: name, txid: TX_ID, message: 'anything' });

  it.each<[string, Answer, string, string]>([
    ['accepted', { result: true, code: 'SUCCESS', txid: TX_ID, message: '' }, 'accepted', 'SUCCESS'],
    ['accepted, as broadcasttransaction words it', { result: true, txid: TX_ID }, 'accepted', 'SUCCESS'],
    ['DUP', recordedDuplicate(), 'duplicate', 'DUP_TRANSACTION_ERROR'],
    ...[
      'TRANSACTION_EXPIRATION_ERROR',
      'SERVER_BUSY',
      'NO_CONNECTION',
      'NOT_ENOUGH_EFFECTIVE_CONNECTION',
      'BLOCK_UNSOLIDIFIED',
      'OTHER_ERROR',
    ].map((name): [string, Answer, string, string] => [name, code(name), 'unclear', name]),
    ...[
      'SIGERROR',
      'TAPOS_ERROR',
      'CONTRACT_VALIDATE_ERROR',
      'CONTRACT_EXE_ERROR',
      'BANDWITH_ERROR',
      'TOO_BIG_TRANSACTION_ERROR',
    ].map((name): [string, Answer, string, string] => [name, code(name), 'refused', name]),
    [
      'an acceptance of another transaction',
      { result: true, txid: '00'.repeat(32) },
      'unclear',
      'answered for another transaction',
    ],
    [
      'a refusal of another transaction',
      { ...code('SIGERROR'), txid: '00'.repeat(32) },
      'unclear',
      'answered for another transaction',
    ],
    [
      'a duplicate of another transaction',
      { ...code('DUP_TRANSACTION_ERROR'), txid: 5 },
      'unclear',
      'answered for another transaction',
    ],
    ['acceptance and refusal in one', { result: true, code: 'SIGERROR', txid: TX_ID }, 'unclear', 'SIGERROR'],
    ['a result that is not true', { result: 'true', txid: TX_ID }, 'unclear', 'no code'],
    ['success without a result', { code: 'SUCCESS', txid: TX_ID }, 'unclear', 'SUCCESS'],
    ['nothing', {}, 'unclear', 'no code'],
    ['a code that is no text', { code: 5 }, 'unclear', 'no code'],
    ['a code of its own making', { code: 'paid! see http://example.com' }, 'unclear', 'no code'],
  ])('%s', async (_, answer, kind, expected) => {
    nodes[0].table['/wallet/broadcasthex'] = answer;
    const [heard] = await network(1).broadcast(Buffer.from('0a85', 'hex'), TX_ID);
    expect(heard).toEqual({ node: `127.0.0.1:${nodes[0].port}`, kind, code: expected });
  });

  it.each<[string, Answer]>([
    ['java-tron’s error', { Error: 'class java.lang.NullPointerException : null' }],
    ['503', new Reply(503, '')],
    ['a page', new Reply(200, '<html>')],
  ])('%s is unclear', async (_, answer) => {
    nodes[0].table['/wallet/broadcasthex'] = answer;
    expect(await network(1).broadcast(Buffer.of(1), TX_ID)).toMatchObject([{ kind: 'unclear' }]);
  });

  it('recorded refusals are what they are called', async () => {
    const names = {
      'fn-broadcast-expired': 'unclear',
      'fn-broadcast-wrong-signer': 'refused',
      'fn-broadcast-insufficient-balance': 'refused',
      'fn-broadcast-tapos-hash': 'refused',
      'fn-broadcast-too-big': 'refused',
      'fn-broadcast-bandwidth-2': 'refused',
      'fn-broadcasthex-empty': 'refused',
      'fn-broadcasthex-ok': 'accepted',
    } as const;
    for (const [name, kind] of Object.entries(names)) {
      const answer = recordedAnswer(name as keyof typeof names);
      nodes[0].table['/wallet/broadcasthex'] = answer;
      expect(await network(1).broadcast(Buffer.of(1), String(answer.txid))).toMatchObject([{ kind }]);
    }
  });

  it('the same bytes go to every node, and one that is away hides no other’s answer', async () => {
    nodes[0].table['/wallet/broadcasthex'] = new Reply(503, '');
    nodes[1].table['/wallet/broadcasthex'] = { result: true, code: 'SUCCESS', txid: TX_ID };
    const answers = await network().broadcast(Buffer.from('0a85ff', 'hex'), TX_ID);
    expect(answers.map(({ kind }) => kind)).toEqual(['unclear', 'accepted']);
    for (const node of nodes) expect(node.asked.map(({ body }) => body)).toEqual([{ transaction: '0a85ff' }]);
  });

  it.each([
    [0, 1],
    [1, 0],
  ] as const)(
    'once one node has taken them, another is given up soon: node %i is silent',
    async (silent, takes) => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const isPatient = () => vi.getTimerCount() === 1;
      try {
        nodes[silent].table['/wallet/broadcasthex'] = () => new Promise(() => {});
        nodes[takes].table['/wallet/broadcasthex'] = { result: true, code: 'SUCCESS', txid: TX_ID };
        const broadcast = network().broadcast(Buffer.of(1), TX_ID);
        await waitUntil(isPatient);
        await vi.advanceTimersByTimeAsync(7_999);
        expect(isPatient()).toBe(true);
        await vi.advanceTimersByTimeAsync(1);
        const answers = await broadcast;
        expect(answers[silent]).toMatchObject({
          kind: 'unclear',
          code: expect.stringMatching(/not answer in time$/),
        });
        expect(answers[takes]).toMatchObject({ kind: 'accepted' });
        expect(vi.getTimerCount()).toBe(0);
      } finally {
        vi.useRealTimers();
      }
    },
  );

  it('nobody is given up while none has taken them', async () => {
    nodes[0].table['/wallet/broadcasthex'] = { code: 'SERVER_BUSY', txid: TX_ID };
    nodes[1].table['/wallet/broadcasthex'] = { result: true, code: 'SUCCESS', txid: TX_ID };
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const answers = await network().broadcast(Buffer.of(1), TX_ID);
      expect(answers.map(({ kind }) => kind)).toEqual(['unclear', 'accepted']);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  function recordedDuplicate() {
    return { ...recordedAnswer('fn-broadcast-dup-pending'), txid: TX_ID };
  }
});

describe('a walk over solid blocks', () => {
  const timeOf = (number: number) => START_MS + number * 3_000;
  const expiring = (fromNumber: number, untilNumber: number) => ({
    txId: TX_ID,
    referenceBlockId: blockIdOf(fromNumber),
    expirationMs: timeOf(untilNumber),
  });
  const proves = (blocks: Parameters<typeof provesAbsenceByWalk>[0], untilNumber: number) =>
    provesAbsenceByWalk(blocks, expiring(40, untilNumber), timeOf(SOLID_HEIGHT));

  it('passes over a node that lags behind the known solid block', async () => {
    showSolid(nodes[0], 80);
    expect(await network(1).walkSolidBlocks(40, timeOf(60), solidHead)).toEqual([]);
    expect(proves(await network().walkSolidBlocks(40, timeOf(60), solidHead), 60)).toBe(true);
  });

  it('passes over a node that shows another chain than the one that was seen', async () => {
    const elsewhere = { ...solidHead, blockId: blockIdOf(SOLID_HEIGHT, 'a fork') };
    await expect(network().walkSolidBlocks(40, timeOf(60), elsewhere)).rejects.toEqual(unavailable);
  });

  it.each<[string, (node: FakeNode) => void]>([
    ['does not have it yet', (node) => showSolid(node, 59)],
    ['is away', breakNode],
    ['belongs to another network', makeForeign],
    ['shows another block there', (node) => showSolid(node, SOLID_HEIGHT, 'a fork')],
  ])('proves nothing where the other node %s at the walk’s end', async (_, spoil) => {
    spoil(nodes[1]);
    const blocks = await network().walkSolidBlocks(40, timeOf(60), null);
    expect(blocks.at(-1)?.number).toBe(59);
    expect(proves(blocks, 60)).toBe(false);
    // With one node configured, its word has to do.
    expect(proves(await network(1).walkSolidBlocks(40, timeOf(60), null), 60)).toBe(true);
  });

  it('proves nothing where a node leaves a transaction out of a block', async () => {
    const whole = block(50, { transactions: [TX] });
    // The blocks behind it are made to fit, as those of a chain that holds it do.
    const after = Array.from({ length: 20 }, (_, index) => 51 + index);
    const replaced: Record<number, ShownBlock> = { 50: whole };
    for (const number of after) {
      replaced[number] = block(number, { parentHash: replaced[number - 1]?.blockID ?? '' });
    }
    nodes[0].table['/walletsolidity/getblockbynum'] = blocksUpTo(SOLID_HEIGHT, replaced);
    expect((await network(1).walkSolidBlocks(40, timeOf(60), null)).flatMap(({ txIds }) => txIds)).toEqual([
      TX_ID,
    ]);
    const { transactions: _left, ...without } = whole as ShownBlock & { transactions: unknown };
    nodes[0].table['/walletsolidity/getblockbynum'] = blocksUpTo(SOLID_HEIGHT, { ...replaced, 50: without });
    const blocks = await network(1).walkSolidBlocks(40, timeOf(60), null);
    expect(blocks.map(({ isBound }) => isBound).indexOf(false)).toBe(10);
    expect(proves(blocks, 60)).toBe(false);
  });

  it('goes on where the last one ran out of time, and asks for no block twice', async () => {
    let isSlow = true;
    const plain = blocksUpTo(SOLID_HEIGHT) as (body: object) => unknown;
    set(nodes[0], '/walletsolidity/getblockbynum', (body: object) => {
      if (isSlow) nowMs += 1_000;
      return plain(body);
    });
    const patient = network(1);
    const first = await patient.walkSolidBlocks(40, timeOf(60), null);
    expect(first.at(-1)?.number).toBe(55);
    expect(proves(first, 60)).toBe(false);
    isSlow = false;
    const askedBefore = nodes[0].asked.length;
    const second = await patient.walkSolidBlocks(40, timeOf(60), null);
    expect(proves(second, 60)).toBe(true);
    const asked = nodes[0].asked.slice(askedBefore).filter(({ path }) => path.endsWith('getblockbynum'));
    expect(asked.map(({ body }) => body.num)).toEqual([56, 57, 58, 59, 60, 61, 62, 63]);
  });

  it('forgets blocks that did not fit together', async () => {
    const misfit = block(50, { parentHash: blockIdOf(49, 'a fork') });
    set(nodes[0], '/walletsolidity/getblockbynum', blocksUpTo(SOLID_HEIGHT, { 50: misfit }));
    const once = network(1);
    expect(proves(await once.walkSolidBlocks(40, timeOf(60), null), 60)).toBe(false);
    set(nodes[0], '/walletsolidity/getblockbynum', blocksUpTo(SOLID_HEIGHT));
    expect(proves(await once.walkSolidBlocks(40, timeOf(60), null), 60)).toBe(true);
  });

  it('ends with the first block at or past the time, however many were asked for', async () => {
    const blocks = await network(1).walkSolidBlocks(40, timeOf(60) - 1, null);
    expect(blocks.map(({ number }) => number)).toEqual(Array.from({ length: 21 }, (_, index) => 40 + index));
    expect(proves(blocks, 60)).toBe(true);
  });

  it('finds the transaction by its bytes, in that last block too', async () => {
    const holder = block(60, { transactions: [{ ...TX, txID: '00'.repeat(32) }] });
    nodes[0].table['/walletsolidity/getblockbynum'] = blocksUpTo(SOLID_HEIGHT, { 60: holder });
    const blocks = await network(1).walkSolidBlocks(40, timeOf(60) - 1, null);
    expect(blocks.at(-1)?.txIds).toEqual([TX_ID]);
    expect(proves(blocks, 60)).toBe(false);
  });

  it('ends early where the solid chain does, and then proves nothing', async () => {
    const blocks = await network(1).walkSolidBlocks(90, timeOf(200), null);
    expect(blocks.at(-1)?.number).toBe(SOLID_HEIGHT);
    expect(provesAbsenceByWalk(blocks, expiring(90, 200), timeOf(200))).toBe(false);
  });

  it('proves nothing over a gap, or where it does not begin with the reference block', async () => {
    nodes[0].table['/walletsolidity/getblockbynum'] = blocksUpTo(SOLID_HEIGHT, { 50: {} });
    const gap = await network(1).walkSolidBlocks(40, timeOf(60), null);
    expect(gap.at(-1)?.number).toBe(49);
    expect(proves(gap, 60)).toBe(false);
    expect(
      provesAbsenceByWalk(
        await network(1).walkSolidBlocks(41, timeOf(45), null),
        expiring(40, 45),
        timeOf(SOLID_HEIGHT),
      ),
    ).toBe(false);
  });

  it('proves nothing where a block has another parent', async () => {
    const forked = block(50, { parentHash: blockIdOf(49, 'a fork') });
    nodes[0].table['/walletsolidity/getblockbynum'] = blocksUpTo(SOLID_HEIGHT, { 50: forked });
    expect(proves(await network(1).walkSolidBlocks(40, timeOf(60), null), 60)).toBe(false);
  });

  it.each<[string, unknown]>([
    ['another height', block(51)],
    ['an id that lies about its height', { ...block(50), blockID: blockIdOf(51) }],
    ['an error', { Error: 'busy' }],
    ['a transaction without bytes', { ...block(50), transactions: [{ txID: TX_ID }] }],
  ])('goes on at the second node where the first answers with %s', async (_, lie) => {
    nodes[0].table['/walletsolidity/getblockbynum'] = blocksUpTo(SOLID_HEIGHT, { 50: lie });
    await expect(network(1).walkSolidBlocks(40, timeOf(60), null)).rejects.toEqual(unavailable);
    expect(proves(await network().walkSolidBlocks(40, timeOf(60), null), 60)).toBe(true);
  });

  it('is given up, unproven, when a node takes too long', async () => {
    nodes[0].table['/walletsolidity/getblockbynum'] = ({ num = 0 }: { num?: number }) => {
      nowMs += 2_000;
      return block(num);
    };
    const blocks = await network(1).walkSolidBlocks(40, timeOf(90), null);
    expect(blocks.length).toBeGreaterThan(0);
    expect(blocks.length).toBeLessThan(30);
    expect(proves(blocks, 90)).toBe(false);
  });
});

describe('preparing a token transfer', () => {
  const answers = (change: Record<string, unknown>) => contract({ ...calls, ...change });
  const set = (path: string, answer: Answer) => {
    nodes[0].table[path] = answer;
  };
  const setContract = (change: Record<string, unknown>) => {
    for (const api of ['/wallet', '/walletsolidity']) set(`${api}/triggerconstantcontract`, answers(change));
  };

  it('yields a solid reference block and a limit a quarter above the energy that was simulated', async () => {
    // 27,960 energy (recorded) at 100 sun.
    expect(await network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT)).toEqual({
      referenceBlock: solidHead,
      feeLimitMicro: 3_495_000n,
      // The 350 bytes may have to be burned for as well.
      feeMaxMicro: 3_845_000n,
      estimate: { energy: 27_960, bandwidth: 350, feeMicro: expect.any(BigInt), activates: false },
    });
  });

  it('leaves to other payments what is on its way to them', async () => {
    setContract({ 'balanceOf(address)': called(5n) });
    const beside = { ...NOTHING_IN_FLIGHT, amountMicro: 1n };
    await expect(network(1).prepareTransfer(transfer, beside)).rejects.toMatchObject({
      code: 'insufficient_funds',
    });
    const poor = { ...NOTHING_IN_FLIGHT, feeMicro: 2n ** 62n };
    await expect(network(1).prepareTransfer(transfer, poor)).rejects.toMatchObject({
      code: 'insufficient_funds',
    });
  });

  it('simulates exactly the transfer, by its sender', async () => {
    await network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    const simulation = nodes[0].asked.find(
      ({ body }) => body.function_selector === 'transfer(address,uint256)',
    );
    expect(simulation?.body).toEqual({
      owner_address: transfer.sender,
      contract_address: transfer.contract,
      function_selector: 'transfer(address,uint256)',
      parameter: `${addressToWord(transfer.recipient)}${'5'.padStart(64, '0')}`,
      visible: true,
    });
  });

  it('takes a transfer that is in a block, and still counted as under way, from the balance once', async () => {
    set('/wallet/triggerconstantcontract', answers({ 'balanceOf(address)': called(5n) }));
    set('/walletsolidity/triggerconstantcontract', answers({ 'balanceOf(address)': called(12n) }));
    await network(1).prepareTransfer(transfer, { ...NOTHING_IN_FLIGHT, amountMicro: 7n });
    await expect(
      network(1).prepareTransfer(transfer, { ...NOTHING_IN_FLIGHT, amountMicro: 8n }),
    ).rejects.toMatchObject({ code: 'insufficient_funds' });
  });

  it('refuses a recipient on the blacklist', async () => {
    setContract({ 'isBlackListed(address)': called(1n) });
    await expect(network().prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
      code: 'recipient_refused',
      field: 'to',
    });
  });

  it('goes on where the token has no blacklist, and not where the question stays open', async () => {
    setContract({ 'isBlackListed(address)': REVERTED });
    await network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    const cpuTime = {
      result: { result: true, message: Buffer.from('CPU timeout').toString('hex') },
      constant_result: [''],
    };
    for (const open of [
      cpuTime,
      { result: {} },
      { Error: 'busy' },
      { result: { result: true }, constant_result: [''] },
    ]) {
      setContract({ 'isBlackListed(address)': open });
      await expect(network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toEqual(unavailable);
    }
  });

  it('refuses what the simulation says would revert, in hexadecimal or in plain text', async () => {
    const recorded = recordedAnswer('fn-triggerconstant-revert');
    const plain = { ...recorded, result: { result: true, message: 'REVERT opcode executed' } };
    for (const simulation of [recorded, plain]) {
      setContract({ 'transfer(address,uint256)': simulation });
      await expect(network().prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
        code: 'simulation_failed',
      });
    }
    setContract({ 'isBlackListed(address)': plain });
    await network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT);
  });

  it.each<[string, unknown]>([
    ['reverts', recordedAnswer('fn-triggerconstant-revert')],
    // Contracts of older compilers end in an invalid instruction, which the node does not call a revert.
    ['ends otherwise', { result: { code: 'OTHER_ERROR', message: 'ab' } }],
  ])('calls a lack of tokens by its name where the simulation %s over it', async (_, simulation) => {
    setContract({ 'balanceOf(address)': called(4n), 'transfer(address,uint256)': simulation });
    await expect(network().prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
      code: 'insufficient_funds',
    });
    expect(nodes[1].asked).toEqual([]);
  });

  it('pays out the last token', async () => {
    setContract({ 'balanceOf(address)': called(5n) });
    await network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT);
  });

  it('tells a contract that ends in an exception from a node that runs out of time', async () => {
    const raised = (name: string, encode = (text: string) => text) => ({
      result: {
        code: 'OTHER_ERROR',
        message: encode(`class org.tron.core.vm.program.Program$${name} : why`),
      },
    });
    const hex = (text: string) => Buffer.from(text).toString('hex');
    for (const verdict of [raised('IllegalOperationException'), raised('OutOfEnergyException', hex)]) {
      setContract({ 'transfer(address,uint256)': verdict });
      await expect(network().prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
        code: 'simulation_failed',
      });
    }
    setContract({ 'transfer(address,uint256)': raised('OutOfTimeException') });
    await expect(network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toEqual(unavailable);
    await network().prepareTransfer(transfer, NOTHING_IN_FLIGHT);
  });

  it('takes a contract that is not there for no verdict on the payment', async () => {
    set('/wallet/triggerconstantcontract', recordedAnswer('fn-triggersmart-nocontract'));
    await expect(network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toEqual(unavailable);
  });

  it.each([
    ['exceeds the cap', 3_494_999n, false],
    ['is the cap', 3_495_000n, true],
  ])('a fee that %s', async (_, cap, allowed) => {
    const prepared = network(1, cap).prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    if (allowed) await prepared;
    else await expect(prepared).rejects.toMatchObject({ code: 'fee_above_cap' });
  });

  it('needs TRX for what it may burn, and none on staked energy', async () => {
    set('/walletsolidity/getaccount', account(3_494_999));
    await expect(network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
      code: 'insufficient_funds',
    });
    set('/walletsolidity/getaccount', account(3_495_000));
    await network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    set('/walletsolidity/getaccount', account(0));
    set('/wallet/getaccountresource', recordedAnswer('fn-getaccountresource-frozen'));
    expect(await network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT)).toMatchObject({
      feeLimitMicro: 3_495_000n,
    });
  });

  it('asks the second node where the first shows no account but something else', async () => {
    set('/walletsolidity/getaccount', { error: 'rate limit' });
    await network().prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    expect(nodes[1].asked.length).toBeGreaterThan(0);
  });

  it('takes no refusal and no price from a node of another network', async () => {
    makeForeign(nodes[0]);
    setContract({ 'isBlackListed(address)': called(1n) });
    set('/wallet/getchainparameters', {
      chainParameter: [
        'getEnergyFee',
        'getTransactionFee',
        'getCreateNewAccountFeeInSystemContract',
        'getCreateAccountFee',
      ].map((key) => ({ key, value: 1 })),
    });
    const both = network();
    for (let count = 0; count < 2; count += 1) {
      expect(await both.prepareTransfer(transfer, NOTHING_IN_FLIGHT)).toMatchObject({
        feeLimitMicro: 3_495_000n,
      });
    }
  });

  it('reads prices again after ten minutes, not before', async () => {
    const prepared = network(1);
    const pricesAsked = () => paths(nodes[0]).filter((path) => path === '/wallet/getchainparameters').length;
    await prepared.prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    nowMs += 599_999;
    await prepared.prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    expect(pricesAsked()).toBe(1);
    nowMs += 1;
    await prepared.prepareTransfer(transfer, NOTHING_IN_FLIGHT);
    expect(pricesAsked()).toBe(2);
  });

  it('does not sign on a price that is not named', async () => {
    set('/wallet/getchainparameters', { chainParameter: [] });
    await expect(network(1).prepareTransfer(transfer, NOTHING_IN_FLIGHT)).rejects.toEqual(unavailable);
  });
});

describe('preparing a TRX transfer', () => {
  it('needs the amount alone on free bandwidth, and no fee limit', async () => {
    nodes[0].table['/walletsolidity/getaccount'] = account(1_000_000);
    expect(await network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT)).toEqual({
      referenceBlock: solidHead,
      feeLimitMicro: 0n,
      feeMaxMicro: 275_000n,
      estimate: { energy: 0, bandwidth: 275, feeMicro: 0n, activates: false },
    });
    nodes[0].table['/walletsolidity/getaccount'] = account(999_999);
    await expect(network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
      code: 'insufficient_funds',
    });
  });

  it('needs the activation fee on top where the recipient is new', async () => {
    nodes[0].table['/wallet/getaccount'] = {};
    nodes[0].table['/walletsolidity/getaccount'] = account(2_099_999);
    await expect(network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
      code: 'insufficient_funds',
    });
    nodes[0].table['/walletsolidity/getaccount'] = account(2_100_000);
    await network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT);
  });

  it('refuses a contract where the network forbids that, and only there', async () => {
    nodes[0].table['/wallet/getaccount'] = { address: trxTransfer.recipient, balance: 1, type: 'Contract' };
    await network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT);
    const { chainParameter } = recordedAnswer('fn-getchainparameters') as {
      chainParameter: { key: string; value?: number }[];
    };
    const forbid = { key: 'getForbidTransferToContract', value: 1 };
    nodes[0].table['/wallet/getchainparameters'] = {
      chainParameter: [...chainParameter.filter(({ key }) => key !== forbid.key), forbid],
    };
    await expect(network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
      code: 'recipient_refused',
      field: 'to',
    });
    nodes[0].table['/wallet/getaccount'] = account(1);
    await network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT);
  });

  it('does not take an error for an account that exists', async () => {
    nodes[0].table['/wallet/getaccount'] = { error: 'rate limit' };
    await expect(network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT)).rejects.toEqual(unavailable);
  });

  it('calls no contract', async () => {
    await network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT);
    expect(paths(nodes[0])).not.toContain('/wallet/triggerconstantcontract');
  });

  it('refuses for a wallet that does not exist', async () => {
    nodes[0].table['/walletsolidity/getaccount'] = {};
    await expect(network(1).prepareTransfer(trxTransfer, NOTHING_IN_FLIGHT)).rejects.toMatchObject({
      code: 'insufficient_funds',
    });
  });
});

describe("reading a wallet's history", () => {
  const account = { address: transfer.sender, contract: transfer.contract };
  const floor = { number: 60, timestampMs: 0 };

  it('goes down block by block, each by the id that the one above it names', async () => {
    const blocks = await network().readHistory(account, solidHead, floor);
    expect(blocks.map(({ number }) => number)).toEqual(Array.from({ length: 41 }, (_, below) => 100 - below));
    expect(blocks.at(-1)).toMatchObject({ blockId: blockIdOf(60), parentId: blockIdOf(59), transfers: [] });
    expect(nodes[1].asked).toEqual([]);
  });

  it('ends at the first block from before the time that it goes down to', async () => {
    const until = { number: 0, timestampMs: START_MS + 90 * 3_000 };
    const blocks = await network().readHistory(account, solidHead, until);
    expect(blocks.at(-1)?.number).toBe(89);
  });

  it('goes on from where the time was over', async () => {
    const table = nodes[0].table['/walletsolidity/getblockbynum'] as (body: object) => unknown;
    set(nodes[0], '/walletsolidity/getblockbynum', (body: object) => {
      nowMs += 1_000;
      return table(body);
    });
    const first = await network().readHistory(account, solidHead, floor);
    expect(first.length).toBeGreaterThan(0);
    expect(first.length).toBeLessThan(41);
    const last = first.at(-1);
    const next = { number: (last?.number ?? 0) - 1, blockId: last?.parentId ?? '' };
    const second = await network().readHistory(account, next, floor);
    expect(second[0]?.number).toBe(next.number);
  });

  it.each<[string, (node: FakeNode) => void]>([
    ['does not have a block', (node) => showSolid(node, 90)],
    [
      'shows another block in the middle',
      (node) => {
        set(
          node,
          '/walletsolidity/getblockbynum',
          blocksUpTo(SOLID_HEIGHT, { 77: block(77, { seed: 'a fork' }) }),
        );
      },
    ],
    ['is away', breakNode],
  ])('asks the next node where the first one %s', async (_, spoil) => {
    spoil(nodes[0]);
    expect(await network().readHistory(account, solidHead, floor)).toHaveLength(41);
    await expect(network(1).readHistory(account, solidHead, floor)).rejects.toEqual(unavailable);
  });

  it('keeps what it has read where a node fails further down', async () => {
    const table = nodes[0].table['/walletsolidity/getblockbynum'] as (body: { num: number }) => unknown;
    set(nodes[0], '/walletsolidity/getblockbynum', (body: { num: number }) =>
      body.num < 90 ? {} : table(body),
    );
    const one = network(1);
    const first = await one.readHistory(account, solidHead, floor);
    expect(first.map(({ number }) => number)).toEqual([100, 99, 98, 97, 96, 95, 94]);
    const below = { number: 93, blockId: blockIdOf(93) };
    // It asks for less at once then.
    expect(await one.readHistory(account, below, floor)).toHaveLength(4);
    set(nodes[0], '/walletsolidity/getblockbynum', table);
    expect((await one.readHistory(account, below, floor)).at(-1)?.number).toBe(60);
  });

  it('believes of a transfer that it failed only where a second operator shows it', async () => {
    const value = [
      bytesField(1, addressToHex(transfer.sender)),
      bytesField(2, addressToHex(transfer.recipient)),
    ];
    const parameter = lengthDelimited(2, Buffer.concat([...value, integerField(3, 5)]));
    const contract = Buffer.concat([integerField(1, 1), lengthDelimited(2, parameter)]);
    const raw_data_hex = lengthDelimited(11, contract).toString('hex');
    const shown = (contractRet: string) =>
      blocksUpTo(SOLID_HEIGHT, {
        77: { ...block(77), transactions: [{ raw_data_hex, signature: ['00'], ret: [{ contractRet }] }] },
      });
    set(nodes[0], '/walletsolidity/getblockbynum', shown('REVERT'));
    set(nodes[1], '/walletsolidity/getblockbynum', shown('SUCCESS'));
    await expect(network().readHistory(account, solidHead, floor)).rejects.toThrow(/no second node/);
  });

  it('believes a block that it cannot compute the id of only where a second operator shows the same', async () => {
    const odd = (rawData: string) => ({
      77: {
        ...block(77),
        transactions: [{ raw_data_hex: rawData, signature: [], ret: [{ contractRet: 'NEW_RESULT' }] }],
      },
    });
    for (const node of nodes) {
      set(node, '/walletsolidity/getblockbynum', blocksUpTo(SOLID_HEIGHT, odd('0a')));
    }
    expect(await network().readHistory(account, solidHead, floor)).toHaveLength(41);
    set(nodes[1], '/walletsolidity/getblockbynum', blocksUpTo(SOLID_HEIGHT, odd('0b')));
    await expect(network().readHistory(account, solidHead, floor)).rejects.toThrow(/no second node/);
    // With one operator alone, its word has to do.
    expect(await network(1).readHistory(account, solidHead, floor)).toHaveLength(41);
  });
});
