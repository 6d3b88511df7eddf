import { type App, createApp } from '../../shared/runtime/app.ts';
import { noteInvocation } from '../../shared/runtime/invocation.ts';
import {
  type CheckResult,
  checkHealth,
  checkReadiness,
  type HealthParts,
} from '../../shared/usecases/check-health.ts';
import { healthSchema, liveSchema, readySchema } from './schema.ts';

/** Probes carry no tokens: who may ask is the sidecar's access list to say, and nothing secret is told. */
const PUBLIC = { access: { public: true } } as const;

/** An answer about now must not be kept by anybody on the way. */
const NO_STORE = ['cache-control', 'no-store'] as const;

export function buildHealthApp(parts: HealthParts): App {
  const app = createApp();

  app.get('/health', { config: PUBLIC, schema: healthSchema }, async (_request, reply) => {
    const { healthy, checks } = await checkHealth(parts);
    noteUnhealthy(checks);
    return reply
      .code(healthy ? 200 : 503)
      .header(...NO_STORE)
      .send({
        status: statusOf(healthy),
        checks: {
          mongo: show(checks.mongo),
          tron: show(checks.tron),
          tor: show(checks.tor),
          circuit_breaker: show(checks.circuit_breaker),
          wallet: show(checks.wallet),
          audit: show(checks.audit),
        },
      });
  });

  app.get('/health/live', { config: PUBLIC, schema: liveSchema }, async (_request, reply) =>
    reply.header(...NO_STORE).send({ status: 'healthy' }),
  );

  app.get('/health/ready', { config: PUBLIC, schema: readySchema }, async (_request, reply) => {
    const mongo = await checkReadiness(parts);
    noteUnhealthy({ mongo });
    return reply
      .code(mongo.healthy ? 200 : 503)
      .header(...NO_STORE)
      .send({ status: statusOf(mongo.healthy), checks: { mongo: show(mongo) } });
  });

  return app;
}

function noteUnhealthy(checks: Readonly<Record<string, CheckResult>>): void {
  const bad = Object.entries(checks).filter(([, { healthy }]) => !healthy);
  if (bad.length === 0) return;
  noteInvocation({ unhealthy: Object.fromEntries(bad.map(([name, { reason }]) => [name, reason])) });
}

const statusOf = (healthy: boolean) => (healthy ? 'healthy' : 'unhealthy');

function show({ healthy, latencyMs, reason }: CheckResult) {
  return { status: statusOf(healthy), latency_ms: latencyMs, reason } as const;
}
