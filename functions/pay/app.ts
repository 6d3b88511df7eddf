import { type Batch, isBatchId } from '../../shared/domain/batch.ts';
import { ServiceError } from '../../shared/domain/errors.ts';
import type { Payment } from '../../shared/domain/payment.ts';
import type { PaymentSearch } from '../../shared/ports/payment-search.ts';
import { type App, createApp } from '../../shared/runtime/app.ts';
import type { Authenticator, Identity } from '../../shared/runtime/auth.ts';
import { noteInvocation } from '../../shared/runtime/invocation.ts';
import {
  approvePayment,
  cancelPayment,
  rejectPayment,
  resolvePayment,
} from '../../shared/usecases/decide-payment.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { listPayments } from '../../shared/usecases/list-payments.ts';
import { operateBreaker } from '../../shared/usecases/operate-breaker.ts';
import { payBatch } from '../../shared/usecases/pay-batch.ts';
import { payOut } from '../../shared/usecases/pay-out.ts';
import { quote } from '../../shared/usecases/quote.ts';
import { viewBatch, viewBreaker, viewPayment, viewQuote } from './payment-view.ts';
import {
  callerOf,
  prefersAsync,
  readFilter,
  readIdempotencyKey,
  readLimit,
  readOrder,
  readOrders,
  readReason,
  seesAll,
} from './requests.ts';
import {
  BatchBody,
  BatchView,
  BreakerBody,
  BreakerView,
  ListQuery,
  PayBody,
  PaymentList,
  PaymentOrBatch,
  PaymentParams,
  PaymentView,
  QuoteView,
  ReasonBody,
  ResolveBody,
} from './schema.ts';

const PAYMENT_ID = /^pay_[0-9a-f-]{36}$/;
const BATCH_ID = /^bat_[0-9a-f-]{36}$/;

/**
 * Lambda takes no answer above 6 MiB, and the body is a JSON string in it, whose quotes take two bytes each. One
 * payment alone can have more than this, and still fits.
 */
const PAGE_BYTES_MAX = 2 * 1024 * 1024;

export interface PayAppParts {
  readonly engine: Engine;
  readonly search: PaymentSearch;
  readonly authenticator: Authenticator;
}

