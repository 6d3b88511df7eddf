import type { SolidHead } from '../../domain/breaker.ts';
import { ServiceError } from '../../domain/errors.ts';
import { formatAmount } from '../../domain/money.ts';
import type { NodeTestimony, Transfer, WalkedBlock } from '../../domain/transfer-evidence.ts';
import { addressToWord, type TronAddress } from '../../domain/tron-address.ts';
import type { Clock } from '../../ports/clock.ts';
import type { BroadcastAnswer, PaymentNetwork, TransferPlan } from '../../ports/payment-network.ts';
import {
  array,
  integerOr,
  isAbsent,
  object,
  readHead,
  readTransaction,
  readTransactionInfo,
  readWalkedBlock,
  text,
} from './node-answers.ts';
import type { JsonObject, NodeClient } from './node-client.ts';
import {
  type ChainPrices,
  readEnergyUsed,
  readPrices,
  readResources,
  tokenTransferCost,
  trxTransferCost,
} from './transfer-costs.ts';

export interface TronNetworkSettings {
  /** At least one; the first that answers is asked, all of them where it says so. */
  readonly nodes: readonly NodeClient[];
  readonly genesisBlockId: string;
  /** The most that one payment may burn. */
  readonly feeLimitMaxMicro: bigint;
  readonly clock: Clock;
}

/** Prices change by vote, with days of notice. */
const PRICES_AGE_MS_MAX = 10 * 60_000;
/** Blocks asked for at once during a walk. */
const WALK_WIDTH = 8;
/** More blocks than an hour's worth are never walked. */
const WALK_BLOCKS_MAX = 4_000;

