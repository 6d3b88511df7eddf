import { describe, expect, it } from 'vitest';
import {
  readEnergyUsed,
  readPrices,
  readResources,
  tokenTransferCost,
  trxTransferCost,
} from '../../../../../shared/adapters/tron/transfer-costs.ts';
import { altered, recordedAnswer } from '../recorded-answers.ts';

const unavailable = expect.objectContaining({ code: 'chain_unavailable' });
const prices = readPrices(recordedAnswer('fn-getchainparameters'));
const none = { freeBandwidth: 0, stakedBandwidth: 0, energy: 0 };

describe('prices', () => {
  it('are read from the chain parameters', () => {
    expect(prices).toEqual({
      energySun: 100n,
      bandwidthSunPerByte: 1_000n,
      activationSun: 1_000_000n,
      activationBandwidthSun: 100_000n,
      forbidsTrxToContracts: false,
    });
  });

  it('are zero where the parameter is there without a value', () => {
    const chainParameter = (recordedAnswer('fn-getchainparameters').chainParameter as { key: string }[]).map(
      (entry) => (entry.key === 'getCreateAccountFee' ? { key: entry.key } : entry),
    );
    expect(readPrices({ chainParameter }).activationBandwidthSun).toBe(0n);
  });

  it.each([
    'getEnergyFee',
    'getTransactionFee',
    'getCreateNewAccountFeeInSystemContract',
    'getCreateAccountFee',
  ])('are refused where %s is not named at all', (missing) => {
    const all = recordedAnswer('fn-getchainparameters').chainParameter as { key: string }[];
    const chainParameter = all.filter(({ key }) => key !== missing);
    expect(() => readPrices({ chainParameter })).toThrow(unavailable);
  });

  it.each([{}, { chainParameter: {} }, { chainParameter: [null] }, { chainParameter: [{ value: 1 }] }])(
    'are refused in %j',
    (answer) => {
      expect(() => readPrices(answer)).toThrow(unavailable);
    },
  );
});

describe('resources', () => {
  it('are what is left of free bandwidth, staked bandwidth and staked energy', () => {
    expect(readResources(recordedAnswer('fn-getaccountresource'))).toEqual({ ...none, freeBandwidth: 600 });
    expect(readResources(recordedAnswer('fn-getaccountresource-after-transfer'))).toEqual({
      ...none,
      freeBandwidth: 600 - 267,
    });
    expect(readResources(recordedAnswer('fn-getaccountresource-used'))).toEqual({
      freeBandwidth: 600 - 533,
      stakedBandwidth: 43_200_000_000 - 881,
      energy: 180_000_000_000 - 25_917,
    });
  });

  it('are none for an account that does not exist, and never negative', () => {
    expect(readResources({})).toEqual(none);
    expect(readResources({ freeNetLimit: 5, freeNetUsed: 600 })).toEqual(none);
  });

  it('are refused where they are no numbers', () => {
    expect(() => readResources({ freeNetLimit: '600' })).toThrow(unavailable);
  });
});

describe('the cost of a TRX transfer', () => {
  it('is nothing on free or staked bandwidth', () => {
    expect(trxTransferCost(prices, { ...none, freeBandwidth: 600 }, false).burnSun).toBe(0n);
    expect(trxTransferCost(prices, { ...none, stakedBandwidth: 600 }, false).burnSun).toBe(0n);
  });

  it('is at least what the chain burned for its bytes (265,000 sun were recorded)', () => {
    expect(trxTransferCost(prices, none, false).burnSun).toBeGreaterThanOrEqual(265_000n);
    // Bandwidth is taken from one source or none: what is left in two is not added up.
    const split = { ...none, freeBandwidth: 200, stakedBandwidth: 200 };
    expect(trxTransferCost(prices, split, false).burnSun).toBeGreaterThanOrEqual(265_000n);
  });

  it('is the recorded activation fee where the recipient is new, free bandwidth or not', () => {
    const { fee } = recordedAnswer('fn-gettransactioninfobyid-activation');
    expect(trxTransferCost(prices, { ...none, freeBandwidth: 600 }, true).burnSun).toBe(BigInt(Number(fee)));
    expect(trxTransferCost(prices, { ...none, stakedBandwidth: 600 }, true).burnSun).toBe(1_000_000n);
  });

  it('is bounded by what it burns where all that is free or staked is used up meanwhile', () => {
    const plenty = { freeBandwidth: 600, stakedBandwidth: 600, energy: 1_000_000 };
    for (const activates of [false, true]) {
      const { maxSun } = trxTransferCost(prices, plenty, activates);
      expect(maxSun).toBe(trxTransferCost(prices, none, activates).burnSun);
    }
  });
});

describe('the cost of a token transfer', () => {
  const energyUsed = readEnergyUsed(recordedAnswer('fn-triggerconstant-transfer'));

  it('covers what the chain burned for the transfer that was simulated', () => {
    const { burnSun, feeLimitSun } = tokenTransferCost(prices, none, energyUsed);
    const { fee, receipt } = recordedAnswer('fn-gettransactioninfobyid-trc20');
    expect(burnSun).toBeGreaterThanOrEqual(BigInt(Number(fee)));
    expect(feeLimitSun).toBeGreaterThanOrEqual(BigInt((receipt as { energy_fee: number }).energy_fee));
    expect(feeLimitSun).toBe(3_495_000n);
  });

  it('burns nothing on staked energy and bandwidth, yet signs the same limit', () => {
    const staked = readResources(recordedAnswer('fn-getaccountresource-frozen'));
    expect(tokenTransferCost(prices, staked, energyUsed)).toEqual({
      bandwidth: 350,
      burnSun: 0n,
      feeLimitSun: 3_495_000n,
      maxSun: tokenTransferCost(prices, none, energyUsed).burnSun,
    });
  });

  it('refuses a simulation that does not say its energy, or says none', () => {
    const answer = recordedAnswer('fn-triggerconstant-transfer');
    expect(() => readEnergyUsed(altered(answer, { energy_used: undefined }))).toThrow(unavailable);
    expect(() => readEnergyUsed(altered(answer, { energy_used: 0 }))).toThrow(unavailable);
  });
});
