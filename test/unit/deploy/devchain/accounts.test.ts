import { TronWeb } from 'tronweb';
import { describe, expect, it } from 'vitest';
import { devAccounts, usdtAddress, usdtAddressHex } from '../../../../deploy/devchain/accounts.ts';
import { genesisBlock } from '../../../../deploy/devchain/genesis.ts';

describe('the development accounts', () => {
  it('have the addresses that tronweb derives from their keys', () => {
    for (const { address, addressHex, privateKey } of devAccounts('development')) {
      expect(TronWeb.address.fromPrivateKey(privateKey)).toBe(address);
      expect(TronWeb.address.toHex(address).toLowerCase()).toBe(addressHex);
    }
  });

  it('follow from the seed, the wallet first', () => {
    expect(devAccounts('one')).toEqual(devAccounts('one'));
    expect(devAccounts('one')[0]?.name).toBe('wallet');
    expect(devAccounts('one')[0]?.address).not.toBe(devAccounts('two')[0]?.address);
  });

  it('come with a USDT address and a genesis block of their seed', () => {
    expect(usdtAddress('one')).toBe(TronWeb.address.fromHex(usdtAddressHex('one')));
    expect(usdtAddress('one')).not.toBe(usdtAddress('two'));
    expect(genesisBlock('one').id).toBe(genesisBlock('one').id);
    expect(genesisBlock('one').id).not.toBe(genesisBlock('two').id);
  });
});
