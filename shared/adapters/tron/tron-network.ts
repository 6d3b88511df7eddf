import type { SolidHead } from '../../domain/breaker.ts';
import { ServiceError } from '../../domain/errors.ts';
import { formatAmount } from '../../domain/money.ts';
import {
  areLinked,
  type NodeTestimony,
  operatorOf,
  type SolidBlock,
  type Transfer,
} from '../../domain/transfer-evidence.ts';
import { addressToWord, type TronAddress } from '../../domain/tron-address.ts';
import type { Clock } from '../../ports/clock.ts';
import type {
  Account,
  BroadcastAnswer,
  Holdings,
  InFlight,
  PaymentNetwork,
  TransferPlan,
} from '../../ports/payment-network.ts';
import { leftOfCallMs, withPartOfCall } from './call-deadline.ts';
import {
  chainAway,
  compareSolidHead,
  GenuineNodes,
  readHeight,
  readSolidHead,
  readSolidHeader,
} from './genuine-nodes.ts';
import {
  type AccountKind,
  array,
  object,
  readAccountBalance,
  readAccountKind,
  readTransaction,
  readTransactionInfo,
  text,
} from './node-answers.ts';
import type { JsonObject, NodeClient } from './node-client.ts';
import { SolidBlocks } from './solid-blocks.ts';
import {
  type ChainPrices,
  readEnergyUsed,
  readPrices,
  readResources,
  tokenTransferCost,
  trxTransferCost,
} from './transfer-costs.ts';
import { WalletHistory } from './wallet-history.ts';

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
/** A walk must end well within one invocation; the next one goes on from the blocks that it has read. */
const WALK_MS_MAX = 15_000;

/** How long the other nodes are waited for once one has taken the bytes: a first connection through Tor has the time. */
const BROADCAST_PATIENCE_MS = 8_000;
/** How long the other nodes are waited for once one has answered: the time of a few rounds through a slow circuit. */
const ANSWER_PATIENCE_MS = 15_000;

