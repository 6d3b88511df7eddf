/**
 * `node deploy/planes/scripts/health-check.ts`: whether every part is well, each with its reason: the containers, the
 * sidecar with its instances, and what the health function finds of database, nodes, Tor, breaker and wallet.
 */
import { listContainers, sidecarUrls } from '../containers.ts';
import type { Planes } from '../planes.ts';
import { formatTable, runScript } from './command.ts';

export interface Finding {
  readonly component: string;
  readonly isHealthy: boolean;
  readonly reason: string;
}

const ASK_TIMEOUT_MS = 35_000;
/** Runs once and ends. */
const ONE_SHOT = 'database-init';

/** Asks all of them; a part that cannot be asked is not healthy. */
export async function checkHealth(planes: Planes): Promise<readonly Finding[]> {
  const containers = await listContainers(planes);
  if (containers.length === 0)
    return [{ component: 'planes', isHealthy: false, reason: 'nothing is running' }];
  const states = containers.map((container): Finding => {
    const { service, name, health, isRunning, exitCode } = container;
    const isDone = service === ONE_SHOT && !isRunning && exitCode === 0;
    const isHealthy = isDone || (isRunning && (health === 'healthy' || health === 'none'));
    const reason = isDone
      ? 'done'
      : isRunning
        ? health === 'none'
          ? 'running'
          : health
        : `ended with ${exitCode}`;
    return { component: name, isHealthy, reason };
  });
  return [...states, ...(await askSidecar(planes))];
}

async function askSidecar(planes: Planes): Promise<readonly Finding[]> {
  try {
    const { functionUrl, opsUrl } = await sidecarUrls(planes);
    const [sidecar, functions] = await Promise.all([ask(`${opsUrl}/health`), ask(`${functionUrl}/health`)]);
    const reasons = (sidecar.body.reasons as readonly string[] | undefined) ?? [];
    const checks = Object.entries(
      (functions.body.checks ?? {}) as Record<string, { status: string; reason: string }>,
    );
    return [
      { component: 'instances', isHealthy: sidecar.isOk, reason: reasons.join('; ') || 'all answer' },
      ...checks.map(([component, { status, reason }]) => ({
        component,
        isHealthy: status === 'healthy',
        reason,
      })),
      ...(checks.length > 0
        ? []
        : [{ component: 'health', isHealthy: false, reason: `it answers ${functions.text}` }]),
    ];
  } catch (error) {
    return [
      {
        component: 'health',
        isHealthy: false,
        reason: error instanceof Error ? error.message : String(error),
      },
    ];
  }
}

async function ask(url: string): Promise<{ isOk: boolean; text: string; body: Record<string, unknown> }> {
  const response = await fetch(url, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
  const text = await response.text();
  return { isOk: response.ok, text: text.slice(0, 200), body: JSON.parse(text) as Record<string, unknown> };
}

if (import.meta.main) {
  await runScript('health-check', async (planes, print) => {
    const findings = await checkHealth(planes);
    print(
      formatTable(
        findings.map(({ component, isHealthy, reason }) => [isHealthy ? '✔' : '✘', component, reason]),
      ),
    );
    return findings.every(({ isHealthy }) => isHealthy);
  });
}
