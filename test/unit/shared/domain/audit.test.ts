import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AuditRecord,
  acceptFindings,
  add,
  countedFor,
  countedForBatch,
  describeFinding,
  isSameMoment,
  judgeBooks,
  judgeWallet,
  NEW_AUDIT,
  NO_SUMS,
  noteTransitions,
  oldTransitions,
  outstandingOf,
  reasonToTrip,
  type WalletView,
} from '../../../../shared/domain/audit.ts';
import type { Batch } from '../../../../shared/domain/batch.ts';
import {
  type Amounts,
  amountsOf,
  type Breaker,
  NEW_BREAKER,
  type Transition,
} from '../../../../shared/domain/breaker.ts';
import type { Asset } from '../../../../shared/domain/money.ts';
import { payment } from '../../../support/stored-payment.ts';

const NOW_MS = Date.UTC(2026, 0, 1);

interface Sent {
  readonly asset: Asset;
  readonly amountMicro: bigint;
  readonly feeMaxMicro: bigint;
  readonly feeMicro: bigint;
  readonly reverts: boolean;
  /** Null until it is in a solid block. */
  blockNumber: number | null;
}

/** A wallet, its chain and its books, as they are in truth: what no audit sees. */
class Truth {
  readonly balances: Amounts[] = [{ USDT: 1_000_000n, TRX: 1_000_000n }];
  readonly stolen = { USDT: 0n, TRX: 0n };
  breaker: Breaker = NEW_BREAKER;
  #open: Sent[] = [];

  get blockNumber(): number {
    return this.balances.length - 1;
  }

  deposit(asset: Asset, amountMicro: bigint): void {
    this.#produceBlock({ [asset]: amountMicro });
  }

  steal(asset: Asset, amountMicro: bigint): void {
    this.stolen[asset] += amountMicro;
    this.#produceBlock({ [asset]: -amountMicro });
  }

  reserve(sent: Omit<Sent, 'blockNumber'>): void {
    this.#open.push({ ...sent, blockNumber: null });
    this.#count(sent.asset, sent.amountMicro, 0n, sent.feeMaxMicro, 0n);
  }

  /** The oldest payment that has not landed does. */
  land(): void {
    const sent = this.#open.find(({ blockNumber }) => blockNumber === null);
    if (sent === undefined) return;
    this.#produceBlock({
      TRX: -sent.feeMicro - (sent.asset === 'TRX' && !sent.reverts ? sent.amountMicro : 0n),
      USDT: sent.asset === 'USDT' && !sent.reverts ? -sent.amountMicro : 0n,
    });
    sent.blockNumber = this.blockNumber;
  }

  /** The oldest one that has landed is committed, or released where it was reverted: its fee is spent either way. */
  close(): void {
    const sent = this.#open.find(({ blockNumber }) => blockNumber !== null);
    if (sent === undefined) return;
    this.#open = this.#open.filter((each) => each !== sent);
    this.#count(
      sent.asset,
      -sent.amountMicro,
      sent.reverts ? 0n : sent.amountMicro,
      -sent.feeMaxMicro,
      sent.feeMicro,
    );
    const spentBlockNumber = Math.max(this.breaker.spentBlockNumber, sent.blockNumber ?? 0);
    this.breaker = { ...this.breaker, spentBlockNumber };
  }

  rest(): void {
    while (this.#open.length > 0) {
      this.land();
      this.close();
    }
  }

  /** What a node says that is so many blocks behind. */
  view(lag: number): WalletView {
    const number = Math.max(0, this.blockNumber - lag);
    const amounts = this.balances[number];
    if (amounts === undefined) throw new Error('no block');
    return { solidHead: { number, blockId: '', timestampMs: NOW_MS }, amounts };
  }

  #produceBlock({ USDT = 0n, TRX = 0n }: Partial<Amounts>): void {
    const { amounts } = this.view(0);
    this.balances.push({ USDT: amounts.USDT + USDT, TRX: amounts.TRX + TRX });
  }

  #count(
    asset: Asset,
    outMicro: bigint,
    spentMicro: bigint,
    feeOutMicro: bigint,
    feeSpentMicro: bigint,
  ): void {
    const { books, fees } = this.breaker;
    this.breaker = {
      ...this.breaker,
      books: {
        ...books,
        [asset]: {
          ...books[asset],
          outstandingMicro: books[asset].outstandingMicro + outMicro,
          spentTotalMicro: books[asset].spentTotalMicro + spentMicro,
        },
      },
      fees: {
        ...fees,
        outstandingMicro: fees.outstandingMicro + feeOutMicro,
        spentTotalMicro: fees.spentTotalMicro + feeSpentMicro,
      },
    };
  }
}

