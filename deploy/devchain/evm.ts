import { Common, Hardfork, Mainnet, type ParamsDict, type StateManagerInterface } from '@ethereumjs/common';
import {
  EVM,
  EVMError,
  EVMMockBlockchain,
  type EVMOpts,
  type EVMResult,
  type InterpreterStep,
  type Message,
  NobleBN254,
  paramsEVM,
} from '@ethereumjs/evm';
import { Address, Account as EvmAccount } from '@ethereumjs/util';
import { addressFromEvm, fromHex, keccakHex, toHex } from './encoding.ts';
import { ENERGY_FEE_SUN, SLOT_MS } from './parameters.ts';
import type { ContractResult } from './tron-messages.ts';
import { newAccount, type WritableWorld } from './world.ts';

/**
 * TRON's virtual machine, built on `@ethereumjs/evm`.
 *
 * TVM charges energy by the prices of the *first* Ethereum (java-tron `EnergyCost.java`): SLOAD 50, SSTORE 20,000
 * where the slot was empty and 5,000 otherwise, CALL 40, BALANCE 20, EXP 10 per byte; no warm and cold access, no
 * refunds, no intrinsic cost of a transaction or of its data. It knows the later opcodes all the same. So the
 * machine runs as Petersburg with the repricings taken out and the later opcodes put in.
 */

/** What a run did. Nothing of it is in the state when `result` is not SUCCESS. */
export type EvmOutcome = {
  readonly result: ContractResult;
  readonly energyUsed: bigint;
  /** Return or revert data in hex; the runtime code for a deployment. */
  readonly returnHex: string;
  readonly logs: readonly EvmLog[];
  /** Why it failed, in java-tron's words; empty for success. */
  readonly message: string;
  readonly internalCalls: readonly InternalCall[];
};

/** Addresses here are 20 bytes, without the 41, as nodes show them in logs. */
export type EvmLog = { readonly address: string; readonly topics: readonly string[]; readonly data: string };

export type InternalCall = {
  readonly hash: string;
  readonly caller: string;
  readonly to: string;
  readonly value: bigint;
  readonly note: string;
  readonly rejected: boolean;
};

/** What the code sees of its surroundings. */
export type EvmEnvironment = {
  readonly number: number;
  readonly timestampMs: number;
  readonly witness: string;
  /** Last four bytes of the genesis block's id, which TRON gives as chain id. */
  readonly chainId: bigint;
  readonly txId: string;
  /** Time of the head block, which new accounts carry as their time of creation. */
  readonly headTimeMs: number;
};

export type EvmRun = {
  /** `41…` hex. */
  readonly caller: string;
  /** The contract that is called; for a deployment, the address that it gets. */
  readonly to: string;
  readonly deployment: boolean;
  readonly value: bigint;
  /** Call data, or creation code, in hex. */
  readonly dataHex: string;
  readonly energyLimit: bigint;
};

/** Runs code on a world. The caller holds the checkpoint that undoes a failed run. */
export async function runEvm(
  world: WritableWorld,
  environment: EvmEnvironment,
  run: EvmRun,
): Promise<EvmOutcome> {
  world.overlay.checkpoint();
  const outcome = await execute(world, environment, run, undefined);
  if (outcome.result === 'SUCCESS') {
    world.overlay.commit();
    return outcome;
  }
  world.overlay.revert();
  if (outcome.result !== 'OUT_OF_ENERGY' && outcome.result !== 'ILLEGAL_OPERATION') return outcome;
  // java-tron names the operation that could not be paid, or that there is none. Following every step is dear, so the run is repeated
  // (it is deterministic) only when there is something to tell.
  world.overlay.checkpoint();
  const follower: Follower = { last: undefined };
  await execute(world, environment, run, follower);
  world.overlay.revert();
  const message =
    outcome.result === 'OUT_OF_ENERGY'
      ? outOfEnergyMessage(run.energyLimit, follower.last)
      : `Invalid operation code: opCode[${(follower.last?.code ?? 0xfe).toString(16).padStart(2, '0')}];`;
  return { ...outcome, message };
}

