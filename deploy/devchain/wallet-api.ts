import {
  accountAnswer,
  blockAnswer,
  contractAnswer,
  infoAnswer,
  resourceAnswer,
  transactionAnswer,
} from './answers.ts';
import type { Chain, Side } from './chain.ts';
import { asObject, fromHex, isHex, keccakHex, parseJson, toHex } from './encoding.ts';
import { JavaError, type RequestOf, type RequestShape, readRequest } from './json-format.ts';
import { CHAIN_PARAMETERS, ENERGY_FEE_SUN, FEE_LIMIT_MAX_SUN } from './parameters.ts';
import { encode, ProtobufError } from './protobuf.ts';
import { Refusal } from './refusal.ts';
import {
  makeTransaction,
  type Transaction,
  transactionFromBytes,
  transactionFromJson,
  transactionToJson,
} from './transaction.ts';
import { CONTRACTS } from './tron-messages.ts';

/** A request that has reached an endpoint. */
export type ApiRequest = {
  readonly method: 'GET' | 'POST';
  readonly body: string;
  readonly query: URLSearchParams;
  /** True when a broadcast is to be welcomed and thrown away. */
  readonly drop?: boolean;
};
type Handler = (request: ApiRequest, side: Side) => unknown;

/** The endpoints: which exist on the full node's side, which on the solidity side, and what they answer. */
export class WalletApi {
  readonly #chain: Chain;
  readonly #handlers: Readonly<Record<string, { readonly sides: readonly Side[]; readonly handle: Handler }>>;

