import fc from 'fast-check';
import { BSON } from 'mongodb';
import { describe, expect, it } from 'vitest';
import {
  breakerDocument,
  breakerFrom,
  packSlots,
  unpackSlots,
} from '../../../../shared/adapters/mongo/documents.ts';
import { type Breaker, TRANSITIONS_MAX } from '../../../../shared/domain/breaker.ts';
import { tripCircuit } from '../../../../shared/domain/circuit.ts';
import { type AssetBook, chargeSlots, EMPTY_BOOK, LIMIT_WINDOWS } from '../../../../shared/domain/limits.ts';
import { AMOUNT_MICRO_MAX } from '../../../../shared/domain/money.ts';
import { START_MS } from '../../../support/test-engine.ts';

/** A book that payments have charged for days, while no head was seen that could free anything. */
function fullBook(): AssetBook {
  let book: AssetBook = EMPTY_BOOK;
  const spend = (endedAtMs: number) => {
    book = { ...book, ...chargeSlots(book, LIMIT_WINDOWS, 1n, endedAtMs, Number.NEGATIVE_INFINITY) };
  };
  const { hourMs, dayMs } = LIMIT_WINDOWS;
  for (let ms = 0; ms < 2 * dayMs; ms += 300_000) spend(START_MS + ms);
  for (let ms = 0; ms < 2 * hourMs; ms += 10_000) spend(START_MS + 2 * dayMs + ms);
  // As much in each as a database's integer could sum up.
  const share = (slots: AssetBook['hour']) =>
    slots.map((slot) => ({ ...slot, amountMicro: AMOUNT_MICRO_MAX / BigInt(slots.length) }));
  return {
    outstandingMicro: AMOUNT_MICRO_MAX,
    spentTotalMicro: AMOUNT_MICRO_MAX,
    hour: share(book.hour),
    day: share(book.day),
  };
}

const UUID = '01935d0e-0000-7000-8000-000000000000';

function fullBreaker(): Breaker {
  const book = fullBook();
  const { hour: _hour, ...fees } = book;
  return {
    slotsVersion: AMOUNT_MICRO_MAX,
    pushes: AMOUNT_MICRO_MAX,
    circuit: tripCircuit({ kind: 'closed', generation: 2 ** 40, failures: 0 }, 'x'.repeat(10_000), START_MS),
    pause: { reason: 'y'.repeat(200), by: 'z'.repeat(64), atMs: START_MS },
    lastOrder: { action: 'resume', reason: 'y'.repeat(200), by: 'z'.repeat(64), atMs: START_MS },
    books: { USDT: book, TRX: book },
    fees,
    transitions: Array.from({ length: TRANSITIONS_MAX }, () => ({
      id: UUID,
      paymentId: `pay_${UUID}`,
      generation: 2 ** 40,
      kind: 'release',
      amounts: { USDT: AMOUNT_MICRO_MAX, TRX: 0n },
      feeMicro: AMOUNT_MICRO_MAX,
      feeBurnedMicro: AMOUNT_MICRO_MAX,
      endedAtMs: START_MS,
      blockNumber: 2 ** 31,
    })),
    solidHead: { number: 2 ** 31, blockId: 'b'.repeat(64), timestampMs: START_MS },
    spentBlockNumber: 2 ** 31,
    restore: null,
  };
}

describe('the breaker document', () => {
  it('stays below 32 KiB at its fullest', () => {
    const { hour, day } = fullBook();
    expect([hour.length, day.length]).toEqual([391, 290]);
    expect(BSON.calculateObjectSize(breakerDocument(fullBreaker()))).toBeLessThanOrEqual(32 * 1024);
  });

  it('is read as it was written', () => {
    const breaker = fullBreaker();
    const stored = BSON.deserialize(BSON.serialize(breakerDocument(breaker)), {
      useBigInt64: true,
      promoteBuffers: true,
    });
    expect(breakerFrom(stored as ReturnType<typeof breakerDocument>)).toEqual(breaker);
  });

  it('keeps any slots to the last micro-unit and millisecond', () => {
    const gap = fc.record({
      gapMs: fc.oneof(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 2 ** 45 })),
      amountMicro: fc.oneof(
        fc.bigInt({ min: 1n, max: 2n ** 20n }),
        fc.bigInt({ min: 1n, max: AMOUNT_MICRO_MAX }),
      ),
    });
    fc.assert(
      fc.property(
        fc.array(gap, { maxLength: 40, size: 'max' }),
        fc.constantFrom(1, 167, 10_000),
        (gaps, unit) => {
          let untilMs = START_MS;
          const slots = gaps.map(({ gapMs, amountMicro }) => {
            untilMs += (gapMs % 2 ** 30) * unit;
            return { untilMs, amountMicro };
          });
          expect(unpackSlots(packSlots(slots))).toEqual(slots);
        },
      ),
    );
  });

  it('refuses slots that were packed in another way', () => {
    const packed = packSlots([{ untilMs: START_MS, amountMicro: 1n }]);
    packed[0] = 0;
    expect(() => unpackSlots(packed)).toThrow(expect.objectContaining({ code: 'store_unavailable' }));
  });
});