type Follower = { last: { code: number; name: string; cost: bigint; left: bigint } | undefined };

async function execute(
  world: WritableWorld,
  environment: EvmEnvironment,
  run: EvmRun,
  follower: Follower | undefined,
): Promise<EvmOutcome> {
  const evm = new TronEvm(world, environment, run);
  const internal: (InternalCall & { rejected: boolean })[] = [];
  const open: number[] = [];
  evm.events.on('beforeMessage', (message: Message, next?: () => void) => {
    if (message.depth > 0) {
      open.push(internal.length);
      internal.push(internalCall(environment.txId, internal.length, message));
    }
    next?.();
  });
  evm.events.on('afterMessage', (result: EVMResult, next?: () => void) => {
    const index = open.pop();
    const call = index === undefined ? undefined : internal[index];
    if (call !== undefined && result.execResult.exceptionError !== undefined) call.rejected = true;
    next?.();
  });
  if (follower !== undefined) {
    evm.events.on('step', (step: InterpreterStep, next?: () => void) => {
      follower.last = {
        code: step.opcode.code,
        name: step.opcode.name,
        cost: step.opcode.dynamicFee ?? BigInt(step.opcode.fee),
        left: step.gasLeft,
      };
      next?.();
    });
  }
  const caller = evmAddress(run.caller);
  const { execResult } = await evm
    .runCall({
      caller,
      origin: caller,
      data: fromHex(run.dataHex),
      value: run.value,
      gasLimit: run.energyLimit,
      skipNonceIncrement: true,
      block: evm.block,
      ...(run.deployment ? {} : { to: evmAddress(run.to) }),
    })
    .catch(failedBeforeCode);
  for (const address of execResult.selfdestruct?.keys() ?? []) {
    world.deleteAccount(addressFromEvm(address.slice(2)));
    world.putCode(addressFromEvm(address.slice(2)), '');
  }
  const failure = execResult.exceptionError;
  return {
    result: evm.outOfTime ? 'OUT_OF_TIME' : failure === undefined ? 'SUCCESS' : resultOf(failure.error),
    // Anything but REVERT takes all energy that was given.
    energyUsed:
      failure === undefined || failure.error === EVMError.errorMessages.REVERT
        ? execResult.executionGasUsed
        : run.energyLimit,
    returnHex:
      failure === undefined || failure.error === EVMError.errorMessages.REVERT
        ? toHex(execResult.returnValue)
        : '',
    logs: (execResult.logs ?? []).map(([address, topics, data]) => ({
      address: toHex(address),
      topics: topics.map(toHex),
      data: toHex(data),
    })),
    message: evm.outOfTime
      ? "CPU timeout for 'JUMPDEST' operation executing"
      : failure === undefined
        ? ''
        : messageOf(failure.error),
    internalCalls: internal.map((call) => ({ ...call, rejected: call.rejected || failure !== undefined })),
  };
}

/** The EVM throws, instead of answering, when the value that goes with a call is more than the caller has. */
function failedBeforeCode(error: unknown): EVMResult {
  if (!(error instanceof EVMError)) throw error;
  return {
    execResult: { exceptionError: error, executionGasUsed: 0n, returnValue: new Uint8Array(0) },
  };
}

/** The parameters of Ethereum's first version, without any later price. */
function tronParameters(): ParamsDict {
  const parameters: ParamsDict = structuredClone(paramsEVM);
  const repriced = {
    sloadGas: 50,
    callGas: 40,
    callcodeGas: 40,
    delegatecallGas: 40,
    staticcallGas: 40,
    extcodesizeGas: 20,
    extcodecopyGas: 20,
    extcodehashGas: 400,
    balanceGas: 20,
    selfdestructGas: 0,
    expByteGas: 10,
    // Memory costs one unit instead of three since TRON's `allowEnergyAdjustment`.
    mloadGas: 1,
    mstoreGas: 1,
    mstore8Gas: 1,
    // Copying is charged by the word alone.
    calldatacopyGas: 0,
    codecopyGas: 0,
    returndatacopyGas: 0,
    // A deployed contract may be larger than Ethereum allows.
    maxCodeSize: 1 << 24,
  };
  for (const values of Object.values(parameters)) {
    for (const [name, price] of Object.entries(repriced)) {
      if (name in values) Object.assign(values, { [name]: price });
    }
  }
  return parameters;
}

