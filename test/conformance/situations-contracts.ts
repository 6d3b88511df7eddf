import { accountOrigin } from './situations-reading.ts';
import { type Actor, type Stage, type TransactionJson, uniqueTime, withIdentity } from './stage.ts';

const FEE_LIMIT_SUN = 100_000_000;
const TRANSFER = 'transfer(address,uint256)';

/** The recorded token, deployed from the recorded bytecode, so that energy and fees compare like for like. */
export type Token = { readonly addressHex: string; readonly address: string; readonly txId: string };

/** Deploys the token and looks at it. */
export async function playDeployment(stage: Stage, alice: Actor, bob: Actor): Promise<Token> {
  const recorded = JSON.parse(stage.recorded('fn-broadcast-deploy').body ?? '') as TransactionJson;
  const [template] = recorded.raw_data.contract as { parameter: { value: { new_contract: object } } }[];
  if (template === undefined) throw new Error('the recorded deployment has no contract');
  const contract = structuredClone(template);
  Object.assign(contract.parameter.value, { owner_address: alice.addressHex });
  Object.assign(contract.parameter.value.new_contract, { origin_address: alice.addressHex });
  const head = await stage.head();
  const signed = stage.sign(
    withIdentity({
      visible: false,
      txID: '',
      raw_data: {
        contract: [contract as unknown as Record<string, unknown>],
        ref_block_bytes: head.id.slice(12, 16),
        ref_block_hash: head.id.slice(16, 32),
        expiration: head.timestamp + 60_000,
        fee_limit: 1_000_000_000,
        timestamp: uniqueTime(),
      },
    }),
    alice,
  );
  await stage.check('fn-broadcast-deploy', signed);
  const info = await stage.waitForInfo(signed.txID);
  const addressHex = String(info.contract_address);
  stage.cast('a2620d757b1e17514dc5a0cdb7af67a4e1e34433', addressHex);
  const token = { addressHex, address: stage.tronWeb.address.fromHex(addressHex), txId: signed.txID };
  await stage.check('fn-gettransactioninfobyid-deploy', { value: signed.txID });
  await stage.check('fn-gettransactionbyid-deploy', { value: signed.txID });
  await stage.check('fn-getcontract-visible', { value: token.address, visible: true });
  await stage.check('fn-getcontract-absent', { value: bob.addressHex });
  await stage.check('fn-getaccount-contract', { address: token.addressHex });
  return token;
}

/** Calls that leave nothing behind. */
export async function playConstantCalls(
  stage: Stage,
  token: Token,
  alice: Actor,
  bob: Actor,
  stranger: Actor,
): Promise<void> {
  const of = (actor: Actor, functionSelector: string, parameter?: string): Record<string, unknown> => ({
    owner_address: actor.addressHex,
    contract_address: token.addressHex,
    function_selector: functionSelector,
    ...(parameter === undefined ? {} : { parameter }),
  });
  const balanceOf = of(alice, 'balanceOf(address)', word(alice.addressHex));
  const transfer = of(alice, TRANSFER, word(bob.addressHex) + numberWord(5));
  const bounced = of(bob, TRANSFER, word(alice.addressHex) + numberWord(5));
  await stage.check('fn-triggerconstant-balanceOf', balanceOf);
  await stage.check('fn-triggerconstant-name', of(alice, 'name()'));
  await stage.check('fn-triggerconstant-transfer', transfer);
  await stage.check('fn-triggerconstant-visible', {
    owner_address: alice.address,
    contract_address: token.address,
    function_selector: 'decimals()',
    visible: true,
  });
  await stage.check('fn-triggerconstant-data', {
    owner_address: alice.addressHex,
    contract_address: token.addressHex,
    data: '313ce567',
  });
  await stage.check('fn-triggerconstant-revert', bounced);
  await stage.check('fn-triggerconstant-assert', of(bob, 'assertFail()'));
  await stage.check('fn-triggerconstant-nosuchfunction', of(bob, 'nope()'));
  // It gives chain id, height, time and representative: each chain's own.
  await stage.check('fn-triggerconstant-env', of(bob, 'env()'), ['constant_result[0]']);
  await stage.check('fn-triggerconstant-absentowner', of(stranger, 'name()'));
  await stage.check('fn-estimateenergy-revert', bounced);
  await stage.check('fn-estimateenergy-visible', {
    ...transfer,
    owner_address: alice.address,
    contract_address: token.address,
    visible: true,
  });
  await stage.waitForInfo(token.txId, '/walletsolidity');
  await stage.check('sol-triggerconstantcontract', balanceOf);
  await stage.check('sol-estimateenergy', transfer);
  await stage.check('sol-getcontract', { value: token.addressHex });
}

