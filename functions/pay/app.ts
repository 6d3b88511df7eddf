import { ServiceError } from '../../shared/domain/errors.ts';
import { parseAmount } from '../../shared/domain/money.ts';
import type { Payment, PaymentOrder } from '../../shared/domain/payment.ts';
import { parseTronAddress } from '../../shared/domain/tron-address.ts';
import { type App, createApp } from '../../shared/runtime/app.ts';
import type { Authenticator } from '../../shared/runtime/auth.ts';
import { noteInvocation } from '../../shared/runtime/invocation.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { payOut } from '../../shared/usecases/pay-out.ts';
import { viewPayment } from './payment-view.ts';
import { PayBody, PaymentParams, PaymentView } from './schema.ts';

// RFC 8941 strings are what the Idempotency-Key draft asks for; bare keys are what clients send. Both are taken
// as they are, so a key means the same in either spelling only to itself.
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;
const PAYMENT_ID = /^pay_[0-9a-f-]{36}$/;

export interface PayAppParts {
  readonly engine: Engine;
  readonly authenticator: Authenticator;
}

/** `POST /pay` and `GET /pay/{id}`. */
export function buildApp({ engine, authenticator }: PayAppParts): App {
  const app = createApp({ authenticator });

  app.post(
    '/pay',
    {
      config: { access: { scope: 'pay' } },
      schema: {
        summary: 'Pay out',
        description:
          'Pays once, however often it is asked with the same Idempotency-Key and body. 201 once broadcast; 202 where the amount is reserved and the rest follows.',
        body: PayBody,
        response: { 201: PaymentView, 202: PaymentView },
      },
    },
    async (request, reply) => {
      const idempotencyKey = readIdempotencyKey(request.headers['idempotency-key']);
      const order = readOrder(request.body, engine);
      const { payment, replayed } = await payOut(engine, {
        order,
        idempotencyKey,
        caller: callerOf(request.identity),
        respondAsync: prefersAsync(request.headers.prefer),
      });
      noteInvocation({ paymentId: payment.id });
      void reply.code(isUnderWay(payment) ? 202 : 201).header('location', `/pay/${payment.id}`);
      if (replayed) void reply.header('idempotent-replayed', 'true');
      return viewPayment(payment);
    },
  );

  app.get(
    '/pay/:id',
    {
      config: { access: { scope: 'read' } },
      schema: { summary: 'Show a payment', params: PaymentParams, response: { 200: PaymentView } },
    },
    async (request) => {
      const { id } = request.params;
      const payment = PAYMENT_ID.test(id) ? await engine.ledger.findPayment(id) : null;
      // Another caller's payment is as little there as one that never was.
      if (payment === null || payment.caller !== callerOf(request.identity)) {
        throw new ServiceError('payment_not_found', 'There is no such payment.');
      }
      noteInvocation({ paymentId: payment.id });
      return viewPayment(payment);
    },
  );

  return app;
}

function readIdempotencyKey(header: string | string[] | undefined): string {
  if (header === undefined || header === '') {
    throw new ServiceError('idempotency_key_missing', 'Every payment needs an Idempotency-Key header.', {
      field: 'Idempotency-Key',
    });
  }
  if (typeof header !== 'string' || !IDEMPOTENCY_KEY.test(header)) {
    throw new ServiceError('idempotency_key_invalid', 'The key must be 1 to 255 visible ASCII characters.', {
      field: 'Idempotency-Key',
    });
  }
  return header;
}

function readOrder(body: PayBody, engine: Engine): PaymentOrder {
  const amount = parseAmount(body.amount);
  if ('fault' in amount) {
    throw new ServiceError('amount_invalid', `The amount ${amount.fault}.`, { field: 'amount' });
  }
  const recipient = parseTronAddress(body.to);
  if (recipient === undefined) {
    throw new ServiceError('recipient_invalid', 'The recipient must be a base58 TRON address (T…).', {
      field: 'to',
    });
  }
  if (recipient === engine.signer.wallet) {
    throw new ServiceError('recipient_invalid', 'The recipient is the paying wallet itself.', {
      field: 'to',
    });
  }
  if (recipient === engine.rules.contract) {
    throw new ServiceError(
      'recipient_invalid',
      'The recipient is the token contract; what it holds is lost.',
      {
        field: 'to',
      },
    );
  }
  return { asset: body.asset, amountMicro: amount.amountMicro, recipient, reference: body.reference ?? null };
}

/** RFC 7240. */
function prefersAsync(header: string | string[] | undefined): boolean {
  const preferences = [header ?? []].flat().join(',').split(',');
  return preferences.some((preference) => preference.trim().toLowerCase() === 'respond-async');
}

/** Reserved, but its bytes have not left for sure. */
function isUnderWay(payment: Payment): boolean {
  return payment.status === 'accepted' || payment.status === 'signed';
}

function callerOf(identity: { readonly caller: string } | null): string {
  if (identity === null) throw new ServiceError('unauthenticated', 'A valid token is needed.');
  return identity.caller;
}
