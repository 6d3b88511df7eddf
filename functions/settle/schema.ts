import * as Type from 'typebox';
import { FindingsView } from '../../shared/runtime/findings-view.ts';

const Counts = Type.Record(Type.String(), Type.Integer());

const Unclear = Type.Union([Type.String(), Type.Null()], {
  description: 'Why it could not be compared this time.',
});

/** What an audit found, and what it cost. */
const AuditView = Type.Object({
  findings: FindingsView,
  books_unclear: Unclear,
  wallet_unclear: Unclear,
  old_transitions: Type.Integer({ description: 'Steps that have been half done for minutes.' }),
  store_reads: Type.Integer(),
  nodes_heard: Type.Integer(),
  duration_ms: Type.Integer(),
});

/** How far a restored system has come in reading what the wallet has sent since the backup. */
const ReconciliationView = Type.Object({
  blocks_read: Type.Integer({ description: 'In this run.' }),
  blocks_left: Type.Union([Type.Integer(), Type.Null()], { description: 'Null while it cannot be told.' }),
  recovered: Type.Integer({ description: 'Transfers that no payment stood for, over all runs.' }),
  done: Type.Boolean({ description: 'Payments can be resumed.' }),
  waits_for: Type.Union([Type.String(), Type.Null()], {
    description: 'Why this run could not go further; null where it could.',
  }),
});

/** What one run of `settle` did. */
export const SettleReportView = Type.Object({
  transitions_resolved: Type.Integer({ description: 'Steps that a crash had left half done, finished now.' }),
  transitions_anomalous: Type.Integer({
    description: 'Steps that no rule explains: an operator should look.',
  }),
  visited: Type.Integer(),
  ended: Counts,
  waiting: Counts,
  errors: Type.Integer(),
  more: Type.Boolean({ description: 'Work was left because the run had reached its bounds.' }),
  reconciliation: Type.Union([ReconciliationView, Type.Null()], {
    description: 'Null where the system was not restored, or is reconciled.',
  }),
  audit: Type.Union([AuditView, Type.Null()], { description: 'Null where none was due.' }),
});
export type SettleReportView = Type.Static<typeof SettleReportView>;
