import type { BreakerDocument } from '../../shared/adapters/mongo/documents.ts';
import type { Breaker } from '../../shared/domain/breaker.ts';
import { isTripped } from '../../shared/domain/circuit.ts';
import { countedMicro, freeableUntilMs } from '../../shared/domain/limits.ts';
import { ASSETS } from '../../shared/domain/money.ts';
import type { Payment } from '../../shared/domain/payment.ts';
import { check, isRefusal, type Violation, withinLimit } from '../chaos/checker.ts';
import type { ChainTransfer, Evidence, Limit } from '../chaos/evidence.ts';
import type { SimulatedOrder, SimulatedWorld } from './world.ts';

/** The breaker document stays below it, however much is under way. */
const BREAKER_BYTES_MAX = 32 * 1024;
/** More than one takes, and more than all the rest does. */
const TRANSITION_BYTES = 250;
const OTHER_BYTES = 2_048;

/**
 * Judges what a schedule left behind: by the checker that judges the killing of real processes, and by what only
 * a simulation can see.
 */
export function judge(world: SimulatedWorld): Violation[] {
  return [...judgeAll(world, limitsOf(world)), ...withinFeeCap(world)];
}

/** The same once all is asked again, under limits that are out of reach; and each key must be as good as new. */
export function judgeAskedAgain(world: SimulatedWorld, asked: readonly SimulatedOrder[]): Violation[] {
  return [...judgeAll(world, []), ...asked.flatMap((order) => wasBurned(order, world))];
}

function judgeAll(world: SimulatedWorld, limits: readonly Limit[]): Violation[] {
  const { chain, store, rules } = world;
  const transfers = chain.paid.map(
    ({ transaction: { txId, transfer }, block }): ChainTransfer => ({
      txId,
      asset: transfer.asset,
      to: transfer.recipient,
      amountMicro: transfer.amountMicro,
      blockNumber: block.number,
      blockTimeMs: block.timestampMs,
    }),
  );
  const { breaker } = store.committed;
  const payments = store.committed.payments();
  const evidence: Evidence = {
    wallet: chain.wallet,
    transfers,
    payments: payments.map((payment) => ({
      id: payment.id,
      idempotencyKey: payment.idempotencyKey,
      batchId: payment.batchId,
      status: payment.status,
      reason: payment.reason,
      asset: payment.asset,
      amountMicro: payment.amountMicro,
      recipient: payment.recipient,
      txIds: payment.attempts.map(({ txId }) => txId),
      isOpen: payment.settleAtMs !== null,
      isHeld: payment.reservationId !== null && payment.closeId === null,
    })),
    breaker: {
      transitions: breaker.transitions.length,
      feesOutstandingMicro: breaker.fees.outstandingMicro,
      books: {
        USDT: figuresOf(breaker.books.USDT),
        TRX: figuresOf(breaker.books.TRX),
      },
      tripped: isTripped(breaker.circuit) && breaker.circuit.kind === 'open' ? breaker.circuit.reason : null,
    },
    orders: world.orders.map(({ key, kind, items, answers, cancelAsked }) => ({
      idempotencyKey: key,
      kind,
      items: items.map(({ recipient, asset, amountMicro }) => ({ to: recipient, asset, amountMicro })),
      answers,
      cancelAsked,
    })),
    limits,
    permitsSeenMax: world.permitsSeenMax,
    permitsMax: rules.circuit.halfOpenMaxCalls,
    looks: 1,
  };
  return [
    ...world.wrongs.map((detail): Violation => ({ rule: 'answers_are_true', detail })),
    ...check(evidence),
    ...countsWhatLeft(world, breaker, transfers),
    ...refusedForGood(world, payments),
    ...breakerIsSmall(world.breaker),
  ];
}

function figuresOf({
  outstandingMicro,
  spentTotalMicro,
}: {
  outstandingMicro: bigint;
  spentTotalMicro: bigint;
}) {
  return { outstandingMicro, spentMicro: spentTotalMicro };
}