/** The TRON network behind one or more nodes' HTTP APIs. */
export function tronNetwork(settings: TronNetworkSettings): PaymentNetwork {
  const { nodes, clock } = settings;
  const genuine = new GenuineNodes(nodes, settings.genesisBlockId);
  const solidBlocks = new SolidBlocks();
  const history = new WalletHistory(genuine, clock);
  // By node, so that what a node of another network said is never used for this one.
  const prices = new Map<NodeClient, { readonly value: ChainPrices; readonly readAtMs: number }>();

  async function readPricesOf(node: NodeClient): Promise<ChainPrices> {
    const known = prices.get(node);
    if (known !== undefined && clock.nowMs() - known.readAtMs < PRICES_AGE_MS_MAX) return known.value;
    const value = readPrices(await node.post('/wallet/getchainparameters', {}));
    prices.set(node, { value, readAtMs: clock.nowMs() });
    return value;
  }

  async function prepareOn(node: NodeClient, transfer: Transfer, inFlight: InFlight): Promise<TransferPlan> {
    const { sender, recipient } = transfer;
    const [referenceBlock, chainPrices, resources, balanceSun, recipientOrEnergy] = await Promise.all([
      readSolidHead(node),
      readPricesOf(node),
      node.post('/wallet/getaccountresource', { address: sender, visible: true }).then(readResources),
      readTrxBalance(node, sender),
      transfer.asset === 'USDT' ? simulate(node, transfer, inFlight) : readKind(node, recipient),
    ]);
    // What others may still take is not there for this one.
    const trxSun = balanceSun - inFlight.trxMicro - inFlight.feeMicro;
    if (typeof recipientOrEnergy === 'string') {
      if (recipientOrEnergy === 'contract' && chainPrices.forbidsTrxToContracts) {
        throw new ServiceError('recipient_refused', 'The network takes no TRX for a contract.', {
          field: 'to',
        });
      }
      const activates = recipientOrEnergy === 'none';
      const cost = trxTransferCost(chainPrices, resources, activates);
      assertFunds('TRX', trxSun, transfer.amountMicro + cost.burnSun);
      return {
        referenceBlock,
        feeLimitMicro: 0n,
        feeMaxMicro: cost.maxSun,
        estimate: { energy: 0, bandwidth: cost.bandwidth, feeMicro: cost.burnSun, activates },
      };
    }
    const energy = recipientOrEnergy;
    const cost = tokenTransferCost(chainPrices, resources, energy);
    if (cost.feeLimitSun > settings.feeLimitMaxMicro) {
      throw new ServiceError(
        'fee_above_cap',
        `The fee could reach ${formatAmount(cost.feeLimitSun)} TRX, above the cap of ${formatAmount(settings.feeLimitMaxMicro)}.`,
      );
    }
    assertFunds('TRX', trxSun, cost.burnSun);
    return {
      referenceBlock,
      feeLimitMicro: cost.feeLimitSun,
      feeMaxMicro: cost.maxSun,
      estimate: { energy, bandwidth: cost.bandwidth, feeMicro: cost.burnSun, activates: false },
    };
  }

  /** Runs the transfer without sending it. @returns the energy it takes */
  async function simulate(node: NodeClient, transfer: Transfer, inFlight: InFlight): Promise<number> {
    const { contract, sender, recipient, amountMicro } = transfer;
    const amountWord = amountMicro.toString(16).padStart(64, '0');
    const [simulated, blacklist, balanceMicro] = await Promise.all([
      settled(
        callConstant(
          node,
          sender,
          contract,
          'transfer(address,uint256)',
          addressToWord(recipient) + amountWord,
        ),
      ),
      callConstant(node, sender, contract, 'isBlackListed(address)', addressToWord(recipient)),
      // In solid blocks: what is in a block counts as under way until that is solid, and must not be missing twice.
      readTokenBalance(node, contract, sender),
    ]);
    // A token without a blacklist reverts on the question.
    if (!blacklist.reverted && readWord(blacklist) !== 0n) {
      throw new ServiceError('recipient_refused', 'The token has blacklisted this recipient.', {
        field: 'to',
      });
    }
    assertFunds('USDT', balanceMicro - inFlight.amountMicro, amountMicro);
    // Only now: a lack of funds is known as such, however the contract's code ends over it.
    if (simulated.status === 'rejected') throw simulated.reason;
    const simulation = simulated.value;
    if (simulation.reverted) {
      throw new ServiceError('simulation_failed', 'The token contract would refuse this transfer.');
    }
    return readEnergyUsed(simulation.answer);
  }

  return {
    readSolidHead: () => genuine.fromFirst(readSolidHead),

    prepareTransfer: (transfer, inFlight) => genuine.fromFirst((node) => prepareOn(node, transfer, inFlight)),

    async broadcast(bytes, txId) {
      const transaction = Buffer.from(bytes).toString('hex');
      // One node has the bytes: that another one is silent must not hold up whoever pays for all of the call's time.
      const cut = new AbortController();
      const patience = patienceOf(BROADCAST_PATIENCE_MS, () => cut.abort());
      const answers = nodes.map(async (node) => {
        const answer = await broadcastTo(node, transaction, txId, cut.signal);
        if (answer.kind === 'accepted' || answer.kind === 'duplicate') patience.begin();
        return answer;
      });
      return Promise.all(answers).finally(patience.end);
    },

    takeTestimony: (txId, knownHead) => fromEach((node) => testify(node, txId, knownHead)),

    readHistory: (account, from, floor) => history.read(account, from, floor),

    readHoldings: (account, knownHead) => fromEach((node) => readHoldingsOn(node, account, knownHead)),

    async walkSolidBlocks(fromNumber, untilMs, knownHead) {
      let longest: SolidBlock[] | undefined;
      let failure: unknown = chainAway('no node is configured');
      for (const [index, node] of nodes.entries()) {
        try {
          const walked = await withPartOfCall(nodes.length - index, () =>
            walkOn(node, fromNumber, untilMs, knownHead),
          );
          // A node that lags proves nothing; the next one may be far enough.
          const last = walked.at(-1);
          if (!isPast(last, untilMs)) {
            if (walked.length >= (longest?.length ?? 0)) longest = walked;
          } else if (await isWitnessed(node, last)) return walked;
          // One node's word alone is no proof where others are configured: the walk stops short of its end.
          else longest ??= walked.slice(0, -1);
        } catch (error) {
          if (!(error instanceof ServiceError) || error.code !== 'chain_unavailable') throw error;
          failure = error;
        }
      }
      if (longest === undefined) throw failure;
      return longest;
    },
  };

  /**
   * Asks every node at once; those that answer null have nothing to say, and those that fail, or are far slower than
   * another one, are passed over.
   */
  async function fromEach<T>(ask: (node: NodeClient) => Promise<T | null>): Promise<T[]> {
    const late = Promise.withResolvers<never>();
    const patience = patienceOf(ANSWER_PATIENCE_MS, () => late.reject(chainAway('answered too late')));
    const answers = nodes.map(async (node) => {
      const answer = await ask(node);
      patience.begin();
      return answer;
    });
    const asked = await Promise.allSettled(answers.map((answer) => Promise.race([answer, late.promise])));
    patience.end();
    const answered = asked.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
    if (answered.length > 0) return answered.filter((answer) => answer !== null);
    const failure = asked.find((answer) => answer.status === 'rejected');
    throw failure?.reason ?? chainAway('no node is configured');
  }

  /** @returns null where the node lags behind the last solid block that was seen */
  async function readHoldingsOn(
    node: NodeClient,
    { address, contract }: Account,
    knownHead: SolidHead | null,
  ): Promise<Holdings | null> {
    await genuine.assertGenesis(node);
    const solidHead = await readSolidHead(node);
    const [known, trxMicro, usdtMicro] = await Promise.all([
      compareSolidHead(node, solidHead, knownHead),
      readTrxBalance(node, address),
      readTokenBalance(node, contract, address),
    ]);
    if (known === 'behind') return null;
    return { node: node.host, solidHead, amounts: { USDT: usdtMicro, TRX: trxMicro } };
  }

  /** @returns null where the node lags behind the last solid block that was seen: it can tell nothing newer */
  async function testify(
    node: NodeClient,
    txId: string,
    knownHead: SolidHead | null,
  ): Promise<NodeTestimony | null> {
    await genuine.assertGenesis(node);
    // The head first, then the transaction: absence means something only as of a head that was already solid.
    const solidHead = await readSolidHead(node);
    const [transaction, info, known] = await Promise.all([
      node.post('/walletsolidity/gettransactionbyid', { value: txId }).then(readTransaction),
      node.post('/walletsolidity/gettransactioninfobyid', { value: txId }).then(readTransactionInfo),
      compareSolidHead(node, solidHead, knownHead),
    ]);
    if (known === 'behind') return null;
    const isFound = transaction !== null && info !== null;
    const [headNumber, block] = isFound
      ? await Promise.all([readHeight(node), solidBlocks.read(node, info.blockNumber)])
      : [solidHead.number, null];
    return { node: node.host, solidHead, headNumber, transaction, info, block };
  }

  async function walkOn(
    node: NodeClient,
    fromNumber: number,
    untilMs: number,
    knownHead: SolidHead | null,
  ): Promise<SolidBlock[]> {
    await genuine.assertGenesis(node);
    const solidHead = await readSolidHead(node);
    if ((await compareSolidHead(node, solidHead, knownHead)) === 'behind') return [];
    const blocks = await walk(node, fromNumber, untilMs);
    if (!areLinked(blocks)) solidBlocks.forget(node);
    return blocks;
  }

  async function walk(node: NodeClient, fromNumber: number, untilMs: number): Promise<SolidBlock[]> {
    const blocks: SolidBlock[] = [];
    // The rest of the call is for what is still on its way then, and for the witness.
    const endMs = clock.nowMs() + Math.min(WALK_MS_MAX, leftOfCallMs() / 2);
    for (let next = fromNumber; next < fromNumber + WALK_BLOCKS_MAX; next += WALK_WIDTH) {
      if (clock.nowMs() >= endMs) return blocks;
      const read = await Promise.all(
        Array.from({ length: WALK_WIDTH }, (_, offset) => solidBlocks.read(node, next + offset)),
      );
      for (const block of read) {
        if (block === null) return blocks;
        blocks.push(block);
        if (isPast(block, untilMs)) return blocks;
      }
    }
    return blocks;
  }

  /**
   * Whether a second operator's node shows the same block at the end of a walk. The block's id fixes all blocks
   * before it, so both would have to lie. Where one operator alone is configured, its word has to do.
   */
  async function isWitnessed(walked: NodeClient, last: SolidBlock): Promise<boolean> {
    const others = nodes.filter(({ host }) => operatorOf(host) !== operatorOf(walked.host));
    for (const node of others) {
      try {
        await genuine.assertGenesis(node);
        if ((await readSolidHeader(node, last.number))?.blockId === last.blockId) return true;
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'chain_unavailable') throw error;
      }
    }
    return others.length === 0;
  }
}