const asset = fc.constantFrom<Asset>('USDT', 'TRX');
const amountMicro = fc.bigInt({ min: 1n, max: 1_000n });
type Step = (truth: Truth) => void;

const payments: fc.Arbitrary<Step> = fc.oneof(
  fc
    .record({
      asset,
      amountMicro,
      feeMaxMicro: fc.constantFrom(0n, 50n),
      share: fc.nat({ max: 50 }),
      reverts: fc.boolean(),
    })
    .map(({ share, ...sent }): Step => {
      const feeMicro = BigInt(share) < sent.feeMaxMicro ? BigInt(share) : sent.feeMaxMicro;
      return (truth) => truth.reserve({ ...sent, feeMicro });
    }),
  fc.constant<Step>((truth) => truth.land()),
  fc.constant<Step>((truth) => truth.close()),
);
const deposits: fc.Arbitrary<Step> = fc.record({ asset, amountMicro }).map(
  ({ asset, amountMicro }): Step =>
    (truth) =>
      truth.deposit(asset, amountMicro),
);

/** An audit, and what happens between its reads. Each node is so many blocks behind. */
function audits(between: fc.Arbitrary<Step>): fc.Arbitrary<Audit> {
  return fc.record({
    beforeBalances: fc.array(between, { maxLength: 3 }),
    afterBalances: fc.array(between, { maxLength: 3 }),
    lags: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 2 }),
    /** One node may say anything. */
    lie: fc.option(fc.bigInt({ min: 0n, max: 2_000_000n }), { nil: null, freq: 10 }),
  });
}
interface Audit {
  readonly beforeBalances: readonly Step[];
  readonly afterBalances: readonly Step[];
  readonly lags: readonly number[];
  readonly lie: bigint | null;
}

function run(record: AuditRecord, truth: Truth, audit: Audit): AuditRecord {
  const before = truth.breaker;
  for (const step of audit.beforeBalances) step(truth);
  const views = audit.lags.map((lag, index) => {
    const view = truth.view(lag);
    return audit.lie !== null && index === 0
      ? { ...view, amounts: { USDT: audit.lie, TRX: audit.lie } }
      : view;
  });
  for (const step of audit.afterBalances) step(truth);
  return judgeWallet(record, before, views, truth.breaker, NOW_MS);
}

const QUIET: Audit = { beforeBalances: [], afterBalances: [], lags: [0], lie: null };
const twice = (record: AuditRecord, truth: Truth) => run(run(record, truth, QUIET), truth, QUIET);

