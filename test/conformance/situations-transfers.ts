import { utils } from 'tronweb';
import { accountOrigin } from './situations-reading.ts';
import type { Actor, Stage, TransactionJson } from './stage.ts';

const RECEIVED = 1_000_000;

/** A plain transfer, from the pool to the solid chain, then as hex and with base58 addresses. */
export async function playTransfer(stage: Stage, alice: Actor, bob: Actor): Promise<void> {
  const signed = stage.sign(await stage.transfer(alice, bob.addressHex, RECEIVED), alice);
  const value = { value: signed.txID };
  await stage.check('fn-broadcast-ok', signed);
  await stage.check('fn-broadcast-dup-pending', signed);
  await stage.check('fn-gettransactionbyid-pending', value);
  const info = await stage.waitForInfo(signed.txID);
  await stage.check('sol-gettransactioninfobyid-just-included', value);
  await stage.check('sol-gettransactionbyid-just-included', value);
  // Which block is solid by then is chance, and so is what it holds.
  await stage.check('sol-getnowblock-at-inclusion', {}, ['transactions']);
  await stage.check('fn-getnowblock-with-tx', { num: info.blockNumber });
  await stage.check('fn-broadcast-dup-included', signed);
  await stage.check('fn-gettransactionbyid-trx', value);
  await stage.check('fn-gettransactionbyid-trx-visible', { ...value, visible: true });
  await stage.check('fn-gettransactioninfobyid-trx', value);
  await stage.waitForInfo(signed.txID, '/walletsolidity');
  await stage.check('sol-gettransactioninfobyid-trx', value);
  await stage.check('fn-getaccount-after-transfer', { address: alice.addressHex }, accountOrigin(stage));
  await stage.check('fn-getaccountresource-after-transfer', { address: alice.addressHex });

  const second = stage.sign(await stage.transfer(alice, bob.addressHex, 2_000_000), alice);
  await stage.check('fn-broadcasthex-ok', { transaction: toHexTransaction(second) });
  await stage.check('fn-broadcasthex-garbage', { transaction: 'abcdef' });
  await stage.check('fn-broadcasthex-empty', {});
  await stage.waitForInfo(second.txID);

  const visible = await stage.transfer(alice, bob.addressHex, 2_000_001);
  const contract = structuredClone(visible.raw_data.contract[0]);
  Object.assign((contract as { parameter: { value: object } }).parameter.value, {
    owner_address: alice.address,
    to_address: bob.address,
  });
  const shown = { ...visible, visible: true, raw_data: { ...visible.raw_data, contract: [contract ?? {}] } };
  await stage.check('fn-broadcast-visible', stage.sign(shown, alice));
  await stage.waitForInfo(visible.txID);
}

/** Transactions that are refused, in the order of the checks. */
export async function playRefusals(stage: Stage, alice: Actor, bob: Actor, stranger: Actor): Promise<void> {
  const make = (changes?: Record<string, unknown>, permissionId?: number): Promise<TransactionJson> =>
    stage.transfer(alice, bob.addressHex, 3_000_000, changes, permissionId);
  const refused = async (name: string, transaction: TransactionJson, actor = alice): Promise<void> => {
    await stage.check(name, stage.sign(transaction, actor));
  };
  const { timestamp: headMs } = await stage.head();
  await refused('fn-broadcast-expired', await make({ expiration: headMs - 60_000 }));
  await refused('fn-broadcast-expired-eq-head', await make({ expiration: headMs }));
  await refused('fn-broadcast-expiration-too-far', await make({ expiration: headMs + 90_000_000 }));
  const good = await make();
  await refused('fn-broadcast-wrong-signer', good, bob);
  await stage.check('fn-broadcast-corrupt-sig', { ...good, signature: [corrupt(stage.sign(good, alice))] });
  await stage.check('fn-broadcast-empty-sig', { ...good, signature: [] });
  const [signature = ''] = stage.sign(good, alice).signature ?? [];
  await stage.check('fn-broadcast-two-sigs-same', { ...good, signature: [signature, signature] });
  await refused('fn-broadcast-permission-id-5', await make({}, 5));
  if (stage.fromGenesis) await refused('fn-broadcast-permission-id-2', await make({}, 2));
  await stage.check('fn-broadcast-sig-nothex', { ...good, signature: ['zz'] });
  await refused(
    'fn-broadcast-insufficient-balance',
    await stage.transfer(alice, bob.addressHex, 900_000_000_000_000),
  );
  await refused(
    'fn-broadcast-owner-absent',
    await stage.transfer(stranger, bob.addressHex, 3_000_000),
    stranger,
  );
  await refused('fn-broadcast-tapos-hash', await make({ ref_block_hash: '0011223344556677' }));
  await refused('fn-broadcast-tapos-bytes', await make({ ref_block_bytes: 'fff0' }));

  await stage.check('fn-broadcast-wrong-txid', { ...stage.sign(good, alice), txID: '11'.repeat(32) });
  const mismatch = stage.sign(await make(), alice);
  await stage.check('fn-broadcast-rawhex-mismatch', { ...mismatch, raw_data_hex: good.raw_data_hex });
  const { raw_data_hex: _hex, ...withoutHex } = stage.sign(await make(), alice);
  await stage.check('fn-broadcast-no-rawhex', withoutHex);
  const { raw_data: _raw, ...withoutRaw } = stage.sign(await make(), alice);
  await stage.check('fn-broadcast-no-rawdata', withoutRaw);
  await stage.check('fn-broadcast-empty', {});
  await stage.check('fn-broadcast-nocontract', {
    ...stage.sign(good, alice),
    raw_data: { ...good.raw_data, contract: [] },
  });
  const memo = Buffer.alloc(520 * 1_024, 'a').toString('hex');
  await refused('fn-broadcast-too-big', await make({ data: memo }));
  const withMemo = stage.sign(await make({ data: Buffer.from('memo!').toString('hex') }), alice);
  await stage.check('fn-broadcast-memo', withMemo);
  await stage.waitForInfo(withMemo.txID);
  await stage.check('fn-gettransactionbyid-memo', { value: withMemo.txID });
}

