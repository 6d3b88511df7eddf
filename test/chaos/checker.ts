import type { Answer, ChainTransfer, Evidence, Limit, Order, OrderItem, PaymentRow } from './evidence.ts';

/** A promise that the evidence shows broken. */
export interface Violation {
  readonly rule: Rule;
  readonly detail: string;
}

export type Rule =
  | 'paid_once'
  | 'confirmed_is_on_chain'
  | 'chain_has_a_row'
  | 'within_limits'
  | 'permits'
  | 'everything_ends'
  | 'books_are_true'
  | 'answers_are_true';

/**
 * Judges what a round of chaos left behind. The chain is the judge of what was paid: the database's rows are held
 * against it, not the other way round.
 */
export function check(evidence: Evidence): Violation[] {
  // What every node denied was given back, as it must be, and its room was used by others.
  const known = evidence.transfers.filter(({ txId }) => evidence.deniedTxIds?.includes(txId) !== true);
  return [
    ...paidOnce(evidence),
    ...confirmedIsOnChain(evidence),
    ...chainHasARow(evidence),
    ...evidence.limits.flatMap((limit) => withinLimit(known, limit)),
    ...permits(evidence),
    ...everythingEnds(evidence),
    ...booksAreTrue(evidence),
    ...answersAreTrue(evidence),
  ];
}

/** Each item has a recipient of its own, so that more than one transfer to it means that it was paid twice. */
function paidOnce({ transfers, orders }: Evidence): Violation[] {
  const byRecipient = Map.groupBy(transfers, ({ to }) => to);
  return orders.flatMap(({ idempotencyKey, items }) =>
    items.flatMap(({ to }) => {
      const paid = byRecipient.get(to) ?? [];
      return paid.length <= 1
        ? []
        : [violation('paid_once', `${idempotencyKey} paid ${to} ${paid.length} times: ${txIdsOf(paid)}`)];
    }),
  );
}

function confirmedIsOnChain({ transfers, payments }: Evidence): Violation[] {
  const byTxId = Map.groupBy(transfers, ({ txId }) => txId);
  return payments
    .filter(({ status }) => status === 'confirmed')
    .flatMap((payment) => {
      const paid = payment.txIds.flatMap((txId) => byTxId.get(txId) ?? []);
      if (paid.length !== 1) {
        return [
          violation('confirmed_is_on_chain', `${nameOf(payment)} is confirmed by ${paid.length} transfers`),
        ];
      }
      const matches = paid.every((transfer) => isOf(transfer, { ...payment, to: payment.recipient }));
      return matches
        ? []
        : [violation('confirmed_is_on_chain', `${nameOf(payment)} was paid otherwise: ${txIdsOf(paid)}`)];
    });
}

/** Whatever left the wallet has a row that says so. */
function chainHasARow({ transfers, payments }: Evidence): Violation[] {
  const rows = new Map(payments.flatMap((payment) => payment.txIds.map((txId) => [txId, payment] as const)));
  return transfers.flatMap(({ txId, asset, to, amountMicro }) => {
    const row = rows.get(txId);
    const what = `${amountMicro} of ${asset} to ${to} by ${txId}`;
    if (row === undefined) return [violation('chain_has_a_row', `no payment knows ${what}`)];
    return row.status === 'confirmed'
      ? []
      : [violation('chain_has_a_row', `${nameOf(row)} is ${row.status}, but paid ${what}`)];
  });
}

/** Exact for every window: one that is as full as can be ends with a transfer. */
export function withinLimit(transfers: readonly ChainTransfer[], limit: Limit): Violation[] {
  const mine = transfers
    .filter(({ asset }) => asset === limit.asset)
    .toSorted((one, other) => one.blockTimeMs - other.blockTimeMs);
  const violations: Violation[] = [];
  let sumMicro = 0n;
  let first = 0;
  for (const [index, { amountMicro, blockTimeMs }] of mine.entries()) {
    sumMicro += amountMicro;
    for (let oldest = mine[first]; oldest && oldest.blockTimeMs <= blockTimeMs - limit.windowMs; ) {
      sumMicro -= oldest.amountMicro;
      first += 1;
      oldest = mine[first];
    }
    const isLastOfItsTime = mine[index + 1]?.blockTimeMs !== blockTimeMs;
    if (isLastOfItsTime && sumMicro > limit.limitMicro) {
      const window = `the ${limit.name} to ${new Date(blockTimeMs).toISOString()}`;
      violations.push(
        violation('within_limits', `${sumMicro} of ${limit.asset} in ${window}, above ${limit.limitMicro}`),
      );
    }
  }
  return violations;
}

function permits({ permitsSeenMax, permitsMax, looks }: Evidence): Violation[] {
  if (looks === 0) return [violation('permits', 'nobody looked at the breaker')];
  return permitsSeenMax <= permitsMax
    ? []
    : [violation('permits', `${permitsSeenMax} unexpired permits at once, above ${permitsMax}`)];
}

function everythingEnds({ payments, breaker }: Evidence): Violation[] {
  const open = payments
    .filter(({ isOpen, isHeld, status }) => isOpen || isHeld || status === 'needs_review')
    .map((payment) =>
      violation(
        'everything_ends',
        `${nameOf(payment)} is ${payment.status}: ${payment.reason ?? 'no reason'}`,
      ),
    );
  if (breaker.tripped !== null)
    open.push(violation('everything_ends', `the breaker tripped: ${breaker.tripped}`));
  return open;
}

