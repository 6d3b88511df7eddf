import { setTimeout as sleep } from 'node:timers/promises';
import type { StackAccess } from '../../deploy/cli/running-stack.ts';
import { createAccount } from '../../deploy/local/accounts.ts';
import { type Asset, formatAmount } from '../../shared/domain/money.ts';
import type { Random } from '../support/random.ts';
import { isRefusal } from './checker.ts';
import type { Answer, Order, OrderItem } from './evidence.ts';
import { type ChaosRequest, post } from './request.ts';

export interface CallersOptions {
  readonly access: StackAccess;
  readonly random: Random;
  /** Requests at a time. */
  readonly count: number;
}

/** An order while it is being asked for. */
interface OpenOrder extends Order {
  readonly answers: Answer[];
  cancelAsked: boolean;
  readonly path: string;
  readonly body: string;
  readonly respondAsync: boolean;
  /** Sent twice at once, as an impatient client does. */
  readonly isTwin: boolean;
  readonly wantsCancel: boolean;
  /** How often the caller asks again at most; some give up at once and never learn what became of it. */
  triesLeft: number;
}

/** Pauses a worker whose requests are refused at once, so that it does not spin. */
const PAUSE_AFTER_REFUSAL_MS = 250;

/** Sends orders under keys of their own, again and again after unclear answers, until it is told to stop. */
export class Callers {
  readonly #options: CallersOptions;
  readonly #orders: OpenOrder[] = [];
  readonly #again: { readonly order: OpenOrder; readonly dueMs: number }[] = [];
  readonly #workers: Promise<void>[];
  #stopped = false;
  #requests = 0;

  constructor(options: CallersOptions) {
    this.#options = options;
    this.#workers = Array.from({ length: options.count }, () => this.#work());
  }

  get orders(): readonly Order[] {
    return this.#orders;
  }

  get requests(): number {
    return this.#requests;
  }

  /** Resolves once the requests under way have their answers. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#workers);
  }

  async #work(): Promise<void> {
    while (!this.#stopped) {
      const order = this.#takeDue() ?? this.#draw();
      const answers = await Promise.all(
        Array.from({ length: order.isTwin ? 2 : 1 }, () => this.#send(order)),
      );
      order.answers.push(...answers);
      await this.#follow(order, answers);
      if (answers.every(({ status }) => status === 0 || status >= 429)) await sleep(PAUSE_AFTER_REFUSAL_MS);
    }
  }

  async #follow(order: OpenOrder, answers: readonly Answer[]): Promise<void> {
    const { random } = this.#options;
    const shown = answers.find(({ id }) => id !== null);
    if (shown?.id != null && order.wantsCancel && !order.cancelAsked) {
      order.cancelAsked = true;
      await this.#decide(shown.id, 'cancel', 'gateway');
    }
    // Others are left to lapse, or are seen by a second person only when they are asked for once more.
    if (shown?.id != null && shown.shown === 'awaiting_approval' && random.chance(0.6)) {
      await this.#decide(shown.id, random.chance(0.85) ? 'approve' : 'reject', 'operator');
    }
    const isSure =
      shown !== undefined || answers.every((answer) => isRefusal(answer) && answer.status !== 429);
    // Some ask again although they know: a replay.
    if ((isSure && !random.chance(0.1)) || order.triesLeft === 0) return;
    order.triesLeft -= 1;
    this.#again.push({ order, dueMs: Date.now() + random.between(150, 2_500) });
  }

  /** Of two persons, now and then, at the same time. */
  async #decide(id: string, decision: 'cancel' | 'approve' | 'reject', caller: ChaosRequest['caller']) {
    const body = decision === 'approve' ? '' : JSON.stringify({ reason: 'as chaos has it' });
    const times = this.#options.random.chance(0.2) ? 2 : 1;
    const request = { path: `/pay/${id}/${decision}`, body, caller };
    await Promise.all(Array.from({ length: times }, () => this.#post(request)));
  }

  #takeDue(): OpenOrder | undefined {
    const nowMs = Date.now();
    const index = this.#again.findIndex(({ dueMs }) => dueMs <= nowMs);
    return index === -1 ? undefined : this.#again.splice(index, 1)[0]?.order;
  }

  #draw(): OpenOrder {
    const { random } = this.#options;
    const kind = random.chance(0.07) ? 'batch' : 'payment';
    const items = Array.from({ length: kind === 'batch' ? random.between(2, 4) : 1 }, () =>
      this.#drawItem(kind),
    );
    const bodies = items.map(({ to, asset, amountMicro }) => ({
      to,
      asset,
      amount: formatAmount(amountMicro),
    }));
    const order: OpenOrder = {
      idempotencyKey: `order-${this.#orders.length + 1}`,
      kind,
      items,
      answers: [],
      cancelAsked: false,
      path: kind === 'batch' ? '/pay/batch' : '/pay',
      body: JSON.stringify(kind === 'batch' ? { items: bodies } : bodies[0]),
      respondAsync: random.chance(0.2),
      isTwin: random.chance(0.08),
      wantsCancel: kind === 'payment' && random.chance(0.08),
      triesLeft: random.chance(0.15) ? 0 : random.between(1, 12),
    };
    this.#orders.push(order);
    return order;
  }

  #drawItem(kind: Order['kind']): OrderItem {
    const { random } = this.#options;
    const asset: Asset = random.chance(0.6) ? 'USDT' : 'TRX';
    const amountMicro = BigInt(random.between(100_000, kind === 'batch' ? 1_000_000 : 3_000_000));
    return { to: createAccount().address, asset, amountMicro };
  }

  #send({ path, body, idempotencyKey, respondAsync }: OpenOrder): Promise<Answer> {
    return this.#post({ path, body, caller: 'gateway', idempotencyKey, respondAsync });
  }

  #post(request: ChaosRequest): Promise<Answer> {
    this.#requests += 1;
    return post(this.#options.access, request);
  }
}
