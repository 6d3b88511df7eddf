import type { AmountPolicy } from '../domain/amount-policy.ts';
import type { CircuitRules } from '../domain/circuit.ts';
import type { AssetLimits, LimitWindows } from '../domain/limits.ts';
import type { Asset } from '../domain/money.ts';
import type { TronAddress } from '../domain/tron-address.ts';

/** The configured rules by which payments are made; the same for every instance. */
export interface PaymentRules {
  readonly limits: Readonly<Record<Asset, AssetLimits>>;
  readonly windows: LimitWindows;
  /** The cap of all fees over a rolling day, in sun. */
  readonly feeLimitDailyMicro: bigint;
  /** What is reserved for a payment's fee while nobody has simulated it: the most that may be signed for one. */
  readonly feeReserveMicro: bigint;
  /** The largest single payment, and above what a second person must approve one. */
  readonly amounts: AmountPolicy;
  readonly circuit: CircuitRules;
  /** The USDT contract. */
  readonly contract: TronAddress;
  /** How deep a block must lie, beside being solid. */
  readonly confirmationsRequired: number;
  /** How long a signed transaction may be included. */
  readonly expirationMs: number;
  /** How far past the expiration a solid head must be before absence proves anything. */
  readonly expirationMarginMs: number;
  /** How long after a request attempts may be signed for it. */
  readonly payByMs: number;
  /** How long a payment waits for approval before it lapses. */
  readonly approveByMs: number;
  /** How long after its end a payment whose attempts never landed is looked at once more. */
  readonly recheckMs: number;
  /** How long `settle` leaves a new payment to the invocation that took it. */
  readonly leaseMs: number;
  /** The pause between two visits of `settle` to one payment. */
  readonly revisitMs: number;
  /** The pause between two broadcasts of the same bytes. */
  readonly rebroadcastMs: number;
  /** The pause between two audits of the books and the wallet, over all settlers. */
  readonly auditIntervalMs: number;
  /** A solid head further than this from the server's clock trips the breaker. */
  readonly headSkewMsMax: number;
}
