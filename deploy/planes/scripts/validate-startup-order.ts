/**
 * `node deploy/planes/scripts/validate-startup-order.ts`: takes the planes down and starts them again, in the order of
 * compose and in random ones, and reads from the engine's events who waited for whom: no container may start before
 * each of those that it depends on was healthy, or had ended well. For development and tests.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Planes } from '../planes.ts';
import { runScript } from './command.ts';

interface EngineEvent {
  readonly Action: string;
  readonly timeNano: number;
  readonly Actor: { readonly Attributes: Readonly<Record<string, string>> };
}

export interface OrderReport {
  /** In which order the services were asked for; all at once for compose's own. */
  readonly asked: readonly string[];
  /** Service → seconds since the first event, of its first start. */
  readonly startedAfterSeconds: Readonly<Record<string, number>>;
  /** One line for each that did not wait. */
  readonly violations: readonly string[];
  /** How many pairs of two services were compared. */
  readonly compared: number;
}

type Needs = Readonly<Record<string, { readonly condition: string }>>;

/** Down, then up in this order; compose itself starts what a service depends on. */
export async function startInOrder(planes: Planes, asked: readonly string[]): Promise<OrderReport> {
  await planes.down({ isShown: false });
  const needs = await readNeeds(planes);
  const { events, stop } = watchEvents();
  try {
    await planes.prepare();
    for (const service of asked) await planes.engine.compose(['up', '--detach', service]);
    await planes.up({ isShown: false });
  } finally {
    await stop();
  }
  return judge(asked, needs, events);
}

/** The services that start by default, with what each of them waits for. */
export async function readNeeds(planes: Planes): Promise<Readonly<Record<string, Needs>>> {
  const text = await planes.engine.compose(['config', '--format', 'json']);
  const { services } = JSON.parse(text) as {
    readonly services: Readonly<
      Record<string, { readonly depends_on?: Needs; readonly profiles?: readonly string[] }>
    >;
  };
  return Object.fromEntries(
    Object.entries(services)
      .filter(([, { profiles = [] }]) => profiles.length === 0)
      .map(([name, { depends_on = {} }]) => [name, depends_on]),
  );
}

function watchEvents(): { readonly events: readonly EngineEvent[]; stop(): Promise<void> } {
  const events: EngineEvent[] = [];
  const child = spawn('docker', ['events', '--format', '{{json .}}', '--filter', 'type=container'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  createInterface({ input: child.stdout }).on(
    'line',
    (line) => void events.push(JSON.parse(line) as EngineEvent),
  );
  return {
    events,
    stop: async () => {
      child.kill('SIGTERM');
      await once(child, 'close');
    },
  };
}

function judge(
  asked: readonly string[],
  needs: Readonly<Record<string, Needs>>,
  events: readonly EngineEvent[],
): OrderReport {
  const first = (service: string, isMet: (event: EngineEvent) => boolean): number | undefined =>
    events.find(({ Actor, ...event }) => {
      const { 'com.docker.compose.service': name } = Actor.Attributes;
      return name === service && isMet({ Actor, ...event });
    })?.timeNano;
  const startOf = (service: string) => first(service, ({ Action }) => Action === 'start');
  const readyOf = (service: string, condition: string) =>
    condition === 'service_healthy'
      ? first(service, ({ Action }) => Action === 'health_status: healthy')
      : condition === 'service_completed_successfully'
        ? first(service, ({ Action, Actor }) => Action === 'die' && Actor.Attributes.exitCode === '0')
        : startOf(service);

  const pairs = Object.entries(needs).flatMap(([service, itsNeeds]) =>
    Object.entries(itsNeeds).map(([needed, { condition }]) => ({ service, needed, condition })),
  );
  const violations = pairs.flatMap(({ service, needed, condition }) => {
    const startNs = startOf(service);
    const readyNs = readyOf(needed, condition);
    if (startNs === undefined) return [`${service} never started`];
    if (readyNs === undefined) return [`${service} started, and ${needed} was never ready (${condition})`];
    if (readyNs <= startNs) return [];
    return [
      `${service} started ${((readyNs - startNs) / 1e9).toFixed(2)} s before ${needed} was ready (${condition})`,
    ];
  });
  const zeroNs = events[0]?.timeNano ?? 0;
  const starts = Object.keys(needs).flatMap((service) => {
    const startNs = startOf(service);
    return startNs === undefined ? [] : [[service, (startNs - zeroNs) / 1e9] as const];
  });
  return { asked, startedAfterSeconds: Object.fromEntries(starts), violations, compared: pairs.length };
}

/** Another order each time it is asked, by a generator that is given. */
export function shuffle<T>(items: readonly T[], random: () => number): readonly T[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other] as T, shuffled[last] as T];
  }
  return shuffled;
}

if (import.meta.main) {
  await runScript('validate-startup-order', async (planes, print) => {
    const services = Object.keys(await readNeeds(planes));
    let isGood = true;
    for (const asked of [[], shuffle(services, Math.random), shuffle(services, Math.random)]) {
      const report = await startInOrder(planes, asked);
      print(`asked for: ${asked.length === 0 ? 'all at once' : asked.join(', ')}`);
      const starts = Object.entries(report.startedAfterSeconds).sort(([, a], [, b]) => a - b);
      for (const [service, seconds] of starts) print(`  ${seconds.toFixed(2).padStart(7)} s  ${service}`);
      for (const violation of report.violations) print(`  ✘ ${violation}`);
      if (report.violations.length === 0) print(`  ✔ ${report.compared} waits were kept`);
      isGood &&= report.violations.length === 0;
    }
    return isGood;
  });
}