/** Everything under `/pay`. */
export function buildApp({ engine, search, authenticator }: PayAppParts): App {
  const app = createApp({ authenticator });

  app.post(
    '/pay',
    {
      config: { access: { scope: 'pay' } },
      schema: {
        summary: 'Pay out',
        description:
          'Pays once, however often it is asked with the same Idempotency-Key and body. 201 once broadcast; 202 where the amount is reserved and the rest follows, or a second person has to approve it first.',
        body: PayBody,
        response: { 201: PaymentView, 202: PaymentView },
      },
    },
    async (request, reply) => {
      const idempotencyKey = readIdempotencyKey(request.headers['idempotency-key']);
      const { payment, replayed } = await payOut(engine, {
        order: readOrder(request.body, engine),
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

  app.post(
    '/pay/batch',
    {
      config: { access: { scope: 'pay' } },
      schema: {
        summary: 'Pay out several, all or none',
        description:
          'Admits up to 100 payments under one Idempotency-Key together, or none of them. Each then lives its own life.',
        body: BatchBody,
        response: { 202: BatchView },
      },
    },
    async (request, reply) => {
      const idempotencyKey = readIdempotencyKey(request.headers['idempotency-key']);
      const { batch, replayed } = await payBatch(engine, {
        orders: readOrders(request.body.items, engine),
        idempotencyKey,
        caller: callerOf(request.identity),
      });
      noteInvocation({ paymentId: batch.id });
      void reply.code(202).header('location', `/pay/${batch.id}`);
      if (replayed) void reply.header('idempotent-replayed', 'true');
      return viewBatch(batch);
    },
  );

  app.post(
    '/pay/quote',
    {
      config: { access: { scope: 'pay' } },
      schema: {
        summary: 'Say what a payment would cost',
        description:
          'Simulates it for this recipient and asks the limits. Stores, reserves and signs nothing.',
        body: PayBody,
        response: { 200: QuoteView },
      },
    },
    async (request) => viewQuote(await quote(engine, readOrder(request.body, engine))),
  );

  app.get(
    '/pay',
    {
      config: { access: { scope: 'read' } },
      schema: {
        summary: 'List payments',
        description: 'Newest first. Callers see their own; who may approve or operate sees all.',
        querystring: ListQuery,
        response: { 200: PaymentList },
      },
    },
    async ({ query, identity }) => {
      const { payments, nextCursor } = await listPayments(
        search,
        readFilter(query, identity),
        query.cursor ?? null,
        { countMax: readLimit(query.limit), bytesMax: PAGE_BYTES_MAX, bytesOf: bytesInAnswer },
      );
      return { payments: payments.map(viewPayment), next_cursor: nextCursor };
    },
  );

  app.get(
    '/pay/:id',
    {
      config: { access: { scope: 'read' } },
      schema: {
        summary: 'Show a payment or a batch',
        params: PaymentParams,
        response: { 200: PaymentOrBatch },
      },
    },
    async ({ params, identity }) => {
      if (isBatchId(params.id)) return viewBatch(await findBatch(params.id, identity));
      return viewPayment(await findPayment(params.id, identity));
    },
  );

  app.post(
    '/pay/:id/cancel',
    {
      config: { access: { scope: 'pay' } },
      schema: {
        summary: 'Take a payment back before it is signed',
        params: PaymentParams,
        body: ReasonBody,
        response: { 200: PaymentView },
      },
    },
    async ({ params, body, identity }) => {
      const by = callerOf(identity);
      const payment = await findPayment(params.id, identity);
      if (payment.caller !== by) throw notFound();
      return viewPayment(await cancelPayment(engine, payment, { by, reason: body.reason }));
    },
  );

  app.post(
    '/pay/:id/approve',
    {
      config: { access: { scope: 'approve' } },
      schema: {
        summary: 'Approve a payment of another caller, and pay it',
        description: 'May tell why, in a body as `reject` takes it: `{"reason": …}`.',
        params: PaymentParams,
        response: { 200: PaymentView },
      },
    },
    async ({ params, body, identity }) => {
      const payment = await findPayment(params.id, identity);
      const approved = await approvePayment(engine, payment, callerOf(identity), readReason(body));
      return viewPayment(approved.payment);
    },
  );

  app.post(
    '/pay/:id/reject',
    {
      config: { access: { scope: 'approve' } },
      schema: {
        summary: 'Reject a payment that waits for approval',
        params: PaymentParams,
        body: ReasonBody,
        response: { 200: PaymentView },
      },
    },
    async ({ params, body, identity }) => {
      const payment = await findPayment(params.id, identity);
      const decision = { by: callerOf(identity), reason: body.reason };
      return viewPayment(await rejectPayment(engine, payment, decision));
    },
  );

  app.post(
    '/pay/:id/resolve',
    {
      config: { access: { scope: 'operate' } },
      schema: {
        summary: 'Rule on a payment under review',
        params: PaymentParams,
        body: ResolveBody,
        response: { 200: PaymentView },
      },
    },
    async ({ params, body, identity }) => {
      const payment = await findPayment(params.id, identity);
      const decision = { by: callerOf(identity), reason: body.reason, ...orderedAt(identity) };
      return viewPayment(await resolvePayment(engine, payment, body.outcome, decision));
    },
  );

  app.post(
    '/pay/breaker',
    {
      config: { access: { scope: 'operate' } },
      schema: {
        summary: 'Trip, reset, pause or resume payments',
        body: BreakerBody,
        response: { 200: BreakerView },
      },
    },
    async ({ body, identity }) => {
      const order = { by: callerOf(identity), reason: body.reason, ...orderedAt(identity) };
      return viewBreaker(await operateBreaker(engine, body.action, order));
    },
  );

  return app;

  async function findPayment(id: string, identity: Identity | null): Promise<Payment> {
    const payment = PAYMENT_ID.test(id) ? await engine.ledger.findPayment(id) : null;
    // Another caller's payment is as little there as one that never was.
    if (payment === null || !(payment.caller === callerOf(identity) || seesAll(identity))) throw notFound();
    noteInvocation({ paymentId: payment.id });
    return payment;
  }

  async function findBatch(id: string, identity: Identity | null): Promise<Batch> {
    const batch = BATCH_ID.test(id) ? await engine.ledger.findBatch(id) : null;
    if (batch === null || !(batch.caller === callerOf(identity) || seesAll(identity))) throw notFound();
    noteInvocation({ paymentId: batch.id });
    return batch;
  }
}

/** A token can be used again while it lives; when it was made tells an old order from a new one. */
function orderedAt(identity: Identity | null): { readonly orderedAtMs?: number } {
  const issuedAtMs = identity?.issuedAtMs ?? null;
  return issuedAtMs === null ? {} : { orderedAtMs: issuedAtMs };
}

function bytesInAnswer(payment: Payment): number {
  return Buffer.byteLength(JSON.stringify(viewPayment(payment)));
}

/** Its bytes have not left for sure. */
function isUnderWay({ status }: Payment): boolean {
  return status === 'awaiting_approval' || status === 'accepted' || status === 'signed';
}

function notFound(): ServiceError {
  return new ServiceError('payment_not_found', 'There is no such payment.');
}