describe('the audit of the wallet', () => {
  it('never takes a payment for a theft, at whatever stage it is, or however old an answer is', () => {
    const moves = fc.oneof(payments, deposits);
    const step = fc.oneof({ weight: 3, arbitrary: moves }, { weight: 2, arbitrary: audits(moves) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const truth = new Truth();
        let record = NEW_AUDIT;
        let lied = false;
        for (const each of steps) {
          if (typeof each === 'function') {
            each(truth);
            continue;
          }
          // A lie may be heard once, never twice in a row.
          const lie: bigint | null = lied ? null : each.lie;
          record = run(record, truth, { ...each, lie });
          if (record.wallet.unclear === null) lied = lie !== null;
          expect(record.findings.filter(({ isConfirmed }) => isConfirmed || !lied)).toEqual([]);
        }
        truth.rest();
        expect(twice(record, truth).findings).toEqual([]);
      }),
      { numRuns: 3_000 },
    );
  });

  it('finds every theft to the last micro-unit once payments have ended, however small among them', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: payments },
      { weight: 2, arbitrary: audits(payments).map((audit) => ({ ...audit, lie: null })) },
      {
        weight: 1,
        arbitrary: fc.record({ asset, amountMicro }).map(
          ({ asset, amountMicro }): Step =>
            (truth) =>
              truth.steal(asset, amountMicro),
        ),
      },
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(payments, deposits), { maxLength: 20 }),
        fc.array(step, { minLength: 1, maxLength: 40 }),
        (earlier, steps) => {
          const truth = new Truth();
          for (const each of earlier) each(truth);
          truth.rest();
          let record = twice(NEW_AUDIT, truth);
          for (const each of steps) {
            if (typeof each === 'function') each(truth);
            else record = run(record, truth, each);
          }
          truth.rest();
          record = twice(record, truth);
          const found = { USDT: 0n, TRX: 0n };
          for (const { of, amountMicro, isConfirmed, kind } of record.findings) {
            expect({ kind, isConfirmed }).toEqual({ kind: 'outflow', isConfirmed: true });
            if (of !== 'fees') found[of] += amountMicro;
          }
          expect(found).toEqual(truth.stolen);
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it('takes no deposit for granted that only one audit has seen', () => {
    const truth = new Truth();
    let record = twice(NEW_AUDIT, truth);
    truth.deposit('USDT', 500n);
    record = run(record, truth, QUIET);
    expect(record.marks.USDT).toBe(1_000_000n);
    record = run(record, truth, QUIET);
    expect(record.marks.USDT).toBe(1_000_500n);
    truth.steal('USDT', 500n);
    expect(twice(record, truth).findings).toMatchObject([{ kind: 'outflow', amountMicro: 500n }]);
  });

  it('accuses nobody while one of the nodes contradicts', () => {
    const truth = new Truth();
    const record = twice(NEW_AUDIT, truth);
    truth.steal('USDT', 500n);
    const honest = truth.view(0);
    const other = { ...honest, amounts: { ...honest.amounts, USDT: 1_000_000n } };
    const after = judgeWallet(record, truth.breaker, [honest, other], truth.breaker, NOW_MS);
    expect(after.findings).toEqual([]);
  });

  it('says that it could not compare where no node is new enough, and keeps what it knew', () => {
    const truth = new Truth();
    const found = { kind: 'outflow', of: 'TRX', amountMicro: 1n, isConfirmed: true } as const;
    const record: AuditRecord = {
      ...twice(NEW_AUDIT, truth),
      wallet: { clearAtMs: 5, unclear: null },
      findings: [found],
    };
    truth.reserve({ asset: 'USDT', amountMicro: 5n, feeMaxMicro: 0n, feeMicro: 0n, reverts: false });
    truth.rest();
    const { breaker } = truth;
    const lagging = judgeWallet(record, breaker, [truth.view(1)], breaker, NOW_MS);
    expect(lagging).toEqual({
      ...record,
      wallet: { clearAtMs: 5, unclear: 'no node has come as far as the blocks that are counted already' },
    });
    const none = judgeWallet(record, breaker, [], breaker, NOW_MS);
    expect(none.wallet.unclear).toBe('no node has come as far as the last solid block that was seen');
    // A liar may have told of a block that will not be there for years; a reset hears all of them again.
    expect(acceptFindings({ ...lagging, blockNumber: 10 ** 9 }).blockNumber).toBe(0);
  });
});