/** The TRON network behind one or more nodes' HTTP APIs. */
export function tronNetwork(settings: TronNetworkSettings): PaymentNetwork {
  const { nodes, clock } = settings;
  const genuine = new Set<NodeClient>();
  let prices: { readonly value: ChainPrices; readonly readAtMs: number } | undefined;

  /** A node of another network would answer every question truthfully, and wrongly. */
  async function assertGenesis(node: NodeClient): Promise<void> {
    if (genuine.has(node)) return;
    const { blockId } = readHead(await node.post('/wallet/getblockbynum', { num: 0 }));
    if (blockId !== settings.genesisBlockId) throw away(`${node.host} belongs to another network`);
    genuine.add(node);
  }

  /** Asks one node after the other until one answers; what it refuses is an answer. */
  async function fromFirst<T>(ask: (node: NodeClient) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const node of nodes) {
      try {
        const [answer] = await Promise.all([ask(node), assertGenesis(node)]);
        return answer;
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'chain_unavailable') throw error;
        last = error;
      }
    }
    throw last ?? away('no node is configured');
  }

  async function readPricesOf(node: NodeClient): Promise<ChainPrices> {
    if (prices !== undefined && clock.nowMs() - prices.readAtMs < PRICES_AGE_MS_MAX) return prices.value;
    const value = readPrices(await node.post('/wallet/getchainparameters', {}));
    prices = { value, readAtMs: clock.nowMs() };
    return value;
  }

  async function prepareOn(node: NodeClient, transfer: Transfer): Promise<TransferPlan> {
    const { sender, recipient } = transfer;
    const [referenceBlock, chainPrices, resources, balanceSun, feeLimit] = await Promise.all([
      node.post('/walletsolidity/getnowblock', {}).then(readHead),
      readPricesOf(node),
      node.post('/wallet/getaccountresource', { address: sender, visible: true }).then(readResources),
      readTrxBalance(node, sender),
      transfer.asset === 'USDT' ? simulate(node, transfer) : recipientExists(node, recipient),
    ]);
    if (typeof feeLimit === 'boolean') {
      const cost = trxTransferCost(chainPrices, resources, !feeLimit);
      assertFunds('TRX', balanceSun, transfer.amountMicro + cost);
      return { referenceBlock, feeLimitMicro: 0n };
    }
    const { burnSun, feeLimitSun } = tokenTransferCost(chainPrices, resources, feeLimit);
    if (feeLimitSun > settings.feeLimitMaxMicro) {
      throw new ServiceError(
        'fee_above_cap',
        `The fee could reach ${formatAmount(feeLimitSun)} TRX, above the cap of ${formatAmount(settings.feeLimitMaxMicro)}.`,
      );
    }
    assertFunds('TRX', balanceSun, burnSun);
    return { referenceBlock, feeLimitMicro: feeLimitSun };
  }

  /** Runs the transfer without sending it. @returns the energy it takes */
  async function simulate(node: NodeClient, transfer: Transfer): Promise<number> {
    const { contract, sender, recipient, amountMicro } = transfer;
    const amountWord = amountMicro.toString(16).padStart(64, '0');
    const [simulation, blacklist, balance] = await Promise.all([
      callConstant(
        node,
        sender,
        contract,
        'transfer(address,uint256)',
        addressToWord(recipient) + amountWord,
      ),
      callConstant(node, sender, contract, 'isBlackListed(address)', addressToWord(recipient)),
      callConstant(node, sender, contract, 'balanceOf(address)', addressToWord(sender)),
    ]);
    // A token without a blacklist reverts on the question.
    if (!blacklist.reverted && readWord(blacklist) !== 0n) {
      throw new ServiceError('recipient_refused', 'The token has blacklisted this recipient.', {
        field: 'to',
      });
    }
    assertFunds('USDT', readWord(balance), amountMicro);
    if (simulation.reverted) {
      throw new ServiceError('simulation_failed', 'The token contract would refuse this transfer.');
    }
    return readEnergyUsed(simulation.answer);
  }

  return {
    readSolidHead: () =>
      fromFirst(async (node) => readHead(await node.post('/walletsolidity/getnowblock', {}))),

    prepareTransfer: (transfer) => fromFirst((node) => prepareOn(node, transfer)),

    broadcast: (bytes, txId) => {
      const transaction = Buffer.from(bytes).toString('hex');
      return Promise.all(nodes.map((node) => broadcastTo(node, transaction, txId)));
    },

    async takeTestimony(txId, knownHead) {
      const asked = await Promise.allSettled(nodes.map((node) => testify(node, txId, knownHead)));
      const testimonies = asked.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
      if (testimonies.length > 0) return testimonies;
      const failure = asked.find((answer) => answer.status === 'rejected');
      throw failure?.reason ?? away('no node is configured');
    },

    walkSolidBlocks: (fromNumber, untilMs) => fromFirst((node) => walk(node, fromNumber, untilMs)),
  };

  async function testify(
    node: NodeClient,
    txId: string,
    knownHead: SolidHead | null,
  ): Promise<NodeTestimony> {
    await assertGenesis(node);
    // The head first, then the transaction: absence means something only as of a head that was already solid.
    const solidHead = readHead(await node.post('/walletsolidity/getnowblock', {}));
    const [transaction, info, known] = await Promise.all([
      node.post('/walletsolidity/gettransactionbyid', { value: txId }).then(readTransaction),
      node.post('/walletsolidity/gettransactioninfobyid', { value: txId }).then(readTransactionInfo),
      knownHead === null ? null : node.post('/walletsolidity/getblockbynum', { num: knownHead.number }),
    ]);
    if (
      knownHead !== null &&
      (known === null || isAbsent(known) || readHead(known).blockId !== knownHead.blockId)
    ) {
      throw away(`${node.host} does not show the last solid block that was seen`);
    }
    const isFound = transaction !== null && info !== null;
    const headNumber = isFound
      ? readHead(await node.post('/wallet/getnowblock', {})).number
      : solidHead.number;
    return { node: node.host, solidHead, headNumber, transaction, info };
  }
}

async function broadcastTo(node: NodeClient, transaction: string, txId: string): Promise<BroadcastAnswer> {
  let answer: JsonObject;
  try {
    answer = await node.post('/wallet/broadcasthex', { transaction });
  } catch (error) {
    if (error instanceof ServiceError) return { node: node.host, kind: 'unclear', code: error.message };
    throw error;
  }
  const code = typeof answer.code === 'string' ? answer.code.slice(0, 64) : '';
  if (answer.txid !== undefined && answer.txid !== txId) {
    return { node: node.host, kind: 'unclear', code: 'answered for another transaction' };
  }
  if (answer.result === true) return { node: node.host, kind: 'accepted', code: 'SUCCESS' };
  if (code === 'DUP_TRANSACTION_ERROR') return { node: node.host, kind: 'duplicate', code };
  return { node: node.host, kind: UNCLEAR_CODES.has(code) ? 'unclear' : 'refused', code: code || 'no code' };
}

