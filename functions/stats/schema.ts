import * as Type from 'typebox';
import { BREAKER_ACTIONS } from '../../shared/domain/breaker.ts';
import type { PaymentStatus } from '../../shared/domain/payment.ts';
import { FindingsView } from '../../shared/runtime/findings-view.ts';
import { PERIODS } from '../../shared/usecases/report.ts';

const closed = { additionalProperties: false } as const;
const Amount = Type.String({ description: 'A decimal string with at most 6 decimals.', examples: ['12.5'] });
const Count = Type.Integer({ minimum: 0 });
const Instant = Type.String({ format: 'date-time' });
const orNull = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** Every status a payment can have; the compiler refuses one that is missing. */
const STATUSES = {
  awaiting_approval: Count,
  accepted: Count,
  signed: Count,
  broadcast: Count,
  confirmed: Count,
  failed: Count,
  refused: Count,
  expired: Count,
  cancelled: Count,
  rejected: Count,
  needs_review: Count,
} as const satisfies Record<PaymentStatus, typeof Count>;

export const STATUS_NAMES = Object.keys(STATUSES) as readonly PaymentStatus[];

const AssetSums = Type.Object(
  {
    confirmed: Amount,
    unfinished: Amount,
    needs_review: Amount,
    total: Type.String({ description: 'Everything that was asked for, whatever became of it.' }),
  },
  closed,
);

const Limit = Type.Object({ limit: Amount, used: Amount, remaining: Amount }, closed);
const AssetLimits = Type.Object({ hour: Limit, day: Limit }, closed);

const Comparison = Type.Object(
  {
    age_seconds: orNull(Count),
    unclear: orNull(Type.String({ description: 'Why the latest audit came to no result.' })),
  },
  closed,
);

export const StatsQuery = Type.Object(
  {
    period: Type.Optional(
      Type.Enum(PERIODS, {
        default: 'day',
        description: 'A rolling period that ends now; a month is 30 days.',
      }),
    ),
  },
  closed,
);

export const StatsAnswer = Type.Object(
  {
    circuit_breaker_status: Type.Enum(['closed', 'open', 'half_open']),
    circuit_breaker: Type.Object(
      {
        consecutive_failures: Count,
        reason: orNull(Type.String()),
        opened_at: orNull(Instant),
        probes_at: orNull(Instant),
        needs_reset: Type.Boolean({ description: 'Open until an operator resets it.' }),
      },
      closed,
    ),
    paused: orNull(Type.Object({ reason: Type.String(), by: Type.String(), at: Instant }, closed)),
    restored: orNull(
      Type.Object(
        {
          backup_at: Instant,
          restored_at: Instant,
          reconciled_at: orNull(Instant),
          blocks_left: orNull(Count),
          recovered: Count,
        },
        {
          ...closed,
          description:
            "Where the database was put back from a backup: how far the wallet's history since then is read, and how many transfers were found in it that no payment stood for.",
        },
      ),
    ),
    last_order: orNull(
      Type.Object(
        { action: Type.Enum([...BREAKER_ACTIONS]), reason: Type.String(), by: Type.String(), at: Instant },
        { ...closed, description: 'What an operator ordered of the breaker last.' },
      ),
    ),
    period: Type.Enum(PERIODS),
    since: Instant,
    until: Instant,
    payments: Type.Object({ total: Count, by_status: Type.Object(STATUSES, closed) }, closed),
    amounts: Type.Object({ USDT: AssetSums, TRX: AssetSums }, closed),
    limits: Type.Object({ USDT: AssetLimits, TRX: AssetLimits }, closed),
    fees: Type.Object({ day: Limit }, closed),
    unfinished: Type.Object({ count: Count, oldest_age_seconds: orNull(Count) }, closed),
    solid_head: orNull(Type.Object({ number: Count, age_seconds: Type.Integer() }, closed)),
    audit: Type.Object(
      {
        findings: FindingsView,
        old_transitions: Type.Integer({
          minimum: 0,
          description: 'Steps between the breaker and payments that have been half done for minutes.',
        }),
        books: Comparison,
        wallet: Comparison,
      },
      closed,
    ),
  },
  { ...closed, title: 'Stats' },
);
export type StatsAnswer = Type.Static<typeof StatsAnswer>;

export const statsSchema = {
  operationId: 'readStats',
  summary: 'Counts, amounts and limits over all instances',
  tags: ['stats'],
  querystring: StatsQuery,
  response: { 200: StatsAnswer },
} as const;

export const metricsSchema = {
  operationId: 'readMetrics',
  summary: 'The same figures for Prometheus',
  tags: ['stats'],
  response: {
    200: { content: { 'text/plain': { schema: Type.String({ title: 'Metrics' }) } } },
  },
} as const;
