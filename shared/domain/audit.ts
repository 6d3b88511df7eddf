import type { Batch } from './batch.ts';
import type { Amounts, Breaker, SolidHead, Transition } from './breaker.ts';
import { ASSETS, type Asset, formatAmount } from './money.ts';
import { holdsReservation, type Payment } from './payment.ts';

/**
 * Comparing what must be equal: `outstanding` with the reservations that payments hold, and the wallet with what was
 * spent from it. These are the judgements; `usecases/audit.ts` reads what they judge.
 *
 * ## The wallet
 *
 * For each asset (fees are TRX) let, as of one solid block, `held` be the wallet's balance and `sent` what payments
 * of ours have taken from it. Then `held + sent` is all that ever came in, less what others took: it grows by
 * deposits, and only a theft (or an operator's own transfer) can make it fall. `held` is read from a node, but `sent`
 * is not known exactly: a payment may have landed whose amount is not committed yet. So it is enclosed:
 *
 * - at least `spent`, as read *before* the balance: what is committed stood in a solid block before that. It is in the
 *   balance too, where the node has reached the newest block that was counted (`spentBlockNumber`); no other is heard.
 * - at most `spent + outstanding`, as read *after* the balance: whatever had landed by then was reserved before it was
 *   signed, and stays outstanding until it is spent. Fees are reserved at their most, and spent as burned.
 *
 * Hence `held + spent before` is a sure lower bound of the inflow, and `held + spent after + outstanding after` a sure
 * upper one, whatever payments do meanwhile and however long the reads take. The *mark* is the highest lower bound
 * that was ever seen. It never falls by itself, and what may be ours is never taken for inflow; so an upper bound
 * below the mark proves an outflow that is not ours, and never comes from payments in flight. A theft smaller than
 * what is in flight hides inside the bounds for a while, but the mark stands, and once those payments have ended the
 * bounds meet and it shows. What balances alone cannot show is a theft that is made good by a deposit before the
 * deposit has raised the mark.
 *
 * A node may lie, lag, or mix the answers of several machines. So all nodes that answer must agree (the lowest balance
 * raises the mark, the highest one accuses), the mark rises only by what two audits in a row have seen, and only what
 * two audits in a row have found is confirmed.
 */

/** Every sum that has to add up. */
export type Book = Asset | 'fees';
export const BOOKS: readonly Book[] = [...ASSETS, 'fees'];
export type BookSums = Readonly<Record<Book, bigint>>;
export const NO_SUMS: BookSums = { USDT: 0n, TRX: 0n, fees: 0n };

/**
 * undercounted: payments hold more than is counted as outstanding, so limits could be passed · overcounted: they hold
 * less, so limits bite too early · outflow: the wallet lost what no payment of ours took.
 */
export const FINDING_KINDS = ['undercounted', 'overcounted', 'outflow'] as const;

/** Something that does not add up. */
export interface Finding {
  readonly kind: (typeof FINDING_KINDS)[number];
  readonly of: Book;
  readonly amountMicro: bigint;
  /** Found by two audits in a row. */
  readonly isConfirmed: boolean;
}

type Found = Omit<Finding, 'isConfirmed'>;

/** How one half of an audit went. */
export interface AuditState {
  /** The server's time of the last clear comparison; null before the first. */
  readonly clearAtMs: number | null;
  /** Why the latest one came to no result; null where it did. */
  readonly unclear: string | null;
}

/** What audits remember, in a small document beside the breaker's. */
export interface AuditRecord {
  readonly books: AuditState;
  readonly wallet: AuditState;
  /** Of the last clear comparisons. */
  readonly findings: readonly Finding[];
  /** `outstanding` less what payments hold, at the last clear comparison. */
  readonly differences: BookSums;
  /** Differences that an operator has accepted by resetting the breaker: no longer found. */
  readonly accepted: BookSums;
  /** The highest sure inflow of each asset: see above. Null until two audits have seen it. */
  readonly marks: Readonly<Record<Asset, bigint | null>>;
  /** The sure inflow that the last audit saw: the mark may rise to it once another one confirms it. */
  readonly inflows: Readonly<Record<Asset, bigint | null>>;
  /** The newest block that marks rest on: older balances say nothing against them. */
  readonly blockNumber: number;
  /** The transitions that were under way at the last audit, and since when audits have seen them. */
  readonly transitions: readonly SeenTransition[];
}

export interface SeenTransition {
  readonly id: string;
  readonly sinceMs: number;
}