/** These can follow acceptance into the pool, or say nothing of the transaction. */
const UNCLEAR_CODES: ReadonlySet<string> = new Set([
  '',
  'SERVER_BUSY',
  'NO_CONNECTION',
  'NOT_ENOUGH_EFFECTIVE_CONNECTION',
  'BLOCK_UNSOLIDIFIED',
  'OTHER_ERROR',
  // Expiry is checked before duplicates, so a transaction that has landed can get it.
  'TRANSACTION_EXPIRATION_ERROR',
]);

async function walk(node: NodeClient, fromNumber: number, untilMs: number): Promise<WalkedBlock[]> {
  const blocks: WalkedBlock[] = [];
  for (let next = fromNumber; next < fromNumber + WALK_BLOCKS_MAX; next += WALK_WIDTH) {
    const answers = await Promise.all(
      Array.from({ length: WALK_WIDTH }, (_, offset) =>
        node.post('/walletsolidity/getblockbynum', { num: next + offset }),
      ),
    );
    for (const answer of answers) {
      if (isAbsent(answer)) return blocks;
      const block = readWalkedBlock(answer);
      blocks.push(block);
      if (block.timestampMs >= untilMs) return blocks;
    }
  }
  return blocks;
}

/** The account's TRX in solid blocks, in sun; an account that does not exist has none. */
export async function readTrxBalance(node: NodeClient, address: TronAddress): Promise<bigint> {
  const account = await node.post('/walletsolidity/getaccount', { address, visible: true });
  return BigInt(integerOr(0, account.balance, 'balance'));
}

/** The account's tokens in solid blocks, in millionths. */
export async function readTokenBalance(
  node: NodeClient,
  contract: TronAddress,
  address: TronAddress,
): Promise<bigint> {
  return readWord(
    await callConstant(
      node,
      address,
      contract,
      'balanceOf(address)',
      addressToWord(address),
      '/walletsolidity',
    ),
  );
}

async function recipientExists(node: NodeClient, recipient: TronAddress): Promise<boolean> {
  return !isAbsent(await node.post('/wallet/getaccount', { address: recipient, visible: true }));
}

interface ConstantCall {
  readonly answer: JsonObject;
  readonly reverted: boolean;
}

async function callConstant(
  node: NodeClient,
  owner: TronAddress,
  contract: TronAddress,
  selector: string,
  parameter: string,
  api: '/wallet' | '/walletsolidity' = '/wallet',
): Promise<ConstantCall> {
  const answer = await node.post(`${api}/triggerconstantcontract`, {
    owner_address: owner,
    contract_address: contract,
    function_selector: selector,
    parameter,
    visible: true,
  });
  const result = object(answer.result, 'result');
  // A call that the node could not run at all: no such contract, or a fault of the node.
  if (result.result !== true)
    throw away(`${node.host} cannot call the token contract (${String(result.code)})`);
  // A call that ran and reverted says so in `message`, with result true.
  return { answer, reverted: result.message !== undefined };
}

function readWord(call: ConstantCall): bigint {
  const [word] = array(call.answer.constant_result, 'constant_result');
  const hex = text(word, 'constant_result');
  if (!/^[0-9a-f]{64}$/.test(hex)) throw away('the token contract answered with no number');
  return BigInt(`0x${hex}`);
}

function assertFunds(asset: string, balanceMicro: bigint, neededMicro: bigint): void {
  if (balanceMicro >= neededMicro) return;
  throw new ServiceError(
    'insufficient_funds',
    `The wallet holds too little ${asset} for this payment and its fee.`,
  );
}

function away(why: string): ServiceError {
  return new ServiceError('chain_unavailable', why, { retryAfterSeconds: 10 });
}
