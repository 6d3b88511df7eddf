import { authorize, type StackAccess } from '../../deploy/cli/running-stack.ts';
import type { Answer } from './evidence.ts';

export interface ChaosRequest {
  readonly path: string;
  readonly body: string;
  readonly caller: 'gateway' | 'operator';
  readonly idempotencyKey?: string;
  readonly respondAsync?: boolean;
}

const REQUEST_TIMEOUT_MS = 8_000;
const NO_ANSWER: Answer = { status: 0, code: null, id: null, shown: null };

/** Looks for a payment by the reference that its caller gave it; null where none is shown, for whatever reason. */
export async function findByReference(
  access: StackAccess,
  reference: string,
): Promise<{ readonly id: string; readonly status: string } | null> {
  const path = '/pay';
  try {
    const token = await authorize(access, { method: 'GET', path });
    const response = await fetch(`${access.url}${path}?reference=${reference}`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const { payments } = (await response.json()) as {
      readonly payments: readonly { readonly id: string; readonly status: string }[];
    };
    return payments[0] ?? null;
  } catch {
    return null;
  }
}

/** Posts as one of the callers; whatever goes wrong on the way is an answer too. */
export async function post(access: StackAccess, request: ChaosRequest): Promise<Answer> {
  const { path, body, caller, idempotencyKey, respondAsync } = request;
  const key = idempotencyKey === undefined ? {} : { idempotencyKey };
  try {
    const token = await authorize(access, { method: 'POST', path, body, ...key }, { caller });
    const response = await fetch(`${access.url}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === '' ? {} : { 'content-type': 'application/json' }),
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        ...(respondAsync === true ? { prefer: 'respond-async' } : {}),
      },
      ...(body === '' ? {} : { body }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    return readAnswer(response.status, await response.text());
  } catch {
    return NO_ANSWER;
  }
}

function readAnswer(status: number, text: string): Answer {
  let json: Readonly<Record<string, unknown>> = {};
  try {
    json = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    // Not a document of ours: it says no more than its status.
  }
  const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  const isDocument = status === 200 || status === 201 || status === 202;
  return {
    status,
    code: textOf(json.code),
    id: isDocument ? textOf(json.id) : null,
    shown: isDocument ? textOf(json.status) : null,
  };
}