/** Token transfers that succeed, then those that fail in each of the ways there are. */
export async function playTokenTransfers(
  stage: Stage,
  token: Token,
  actors: { alice: Actor; bob: Actor; carol: Actor; absent: Actor; low: Actor },
): Promise<void> {
  const { alice, bob, carol, absent, low } = actors;
  const send = sender(stage, token);

  const first = await send(alice, 'trc20', TRANSFER, word(bob.addressHex) + numberWord(1_500_000));
  const info = await stage.waitForInfo(first);
  await stage.check('fn-gettransactioninfobyid-trc20', { value: first });
  await stage.check('fn-gettransactionbyid-trc20', { value: first });
  await stage.check('fn-gettransactioninfobyid-trc20-visible', { value: first, visible: true });
  await stage.check('fn-gettransactionbyid-trc20-visible', { value: first, visible: true });
  await stage.waitForInfo(first, '/walletsolidity');
  await stage.check('sol-gettransactionbyid-trc20', { value: first });
  await stage.check('sol-gettransactioninfobyblocknum', { num: info.blockNumber });
  await stage.check('fn-getblockbynum-trc20', { num: info.blockNumber });
  await both(
    stage,
    'trc20-again',
    await send(alice, 'trc20-again', TRANSFER, word(bob.addressHex) + numberWord(1)),
  );
  await both(
    stage,
    'trc20-to-absent',
    await send(alice, 'trc20-to-absent', TRANSFER, word(absent.addressHex) + numberWord(7)),
  );

  const toBob = word(bob.addressHex) + numberWord(1_500_000);
  await both(stage, 'trc20-revert', await send(carol, 'trc20-revert', TRANSFER, toBob));
  const custom = 'transferCustom(address,uint256)';
  await both(stage, 'trc20-revert-custom', await send(carol, 'trc20-revert-custom', custom, toBob));
  await both(stage, 'revert-empty', await send(alice, 'revert-empty', 'revertEmpty()', undefined));
  await both(stage, 'assert', await send(alice, 'assert', 'assertFail()', undefined));
  const invalid = await send(alice, 'invalid-opcode', 'invalidOp()', undefined, { fee_limit: 10_000_000 });
  await both(stage, 'invalid-opcode', invalid);
  const outOfEnergy = await send(alice, 'outofenergy', TRANSFER, word(bob.addressHex) + numberWord(3), {
    fee_limit: 100_000,
  });
  await both(stage, 'outofenergy', outOfEnergy);

  await stage.include(stage.sign(await stage.transfer(alice, low.addressHex, 1_000_000), alice));
  await both(
    stage,
    'trc20-to-low',
    await send(alice, 'trc20-to-low', TRANSFER, word(low.addressHex) + numberWord(1_000)),
  );
  await both(
    stage,
    'lowbalance',
    await send(low, 'lowbalance', TRANSFER, word(bob.addressHex) + numberWord(1)),
  );
  await stage.check('fn-getaccount-lowbalance', { address: low.address, visible: true });
}

/** Allowances, and TRX that passes through the contract. */
export async function playOtherCalls(
  stage: Stage,
  token: Token,
  actors: { alice: Actor; bob: Actor; carol: Actor; fresh: Actor; nobody: Actor },
): Promise<void> {
  const { alice, bob, carol, fresh, nobody } = actors;
  const send = sender(stage, token);
  await both(
    stage,
    'approve',
    await send(alice, 'approve', 'approve(address,uint256)', word(bob.addressHex) + numberWord(100)),
  );
  const from = 'transferFrom(address,address,uint256)';
  const parameter = word(alice.addressHex) + word(carol.addressHex) + numberWord(60);
  await both(stage, 'transferFrom', await send(bob, 'transferFrom', from, parameter));
  const value = { call_value: 250_000 };
  await both(stage, 'forward', await send(alice, 'forward', 'forward(address)', word(bob.addressHex), value));
  const forwarded = await send(alice, 'forward-new', 'forward(address)', word(fresh.addressHex), value);
  await stage.waitForInfo(forwarded);
  await stage.check('fn-triggersmart-nocontract', {
    ...callOf(alice, token, TRANSFER, word(bob.addressHex) + numberWord(1)),
    contract_address: nobody.addressHex,
  });
  await stage.check(
    'fn-getaccount-final-alice',
    { address: alice.address, visible: true },
    accountOrigin(stage),
  );
  await stage.check('fn-getaccountresource-final-alice', { address: alice.address, visible: true });
}

