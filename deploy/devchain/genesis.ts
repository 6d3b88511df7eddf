import { devAccounts, usdtAddressHex, witnessAccount } from './accounts.ts';
import { type Block, makeGenesisBlock } from './block.ts';
import { readTetherToken } from './contracts/compile.ts';
import { fromHex, keccakHex, toHex } from './encoding.ts';
import { runEvm } from './evm.ts';
import { encode } from './protobuf.ts';
import { type ChainState, StateOverlay } from './state.ts';
import { SMART_CONTRACT } from './tron-messages.ts';
import { newAccount, WritableWorld } from './world.ts';

const MICRO = 1_000_000n;
/** TRX and USDT that the wallet begins with, in millionths. */
export const WALLET_TRX = 1_000_000n * MICRO;
export const WALLET_USDT = 1_000_000n * MICRO;
/** TRX that each of the other accounts begins with. */
export const OTHERS_TRX = 10_000n * MICRO;
const DEPLOY_ENERGY = 10_000_000n;

/** All TRX there is at the beginning: none is made later, fees only burn some. */
export function genesisSupplySun(seed: string): bigint {
  return WALLET_TRX + OTHERS_TRX * BigInt(devAccounts(seed).length - 1);
}

/** The genesis block of a seed; its id is the chain's identity. */
export function genesisBlock(seed: string): Block {
  return makeGenesisBlock(
    devAccounts(seed).map(({ name, addressHex }) => ({
      address: addressHex,
      sun: name === 'wallet' ? WALLET_TRX : OTHERS_TRX,
    })),
  );
}

/** Puts the first accounts and the USDT contract into an empty state; its constructor runs in the EVM. */
export async function applyGenesis(state: ChainState, seed: string, genesis: Block): Promise<void> {
  const world = new WritableWorld(new StateOverlay(state));
  const accounts = devAccounts(seed);
  for (const { name, addressHex } of accounts) {
    world.putAccount(
      newAccount(addressHex, {
        nameHex: Buffer.from(name).toString('hex'),
        balance: name === 'wallet' ? WALLET_TRX : OTHERS_TRX,
      }),
    );
  }
  const witness = witnessAccount(seed).addressHex;
  world.putAccount(newAccount(witness, { kind: 'AssetIssue', isWitness: true }));
  const wallet = accounts[0];
  if (wallet === undefined) throw new Error('a seed has no wallet');
  await deployUsdt(world, seed, wallet.addressHex, genesis, witness);
  state.apply(world.overlay.changes());
  state.keepUndo(0);
}

async function deployUsdt(
  world: WritableWorld,
  seed: string,
  owner: string,
  genesis: Block,
  witness: string,
): Promise<void> {
  const address = usdtAddressHex(seed);
  const compiled = readTetherToken();
  const outcome = await runEvm(
    world,
    {
      number: 0,
      timestampMs: 0,
      headTimeMs: 0,
      witness,
      chainId: chainIdOf(genesis),
      txId: keccakHex(fromHex(address)),
    },
    {
      caller: owner,
      to: address,
      deployment: true,
      value: 0n,
      dataHex: compiled.bytecode + WALLET_USDT.toString(16).padStart(64, '0'),
      energyLimit: DEPLOY_ENERGY,
    },
  );
  if (outcome.result !== 'SUCCESS') throw new Error(`USDT cannot be deployed: ${outcome.message}`);
  const message = {
    origin_address: owner,
    contract_address: address,
    abi: { entrys: compiled.abi.map(abiEntry) },
    bytecode: compiled.bytecode,
    consume_user_resource_percent: 100n,
    name: compiled.name,
    origin_energy_limit: DEPLOY_ENERGY,
  };
  world.putContract({
    address,
    origin: owner,
    name: compiled.name,
    messageHex: toHex(encode(SMART_CONTRACT, message)),
    consumeUserPercent: 100n,
    originEnergyLimit: DEPLOY_ENERGY,
    codeHash: keccakHex(fromHex(world.code(address))),
  });
  world.update(address, () => ({ kind: 'Contract', nameHex: Buffer.from(compiled.name).toString('hex') }));
}

/** Last four bytes of the genesis id, which the CHAINID opcode gives. */
export function chainIdOf(genesis: Block): bigint {
  return BigInt(`0x${genesis.id.slice(-8)}`);
}

/** An entry of solc's ABI as TRON keeps it: kinds are capitalised. */
function abiEntry(entry: unknown): Record<string, unknown> {
  const { type, stateMutability, inputs, outputs, ...rest } = entry as {
    type: string;
    stateMutability?: string;
    inputs?: unknown[];
    outputs?: unknown[];
  };
  return {
    ...rest,
    inputs: inputs ?? [],
    outputs: outputs ?? [],
    type: capitalise(type),
    ...(stateMutability === undefined ? {} : { stateMutability: capitalise(stateMutability) }),
  };
}

function capitalise(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
