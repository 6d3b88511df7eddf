import type { Asset } from './money.ts';

/** The operator's rules for the size of a single payment; null where there is none. */
export interface AmountPolicy {
  /** A payment above it is never made. */
  readonly maxMicro: Readonly<Record<Asset, bigint | null>>;
  /** A payment above it waits until a second person approves it. */
  readonly approvalAboveMicro: Readonly<Record<Asset, bigint | null>>;
}

export type AmountVerdict = 'fine' | 'above_maximum' | 'needs_approval';

export function judgeAmount(
  order: { readonly asset: Asset; readonly amountMicro: bigint },
  policy: AmountPolicy,
): AmountVerdict {
  const maxMicro = policy.maxMicro[order.asset];
  if (maxMicro !== null && order.amountMicro > maxMicro) return 'above_maximum';
  const approvalAboveMicro = policy.approvalAboveMicro[order.asset];
  return approvalAboveMicro !== null && order.amountMicro > approvalAboveMicro ? 'needs_approval' : 'fine';
}