  constructor(chain: Chain) {
    this.#chain = chain;
    const both: readonly Side[] = ['head', 'solid'];
    const head: readonly Side[] = ['head'];
    const on = (sides: readonly Side[], handle: Handler): { sides: readonly Side[]; handle: Handler } => ({
      sides,
      handle: handle.bind(this),
    });
    this.#handlers = {
      getnowblock: on(both, this.#getNowBlock),
      getblock: on(both, this.#getBlock),
      getblockbynum: on(both, this.#getBlockByNumber),
      getblockbyid: on(both, this.#getBlockById),
      getblockbylimitnext: on(both, this.#getBlocksByRange),
      getblockbylatestnum: on(both, this.#getLatestBlocks),
      gettransactionbyid: on(both, this.#getTransaction),
      gettransactioninfobyid: on(both, this.#getInfo),
      gettransactioninfobyblocknum: on(both, this.#getInfosOfBlock),
      getaccount: on(both, this.#getAccount),
      getaccountresource: on(head, (request) => this.#getResources(request, false)),
      getaccountnet: on(head, (request) => this.#getResources(request, true)),
      getcontract: on(head, this.#getContract),
      getchainparameters: on(head, chainParameters),
      getenergyprices: on(both, () => ({ prices: `0:${ENERGY_FEE_SUN}` })),
      getbandwidthprices: on(both, () => ({ prices: '0:1000' })),
      getmemofee: on(head, () => ({ prices: '0:1000000' })),
      getburntrx: on(both, (_request, side) => ({
        burnTrxAmount: this.#chain.worldOf(side).total('burned'),
      })),
      getpendingsize: on(head, () => ({ pendingSize: this.#chain.pendingIds.length })),
      gettransactionlistfrompending: on(head, () => ({ txId: this.#chain.pendingIds })),
      getnodeinfo: on(both, this.#getNodeInfo),
      listnodes: on(head, () => ({})),
      broadcasttransaction: on(head, this.#broadcastJson),
      broadcasthex: on(head, this.#broadcastHex),
      createtransaction: on(head, this.#createTransfer),
      triggersmartcontract: on(head, this.#triggerContract),
      triggerconstantcontract: on(both, this.#callConstant),
      estimateenergy: on(both, this.#estimateEnergy),
    };
  }

  /** The answer to a request, or undefined when there is no such endpoint. */
  async answer(side: Side, endpoint: string, request: ApiRequest): Promise<unknown> {
    const found = Object.hasOwn(this.#handlers, endpoint) ? this.#handlers[endpoint] : undefined;
    if (found === undefined || !found.sides.includes(side)) return undefined;
    try {
      return await found.handle(request, side);
    } catch (error) {
      if (error instanceof JavaError) return { Error: error.message };
      if (error instanceof ProtobufError) {
        return { Error: `class com.google.protobuf.InvalidProtocolBufferException : ${error.message}` };
      }
      throw error;
    }
  }

  // Blocks

  #getNowBlock(request: ApiRequest, side: Side): unknown {
    const block = this.#chain.block(this.#chain.heightOf(side));
    return block === undefined ? {} : blockAnswer(block, true, isVisible(request));
  }

  #getBlock(request: ApiRequest, side: Side): unknown {
    const json = bodyOrQuery(request);
    const wanted = json.id_or_num;
    const text = wanted === undefined || wanted === null ? '' : String(wanted);
    const detail = json.detail === true || json.detail === 'true';
    const height = this.#chain.heightOf(side);
    let block = this.#chain.block(height);
    if (/^[0-9a-fA-F]{64}$/.test(text)) block = this.#chain.blockById(text.toLowerCase());
    else if (/^\d+$/.test(text)) block = this.#chain.block(Number(text));
    else if (text !== '')
      throw new JavaError('java.lang.IllegalArgumentException', 'num must be non-negative');
    if (block === undefined || block.number > height) return {};
    return blockAnswer(block, detail, isVisible(request));
  }

  #getBlockByNumber(request: ApiRequest, side: Side): unknown {
    const { num } = this.#read(request, { num: 'int64' });
    return this.#blockUpTo(side, Number(num), isVisible(request));
  }

  #getBlockById(request: ApiRequest, side: Side): unknown {
    const { value } = this.#read(request, { value: 'bytes' });
    const block = value.length === 64 ? this.#chain.blockById(value) : undefined;
    return block === undefined || block.number > this.#chain.heightOf(side)
      ? {}
      : blockAnswer(block, true, isVisible(request));
  }

  #getBlocksByRange(request: ApiRequest, side: Side): unknown {
    const { startNum, endNum } = this.#read(request, { startNum: 'int64', endNum: 'int64' });
    const first = Number(startNum);
    const end = Number(endNum);
    // java-tron refuses ranges of more than 100 blocks by answering nothing.
    if (end <= 0 || end <= first || end - first > 100) return {};
    return this.#blocks(side, first, end, isVisible(request));
  }

  #getLatestBlocks(request: ApiRequest, side: Side): unknown {
    const { num } = this.#read(request, { num: 'int64' });
    const count = Number(num);
    if (count <= 0 || count >= 100) return {};
    const end = this.#chain.heightOf(side) + 1;
    return this.#blocks(side, Math.max(0, end - count), end, isVisible(request));
  }

  #blocks(side: Side, first: number, end: number, visible: boolean): unknown {
    const blocks: unknown[] = [];
    for (let number = first; number < Math.min(end, this.#chain.heightOf(side) + 1); number++) {
      blocks.push(this.#blockUpTo(side, number, visible));
    }
    return blocks.length === 0 ? {} : { block: blocks };
  }

  #blockUpTo(side: Side, number: number, visible: boolean): unknown {
    const block = number > this.#chain.heightOf(side) ? undefined : this.#chain.block(number);
    return block === undefined ? {} : blockAnswer(block, true, visible);
  }

  // Transactions

  #getTransaction(request: ApiRequest, side: Side): unknown {
    const { value } = this.#read(request, { value: 'bytes' });
    const included = this.#chain.included(value, side);
    if (included !== undefined) {
      return transactionAnswer(included.executed, included.block.number, isVisible(request));
    }
    // A full node shows a pending transaction as if it were in a block.
    const pending = side === 'head' ? this.#chain.pending(value) : undefined;
    return pending === undefined ? {} : transactionAnswer(pending, undefined, isVisible(request));
  }

  #getInfo(request: ApiRequest, side: Side): unknown {
    const { value } = this.#read(request, { value: 'bytes' });
    const included = this.#chain.included(value, side);
    return included === undefined ? {} : infoAnswer(included.executed, included.block, isVisible(request));
  }

  #getInfosOfBlock(request: ApiRequest, side: Side): unknown {
    const { num } = this.#read(request, { num: 'int64' });
    const block = Number(num) > this.#chain.heightOf(side) ? undefined : this.#chain.block(Number(num));
    return block?.transactions.map((executed) => infoAnswer(executed, block, isVisible(request))) ?? [];
  }

  async #broadcastJson(request: ApiRequest): Promise<unknown> {
    const json = parseFastJson(request.body);
    const transaction = transactionFromJson(json);
    if (transaction === undefined) throw new JavaError('java.lang.NullPointerException', 'null');
    const refusal = request.drop === true ? undefined : await this.#take(transaction);
    if (refusal === undefined) return { result: true, txid: transaction.txId };
    const visible = asObject(json)?.visible === true;
    return {
      code: refusal.code,
      txid: transaction.txId,
      message: visible ? refusal.message : Buffer.from(refusal.message).toString('hex'),
    };
  }

  async #broadcastHex(request: ApiRequest): Promise<unknown> {
    const given = asObject(parseFastJson(request.body))?.transaction;
    const hex = typeof given === 'string' && isHex(given) ? given : '';
    const transaction = transactionFromBytes(fromHex(hex));
    const refusal = request.drop === true ? undefined : await this.#take(transaction);
    return {
      result: refusal === undefined,
      code: refusal?.code ?? 'SUCCESS',
      txid: transaction.txId,
      message: refusal?.message ?? '',
      transaction: plainTransactionText(transaction),
    };
  }

  async #take(transaction: Transaction): Promise<Refusal | undefined> {
    try {
      await this.#chain.broadcast(transaction);
      return undefined;
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
  }

  #createTransfer(request: ApiRequest): unknown {
    const visible = isVisible(request);
    const read = this.#read(request, { owner_address: 'address', to_address: 'address', amount: 'int64' });
    const transaction = this.#build('TransferContract', read, 'head', 0n);
    return { visible, ...transactionToJson(transaction, visible) };
  }

  // Accounts

  #getAccount(request: ApiRequest, side: Side): unknown {
    const { address } = this.#read(request, { address: 'address' });
    const account = this.#chain.worldOf(side).account(address);
    return account === undefined ? {} : accountAnswer(this.#chain, side, account, isVisible(request));
  }

  #getResources(request: ApiRequest, bandwidthOnly: boolean): unknown {
    const { address } = this.#read(request, { address: 'address' });
    const account = this.#chain.worldOf('head').account(address);
    return account === undefined ? {} : resourceAnswer(this.#chain, account, bandwidthOnly);
  }

  // Contracts

  #getContract(request: ApiRequest): unknown {
    const { value } = this.#read(request, { value: 'address' });
    return contractAnswer(this.#chain, value, isVisible(request)) ?? {};
  }

  #triggerContract(request: ApiRequest): unknown {
    const call = this.#readContractCall(request);
    if (this.#chain.worldOf('head').contract(call.contract) === undefined) return noContract();
    const visible = isVisible(request);
    const transaction = this.#build('TriggerSmartContract', triggerValue(call), 'head', call.feeLimit);
    return { result: { result: true }, transaction: { visible, ...transactionToJson(transaction, visible) } };
  }

  async #callConstant(request: ApiRequest, side: Side): Promise<unknown> {
    const call = this.#readContractCall(request);
    if (!call.deployment && this.#chain.worldOf(side).contract(call.contract) === undefined)
      return noContract();
    const transaction = this.#build('TriggerSmartContract', triggerValue(call), side, 0n);
    const outcome = await this.#simulate(side, call, transaction.txId, FEE_LIMIT_MAX_SUN);
    const visible = isVisible(request);
    const failed = outcome.result !== 'SUCCESS';
    const { txID, raw_data, raw_data_hex } = transactionToJson(transaction, visible);
    return {
      result: { result: true, ...(failed ? { message: textHex(outcome.message) } : {}) },
      energy_used: outcome.energyUsed,
      constant_result: [outcome.returnHex],
      ...(outcome.logs.length > 0 && !failed ? { logs: outcome.logs } : {}),
      transaction: { ret: [failed ? { ret: 'FAILED' } : {}], visible, txID, raw_data, raw_data_hex },
    };
  }

  /** The fee limit that suffices, found as java-tron does: double what was used, then halving to within 1 TRX. */
  async #estimateEnergy(request: ApiRequest, side: Side): Promise<unknown> {
    const call = this.#readContractCall(request);
    if (!call.deployment && this.#chain.worldOf(side).contract(call.contract) === undefined)
      return noContract();
    const { txId } = this.#build('TriggerSmartContract', triggerValue(call), side, 0n);
    const first = await this.#simulate(side, call, txId, FEE_LIMIT_MAX_SUN);
    if (first.result !== 'SUCCESS') {
      return { result: { code: 'CONTRACT_EXE_ERROR', message: textHex(first.message) } };
    }
    const suffices = async (feeLimit: bigint): Promise<boolean> =>
      (await this.#simulate(side, call, txId, feeLimit)).result === 'SUCCESS';
    let low = first.energyUsed * ENERGY_FEE_SUN;
    let high = FEE_LIMIT_MAX_SUN;
    const twice = low * 2n;
    if (twice < high) {
      if (await suffices(twice)) high = twice;
      else low = twice;
    }
    while (low + 1_000_000n < high) {
      const middle = (low + high) / 2n;
      if (await suffices(middle)) high = middle;
      else low = middle;
    }
    return { result: { result: true }, energy_required: high / ENERGY_FEE_SUN };
  }

  #simulate(
    side: Side,
    call: ContractRequest,
    txId: string,
    feeLimit: bigint,
  ): ReturnType<Chain['simulate']> {
    return this.#chain.simulate(
      side,
      {
        caller: call.owner,
        contract: call.deployment ? `41${keccakHex(fromHex(txId)).slice(24)}` : call.contract,
        deployment: call.deployment,
        value: call.value,
        dataHex: call.dataHex,
        energyLimit:
          feeLimit / ENERGY_FEE_SUN < CONSTANT_ENERGY_MAX ? feeLimit / ENERGY_FEE_SUN : CONSTANT_ENERGY_MAX,
      },
      txId,
    );
  }

  #readContractCall(request: ApiRequest): ContractRequest {
    const visible = isVisible(request);
    const body = bodyText(request);
    const read = this.#read(request, {
      owner_address: 'address',
      contract_address: 'address',
      call_value: 'int64',
      fee_limit: 'int64',
      data: 'bytes',
      parameter: 'bytes',
    });
    const selector = asObject(parseFastJson(body))?.function_selector;
    const dataHex =
      typeof selector === 'string' && selector !== ''
        ? keccakHex(Buffer.from(selector)).slice(0, 8) + read.parameter
        : read.data;
    if (read.owner_address === '') {
      throw new JavaError('java.security.InvalidParameterException', "owner_address isn't set.");
    }
    return {
      visible,
      owner: read.owner_address,
      contract: read.contract_address,
      deployment: read.contract_address === '' && dataHex !== '',
      value: read.call_value,
      feeLimit: read.fee_limit,
      dataHex,
    };
  }

  /** A transaction built by the node: it refers to the head of its side and lives for a minute. */
  #build(
    kind: keyof typeof CONTRACTS,
    value: Record<string, unknown>,
    side: Side,
    feeLimit: bigint,
  ): Transaction {
    const block = this.#chain.block(this.#chain.heightOf(side)) ?? this.#chain.head;
    return makeTransaction(
      {
        contract: [
          {
            type: kind,
            parameter: {
              type_url: `type.googleapis.com/protocol.${kind}`,
              value: toHex(encode(CONTRACTS[kind], value)),
            },
          },
        ],
        ref_block_bytes: block.id.slice(12, 16),
        ref_block_hash: block.id.slice(16, 32),
        expiration: BigInt(block.timestampMs + 60_000),
        timestamp: BigInt(Math.floor(this.#chain.options.nowMs())),
        fee_limit: feeLimit,
      },
      [],
    );
  }

  // The node

  #getNodeInfo(): unknown {
    const { head, solidNumber } = this.#chain;
    const solid = this.#chain.block(solidNumber) ?? this.#chain.genesis;
    return {
      beginSyncNum: 0,
      block: `Num:${head.number},ID:${head.id}`,
      solidityBlock: `Num:${solidNumber},ID:${solid.id}`,
      currentConnectCount: 0,
      activeConnectCount: 0,
      passiveConnectCount: 0,
      totalFlow: 0,
      peerList: [],
      configNodeInfo: { codeVersion: '4.8.0', p2pVersion: '0', supportConstant: true },
      machineInfo: {},
      cheatWitnessInfoMap: {},
    };
  }

  #read<S extends RequestShape>(request: ApiRequest, shape: S): RequestOf<S> {
    return readRequest(bodyText(request), shape, isVisible(request));
  }
}

/** A simulated run gets at most this much energy (java-tron `vm.maxEnergyLimitForConstant`). */
const CONSTANT_ENERGY_MAX = 100_000_000n;

type ContractRequest = {
  readonly visible: boolean;
  readonly owner: string;
  readonly contract: string;
  readonly deployment: boolean;
  readonly value: bigint;
  readonly feeLimit: bigint;
  readonly dataHex: string;
};

function triggerValue(call: ContractRequest): Record<string, unknown> {
  return {
    owner_address: call.owner,
    contract_address: call.contract,
    call_value: call.value,
    data: call.dataHex,
  };
}

function chainParameters(): unknown {
  return {
    chainParameter: CHAIN_PARAMETERS.map(([key, value]) => (value === 0n ? { key } : { key, value })),
  };
}

function noContract(): unknown {
  return {
    result: {
      code: 'CONTRACT_VALIDATE_ERROR',
      message: textHex('No contract or not a valid smart contract'),
    },
  };
}

function textHex(text: string): string {
  return Buffer.from(text).toString('hex');
}

/** The request as text for {@link readRequest}: a query is put into the shape of a body. */
function bodyText(request: ApiRequest): string {
  if (request.method === 'POST') return request.body;
  const fields = [...request.query].map(([key, value]) =>
    /^-?\d+$/.test(value) && NUMBERS.has(key)
      ? `"${key}":${value}`
      : `${JSON.stringify(key)}:${JSON.stringify(value)}`,
  );
  return `{${fields.join(',')}}`;
}

/** Query parameters that stand for numbers; all others are text. */
const NUMBERS = new Set(['num', 'startNum', 'endNum', 'amount', 'call_value', 'fee_limit']);

function bodyOrQuery(request: ApiRequest): Readonly<Record<string, unknown>> {
  if (request.method === 'GET') return Object.fromEntries(request.query);
  return asObject(parseFastJson(request.body)) ?? {};
}

function isVisible(request: ApiRequest): boolean {
  if (request.method === 'GET') return request.query.get('visible') === 'true';
  // java-tron looks for the flag before anything else, and an empty body has none.
  if (request.body.trim() === '') return false;
  return asObject(parseFastJson(request.body))?.visible === true;
}

/** Parses a body; what is no JSON gets the answer of java-tron's JSON library. */
function parseFastJson(text: string): unknown {
  if (text.trim() === '') return {};
  try {
    return parseJson(text);
  } catch {
    throw new JavaError(
      'com.alibaba.fastjson.JSONException',
      `unterminated json string, pos ${text.length}, line 1, column ${text.length + 1}${text}`,
    );
  }
}

/** The transaction in the style of protobuf's JSON printer, which only `broadcasthex` answers with. */
function plainTransactionText(transaction: Transaction): string {
  const { raw } = transaction;
  const parts: string[] = [];
  const rawParts: string[] = [];
  if (raw.ref_block_bytes !== '') rawParts.push(`"ref_block_bytes": "${raw.ref_block_bytes}"`);
  if (raw.ref_block_hash !== '') rawParts.push(`"ref_block_hash": "${raw.ref_block_hash}"`);
  if (raw.expiration !== 0n) rawParts.push(`"expiration": ${raw.expiration}`);
  if (raw.data !== '') rawParts.push(`"data": "${raw.data}"`);
  if (raw.contract.length > 0) {
    const contracts = raw.contract.map(
      ({ type, parameter }) =>
        `{"type": "${type}","parameter": {"type_url": "${parameter?.type_url ?? ''}","value": "${parameter?.value ?? ''}"}}`,
    );
    rawParts.push(`"contract": [${contracts.join(',')}]`);
  }
  if (raw.timestamp !== 0n) rawParts.push(`"timestamp": ${raw.timestamp}`);
  if (raw.fee_limit !== 0n) rawParts.push(`"fee_limit": ${raw.fee_limit}`);
  if (rawParts.length > 0) parts.push(`"raw_data": {${rawParts.join(',')}}`);
  if (transaction.signatures.length > 0) {
    parts.push(`"signature": [${transaction.signatures.map((signature) => `"${signature}"`).join(',')}]`);
  }
  return `{${parts.join(',')}}`;
}
