import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AuditRecord,
  acceptFindings,
  describeFinding,
  isSameMoment,
  judgeBooks,
  judgeWallet,
  NEW_AUDIT,
  NO_SUMS,
  noteTransitions,
  oldTransitions,
  reasonToTrip,
  type WalletView,
} from '../../../../shared/domain/audit.ts';
import {
  type Amounts,
  type Breaker,
  NEW_BREAKER,
  type Transition,
} from '../../../../shared/domain/breaker.ts';
import type { Asset } from '../../../../shared/domain/money.ts';

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
