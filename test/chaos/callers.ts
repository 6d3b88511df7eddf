import { setTimeout as sleep } from 'node:timers/promises';
import type { StackAccess } from '../../deploy/cli/running-stack.ts';
import { createAccount } from '../../deploy/local/accounts.ts';
import { type Asset, formatAmount } from '../../shared/domain/money.ts';
import type { Random } from '../support/random.ts';
import { isRefusal } from './checker.ts';
import type { Answer, Order, OrderItem } from './evidence.ts';
import { type ChaosRequest, findByReference, post } from './request.ts';

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
  /**
   * How often the caller asks again at most, with the same key and body, whether it was refused or left unsure; some
   * give up at once and never learn what became of it.
   */
  triesLeft: number;
}

/** Pauses a worker whose requests are refused at once, so that it does not spin. */
const PAUSE_AFTER_REFUSAL_MS = 250;
const PAUSE_WITHOUT_WORK_MS = 50;
const WAITING_A_WORKER = 4;
/** Of callers who go on until they are paid. */
const TRIES_MAX = 60;

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

  /** Who waits to ask again is paid before others come, or refusals would only ever be followed by refusals. */
  get #waitingMax(): number {
    return this.#options.count * WAITING_A_WORKER;
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
      const order = this.#takeDue() ?? (this.#again.length < this.#waitingMax ? this.#draw() : undefined);
      if (order === undefined) {
        await sleep(PAUSE_WITHOUT_WORK_MS);
        continue;
      }
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
      await this.#cancel(shown.id, order);
    }
    // Others are left to lapse, or are seen by a second person only when they are asked for once more.
    if (shown?.id != null && shown.shown === 'awaiting_approval' && random.chance(0.75)) {
      await this.#approveOrReject(shown.id, order);
    }
    const isRefused = answers.every(isRefusal);
    if (shown === undefined && !isRefused && random.chance(0.4)) await this.#takeBackUnseen(order);
    // Some ask again although they know: a replay. Of what has only been accepted it may yet be refused.
    const isSure = shown !== undefined && !random.chance(shown.shown === 'accepted' ? 0.6 : 0.1);
    if (isSure || order.triesLeft === 0) return;
    order.triesLeft -= 1;
    const pauseMs = isRefused ? random.between(300, 5_000) : random.between(150, 2_500);
    this.#again.push({ order, dueMs: Date.now() + pauseMs });
  }

  /** Whoever asked for it may change its mind while it is approved, or when nobody knows whether it was. */
  async #approveOrReject(id: string, order: OpenOrder): Promise<void> {
    const { random } = this.#options;
    if (random.chance(0.12)) {
      await this.#decide(id, 'reject', 'operator');
      return;
    }
    const cancelsAtOnce = random.chance(0.15);
    const cancelsLost = random.chance(0.6);
    const approving = this.#decide(id, 'approve', 'operator');
    if (cancelsAtOnce) await this.#cancel(id, order);
    const wasLost = (await approving).every(({ status }) => status === 0 || status >= 500);
    if (wasLost && cancelsLost) await this.#cancel(id, order);
  }

  /** A caller whose answer was lost looks the payment up by its reference, and takes it back. */
  async #takeBackUnseen(order: OpenOrder): Promise<void> {
    if (order.kind === 'batch') return;
    const found = await findByReference(this.#options.access, order.idempotencyKey);
    if (found !== null) await this.#cancel(found.id, order);
  }

  async #cancel(id: string, order: OpenOrder): Promise<void> {
    order.cancelAsked = true;
    await this.#decide(id, 'cancel', 'gateway');
  }

  /** Of two persons, now and then, at the same time. */
  async #decide(
    id: string,
    decision: 'cancel' | 'approve' | 'reject',
    caller: ChaosRequest['caller'],
  ): Promise<Answer[]> {
    const body = decision === 'approve' ? '' : JSON.stringify({ reason: 'as chaos has it' });
    const times = this.#options.random.chance(0.2) ? 2 : 1;
    const request = { path: `/pay/${id}/${decision}`, body, caller };
    return Promise.all(Array.from({ length: times }, () => this.#post(request)));
  }

  #takeDue(): OpenOrder | undefined {
    const nowMs = Date.now();
    const index = this.#again.findIndex(({ dueMs }) => dueMs <= nowMs);
    return index === -1 ? undefined : this.#again.splice(index, 1)[0]?.order;
  }

  #draw(): OpenOrder {
    const { random } = this.#options;
    const kind = random.chance(0.2) ? 'batch' : 'payment';
    const idempotencyKey = `order-${this.#orders.length + 1}`;
    const items = Array.from({ length: kind === 'batch' ? random.between(2, 8) : 1 }, () =>
      this.#drawItem(kind),
    );
    const bodies = items.map(({ to, asset, amountMicro }) => ({
      to,
      asset,
      amount: formatAmount(amountMicro),
    }));
    const order: OpenOrder = {
      idempotencyKey,
      kind,
      items,
      answers: [],
      cancelAsked: false,
      path: kind === 'batch' ? '/pay/batch' : '/pay',
      body: JSON.stringify(
        kind === 'batch' ? { items: bodies } : { ...bodies[0], reference: idempotencyKey },
      ),
      respondAsync: random.chance(0.3),
      isTwin: random.chance(0.08),
      wantsCancel: kind === 'payment' && random.chance(0.08),
      triesLeft: random.chance(0.15) ? 0 : random.chance(0.5) ? random.between(1, 12) : TRIES_MAX,
    };
    this.#orders.push(order);
    return order;
  }

  #drawItem(kind: Order['kind']): OrderItem {
    const { random } = this.#options;
    const asset: Asset = random.chance(0.6) ? 'USDT' : 'TRX';
    const amountMicro = BigInt(random.between(100_000, kind === 'batch' ? 1_500_000 : 3_000_000));
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
