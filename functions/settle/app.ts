import { describeFinding } from '../../shared/domain/audit.ts';
import { type App, createApp } from '../../shared/runtime/app.ts';
import type { Authenticator } from '../../shared/runtime/auth.ts';
import { viewFindings } from '../../shared/runtime/findings-view.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { AuditReport } from '../../shared/usecases/audit.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import type { ReconciliationReport } from '../../shared/usecases/reconcile.ts';
import { settler } from '../../shared/usecases/settle.ts';
import { SettleReportView } from './schema.ts';

export interface SettleAppParts {
  readonly settleOnce: () => Promise<SettleReportView>;
  readonly authenticator: Authenticator;
}

// A run stops taking up payments early enough for its last one to be finished within the function's 30 s, be it
// by a walk of many blocks; the schedule brings the next run.
const RUN_MS_MAX = 10_000;
const PAYMENTS_MAX = 500;

/** Settles within bounds, each time it is called. */
export function boundedSettler(engine: Engine, logger: Logger): () => Promise<SettleReportView> {
  const settleOnce = settler(engine, (what, error) =>
    logger.error({ what, error }, 'a visit to a payment, or an audit, failed; it is tried again'),
  );
  return async () => {
    const bounds = { deadlineMs: engine.clock.nowMs() + RUN_MS_MAX, paymentsMax: PAYMENTS_MAX };
    const report = await settleOnce(bounds);
    if (report.audit !== null) logAudit(logger, report.audit);
    const { reconciliation } = report;
    if (reconciliation !== null) logReconciliation(logger, reconciliation);
    return {
      ...report,
      reconciliation: reconciliation === null ? null : viewReconciliation(reconciliation),
      audit: report.audit === null ? null : viewAudit(report.audit),
    };
  };
}

function logAudit(logger: Logger, { findings, oldTransitions }: AuditReport): void {
  for (const finding of findings) {
    const log = { finding: viewFindings([finding])[0] };
    if (finding.isConfirmed) logger.error(log, `the audit found that ${describeFinding(finding)}`);
    else logger.warn(log, `the next audit looks again whether ${describeFinding(finding)}`);
  }
  if (oldTransitions > 0)
    logger.error({ oldTransitions }, 'steps between the breaker and payments are stuck');
}

function logReconciliation(logger: Logger, report: ReconciliationReport): void {
  const log = { reconciliation: viewReconciliation(report) };
  if (report.done) logger.warn(log, "the wallet's history is read: an operator may resume payments");
  else if (report.blocksRead > 0) logger.info(log, "the wallet's history since the backup is being read");
  else if (report.waitsFor !== null) logger.warn(log, "the wallet's history since the backup cannot be read");
}

function viewReconciliation(report: ReconciliationReport): NonNullable<SettleReportView['reconciliation']> {
  return {
    blocks_read: report.blocksRead,
    blocks_left: report.blocksLeft,
    recovered: report.recovered,
    done: report.done,
    waits_for: report.waitsFor?.message ?? null,
  };
}

function viewAudit(audit: AuditReport): NonNullable<SettleReportView['audit']> {
  return {
    findings: viewFindings(audit.findings),
    books_unclear: audit.booksUnclear,
    wallet_unclear: audit.walletUnclear,
    old_transitions: audit.oldTransitions,
    store_reads: audit.storeReads,
    nodes_heard: audit.nodesHeard,
    duration_ms: audit.durationMs,
  };
}

/** `POST /settle`: what the schedule does by itself, now. */
export function buildApp({ settleOnce, authenticator }: SettleAppParts): App {
  const app = createApp({ authenticator });
  app.post(
    '/settle',
    {
      config: { access: { scope: 'operate' } },
      schema: { summary: 'Settle now', response: { 200: SettleReportView } },
    },
    settleOnce,
  );
  return app;
}
