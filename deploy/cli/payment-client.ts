/**
 * A small client of the payment service: asks for a payment under one idempotency key until the answer is sure,
 * and follows it to its end.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PayBody, PaymentView } from '../../functions/pay/schema.ts';
import { isLive } from '../../shared/domain/payment.ts';

/** What a token is asked for. A POST token is bound to all of it. */
export type RequestToSign = {
  readonly method: string;
  readonly path: string;
  readonly idempotencyKey?: string;
  /** As it is sent, byte by byte. */
  readonly body?: string | Uint8Array;
};

export type PaymentClientOptions = {
  /** Where the functions answer, without a trailing slash. */
  readonly url: string;
  /** Answers a token for this one request. */
  readonly authorize: (request: RequestToSign) => Promise<string>;
};

/** Whether no more money can move. `needs_review` is no end, but only an operator moves it on. */
export function isFinished({ status }: Pick<PaymentView, 'status'>): boolean {
  return !isLive(status);
}

/** The service refused, with a problem document (RFC 9457) or something that is none. */
export class ServiceRefusal extends Error {
  readonly status: number;
  /** The stable code that callers branch on; undefined where the answer is no problem document. */
  readonly code: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(status: number, text: string, retryAfter: string | null) {
    const problem = parseProblem(text);
    const field = problem?.field === undefined ? '' : ` (${problem.field})`;
    const words = problem?.detail ?? problem?.title ?? (text.slice(0, 200).trim() || 'no explanation');
    super(`${status}${problem?.code === undefined ? '' : ` ${problem.code}`}${field}: ${words}`);
    this.name = 'ServiceRefusal';
    this.status = status;
    this.code = problem?.code;
    this.retryAfterSeconds =
      retryAfter !== null && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : undefined;
  }
}

/** Nobody knows yet whether the payment was taken; the same key asks again without paying twice. */
export class OutcomeUnknown extends Error {
  constructor(cause: unknown) {
    super(`no sure answer: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'OutcomeUnknown';
  }
}

/** How long to go on where answers are not sure. */
export type PersistOptions = {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  /** Told why it is asked once more. */
  readonly onRetry?: (reason: string) => void;
};

const REQUEST_TIMEOUT_MS = 40_000;
const POLL_EVERY_MS = 200;
const RETRY_PAUSE_MS = 500;
const RETRY_PAUSE_MS_MAX = 5_000;

export class PaymentClient {
  readonly #options: PaymentClientOptions;

  constructor(options: PaymentClientOptions) {
    this.#options = options;
  }

  /**
   * Asks for a payment. Answers that are not sure (no connection, 502 to 504, still in flight) are asked again
   * under the same key, which cannot pay twice.
   *
   * @throws ServiceRefusal when the service refuses; OutcomeUnknown when there was no sure answer in time.
   */
  async pay(
    order: PayBody,
    options: PersistOptions & { readonly idempotencyKey: string },
  ): Promise<PaymentView> {
    const { idempotencyKey } = options;
    const body = JSON.stringify(order);
    let mayBeTaken = false;
    try {
      return await this.#persist(options, async () => {
        try {
          return await this.#ask({ method: 'POST', path: '/pay', idempotencyKey, body }, options.signal);
        } catch (error) {
          mayBeTaken ||= leavesOpen(error);
          throw error;
        }
      });
    } catch (error) {
      if (mayBeTaken) throw new OutcomeUnknown(error);
      throw error;
    }
  }

  /** @throws ServiceRefusal, or an Error when the service cannot be reached. */
  get(id: string, signal?: AbortSignal): Promise<PaymentView> {
    return this.#ask({ method: 'GET', path: `/pay/${encodeURIComponent(id)}` }, signal);
  }

  /**
   * Asks for the payment again and again until it is finished, and shows each answer to `onAnswer`. A service
   * that is away for a while is waited for.
   *
   * @returns the payment as it was seen last, finished or not, once `deadlineMs` has passed.
   */
  async follow(
    first: PaymentView,
    options: PersistOptions & { readonly onAnswer: (payment: PaymentView) => void },
  ): Promise<PaymentView> {
    const untilMs = performance.now() + options.deadlineMs;
    let payment = first;
    options.onAnswer(payment);
    while (!isFinished(payment) && performance.now() < untilMs) {
      await sleep(POLL_EVERY_MS, undefined, { signal: options.signal });
      const deadlineMs = Math.max(0, untilMs - performance.now());
      const id = payment.id;
      payment = await this.#persist({ ...options, deadlineMs }, () => this.get(id, options.signal));
      options.onAnswer(payment);
    }
    return payment;
  }

  /** Repeats `ask` while that can help and there is time; throws its last error. */
  async #persist<T>(options: PersistOptions, ask: () => Promise<T>): Promise<T> {
    const untilMs = performance.now() + options.deadlineMs;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!canRepeat(error)) throw error;
        const pauseMs = pauseAfter(error);
        if (performance.now() + pauseMs > untilMs) throw error;
        options.onRetry?.(error instanceof Error ? error.message : String(error));
        await sleep(pauseMs, undefined, { signal: options.signal });
      }
    }
  }

  async #ask(request: RequestToSign, signal: AbortSignal | undefined): Promise<PaymentView> {
    const token = await this.#options.authorize(request);
    const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const response = await fetch(`${this.#options.url}${request.path}`, {
      method: request.method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(request.idempotencyKey === undefined ? {} : { 'idempotency-key': request.idempotencyKey }),
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: request.body }),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    }).catch((error: unknown) => {
      throw new ConnectionLost(error);
    });
    const text = await response.text().catch((error: unknown) => {
      throw new ConnectionLost(error);
    });
    if (!response.ok) throw new ServiceRefusal(response.status, text, response.headers.get('retry-after'));
    return JSON.parse(text) as PaymentView;
  }
}

/** The request was not answered, or not wholly. */
class ConnectionLost extends Error {
  constructor(error: unknown) {
    // `fetch` says only "fetch failed"; what went wrong is its cause.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    super(cause instanceof Error ? cause.message || cause.name : String(cause), { cause: error });
    this.name = 'ConnectionLost';
  }
}

/** Whether asking again can help. A refusal for reasons of money (429 by a limit) does not change in a minute. */
function canRepeat(error: unknown): boolean {
  if (error instanceof ConnectionLost) return true;
  if (!(error instanceof ServiceRefusal)) return false;
  const { status, code } = error;
  if (status === 429) return code !== 'limit_exceeded';
  return [502, 503, 504].includes(status) || (status === 409 && code === 'payment_in_flight');
}

/** Whether a payment may have been taken all the same: nothing that the service itself said came back. */
function leavesOpen(error: unknown): boolean {
  if (!(error instanceof ServiceRefusal)) return true;
  return error.code === 'outcome_unknown' || (error.code === undefined && error.status >= 500);
}

function pauseAfter(error: unknown): number {
  const seconds = error instanceof ServiceRefusal ? error.retryAfterSeconds : undefined;
  return seconds === undefined
    ? RETRY_PAUSE_MS
    : Math.min(Math.max(seconds, 0.2) * 1_000, RETRY_PAUSE_MS_MAX);
}

type Problem = {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly field?: string;
};

function parseProblem(text: string): Problem | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const members = Object.entries(value).filter(([, member]) => typeof member === 'string');
    return Object.fromEntries(members) as Problem;
  } catch {
    return undefined;
  }
}