/** Once all has ended, nothing is outstanding, and what counts as spent is what the chain shows. */
function booksAreTrue({ breaker, transfers }: Evidence): Violation[] {
  const violations: Violation[] = [];
  if (breaker.transitions > 0) {
    violations.push(violation('books_are_true', `${breaker.transitions} transitions are left over`));
  }
  if (breaker.feesOutstandingMicro !== 0n) {
    violations.push(violation('books_are_true', `fees of ${breaker.feesOutstandingMicro} are outstanding`));
  }
  for (const asset of ['USDT', 'TRX'] as const) {
    const { outstandingMicro, spentMicro } = breaker.books[asset];
    const paidMicro = transfers
      .filter((transfer) => transfer.asset === asset)
      .reduce((sum, { amountMicro }) => sum + amountMicro, 0n);
    if (outstandingMicro !== 0n) {
      violations.push(violation('books_are_true', `${outstandingMicro} of ${asset} are outstanding`));
    }
    if (spentMicro !== paidMicro) {
      violations.push(
        violation('books_are_true', `${spentMicro} of ${asset} count as spent; the chain shows ${paidMicro}`),
      );
    }
  }
  return violations;
}

function answersAreTrue({ orders, payments, transfers }: Evidence): Violation[] {
  const paid = new Set(transfers.map(({ to }) => to));
  const byKey = Map.groupBy(payments, (payment) => payment.batchId ?? payment.idempotencyKey);
  return orders.flatMap((order) => [
    ...isRemembered(order, byKey, payments),
    ...isRefusedForGood(order, paid),
    ...isAllOrNone(order, byKey, payments),
    ...isForeseen(order),
  ]);
}

/** An answer that shows a payment names the one that there is, with what was asked for. */
function isRemembered(
  { idempotencyKey, kind, items, answers }: Order,
  byKey: ReadonlyMap<string, readonly PaymentRow[]>,
  payments: readonly PaymentRow[],
): Violation[] {
  const ids = new Set(answers.flatMap(({ id }) => (id === null ? [] : [id])));
  if (ids.size > 1) {
    return [violation('answers_are_true', `${idempotencyKey} was answered with ${[...ids].join(' and ')}`)];
  }
  if (kind === 'batch') return [];
  const rows = byKey.get(idempotencyKey) ?? [];
  if (rows.length > 1) {
    return [violation('answers_are_true', `${idempotencyKey} has ${rows.length} payments`)];
  }
  const [id] = ids;
  const [item] = items;
  if (id === undefined || item === undefined) return [];
  const row = payments.find((payment) => payment.id === id);
  if (row === undefined)
    return [violation('answers_are_true', `${idempotencyKey}: ${id} was shown and is lost`)];
  const told = answers.some(({ shown }) => shown === 'confirmed');
  if (told && row.status !== 'confirmed') {
    return [violation('answers_are_true', `${nameOf(row)} was shown confirmed and is ${row.status}`)];
  }
  return isOf({ ...item }, { ...row, to: row.recipient })
    ? []
    : [violation('answers_are_true', `${nameOf(row)} is not what was asked for`)];
}

/** Whoever got nothing but clear refusals has not been paid for: "refused" is said once it is stored. */
function isRefusedForGood({ idempotencyKey, answers, items }: Order, paid: ReadonlySet<string>): Violation[] {
  const last = answers.at(-1);
  if (last === undefined || !answers.every(isRefusal)) return [];
  return items.some(({ to }) => paid.has(to))
    ? [violation('answers_are_true', `${idempotencyKey} was refused (${last.status} ${last.code}) and paid`)]
    : [];
}

/** Whatever dies or fails around a function, it knows what to answer. */
function isForeseen({ idempotencyKey, answers }: Order): Violation[] {
  return answers
    .filter(({ status }) => status === 500)
    .map(({ code }) => violation('answers_are_true', `${idempotencyKey} was answered 500 ${code}`));
}

/** A batch is admitted whole: each of its items has a payment, or none has. */
function isAllOrNone(
  { kind, items, answers, idempotencyKey }: Order,
  byKey: ReadonlyMap<string, readonly PaymentRow[]>,
  payments: readonly PaymentRow[],
): Violation[] {
  if (kind === 'payment') return [];
  const id = answers.find((answer) => answer.id !== null)?.id;
  const recipients = new Set(items.map(({ to }) => to));
  const rows =
    (id == null ? undefined : byKey.get(id)) ?? payments.filter(({ recipient }) => recipients.has(recipient));
  if (rows.length !== 0 && rows.length !== items.length) {
    return [
      violation(
        'answers_are_true',
        `the batch ${idempotencyKey} has ${rows.length} of ${items.length} payments`,
      ),
    ];
  }
  return rows.every((row) => items.some((item) => isOf(item, { ...row, to: row.recipient })))
    ? []
    : [violation('answers_are_true', `the batch ${idempotencyKey} holds what was not asked for`)];
}

/** Said of the payment, or before anything of it was begun; every other answer leaves open what became of it. */
const REFUSING_CODES: ReadonlySet<string | null> = new Set([
  'circuit_open',
  'payments_stopped',
  'payments_paused',
  'too_busy',
  'no_instance',
  'draining',
]);

/** An answer that means: this key has not paid, and does not while nobody sends it again. */
export function isRefusal({ status, code }: Answer): boolean {
  return (status >= 400 && status < 500 && status !== 409) || (status === 503 && REFUSING_CODES.has(code));
}

function isOf(one: OrderItem, other: OrderItem): boolean {
  return one.to === other.to && one.asset === other.asset && one.amountMicro === other.amountMicro;
}

function nameOf({ id, idempotencyKey }: PaymentRow): string {
  return `${id} (${idempotencyKey})`;
}

function txIdsOf(transfers: readonly ChainTransfer[]): string {
  return transfers.map(({ txId }) => txId).join(', ');
}

function violation(rule: Rule, detail: string): Violation {
  return { rule, detail };
}