function limitsOf({ rules: { limits, windows } }: SimulatedWorld): Limit[] {
  return (['USDT', 'TRX'] as const).flatMap((asset): Limit[] => [
    { asset, name: 'hour', windowMs: windows.hourMs, limitMicro: limits[asset].hourlyMicro },
    { asset, name: 'day', windowMs: windows.dayMs, limitMicro: limits[asset].dailyMicro },
  ]);
}

/** What left in blocks that a window may still hold is counted in it: else the next payment is one too many. */
function countsWhatLeft(
  { store, rules: { windows } }: SimulatedWorld,
  { books, solidHead }: Breaker,
  transfers: readonly ChainTransfer[],
): Violation[] {
  const freeMs = freeableUntilMs(store.serverTimeMs(), solidHead?.timestampMs ?? null);
  return ASSETS.flatMap((asset) =>
    (['hour', 'day'] as const).flatMap((window): Violation[] => {
      const sinceMs = freeMs - windows[`${window}Ms`];
      const leftMicro = transfers
        .filter((transfer) => transfer.asset === asset && transfer.blockTimeMs > sinceMs)
        .reduce((sum, { amountMicro }) => sum + amountMicro, 0n);
      const counted = countedMicro(books[asset], window, windows, freeMs);
      return counted >= leftMicro
        ? []
        : [
            {
              rule: 'books_are_true',
              detail: `the ${window} counts ${counted} of ${asset}, and ${leftMicro} left`,
            },
          ];
    }),
  );
}

/** What was burned in blocks, as if it were transfers of TRX. */
function withinFeeCap({ chain, rules }: SimulatedWorld): Violation[] {
  const fees = [...chain.included.values()].map(
    ({ transaction: { txId }, block, feeMicro }): ChainTransfer => ({
      txId,
      asset: 'TRX',
      to: 'fees',
      amountMicro: feeMicro,
      blockNumber: block.number,
      blockTimeMs: block.timestampMs,
    }),
  );
  return withinLimit(fees, {
    asset: 'TRX',
    name: 'day of fees',
    windowMs: rules.windows.dayMs,
    limitMicro: rules.feeLimitDailyMicro,
  });
}

/** A try of a key that was answered as refused has not paid. */
function refusedForGood({ orders }: SimulatedWorld, payments: readonly Payment[]): Violation[] {
  return payments.flatMap(({ id, idempotencyKey, status, generation }): Violation[] => {
    const order = orders.find(({ key }) => key === idempotencyKey);
    return status === 'confirmed' && order?.refusedGenerations.has(generation) === true
      ? [{ rule: 'answers_are_true', detail: `${id} was refused in its try ${generation}, and paid by it` }]
      : [];
  });
}

/**
 * Nothing stands in the way of any key now. Each shows what it stands for; and where its caller had been told of
 * nothing but refusals, it was still there to be used, and is paid.
 */
function wasBurned(
  { key, items, answers, cancelAsked }: SimulatedOrder,
  { store }: SimulatedWorld,
): Violation[] {
  const last = answers.at(-1);
  if (last === undefined || last.code === 'reference_taken') return [];
  if (last.id === null) {
    return [
      { rule: 'answers_are_true', detail: `${key} cannot be asked again: ${last.status} ${last.code}` },
    ];
  }
  if (cancelAsked || !answers.slice(0, -1).every(isRefusal)) return [];
  const payments = store.committed.payments();
  const statuses = items.map(
    ({ recipient }) => payments.find((payment) => payment.recipient === recipient)?.status ?? 'lost',
  );
  return statuses.every((status) => status === 'confirmed')
    ? []
    : [{ rule: 'answers_are_true', detail: `${key} was only ever refused, and is ${statuses.join()}` }];
}

function breakerIsSmall({ books, fees, transitions }: BreakerDocument): Violation[] {
  const slots = [books.USDT.hour, books.USDT.day, books.TRX.hour, books.TRX.day, fees.day];
  const bytes = slots.reduce((sum, { length }) => sum + length, 0) + transitions.length * TRANSITION_BYTES;
  return bytes <= BREAKER_BYTES_MAX - OTHER_BYTES
    ? []
    : [
        {
          rule: 'books_are_true',
          detail: `the breaker document has ${bytes} bytes of slots and transitions`,
        },
      ];
}
