import type { SealedAttempt, SealedAttempts, SealedPayment } from '../ports/sealed-attempts.ts';
import { type RotatingVault, UnreadableBytes } from '../ports/vault.ts';

export interface Reencryption {
  readonly attempts: SealedAttempts;
  readonly vault: RotatingVault;
}

export interface ReencryptionReport {
  readonly attempts: number;
  readonly reencrypted: number;
  /** No configured key opens these. */
  readonly unreadable: number;
  /** Still sealed under another key than the current one, once all was done; those unreadable among them. */
  readonly left: number;
}

/** Who watches; both are called between two pages at the latest. */
export interface ReencryptionListener {
  onProgress(so: Pick<ReencryptionReport, 'attempts' | 'reencrypted'>): void;
  onUnreadable(paymentId: string, attemptNumber: number, reason: string): void;
}

/** So many payments are held at once, however many there are. */
const PAGE_PAYMENTS_MAX = 50;

/**
 * Seals every attempt anew that another key than the current one has sealed, beside functions that run: each by one
 * change that has no effect where the attempt has changed meanwhile. It may be broken off and run again at any time,
 * for what is sealed under the current key is passed over. In the end it counts what is left: an instance that does
 * not know the current key yet may have sealed more since.
 * @throws ServiceError where the database is out of reach
 */
export async function reencrypt(
  { attempts, vault }: Reencryption,
  listener: ReencryptionListener,
): Promise<ReencryptionReport> {
  let seen = 0;
  let reencrypted = 0;
  let unreadable = 0;

  async function renew(paymentId: string, attempt: SealedAttempt): Promise<void> {
    let bytes: Uint8Array;
    try {
      bytes = vault.open(attempt.sealed, paymentId, attempt.number);
    } catch (error) {
      if (!(error instanceof UnreadableBytes)) throw error;
      unreadable += 1;
      listener.onUnreadable(paymentId, attempt.number, error.message);
      return;
    }
    if (await attempts.replace(paymentId, attempt, vault.seal(bytes, paymentId, attempt.number))) {
      reencrypted += 1;
    }
  }

  const outdated = (payment: SealedPayment) =>
    payment.attempts.filter(({ sealed }) => !vault.isSealedByCurrent(sealed));

  await eachPage(attempts, async (page) => {
    await Promise.all(
      page.flatMap((payment) => outdated(payment).map((attempt) => renew(payment.id, attempt))),
    );
    for (const payment of page) seen += payment.attempts.length;
    listener.onProgress({ attempts: seen, reencrypted });
  });

  let left = 0;
  await eachPage(attempts, async (page) => {
    for (const payment of page) left += outdated(payment).length;
  });
  return { attempts: seen, reencrypted, unreadable, left };
}

async function eachPage(
  attempts: SealedAttempts,
  visit: (page: readonly SealedPayment[]) => Promise<void>,
): Promise<void> {
  let after = '';
  for (;;) {
    const page = await attempts.findPage(after, PAGE_PAYMENTS_MAX);
    const last = page.at(-1);
    if (last === undefined) return;
    await visit(page);
    after = last.id;
  }
}
