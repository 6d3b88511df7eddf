import { expect, it } from 'vitest';
import { devAccounts, witnessAccount } from '../../../../deploy/devchain/accounts.ts';
import { DEVELOPMENT_WALLET_ADDRESSES } from '../../../../shared/runtime/development-keys.ts';

it('production knows every account of the development chain', () => {
  const accounts = [...devAccounts('development'), witnessAccount('development')];
  expect(accounts.map(({ address }) => address)).toEqual(DEVELOPMENT_WALLET_ADDRESSES);
});