const PARAMETERS = tronParameters();
const PUSH0 = 3855;
const TRANSIENT_STORAGE = 1153;

const COMMON = new Common({
  chain: Mainnet,
  hardfork: Hardfork.Petersburg,
  eips: [PUSH0, TRANSIENT_STORAGE],
  params: PARAMETERS,
});
const CURVE = new NobleBN254();

class TronEvm extends EVM {
  readonly block;
  declare readonly events: NonNullable<EVM['events']>;
  /** True once the code ran longer than a node allows. */
  outOfTime = false;
  readonly #run: EvmRun;
  readonly #txId: string;
  #created = 0;
  #jumps = 0;
  readonly #deadlineMs = performance.now() + RUN_MS_MAX;

  constructor(world: WritableWorld, environment: EvmEnvironment, run: EvmRun) {
    super({
      common: COMMON,
      params: PARAMETERS,
      bn254: CURVE,
      blockchain: new EVMMockBlockchain(),
      stateManager: new WorldStateManager(world, environment.headTimeMs),
      allowUnlimitedContractSize: true,
      customOpcodes: [...tronOpcodes(world, environment), timedJumpDestination(() => this.#checkTime())],
    });
    this.#run = run;
    this.#txId = environment.txId;
    this.block = {
      header: {
        number: BigInt(environment.number),
        coinbase: evmAddress(environment.witness),
        timestamp: BigInt(Math.floor(environment.timestampMs / 1_000)),
        difficulty: 0n,
        prevRandao: new Uint8Array(32),
        gasLimit: 0n,
        slotNumber: BigInt(Math.floor(environment.timestampMs / SLOT_MS)),
        getBlobGasPrice: () => undefined,
      },
    };
  }

  #checkTime(): void {
    this.#jumps += 1;
    if (this.#jumps % JUMPS_PER_LOOK === 0) this.outOfTime ||= performance.now() > this.#deadlineMs;
    if (this.outOfTime) throw new EVMError(EVMError.errorMessages.OUT_OF_GAS);
  }

  /** TRON's own rules for the address of a new contract. */
  protected override async _generateAddress(message: Message): Promise<Address> {
    if (message.depth === 0) return evmAddress(this.#run.to);
    const parts =
      message.salt === undefined
        ? this.#txId + (this.#created++).toString(16).padStart(16, '0')
        : `41${toHex(message.caller.bytes)}${toHex(message.salt)}${keccakHex(message.code as Uint8Array)}`;
    return new Address(fromHex(keccakHex(fromHex(parts)).slice(24)));
  }
}

type CustomOpcodes = NonNullable<EVMOpts['customOpcodes']>;

type RunState = Parameters<Extract<CustomOpcodes[number], { logicFunction: unknown }>['logicFunction']>[0];

/**
 * A node gives one transaction 80 ms of its processor. This machine is slower, and gives more; but a loop that
 * nothing but its energy ends must not hold up the chain. Every loop passes a jump destination.
 */
const RUN_MS_MAX = 500;
const JUMPS_PER_LOOK = 1_024;

function timedJumpDestination(check: () => void): CustomOpcodes[number] {
  return { opcode: 0x5b, opcodeName: 'JUMPDEST', baseFee: 1, logicFunction: check };
}

/** Opcodes that Petersburg lacks. */
function tronOpcodes(world: WritableWorld, environment: EvmEnvironment): CustomOpcodes {
  return [
    {
      opcode: 0x46,
      opcodeName: 'CHAINID',
      baseFee: 2,
      logicFunction: (runState) => runState.stack.push(environment.chainId),
    },
    {
      opcode: 0x47,
      opcodeName: 'SELFBALANCE',
      baseFee: 5,
      logicFunction: (runState) => {
        const address = toHex(runState.interpreter.getAddress().bytes);
        runState.stack.push(world.account(addressFromEvm(address))?.balance ?? 0n);
      },
    },
    {
      opcode: 0x48,
      opcodeName: 'BASEFEE',
      baseFee: 2,
      logicFunction: (runState) => runState.stack.push(ENERGY_FEE_SUN),
    },
    {
      opcode: 0x5e,
      opcodeName: 'MCOPY',
      baseFee: 3,
      gasFunction: (runState, fee) => {
        const [target, source, length] = runState.stack.peek(3) as [bigint, bigint, bigint];
        if (length === 0n) return fee;
        // Memory grows to whichever end lies farther.
        const grown = memoryEnergy(runState, target + length) + memoryEnergy(runState, source + length);
        return fee + 3n * wordsOf(length) + grown;
      },
      logicFunction: (runState) => {
        const [target, source, length] = runState.stack.popN(3) as [bigint, bigint, bigint];
        const bytes = runState.memory.read(Number(source), Number(length));
        if (bytes.length > 0) runState.memory.write(Number(target), Number(length), bytes);
      },
    },
  ];
}

function wordsOf(bytes: bigint): bigint {
  return (bytes + 31n) / 32n;
}

/** What it costs to use memory up to a byte, over what has been paid already. */
function memoryEnergy(runState: RunState, endByte: bigint): bigint {
  const words = wordsOf(endByte);
  if (words <= runState.memoryWordCount) return 0n;
  const cost = words * 3n + (words * words) / 512n;
  const extra = cost - runState.highestMemCost;
  runState.memoryWordCount = words;
  runState.highestMemCost = cost;
  return extra;
}

/** The world as the EVM sees it. All energy accounting of access lists is off, so plain reads and writes do. */
class WorldStateManager implements StateManagerInterface {
  readonly #world: WritableWorld;
  readonly #nowMs: number;
  readonly originalStorageCache: StateManagerInterface['originalStorageCache'];

  constructor(world: WritableWorld, nowMs: number) {
    this.#world = world;
    this.#nowMs = nowMs;
    this.originalStorageCache = {
      get: (address, key) => this.getStorage(address, key),
      clear: () => undefined,
    };
  }

  async getAccount(address: Address): Promise<EvmAccount | undefined> {
    const account = this.#world.account(tronAddress(address));
    if (account === undefined) return undefined;
    const code = this.#world.code(account.address);
    // On TRON an account without a balance exists all the same; a nonce of 1 keeps the EVM from calling it empty.
    return code === ''
      ? new EvmAccount(1n, account.balance)
      : new EvmAccount(1n, account.balance, undefined, fromHex(keccakHex(fromHex(code))));
  }

  async putAccount(address: Address, account?: EvmAccount): Promise<void> {
    if (account === undefined) return this.deleteAccount(address);
    const tron = tronAddress(address);
    const existing = this.#world.account(tron);
    if (existing === undefined) {
      this.#world.putAccount(newAccount(tron, { balance: account.balance, createdAtMs: this.#nowMs }));
    } else if (existing.balance !== account.balance) {
      this.#world.putAccount({ ...existing, balance: account.balance });
    }
  }

  async deleteAccount(address: Address): Promise<void> {
    this.#world.deleteAccount(tronAddress(address));
  }

  async modifyAccountFields(address: Address, fields: { balance?: bigint }): Promise<void> {
    const account = (await this.getAccount(address)) ?? new EvmAccount();
    account.balance = fields.balance ?? account.balance;
    await this.putAccount(address, account);
  }

  async putCode(address: Address, value: Uint8Array): Promise<void> {
    this.#world.putCode(tronAddress(address), toHex(value));
  }

  async getCode(address: Address): Promise<Uint8Array> {
    return fromHex(this.#world.code(tronAddress(address)));
  }

  async getCodeSize(address: Address): Promise<number> {
    return this.#world.code(tronAddress(address)).length / 2;
  }

  async getStorage(address: Address, key: Uint8Array): Promise<Uint8Array> {
    const word = this.#world.storage(tronAddress(address), toHex(key));
    return word === undefined ? new Uint8Array(0) : fromHex(word);
  }

  async putStorage(address: Address, key: Uint8Array, value: Uint8Array): Promise<void> {
    const word = toHex(value);
    this.#world.putStorage(tronAddress(address), toHex(key), /^(00)*$/.test(word) ? undefined : word);
  }

  async clearStorage(): Promise<void> {
    // Only a collision of addresses would leave something to clear.
  }

  async checkpoint(): Promise<void> {
    this.#world.overlay.checkpoint();
  }

  async commit(): Promise<void> {
    this.#world.overlay.commit();
  }

  async revert(): Promise<void> {
    this.#world.overlay.revert();
  }

  async getStateRoot(): Promise<Uint8Array> {
    return new Uint8Array(32);
  }

  async setStateRoot(): Promise<void> {
    throw new Error('this state has no roots');
  }

  async hasStateRoot(): Promise<boolean> {
    return false;
  }

  clearCaches(): void {
    // Nothing is cached.
  }

  shallowCopy(): StateManagerInterface {
    return this;
  }
}

function evmAddress(addressHex: string): Address {
  return new Address(fromHex(addressHex.slice(2)));
}

function tronAddress(address: Address): string {
  return addressFromEvm(toHex(address.bytes));
}

function internalCall(txId: string, index: number, message: Message): InternalCall & { rejected: boolean } {
  const note =
    message.to === undefined ? (message.salt === undefined ? 'create' : 'create2') : callNote(message);
  const caller = tronAddress(message.caller);
  const to = message.to === undefined ? '' : tronAddress(message.to);
  const hash = keccakHex(Buffer.from(`${txId}${to}${message.value.toString(16)}${note}${index}`));
  return { hash, caller, to, value: message.value, note, rejected: false };
}

function callNote(message: Message): string {
  if (message.delegatecall) return 'delegatecall';
  return message.isStatic ? 'staticcall' : 'call';
}

function resultOf(error: string): ContractResult {
  const messages = EVMError.errorMessages;
  switch (error) {
    case messages.REVERT:
      return 'REVERT';
    case messages.OUT_OF_GAS:
    case messages.CODESTORE_OUT_OF_GAS:
      return 'OUT_OF_ENERGY';
    case messages.INVALID_JUMP:
      return 'BAD_JUMP_DESTINATION';
    case messages.STACK_UNDERFLOW:
      return 'STACK_TOO_SMALL';
    case messages.STACK_OVERFLOW:
      return 'STACK_TOO_LARGE';
    case messages.INVALID_OPCODE:
      return 'ILLEGAL_OPERATION';
    case messages.INSUFFICIENT_BALANCE:
      return 'TRANSFER_FAILED';
    default:
      return 'UNKNOWN';
  }
}

function messageOf(error: string): string {
  switch (resultOf(error)) {
    case 'REVERT':
      return 'REVERT opcode executed';
    case 'TRANSFER_FAILED':
      return 'transfer trx failed: Validate InternalTransfer error, balance is not sufficient.';
    default:
      return error;
  }
}

function outOfEnergyMessage(limit: bigint, last: Follower['last']): string {
  const { name, cost, left } = last ?? { name: 'STOP', cost: 0n, left: limit };
  return (
    `Not enough energy for '${name}' operation executing: ` +
    `curInvokeEnergyLimit[${limit}], curOpEnergy[${cost}], usedEnergy[${limit - left}]`
  );
}