/** Staked bandwidth and energy, of the sender's and of the contract's deployer. */
export async function playStaking(
  stage: Stage,
  token: Token,
  alice: Actor,
  bob: Actor,
  carol: Actor,
): Promise<void> {
  const { transactionBuilder } = stage.tronWeb;
  const act = async (transaction: unknown): Promise<void> => {
    await stage.include(stage.sign(transaction as TransactionJson, alice));
  };
  // Energy first: then neither of the two can be paid with staked bandwidth.
  await act(await transactionBuilder.freezeBalanceV2(5_000_000_000, 'ENERGY', alice.address));
  await act(await transactionBuilder.freezeBalanceV2(1_000_000_000, 'BANDWIDTH', alice.address));
  const query = { address: alice.address, visible: true };
  await stage.check('fn-getaccountresource-frozen', query);
  await stage.check('fn-getaccount-frozen', query, accountOrigin(stage));
  const send = sender(stage, token);
  await both(
    stage,
    'trc20-frozen-energy',
    await send(alice, 'trc20-frozen-energy', TRANSFER, word(bob.addressHex) + numberWord(1)),
  );
  await act(await transactionBuilder.updateSetting(token.address, 0, alice.address));
  await stage.include(stage.sign(await stage.transfer(alice, bob.addressHex, 3_000_000), alice));
  await both(
    stage,
    'trc20-origin-pays',
    await send(bob, 'trc20-origin-pays', TRANSFER, word(carol.addressHex) + numberWord(1)),
  );
  await stage.check('fn-getaccountresource-used', query);
}

type Send = (
  actor: Actor,
  name: string,
  functionSelector: string,
  parameter: string | undefined,
  changes?: Record<string, unknown>,
) => Promise<string>;

/** Has the node build a call, signs it by tronweb and broadcasts it; each step is compared where it was recorded. */
function sender(stage: Stage, token: Token): Send {
  return async (actor, name, functionSelector, parameter, changes = {}) => {
    const call = { ...callOf(actor, token, functionSelector, parameter), ...changes };
    const built = await checkIfRecorded(
      stage,
      `fn-triggersmart-${name}`,
      '/wallet/triggersmartcontract',
      call,
    );
    const { transaction } = built as { transaction?: TransactionJson };
    if (transaction === undefined) throw new Error(`the node built nothing: ${JSON.stringify(built)}`);
    const signed = stage.sign(transaction, actor);
    await checkIfRecorded(stage, `fn-broadcast-${name}`, '/wallet/broadcasttransaction', signed);
    return signed.txID;
  };
}

/** Waits for the block and compares info and transaction, where they were recorded. */
async function both(stage: Stage, name: string, txId: string): Promise<void> {
  await stage.waitForInfo(txId);
  await checkIfRecorded(stage, `fn-gettransactioninfobyid-${name}`, '/wallet/gettransactioninfobyid', {
    value: txId,
  });
  await checkIfRecorded(stage, `fn-gettransactionbyid-${name}`, '/wallet/gettransactionbyid', {
    value: txId,
  });
}

async function checkIfRecorded(stage: Stage, name: string, path: string, body: unknown): Promise<unknown> {
  if (stage.hasRecorded(name)) return stage.check(name, body);
  return (await stage.post(path, body)).answer;
}

function callOf(
  actor: Actor,
  token: Token,
  functionSelector: string,
  parameter: string | undefined,
): Record<string, unknown> {
  return {
    owner_address: actor.addressHex,
    contract_address: token.addressHex,
    fee_limit: FEE_LIMIT_SUN,
    call_value: 0,
    function_selector: functionSelector,
    ...(parameter === undefined ? {} : { parameter }),
  };
}

function word(addressHex: string): string {
  return addressHex.slice(2).padStart(64, '0');
}

function numberWord(value: number): string {
  return value.toString(16).padStart(64, '0');
}