/** How long the other nodes are waited for once one has answered well enough; then they are given up. */
function patienceOf(patienceMs: number, giveUp: () => void) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    begin: () => {
      timer ??= setTimeout(giveUp, patienceMs);
    },
    end: () => clearTimeout(timer),
  };
}

function isPast(block: SolidBlock | undefined, untilMs: number): block is SolidBlock {
  return block !== undefined && block.timestampMs >= untilMs;
}

async function broadcastTo(
  node: NodeClient,
  transaction: string,
  txId: string,
  cut: AbortSignal,
): Promise<BroadcastAnswer> {
  let answer: JsonObject;
  try {
    answer = await node.post('/wallet/broadcasthex', { transaction }, cut);
  } catch (error) {
    if (error instanceof ServiceError) return { node: node.host, kind: 'unclear', code: error.message };
    throw error;
  }
  const answered = (kind: BroadcastAnswer['kind'], code: string) => ({ node: node.host, kind, code });
  if (answer.txid !== undefined && answer.txid !== txId) {
    return answered('unclear', 'answered for another transaction');
  }
  // What is not worded like a code is not passed on: it is the node's to choose, and ends up in the history.
  const code =
    typeof answer.code === 'string' && /^[A-Z_]{1,64}$/.test(answer.code) ? answer.code : 'no code';
  if (answer.result === true) {
    const isPlain = answer.code === undefined || code === 'SUCCESS';
    return isPlain ? answered('accepted', 'SUCCESS') : answered('unclear', code);
  }
  if (code === 'DUP_TRANSACTION_ERROR') return answered('duplicate', code);
  return answered(UNCLEAR_CODES.has(code) ? 'unclear' : 'refused', code);
}

