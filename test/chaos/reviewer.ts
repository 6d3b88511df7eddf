import { setTimeout as sleep } from 'node:timers/promises';
import { END_STATUSES } from '../../shared/domain/payment.ts';
import type { PaymentRow } from './evidence.ts';
import { readBreakerFigures, readPayments } from './ledger-evidence.ts';
import type { LyingNodes } from './lying-nodes.ts';
import { post } from './request.ts';
import type { World } from './world.ts';

const LOOK_EVERY_MS = 100;
/** What a trip says that a denied payment explains. Any other stays, for the checker to name. */
const EXPLAINED = [/^pay_\S+ was expired, yet its attempt \d+ is on the chain$/, /has left the wallet/];
const UNEXPLAINED = /is not counted as outstanding/;

export interface Reviewed {
  /** Transactions that every node denied until their payment had ended without them. */
  readonly deniedTxIds: readonly string[];
  readonly resolved: number;
  readonly resets: number;
}

/**
 * The person who is called where nodes have lied: ends each lie as soon as a payment has ended by it, rules what
 * comes under review by that as paid, and lifts the trip. Nothing else that trips or needs a review is touched.
 */
export class Reviewer {
  readonly #world: World;
  readonly #nodes: LyingNodes;
  readonly #ended: Promise<void>;
  readonly #deniedTxIds = new Set<string>();
  readonly #resolved = new Set<string>();
  #stopped = false;
  #resets = 0;

  constructor(world: World, nodes: LyingNodes) {
    this.#world = world;
    this.#nodes = nodes;
    this.#ended = this.#watch();
  }

  async stop(): Promise<Reviewed> {
    this.#stopped = true;
    await this.#ended;
    return {
      deniedTxIds: [...this.#deniedTxIds],
      resolved: this.#resolved.size,
      resets: this.#resets,
    };
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      try {
        const payments = await readPayments(this.#world.database);
        for (const payment of payments) this.#endLie(payment);
        for (const payment of payments) await this.#resolve(payment);
        await this.#reset();
      } catch {
        // The database is dead just now.
      }
      await sleep(LOOK_EVERY_MS);
    }
  }

  #endLie({ status, txIds }: PaymentRow): void {
    if (!(END_STATUSES as readonly string[]).includes(status)) return;
    for (const txId of txIds) {
      if (!this.#nodes.denied.includes(txId)) continue;
      this.#deniedTxIds.add(txId);
      this.#nodes.admit(txId);
    }
  }

  async #resolve({ id, status, txIds }: PaymentRow): Promise<void> {
    if (status !== 'needs_review' || !txIds.some((txId) => this.#deniedTxIds.has(txId))) return;
    const body = JSON.stringify({ outcome: 'paid', reason: 'the chain shows it' });
    const answer = await post(this.#world.access, { path: `/pay/${id}/resolve`, body, caller: 'operator' });
    if (answer.status === 200) this.#resolved.add(id);
  }

  async #reset(): Promise<void> {
    const reason = (await readBreakerFigures(this.#world.database))?.tripped ?? null;
    if (reason === null || this.#deniedTxIds.size === 0 || UNEXPLAINED.test(reason)) return;
    if (!EXPLAINED.some((pattern) => pattern.test(reason))) return;
    const body = JSON.stringify({ action: 'reset', reason: 'a node had lied' });
    const answer = await post(this.#world.access, { path: '/pay/breaker', body, caller: 'operator' });
    if (answer.status === 200) this.#resets += 1;
  }
}