describe('the audit of the books', () => {
  it('confirms what two audits in a row have found, and forgets what is gone', () => {
    let record = judgeBooks(NEW_AUDIT, { ...NO_SUMS, USDT: -5n, fees: 7n }, NOW_MS);
    expect(record.findings).toEqual([
      { kind: 'undercounted', of: 'USDT', amountMicro: 5n, isConfirmed: false },
      { kind: 'overcounted', of: 'fees', amountMicro: 7n, isConfirmed: false },
    ]);
    expect(reasonToTrip(record)).toBeNull();
    record = judgeBooks(record, { ...NO_SUMS, USDT: 5n, fees: 8n }, NOW_MS);
    expect(record.findings).toEqual([
      { kind: 'overcounted', of: 'USDT', amountMicro: 5n, isConfirmed: false },
      { kind: 'overcounted', of: 'fees', amountMicro: 8n, isConfirmed: true },
    ]);
    record = judgeBooks(record, NO_SUMS, NOW_MS + 1);
    expect(record).toMatchObject({ findings: [], books: { clearAtMs: NOW_MS + 1, unclear: null } });
  });

  it('leaves what the wallet has lost as it stands, and the other way round', () => {
    const truth = new Truth();
    let record = twice(NEW_AUDIT, truth);
    truth.steal('TRX', 9n);
    record = judgeBooks(twice(record, truth), { ...NO_SUMS, TRX: 3n }, NOW_MS);
    expect(record.findings.map(({ kind }) => kind)).toEqual(['overcounted', 'outflow']);
    expect(run(record, truth, QUIET).findings.map(({ kind }) => kind)).toEqual(['overcounted', 'outflow']);
  });
});

describe('what an audit asks for', () => {
  const confirmed = (kind: 'undercounted' | 'overcounted' | 'outflow', of: Asset | 'fees') =>
    ({ kind, of, amountMicro: 1_500_000n, isConfirmed: true }) as const;

  it('trips for what is lost or not counted, and not for what is counted twice', () => {
    expect(reasonToTrip({ ...NEW_AUDIT, findings: [confirmed('overcounted', 'USDT')] })).toBeNull();
    const findings = [
      confirmed('overcounted', 'USDT'),
      confirmed('undercounted', 'fees'),
      confirmed('outflow', 'TRX'),
    ];
    expect(reasonToTrip({ ...NEW_AUDIT, findings })).toBe(
      'the audit found that 1.5 TRX of fees that payments hold is not counted as outstanding, and that 1.5 TRX has ' +
        'left the wallet by no payment of this service; a reset accepts it as it is then',
    );
    expect(describeFinding(confirmed('overcounted', 'USDT'))).toBe(
      '1.5 USDT is counted as outstanding that no payment holds',
    );
  });

  it('accepts at a reset what it has found: a new mark where money left, and differences as they are', () => {
    const truth = new Truth();
    let record = twice(NEW_AUDIT, truth);
    truth.steal('TRX', 9n);
    record = judgeBooks(twice(record, truth), { ...NO_SUMS, USDT: -4n }, NOW_MS);
    record = acceptFindings(record);
    expect(record).toMatchObject({ findings: [], marks: { USDT: 1_000_000n, TRX: null } });
    expect(judgeBooks(record, { ...NO_SUMS, USDT: -4n }, NOW_MS).findings).toEqual([]);
    expect(judgeBooks(record, { ...NO_SUMS, USDT: -5n }, NOW_MS).findings).toMatchObject([
      { kind: 'undercounted', amountMicro: 1n },
    ]);
    record = twice(record, truth);
    expect(record).toMatchObject({ findings: [], marks: { USDT: 1_000_000n, TRX: 999_991n } });
    truth.steal('TRX', 2n);
    expect(twice(record, truth).findings).toMatchObject([{ kind: 'outflow', of: 'TRX', amountMicro: 2n }]);
  });
});

