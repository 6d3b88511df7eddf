import type { AuditRecord } from '../domain/audit.ts';
import type { Breaker } from '../domain/breaker.ts';
import type { Asset } from '../domain/money.ts';
import type { PaymentStatus } from '../domain/payment.ts';

/**
 * The store as those see it who report and change nothing.
 *
 * All methods read from the primary with read concern majority and throw `ServiceError` `store_unavailable`
 * where the database is away or the answer would take too long.
 */
export interface PaymentReports {
  /** The database server's clock, milliseconds since 1970. */
  serverTimeMs(): Promise<number>;
  /** The breaker document; a new one where no payment was ever made. */
  readBreaker(): Promise<Breaker>;
  /** What audits have found; a new record where none was ever made. */
  readAudit(): Promise<AuditRecord>;
  /** Counts and sums of the payments that were created at or after an instant, by asset and present status. */
  sumByStatus(createdSinceMs: number): Promise<StatusSum[]>;
  /** The payments that `settle` still has to visit, whenever they were created. */
  summariseUnfinished(): Promise<UnfinishedSummary>;
}

export interface StatusSum {
  readonly asset: Asset;
  readonly status: PaymentStatus;
  readonly count: number;
  readonly amountMicro: bigint;
}

export interface UnfinishedSummary {
  readonly count: number;
  /** Null where there is none. */
  readonly oldestCreatedAtMs: number | null;
}
