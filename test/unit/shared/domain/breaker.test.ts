import { describe, expect, it } from 'vitest';
import {
  amountsOf,
  type Breaker,
  mayPush,
  NEW_BREAKER,
  type Reservation,
  TRANSITIONS_MAX,
  transitionsOf,
} from '../../../../shared/domain/breaker.ts';

const reservation = (paymentId: string): Reservation => ({
  id: `r-${paymentId}`,
  paymentId,
  generation: 0,
  kind: 'reserve',
  amounts: amountsOf('USDT', 5n),
  feeMicro: 0n,
});

const under = (paymentIds: readonly string[]): Breaker => ({
  ...NEW_BREAKER,
  transitions: paymentIds.map(reservation),
});

describe('the breaker', () => {
  it('begins with nothing counted, nothing under way and the circuit closed', () => {
    expect(NEW_BREAKER).toMatchObject({
      slotsVersion: 0n,
      pushes: 0n,
      circuit: { kind: 'closed', generation: 0, failures: 0 },
      pause: null,
      books: {
        USDT: { outstandingMicro: 0n, spentTotalMicro: 0n, hour: [], day: [] },
        TRX: { outstandingMicro: 0n, spentTotalMicro: 0n, hour: [], day: [] },
      },
      fees: { outstandingMicro: 0n, spentTotalMicro: 0n, day: [] },
      transitions: [],
      solidHead: null,
      spentBlockNumber: 0,
    });
  });

  it('shows what is under way for one payment', () => {
    const breaker = under(['a', 'b', 'a']);
    expect(transitionsOf(breaker, 'a')).toEqual([reservation('a'), reservation('a')]);
    expect(transitionsOf(breaker, 'c')).toEqual([]);
  });

  it('takes one transition of a payment at a time, and as many in all as it has place for', () => {
    const others = (count: number) => Array.from({ length: count }, (_, index) => `p${index}`);
    expect(mayPush(under([]), 'a')).toBe(true);
    expect(mayPush(under(['a']), 'a')).toBe(false);
    expect(mayPush(under(['a']), 'b')).toBe(true);
    expect(mayPush(under(others(TRANSITIONS_MAX - 1)), 'a')).toBe(true);
    expect(mayPush(under(others(TRANSITIONS_MAX)), 'a')).toBe(false);
  });

  it('counts an amount for its own asset', () => {
    expect(amountsOf('USDT', 5n)).toEqual({ USDT: 5n, TRX: 0n });
    expect(amountsOf('TRX', 7n)).toEqual({ USDT: 0n, TRX: 7n });
  });
});