/** These can follow acceptance into the pool, or say nothing of the transaction. */
const UNCLEAR_CODES: ReadonlySet<string> = new Set([
  'no code',
  'SUCCESS',
  'SERVER_BUSY',
  'NO_CONNECTION',
  'NOT_ENOUGH_EFFECTIVE_CONNECTION',
  'BLOCK_UNSOLIDIFIED',
  'OTHER_ERROR',
  // Expiry is checked before duplicates, so a transaction that has landed can get it.
  'TRANSACTION_EXPIRATION_ERROR',
]);

/** The account's TRX in solid blocks, in sun; an account that does not exist has none. */
export async function readTrxBalance(node: NodeClient, address: TronAddress): Promise<bigint> {
  const account = await node.post('/walletsolidity/getaccount', { address, visible: true });
  return readAccountBalance(account, address) ?? 0n;
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

async function readKind(node: NodeClient, address: TronAddress): Promise<AccountKind> {
  return readAccountKind(await node.post('/wallet/getaccount', { address, visible: true }), address);
}

async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  const [result] = await Promise.allSettled([promise]);
  return result;
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
  if (result.result === true && result.message === undefined) return { answer, reverted: false };
  if (isContractsVerdict(result.message)) return { answer, reverted: true };
  // A call that the node could not run, or did not finish: no such contract, or a fault of the node.
  throw chainAway(`${node.host} cannot call the token contract`);
}

/**
 * Whether the contract's own code ended the call. A revert has a wording (with `result` true); what ends in an
 * illegal instruction or without energy is named by its exception (with `result` absent). Running out of the
 * time or the stack that a node grants says nothing of the contract.
 */
function isContractsVerdict(message: unknown): boolean {
  if (typeof message !== 'string') return false;
  // Plain where it was asked in visible form, else in hexadecimal; either is taken.
  const words = /^(?:[0-9a-f]{2})+$/.test(message) ? Buffer.from(message, 'hex').toString('utf8') : message;
  return (
    words === 'REVERT opcode executed' ||
    /^class [\w.]+\.Program\$(?!OutOfTime|JVMStack)\w+Exception : /.test(words)
  );
}

function readWord(call: ConstantCall): bigint {
  if (call.reverted) throw chainAway('the token contract does not answer');
  const [word] = array(call.answer.constant_result, 'constant_result');
  const hex = text(word, 'constant_result');
  if (!/^[0-9a-f]{64}$/.test(hex)) throw chainAway('the token contract answered with no number');
  return BigInt(`0x${hex}`);
}

function assertFunds(asset: string, balanceMicro: bigint, neededMicro: bigint): void {
  if (balanceMicro >= neededMicro) return;
  throw new ServiceError(
    'insufficient_funds',
    `The wallet, less what is under way, holds too little ${asset} for this payment and its fee.`,
  );
}
