import type { SealedAttempts } from '../../shared/ports/sealed-attempts.ts';

/** Sealed attempts in memory, by payment; a test may change them at any time. */
export class MemorySealedAttempts implements SealedAttempts {
  readonly payments = new Map<string, { number: number; sealed: Uint8Array }[]>();
  /** The most payments that one page held. */
  pageMax = 0;
  writes = 0;

  async findPage(afterPaymentId: string, paymentsMax: number) {
    const page = [...this.payments]
      .filter(([id]) => id > afterPaymentId)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, paymentsMax)
      .map(([id, attempts]) => ({ id, attempts: attempts.map((attempt, index) => ({ index, ...attempt })) }));
    this.pageMax = Math.max(this.pageMax, page.length);
    return page;
  }

  async replace(paymentId: string, attempt: { number: number; sealed: Uint8Array }, sealed: Uint8Array) {
    const found = this.payments.get(paymentId)?.find(({ number }) => number === attempt.number);
    if (found === undefined || !Buffer.from(found.sealed).equals(attempt.sealed)) return false;
    found.sealed = sealed;
    this.writes += 1;
    return true;
  }
}