describe('transitions', () => {
  const under = (...ids: string[]): Breaker => ({
    ...NEW_BREAKER,
    transitions: ids.map((id) => ({ id }) as Transition),
  });

  it('show the same moment where none was pushed, noted and dropped in between', () => {
    expect(isSameMoment(under('a'), under('a'))).toBe(true);
    expect(isSameMoment(under('a'), under())).toBe(false);
    expect(isSameMoment(under('a'), { ...under('a'), pushes: 1n })).toBe(false);
  });

  it('grow old while audits see them, and are forgotten once they are gone', () => {
    let record = noteTransitions(NEW_AUDIT, under('a', 'b'), NOW_MS);
    record = noteTransitions(record, under('b', 'c'), NOW_MS + 300_000);
    expect(record.transitions).toEqual([
      { id: 'b', sinceMs: NOW_MS },
      { id: 'c', sinceMs: NOW_MS + 300_000 },
    ]);
    expect(oldTransitions(record, NOW_MS + 299_999)).toBe(0);
    expect(oldTransitions(record, NOW_MS + 300_000)).toBe(1);
  });
});

describe('what the wallet is judged by', () => {
  const truth = new Truth();
  const settled = twice(NEW_AUDIT, truth);
  const view = (TRX: bigint, number = 0): WalletView => ({
    solidHead: { number, blockId: '', timestampMs: NOW_MS },
    amounts: { USDT: 1_000_000n, TRX },
  });
  const judge = (views: readonly WalletView[], breaker: Breaker = NEW_BREAKER) =>
    judgeWallet(settled, NEW_BREAKER, views, breaker, NOW_MS);

  it('is the highest balance for an accusation and the lowest for the mark, in whatever order they come', () => {
    const views = [view(999_990n), view(1_000_010n), view(999_980n)];
    for (const order of [
      views,
      views.toReversed(),
      [views[1], views[2], views[0]].flatMap((one) => one ?? []),
    ]) {
      const after = judge(order);
      expect(after.findings).toEqual([]);
      expect(after.inflows).toEqual({ USDT: 1_000_000n, TRX: 999_980n });
      expect(after.marks).toEqual({ USDT: 1_000_000n, TRX: 1_000_000n });
    }
    expect(judge([view(999_980n), view(999_990n)]).findings).toMatchObject([
      { kind: 'outflow', of: 'TRX', amountMicro: 10n },
    ]);
  });

  it('allows for the fees that open payments may have burned, of TRX alone', () => {
    const burning = { ...NEW_BREAKER, fees: { ...NEW_BREAKER.fees, outstandingMicro: 10n } };
    expect(judge([view(999_990n)], burning).findings).toEqual([]);
    expect(judge([view(999_989n)], burning).findings).toMatchObject([{ of: 'TRX', amountMicro: 1n }]);
    const lost = { ...view(1_000_000n), amounts: { USDT: 999_990n, TRX: 1_000_000n } };
    expect(judge([lost], burning).findings).toMatchObject([{ of: 'USDT', amountMicro: 10n }]);
  });

  it('is the newest block that was heard, which a reset keeps where the comparison was clear', () => {
    const heard = judge([view(1_000_000n, 3), view(1_000_000n, 7), view(1_000_000n, 5)]);
    expect(heard.blockNumber).toBe(7);
    expect(acceptFindings(heard).blockNumber).toBe(7);
  });

  it.each(['USDT', 'TRX'] as const)(
    'is a new mark for %s where it flowed out and an operator accepts it',
    (of) => {
      const found = { kind: 'outflow', of, amountMicro: 1n, isConfirmed: true } as const;
      const accepted = acceptFindings({ ...settled, findings: [found] });
      expect(accepted.marks).toEqual({ ...settled.marks, [of]: null });
      expect(accepted.inflows).toEqual({ ...settled.inflows, [of]: null });
      const other = { ...found, kind: 'undercounted' } as const;
      expect(acceptFindings({ ...settled, findings: [other] }).marks).toEqual(settled.marks);
    },
  );

  it('begins with nothing known', () => {
    expect(NEW_AUDIT).toMatchObject({
      books: { clearAtMs: null, unclear: null },
      wallet: { clearAtMs: null, unclear: null },
      transitions: [],
    });
  });
});