/** Activation of a new account, and what happens when free bandwidth runs out. */
export async function playBandwidth(
  stage: Stage,
  alice: Actor,
  bob: Actor,
  carol: Actor,
  fresh: Actor,
  poor: Actor,
): Promise<void> {
  const activation = stage.sign(await stage.transfer(alice, fresh.addressHex, 1_500_000), alice);
  await stage.check('fn-broadcast-activation', activation);
  await stage.waitForInfo(activation.txID);
  await stage.check('fn-gettransactioninfobyid-activation', { value: activation.txID });
  await stage.check('fn-gettransactionbyid-activation', { value: activation.txID });
  await stage.check('fn-getaccountresource-activated', { address: fresh.address, visible: true });

  await stage.include(stage.sign(await stage.transfer(alice, poor.addressHex, 100_000), alice));
  const resource = { address: poor.address, visible: true };
  const send = async (amount: number): Promise<TransactionJson> =>
    stage.sign(await stage.transfer(poor, bob.addressHex, amount), poor);
  await stage.include(await send(1));
  await stage.check('fn-getaccountresource-bandwidth-0', resource);
  const second = await send(2);
  await stage.check('fn-broadcast-bandwidth-1', second);
  await stage.waitForInfo(second.txID);
  await stage.check('fn-getaccountresource-bandwidth-1', resource);
  await stage.check('fn-broadcast-bandwidth-2', await send(3));
  await stage.check('fn-broadcast-bandwidth-3', await send(4));
  await stage.check('fn-getaccountresource-bandwidth-3', resource);

  for (const amount of [31, 32]) {
    await stage.include(stage.sign(await stage.transfer(carol, bob.addressHex, amount), carol));
  }
  const burned = stage.sign(await stage.transfer(carol, bob.addressHex, 33), carol);
  await stage.check('fn-broadcast-bandwidth-burn', burned);
  await stage.waitForInfo(burned.txID);
  await stage.check('fn-gettransactioninfobyid-bandwidth-burn', { value: burned.txID });
}

/** Wire bytes of a signed transaction: the raw data and the signature, as field 1 and field 2. */
function toHexTransaction(transaction: TransactionJson): string {
  const raw = transaction.raw_data_hex ?? '';
  const [signature = ''] = transaction.signature ?? [];
  return `0a${varint(raw.length / 2)}${raw}12${varint(signature.length / 2)}${signature}`;
}

function varint(value: number): string {
  const low = value & 0x7f;
  const byte = (n: number): string => n.toString(16).padStart(2, '0');
  return value > 0x7f ? byte(low | 0x80) + varint(value >>> 7) : byte(low);
}

/** Changes two bytes, and goes on changing until the signature still names some (other) signer. */
function corrupt(transaction: TransactionJson): string {
  const [signature = ''] = transaction.signature ?? [];
  for (let i = 0; i < 256; i++) {
    const changed = `${i.toString(16).padStart(2, '0')}ff${signature.slice(4)}`;
    try {
      utils.crypto.ecRecover(transaction.txID, changed);
      if (changed !== signature) return changed;
    } catch {
      // No point of the curve: try the next.
    }
  }
  throw new Error('no changed signature names a signer');
}
