import { ServiceError } from '../../shared/domain/errors.ts';
import { parseAmount, TRX_AMOUNT_MICRO_MAX } from '../../shared/domain/money.ts';
import type { PaymentOrder } from '../../shared/domain/payment.ts';
import { parseTronAddress, ZERO_ADDRESS } from '../../shared/domain/tron-address.ts';
import type { PaymentFilter } from '../../shared/ports/payment-search.ts';
import type { Identity } from '../../shared/runtime/auth.ts';
import { findFault } from '../../shared/runtime/validation.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { type ListQuery, type PayBody, ReasonBody } from './schema.ts';

/** What requests say, read as the domain's values; each fault names its field. */

// RFC 8941 strings are what the Idempotency-Key draft asks for; bare keys are what clients send. Both are taken
// as they are, so a key means the same in either spelling only to itself.
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

export function readIdempotencyKey(header: string | string[] | undefined): string {
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

/** @param place what stands before a field's name: `items[3].` */
export function readOrder(
  body: PayBody,
  { signer, rules }: Pick<Engine, 'signer' | 'rules'>,
  place = '',
): PaymentOrder {
  const amount = parseAmount(body.amount);
  if ('fault' in amount) {
    throw new ServiceError('amount_invalid', `The amount ${amount.fault}.`, { field: `${place}amount` });
  }
  if (body.asset === 'TRX' && amount.amountMicro > TRX_AMOUNT_MICRO_MAX) {
    throw new ServiceError('amount_invalid', 'The amount is larger than can be paid.', {
      field: `${place}amount`,
    });
  }
  const wrongRecipient = (message: string) =>
    new ServiceError('recipient_invalid', message, { field: `${place}to` });
  const recipient = parseTronAddress(body.to);
  if (recipient === undefined) {
    throw wrongRecipient('The recipient must be a base58 TRON address (T…).');
  }
  if (recipient === signer.wallet) throw wrongRecipient('The recipient is the paying wallet itself.');
  if (recipient === rules.contract) {
    throw wrongRecipient('The recipient is the token contract; what it holds is lost.');
  }
  if (recipient === ZERO_ADDRESS) throw wrongRecipient('Nobody holds the key of this recipient.');
  return { asset: body.asset, amountMicro: amount.amountMicro, recipient, reference: body.reference ?? null };
}

/** A batch's orders, whose references must differ as those of single payments must. */
export function readOrders(
  items: readonly PayBody[],
  engine: Pick<Engine, 'signer' | 'rules'>,
): PaymentOrder[] {
  const orders = items.map((item, index) => readOrder(item, engine, `items[${index}].`));
  const seen = new Set<string>();
  for (const [index, { reference }] of orders.entries()) {
    if (reference === null) continue;
    if (seen.has(reference)) {
      throw new ServiceError('field_invalid', 'Another item has this reference.', {
        field: `items[${index}].reference`,
      });
    }
    seen.add(reference);
  }
  return orders;
}

/** The reason of an approval, which may come without a body. */
export function readReason(body: unknown): string | null {
  if (body === undefined) return null;
  const fault = findFault(ReasonBody, body);
  if (fault !== null) throw fault;
  return (body as ReasonBody).reason;
}

/** RFC 7240: a preference may have parameters behind it. */
export function prefersAsync(header: string | string[] | undefined): boolean {
  const preferences = [header ?? []].flat().join(',').split(',');
  return preferences.some((preference) => /^\s*respond-async\s*(?:;|$)/i.test(preference));
}

export function callerOf(identity: Identity | null): string {
  return identified(identity).caller;
}

/** Who approves or operates has to see what others have asked for. */
export function seesAll(identity: Identity | null): boolean {
  const { scopes } = identified(identity);
  return scopes.includes('approve') || scopes.includes('operate');
}

export function readFilter(
  { status, asset, reference, from, to }: ListQuery,
  identity: Identity | null,
): PaymentFilter {
  return {
    ...(seesAll(identity) ? {} : { caller: callerOf(identity) }),
    ...(status === undefined ? {} : { status }),
    ...(asset === undefined ? {} : { asset }),
    ...(reference === undefined ? {} : { reference }),
    ...(from === undefined ? {} : { fromMs: readInstant(from, 'from') }),
    ...(to === undefined ? {} : { toMs: readInstant(to, 'to') }),
  };
}

export function readLimit(limit: string | undefined): number {
  const count = Number(limit ?? PAGE);
  if (Number.isInteger(count) && count >= 1 && count <= PAGE_MAX) return count;
  throw new ServiceError('field_invalid', `The limit must be a whole number from 1 to ${PAGE_MAX}.`, {
    field: 'limit',
  });
}

/** With its zone: what is local depends on the machine. */
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/;

const PAGE = 50;
const PAGE_MAX = 200;

function readInstant(text: string, field: string): number {
  const ms = INSTANT.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms) || !isDay(text.slice(0, 10))) {
    throw new ServiceError('field_invalid', 'The instant must be ISO 8601, such as 2026-01-31T12:00:00Z.', {
      field,
    });
  }
  return ms;
}

/** The 31st of February is read as a day in March. */
function isDay(date: string): boolean {
  return new Date(`${date}T00:00:00Z`).toISOString().startsWith(date);
}

function identified(identity: Identity | null): Identity {
  if (identity === null) throw new ServiceError('unauthenticated', 'A valid token is needed.');
  return identity;
}