export const NEW_AUDIT: AuditRecord = {
  books: { clearAtMs: null, unclear: null },
  wallet: { clearAtMs: null, unclear: null },
  findings: [],
  differences: NO_SUMS,
  accepted: NO_SUMS,
  marks: { USDT: null, TRX: null },
  inflows: { USDT: null, TRX: null },
  blockNumber: 0,
  transitions: [],
};

/** Whether both reads show one moment: no step between two documents began or ended in between. */
export function isSameMoment(before: Breaker, after: Breaker): boolean {
  const ids = (breaker: Breaker) => breaker.transitions.map(({ id }) => id).join();
  return before.pushes === after.pushes && ids(before) === ids(after);
}

/**
 * What counts as outstanding for a payment that has steps under way, from one read of it. While the breaker's entries
 * stand the answer is the same before and after any of them is noted: a reservation counts from its push, and a
 * closing until it is applied.
 */
export function countedFor(payment: Payment | null, transitions: readonly Transition[]): BookSums {
  const isHeld = payment !== null && holdsReservation(payment);
  const held = isHeld ? sumsOf({ [payment.asset]: payment.amountMicro }, payment.feeReservedMicro) : NO_SUMS;
  return transitions.reduce((sums, { id, kind, amounts, feeMicro }) => {
    const isNoted = payment?.notedIds.includes(id) === true;
    // A noted reservation is the one that is held; a noted closing has ended what was held, but not yet in the books.
    const counts = kind === 'reserve' ? !isNoted : isNoted && !isHeld;
    return counts ? add(sums, sumsOf(amounts, feeMicro)) : sums;
  }, held);
}

/**
 * The same for a batch whose reservation is still in the breaker document: as a whole before it is noted, afterwards
 * by its payments, of which those not inserted yet stand for themselves.
 * @param itemOf a payment of the batch, each from one read, with what is counted for it; null where it is not there
 */
export function countedForBatch(
  batch: Batch | null,
  reservation: Transition,
  itemOf: (paymentId: string) => BookSums | null,
): BookSums {
  const isNoted = batch?.notedIds.includes(reservation.id) === true;
  const whole = isNoted ? NO_SUMS : sumsOf(reservation.amounts, reservation.feeMicro);
  return (batch?.items ?? []).reduce((sums, { paymentId, asset, amountMicro }) => {
    const missing = isNoted ? sumsOf({ [asset]: amountMicro }, batch?.feeReservedMicro ?? 0n) : NO_SUMS;
    return add(sums, itemOf(paymentId) ?? missing);
  }, whole);
}

/** What the books count as outstanding. */
export function outstandingOf({ books, fees }: Pick<Breaker, 'books' | 'fees'>): BookSums {
  return {
    USDT: books.USDT.outstandingMicro,
    TRX: books.TRX.outstandingMicro,
    fees: fees.outstandingMicro,
  };
}

export function add(a: BookSums, b: BookSums): BookSums {
  return { USDT: a.USDT + b.USDT, TRX: a.TRX + b.TRX, fees: a.fees + b.fees };
}

/** Takes a clear comparison of the books into the record. */
export function judgeBooks(record: AuditRecord, differences: BookSums, nowMs: number): AuditRecord {
  const found = BOOKS.flatMap((of): Found[] => {
    const micro = differences[of] - record.accepted[of];
    if (micro === 0n) return [];
    if (micro < 0n) return [{ kind: 'undercounted', of, amountMicro: -micro }];
    return [{ kind: 'overcounted', of, amountMicro: micro }];
  });
  return {
    ...record,
    differences,
    books: { clearAtMs: nowMs, unclear: null },
    findings: [
      ...confirm(found, record.findings),
      ...record.findings.filter(({ kind }) => kind === 'outflow'),
    ],
  };
}

/** What one node said of the wallet. */
export interface WalletView {
  readonly solidHead: SolidHead;
  readonly amounts: Amounts;
}

/**
 * Takes the wallet's balances into the record.
 * @param before the breaker as it was read before any balance was asked for
 * @param after the breaker as it was read when all balances had been answered
 */
