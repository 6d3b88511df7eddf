import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { FunctionName } from './config.ts';
import type { FunctionPool } from './pool.ts';

/** The sidecar's own metrics. Labels come from closed sets, never from what a caller sends. */
export interface Metrics {
  readonly registry: Registry;
  /** `functionName` is `none` for requests that no function was chosen for. */
  countRequest(functionName: FunctionName | 'none', status: number): void;
  countRejection(reason: string): void;
  observeInvoke(functionName: FunctionName, durationMs: number): void;
  countSettleRun(reason: string, outcome: string): void;
  countAclReload(outcome: 'ok' | 'failed'): void;
}

export function createMetrics(pools: ReadonlyMap<FunctionName, FunctionPool>): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const requests = new Counter({
    name: 'sidecar_requests_total',
    help: 'Requests answered, by function and status.',
    labelNames: ['function', 'status'],
    registers,
  });
  const rejections = new Counter({
    name: 'sidecar_rejections_total',
    help: 'Answers that the sidecar gave in place of a function, by reason.',
    labelNames: ['reason'],
    registers,
  });
  const invokes = new Histogram({
    name: 'sidecar_invoke_duration_seconds',
    help: 'From the head of the request to the answer of the instance, waiting for an instance included.',
    labelNames: ['function'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  const settleRuns = new Counter({
    name: 'sidecar_settle_runs_total',
    help: 'Runs of the settle schedule, by what started them and how they ended.',
    labelNames: ['reason', 'outcome'],
    registers,
  });
  const aclReloads = new Counter({
    name: 'sidecar_acl_reloads_total',
    help: 'Readings of a changed access policy, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  new Gauge({
    name: 'sidecar_instances',
    help: 'Instances by state; busy and quarantined ones are among the live.',
    labelNames: ['function', 'state'],
    registers,
    collect() {
      for (const [name, pool] of pools) {
        const { live, busy, quarantined, known } = pool.counts();
        for (const [state, count] of Object.entries({ live, busy, quarantined, known })) {
          this.set({ function: name, state }, count);
        }
      }
    },
  });
  new Gauge({
    name: 'sidecar_queue_depth',
    help: 'Requests that wait for an instance.',
    labelNames: ['function'],
    registers,
    collect() {
      for (const [name, pool] of pools) this.set({ function: name }, pool.counts().queued);
    },
  });

  // Looking up a child by its labels costs more than counting; the pairs are few.
  const requestChildren = new Map<string, Counter.Internal>();
  const invokeChildren = new Map([...pools.keys()].map((name) => [name, invokes.labels(name)] as const));
  return {
    registry,
    countRequest(functionName, status) {
      const key = `${functionName} ${status}`;
      let child = requestChildren.get(key);
      if (child === undefined) {
        child = requests.labels(functionName, String(status));
        requestChildren.set(key, child);
      }
      child.inc();
    },
    countRejection: (reason) => rejections.inc({ reason }),
    observeInvoke: (functionName, durationMs) =>
      invokeChildren.get(functionName)?.observe(durationMs / 1_000),
    countSettleRun: (reason, outcome) => settleRuns.inc({ reason, outcome }),
    countAclReload: (outcome) => aclReloads.inc({ outcome }),
  };
}
