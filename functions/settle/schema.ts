import * as Type from 'typebox';

const Counts = Type.Record(Type.String(), Type.Integer());

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
});