export function judgeWallet(
  record: AuditRecord,
  before: Breaker,
  views: readonly WalletView[],
  after: Breaker,
  nowMs: number,
): AuditRecord {
  const newEnough = Math.max(before.spentBlockNumber, record.blockNumber);
  const heard = views.filter(({ solidHead }) => solidHead.number >= newEnough);
  if (heard.length === 0) {
    const reason =
      views.length === 0
        ? 'no node has come as far as the last solid block that was seen'
        : 'no node has come as far as the blocks that are counted already';
    return { ...record, wallet: { ...record.wallet, unclear: reason } };
  }
  const outflows: Found[] = [];
  const marks = { ...record.marks };
  const inflows = { ...record.inflows };
  for (const asset of ASSETS) {
    const balances = heard.map(({ amounts }) => amounts[asset]).sort(ascending);
    const lowest = (balances[0] ?? 0n) + spentOf(before, asset);
    const highest = (balances.at(-1) ?? 0n) + spentOf(after, asset) + inFlightOf(after, asset);
    const mark = record.marks[asset];
    if (mark !== null && highest < mark) {
      outflows.push({ kind: 'outflow', of: asset, amountMicro: mark - highest });
    }
    const last = record.inflows[asset];
    const sure = last === null ? null : lesser(last, lowest);
    marks[asset] = mark === null || (sure !== null && sure > mark) ? sure : mark;
    inflows[asset] = lowest;
  }
  return {
    ...record,
    wallet: { clearAtMs: nowMs, unclear: null },
    findings: [
      ...record.findings.filter(({ kind }) => kind !== 'outflow'),
      ...confirm(outflows, record.findings),
    ],
    marks,
    inflows,
    blockNumber: Math.max(record.blockNumber, ...heard.map(({ solidHead }) => solidHead.number)),
  };
}

/** Remembers since when audits have seen each transition that is still under way. */
export function noteTransitions(record: AuditRecord, breaker: Breaker, nowMs: number): AuditRecord {
  const since = new Map(record.transitions.map(({ id, sinceMs }) => [id, sinceMs]));
  return {
    ...record,
    transitions: breaker.transitions.map(({ id }) => ({ id, sinceMs: since.get(id) ?? nowMs })),
  };
}

/** No step takes so long: whoever was at it is gone, and settlers have come by since. */
const OLD_TRANSITION_MS = 5 * 60_000;

/** How many transitions have been under way for so long that something is wrong with them. */
export function oldTransitions({ transitions }: AuditRecord, nowMs: number): number {
  return transitions.filter(({ sinceMs }) => nowMs - sinceMs >= OLD_TRANSITION_MS).length;
}

/** Why the breaker has to trip; null where it need not. Counting too much is safe, so it is only shown. */
export function reasonToTrip({ findings }: AuditRecord): string | null {
  const grave = findings.filter(({ kind, isConfirmed }) => isConfirmed && kind !== 'overcounted');
  if (grave.length === 0) return null;
  return `the audit found that ${grave.map(describeFinding).join(', and that ')}; a reset accepts it as it is then`;
}

/** In words, to follow "that". */
export function describeFinding({ kind, of, amountMicro }: Finding): string {
  const amount = `${formatAmount(amountMicro)} ${of === 'fees' ? 'TRX' : of}`;
  const name = of === 'fees' ? `${amount} of fees` : amount;
  switch (kind) {
    case 'undercounted':
      return `${name} that payments hold is not counted as outstanding`;
    case 'overcounted':
      return `${name} is counted as outstanding that no payment holds`;
    case 'outflow':
      return `${name} has left the wallet by no payment of this service`;
  }
}

/**
 * An operator has looked and resets the breaker: what differs stays so and is no longer found, and an asset that
 * flowed out begins with a new mark, at what the wallet holds from here on. Marks of other assets stand. Where no
 * node is new enough to be heard, one may have lied about its height: any is heard again.
 */
export function acceptFindings(record: AuditRecord): AuditRecord {
  const lost = new Set(record.findings.flatMap(({ kind, of }) => (kind === 'outflow' ? [of] : [])));
  const renewed = (marks: AuditRecord['marks']) => ({
    USDT: lost.has('USDT') ? null : marks.USDT,
    TRX: lost.has('TRX') ? null : marks.TRX,
  });
  return {
    ...record,
    findings: [],
    accepted: record.differences,
    marks: renewed(record.marks),
    inflows: renewed(record.inflows),
    blockNumber: record.wallet.unclear === null ? record.blockNumber : 0,
  };
}

function confirm(found: readonly Found[], last: readonly Finding[]): Finding[] {
  return found.map((finding) => ({
    ...finding,
    isConfirmed: last.some(({ kind, of }) => kind === finding.kind && of === finding.of),
  }));
}

function spentOf({ books, fees }: Breaker, asset: Asset): bigint {
  return books[asset].spentTotalMicro + (asset === 'TRX' ? fees.spentTotalMicro : 0n);
}

function inFlightOf({ books, fees }: Breaker, asset: Asset): bigint {
  return books[asset].outstandingMicro + (asset === 'TRX' ? fees.outstandingMicro : 0n);
}

function sumsOf(amounts: Partial<Amounts>, feeMicro: bigint): BookSums {
  return { USDT: amounts.USDT ?? 0n, TRX: amounts.TRX ?? 0n, fees: feeMicro };
}

function lesser(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function ascending(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
