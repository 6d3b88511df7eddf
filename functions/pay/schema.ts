import * as Type from 'typebox';
import { BATCH_ITEMS_MAX } from '../../shared/domain/batch.ts';
import { BREAKER_ACTIONS } from '../../shared/domain/breaker.ts';
import { ASSETS } from '../../shared/domain/money.ts';
import { PAYMENT_STATUSES } from '../../shared/domain/payment.ts';
import { ERROR_CODE_KEYWORD } from '../../shared/runtime/validation.ts';

/** The contract of `/pay`: types, validation and the OpenAPI document all come from here. */

const Nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Instant = Type.String({ format: 'date-time', description: 'ISO 8601, UTC.' });

export const PayBody = Type.Object(
  {
    to: Type.String({
      [ERROR_CODE_KEYWORD]: 'recipient_invalid',
      description: 'The recipient, a base58 TRON address (T…).',
    }),
    amount: Type.String({
      [ERROR_CODE_KEYWORD]: 'amount_invalid',
      description: 'A decimal string above zero, with at most 6 decimals: "12.5".',
    }),
    asset: Type.Enum([...ASSETS], { description: 'What is paid out.' }),
    reference: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        pattern: '^[\\x21-\\x7e](?:[\\x20-\\x7e]*[\\x21-\\x7e])?$',
        description: 'Your own name for the payment: 1 to 64 printable ASCII characters.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type PayBody = Type.Static<typeof PayBody>;

export const PaymentParams = Type.Object({ id: Type.String() });

const AttemptView = Type.Object({
  number: Type.Integer(),
  tx_id: Type.String({ description: 'The transaction id, 64 hex characters.' }),
  outcome: Type.Enum(['live', 'expired', 'paid', 'reverted']),
  signed_at: Instant,
  expires_at: Instant,
  fee_limit: Type.String({ description: 'The most TRX that execution may burn.' }),
  block_number: Nullable(Type.Integer()),
  block_time: Nullable(Instant),
  fee: Nullable(Type.String({ description: 'The TRX that was burned.' })),
  answers: Type.Array(Type.Object({ at: Instant, node: Type.String(), code: Type.String() }), {
    description: 'What nodes answered when it was sent; never an outcome.',
  }),
});

export const PaymentView = Type.Object({
  id: Type.String(),
  status: Type.Enum([...PAYMENT_STATUSES]),
  asset: Type.Enum([...ASSETS]),
  amount: Type.String(),
  to: Type.String(),
  reference: Nullable(Type.String()),
  batch_id: Nullable(Type.String()),
  approved_by: Nullable(Type.String()),
  reason: Nullable(Type.String({ description: 'Why it ended, or what it waits for.' })),
  created_at: Instant,
  pay_by: Type.String({
    format: 'date-time',
    description: 'No further attempt is signed after this instant.',
  }),
  ended_at: Nullable(Instant),
  attempts: Type.Array(AttemptView),
  history: Type.Array(Type.Object({ at: Instant, event: Type.String(), detail: Type.String() })),
});
export type PaymentView = Type.Static<typeof PaymentView>;

export const BatchBody = Type.Object(
  { items: Type.Array(PayBody, { minItems: 1, maxItems: BATCH_ITEMS_MAX }) },
  { additionalProperties: false },
);

export const BatchView = Type.Object({
  id: Type.String(),
  status: Type.Enum(['accepted', 'admitted', 'refused']),
  reason: Nullable(Type.String()),
  created_at: Instant,
  items: Type.Array(
    Type.Object({
      payment_id: Type.String({ description: 'There once the batch is admitted.' }),
      to: Type.String(),
      amount: Type.String(),
      asset: Type.Enum([...ASSETS]),
      reference: Nullable(Type.String()),
    }),
  ),
});
export type BatchView = Type.Static<typeof BatchView>;

export const PaymentOrBatch = Type.Union([PaymentView, BatchView]);

export const QuoteView = Type.Object({
  accepted: Type.Boolean({ description: 'Whether it would be taken as things stand.' }),
  obstacle: Nullable(
    Type.Object({
      code: Type.String({ description: 'The code of the error that paying would answer.' }),
      detail: Type.String(),
    }),
  ),
  needs_approval: Type.Boolean(),
  fee: Nullable(Type.String({ description: 'The TRX that it would burn, energy with a margin.' })),
  fee_limit: Nullable(Type.String({ description: 'The most TRX that its execution may burn.' })),
  fee_max: Nullable(Type.String({ description: 'The most TRX it can burn in all; reserved with it.' })),
  energy: Nullable(Type.Integer()),
  bandwidth: Nullable(Type.Integer()),
  activates: Nullable(Type.Boolean({ description: "Whether it creates the recipient's account." })),
  limits_leave: Type.Object({ hour: Type.String(), day: Type.String() }),
});
export type QuoteView = Type.Static<typeof QuoteView>;

export const ListQuery = Type.Object(
  {
    status: Type.Optional(Type.Enum([...PAYMENT_STATUSES])),
    asset: Type.Optional(Type.Enum([...ASSETS])),
    reference: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    from: Type.Optional(Type.String({ description: 'Created at or after this instant, ISO 8601.' })),
    to: Type.Optional(Type.String({ description: 'Created before this instant, ISO 8601.' })),
    cursor: Type.Optional(Type.String({ maxLength: 512, description: '`next_cursor` of the last page.' })),
    limit: Type.Optional(
      Type.String({
        pattern: '^\\d{1,3}$',
        description:
          'The most on a page, 1 to 200; 50 by itself. Payments with long histories make it end earlier.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type ListQuery = Type.Static<typeof ListQuery>;

export const PaymentList = Type.Object({
  payments: Type.Array(PaymentView),
  next_cursor: Nullable(
    Type.String({ description: 'Goes on behind this page, full or not; null only at the end.' }),
  ),
});

const Reason = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: '^[\\x20-\\x7e]*[\\x21-\\x7e][\\x20-\\x7e]*$',
  description: 'Why; kept in the history.',
});

export const ReasonBody = Type.Object({ reason: Reason }, { additionalProperties: false });
export type ReasonBody = Type.Static<typeof ReasonBody>;

export const ResolveBody = Type.Object(
  {
    outcome: Type.Enum(['paid', 'not_paid'], { description: 'Whether its money has left the wallet.' }),
    reason: Reason,
  },
  { additionalProperties: false },
);

export const BreakerBody = Type.Object(
  { action: Type.Enum([...BREAKER_ACTIONS]), reason: Reason },
  { additionalProperties: false },
);

export const BreakerView = Type.Object({
  circuit_breaker_status: Type.Enum(['closed', 'open', 'half_open']),
  reason: Nullable(Type.String()),
  needs_reset: Type.Boolean({ description: 'Open until an operator resets it.' }),
  paused: Nullable(Type.Object({ reason: Type.String(), by: Type.String(), at: Instant })),
  last_order: Nullable(
    Type.Object({
      action: Type.Enum([...BREAKER_ACTIONS]),
      reason: Type.String(),
      by: Type.String(),
      at: Instant,
    }),
  ),
});
export type BreakerView = Type.Static<typeof BreakerView>;
