import * as Type from 'typebox';
import { BOOKS, FINDING_KINDS, type Finding } from '../domain/audit.ts';
import { formatAmount } from '../domain/money.ts';

/** What audits have found, as `settle` and `stats` show it alike. */
export const FindingsView = Type.Array(
  Type.Object(
    {
      kind: Type.Enum(FINDING_KINDS, {
        description:
          'undercounted: payments hold more than is counted as outstanding · overcounted: they hold less, which is ' +
          'safe · outflow: the wallet lost what no payment took',
      }),
      of: Type.Enum(BOOKS),
      amount: Type.String({ description: 'A decimal string; fees are TRX.', examples: ['12.5'] }),
      confirmed: Type.Boolean({
        description:
          'Found by two audits in a row: an outflow, or what is undercounted, then trips the breaker.',
      }),
    },
    { additionalProperties: false },
  ),
);
export type FindingsView = Type.Static<typeof FindingsView>;

export function viewFindings(findings: readonly Finding[]): FindingsView {
  return findings.map(({ kind, of, amountMicro, isConfirmed }) => ({
    kind,
    of,
    amount: formatAmount(amountMicro),
    confirmed: isConfirmed,
  }));
}
