import { createHash } from 'node:crypto';
import { utils } from 'tronweb';
import { describe, expect, it } from 'vitest';
import { addressOfKey, tronSigner } from '../../../../shared/adapters/tron/tron-signer.ts';
import type { Transfer } from '../../../../shared/domain/transfer-evidence.ts';
import { address, CONTRACT, RECIPIENT } from '../../../support/test-engine.ts';

/** A key for tests, known to everybody. */
const KEY = '1'.repeat(64);
const WALLET = address('TCLBgkbfVkJroVBJVqBEsxtPNQEQMTQCLQ');
const PLAN = {
  referenceBlock: {
    number: 0x1_2345,
    blockId: '0000000000012345f6e99f79c007f5b0aabbccddeeff00112233445566778899',
    timestampMs: 1_795_454_000_000,
  },
  feeLimitMicro: 12_345_678n,
};
const TIMES = { timestampMs: 1_795_454_003_123, expirationMs: 1_795_454_303_000 };
const transfer = (over: Partial<Transfer>): Transfer => ({
  asset: 'USDT',
  amountMicro: 25_000_000n,
  sender: WALLET,
  recipient: RECIPIENT,
  contract: CONTRACT,
  ...over,
});
const signer = tronSigner(WALLET, () => KEY);

/** The raw part and the signature of a serialised `Transaction` message. */
function split(bytes: Uint8Array): { raw: Buffer; signature: string } {
  const buffer = Buffer.from(bytes);
  const [low = 0, high = 0] = [buffer[1], buffer[2]];
  const isLong = low >= 0x80;
  const length = isLong ? (low & 0x7f) | (high << 7) : low;
  const start = isLong ? 3 : 2;
  const raw = buffer.subarray(start, start + length);
  return { raw, signature: buffer.subarray(start + length + 2).toString('hex') };
}

describe('the signer', () => {
  it('knows which wallet a key pays from', () => {
    expect(addressOfKey(KEY)).toBe(WALLET);
    expect(addressOfKey('0'.repeat(64))).toBeUndefined();
    expect(addressOfKey('f'.repeat(64))).toBeUndefined();
    expect(addressOfKey('11')).toBeUndefined();
  });

  it.each([
    ['USDT', transfer({})],
    ['TRX', transfer({ asset: 'TRX', amountMicro: 3_000_000n })],
  ] as const)('signs exactly the %s transfer, on the given solid block', async (asset, asked) => {
    const { txId, bytes } = await signer.sign(asked, PLAN, TIMES);

    const { raw, signature } = split(bytes);
    expect(createHash('sha256').update(raw).digest('hex')).toBe(txId);
    expect(utils.crypto.ecRecover(`0x${txId}`, `0x${signature}`)).toBeDefined();
    const kind = asset === 'TRX' ? 'TransferContract' : 'TriggerSmartContract';
    const decoded = utils.deserializeTx.deserializeTransaction(kind, raw.toString('hex'));
    expect(decoded).toMatchObject({
      ref_block_bytes: '2345',
      ref_block_hash: 'F6E99F79C007F5B0',
      expiration: TIMES.expirationMs,
      timestamp: TIMES.timestampMs,
      fee_limit: asset === 'TRX' ? 0 : 12_345_678,
    });
    const recovered = utils.crypto.ecRecover(`0x${txId}`, `0x${signature}`);
    expect(
      utils.crypto.getBase58CheckAddress(utils.code.hexStr2byteArray(recovered.replace(/^0x/, '41'))),
    ).toBe(WALLET);
  });

  it('signs nothing with the key of another wallet', async () => {
    const other = tronSigner(WALLET, () => '2'.repeat(64));
    await expect(other.sign(transfer({}), PLAN, TIMES)).rejects.toMatchObject({ code: 'internal' });
  });

  it('makes two transactions of two equal transfers with different timestamps', async () => {
    const one = await signer.sign(transfer({}), PLAN, TIMES);
    const same = await signer.sign(transfer({}), PLAN, TIMES);
    const two = await signer.sign(transfer({}), PLAN, { ...TIMES, timestampMs: TIMES.timestampMs + 1 });
    expect(same.txId).toBe(one.txId);
    expect(two.txId).not.toBe(one.txId);
  });

  it('refuses an amount that a number cannot hold exactly', async () => {
    const asked = transfer({ asset: 'TRX', amountMicro: 2n ** 53n });
    await expect(signer.sign(asked, PLAN, TIMES)).rejects.toMatchObject({ code: 'amount_invalid' });
  });

  it('signs an amount of USDT beyond what a number can hold, to the last millionth', async () => {
    const { bytes } = await signer.sign(transfer({ amountMicro: 2n ** 60n + 1n }), PLAN, TIMES);
    expect(split(bytes).raw.toString('hex')).toContain('1000000000000001');
  });
});