describe('what counts as outstanding', () => {
  const reserve: Transition = {
    id: 'r1',
    paymentId: 'pay_1',
    generation: 0,
    kind: 'reserve',
    amounts: amountsOf('USDT', 5n),
    feeMicro: 2n,
  };
  const release: Transition = {
    ...reserve,
    id: 'c1',
    kind: 'release',
    feeBurnedMicro: 0n,
    endedAtMs: NOW_MS,
  };
  const FIVE = { USDT: 5n, TRX: 0n, fees: 2n };
  const of = (over: Parameters<typeof payment>[0]) =>
    payment({ asset: 'USDT', amountMicro: 5n, feeReservedMicro: 2n, ...over });
  const held = of({ reservationId: 'r1', notedIds: ['r1'] });
  const closed = of({ reservationId: 'r1', closeId: 'c1', notedIds: ['r1', 'c1'] });

  it('is what the books say, asset by asset, and sums add up', () => {
    const { books, fees } = NEW_BREAKER;
    const breaker = {
      books: { USDT: { ...books.USDT, outstandingMicro: 1n }, TRX: { ...books.TRX, outstandingMicro: 2n } },
      fees: { ...fees, outstandingMicro: 3n },
    };
    expect(outstandingOf(breaker)).toEqual({ USDT: 1n, TRX: 2n, fees: 3n });
    expect(add({ USDT: 1n, TRX: 2n, fees: 3n }, { USDT: 10n, TRX: 20n, fees: 30n })).toEqual({
      USDT: 11n,
      TRX: 22n,
      fees: 33n,
    });
  });

  it.each([
    ['a reservation that is pushed, and its payment not read', null, [reserve], FIVE],
    ['one that is pushed and not noted', of({}), [reserve], FIVE],
    ['one that is noted and not dropped: once', held, [reserve], FIVE],
    ['one that is held with nothing under way', held, [], FIVE],
    ['a closing that is pushed and not noted: once', held, [release], FIVE],
    ['a closing that is noted and not applied', closed, [release], FIVE],
    ['nothing once it is applied', closed, [], NO_SUMS],
    ['nothing for a payment without any', of({}), [], NO_SUMS],
    ['nothing for a closing that came too late', of({}), [release], NO_SUMS],
    ['nothing for a closing whose payment is not there', null, [release], NO_SUMS],
  ])('is, for %s', (_, stored, transitions, sums) => {
    expect(countedFor(stored, transitions)).toEqual(sums);
  });

  const item = (paymentId: string, asset: Asset, amountMicro: bigint) => ({
    ...of({ asset, amountMicro }),
    paymentId,
  });
  const batch = (notedIds: readonly string[]): Batch => ({
    id: 'bat_1',
    caller: 'gateway',
    idempotencyKey: 'k',
    fingerprint: 'f',
    status: 'accepted',
    generation: 0,
    items: [item('a', 'USDT', 5n), item('b', 'TRX', 7n)],
    reservationId: null,
    notedIds,
    feeReservedMicro: 2n,
    createdAtMs: NOW_MS,
    payByMs: NOW_MS,
    reason: null,
    settleAtMs: null,
    leaseOwner: null,
  });
  const whole = { ...reserve, paymentId: 'bat_1', amounts: { USDT: 5n, TRX: 7n }, feeMicro: 4n };
  const TWELVE = { USDT: 5n, TRX: 7n, fees: 4n };

  it.each<[string, Batch | null, (paymentId: string) => typeof NO_SUMS | null, typeof NO_SUMS]>([
    ['that is not read', null, () => null, TWELVE],
    ['that has not noted it', batch([]), () => null, TWELVE],
    ['that has noted it, its payments yet to come', batch(['r1']), () => null, TWELVE],
    ['one of whose payments is there', batch(['r1']), (id) => (id === 'a' ? FIVE : null), TWELVE],
    [
      'one of whose payments has ended',
      batch(['r1']),
      (id) => (id === 'a' ? NO_SUMS : null),
      { USDT: 0n, TRX: 7n, fees: 2n },
    ],
  ])('is, for a batch %s', (_, stored, itemOf, sums) => {
    expect(countedForBatch(stored, whole, itemOf)).toEqual(sums);
  });
});
