import * as Type from 'typebox';
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
