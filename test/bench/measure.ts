import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Client } from 'undici';

export interface Distribution {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export function distributionOf(durationsMs: readonly number[]): Distribution {
  const sorted = [...durationsMs].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** One kept-alive connection that posts the same body again and again. */
export interface Target {
  /** Milliseconds from the request to the last byte of a 200. @throws Error on any other answer. */
  post(): Promise<number>;
  close(): Promise<void>;
}

export function openTarget(url: string, body: string): Target {
  const { origin, pathname } = new URL(url);
  const client = new Client(origin);
  return {
    async post() {
      const startedMs = performance.now();
      const { statusCode, body: answer } = await client.request({
        path: pathname,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      const text = await answer.text();
      const durationMs = performance.now() - startedMs;
      if (statusCode !== 200) throw new Error(`${url} answered ${statusCode}: ${text.slice(0, 200)}`);
      return durationMs;
    },
    close: () => client.close(),
  };
}

/** Requests each second that the lanes get through, one request at a time in each. */
export async function measureThroughput(lanes: readonly Target[], durationMs: number): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  await Promise.all(
    lanes.map(async (lane) => {
      while (performance.now() - startedMs < durationMs) {
        await lane.post();
        count += 1;
      }
    }),
  );
  return (count * 1_000) / (performance.now() - startedMs);
}

export function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

export interface HeapSample {
  readonly payments: number;
  readonly heapMiB: number;
  readonly rssMiB: number;
}

/** What is left on the heap after a full collection. */
export function sampleHeap(payments: number): HeapSample {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  const { heapUsed, rss } = process.memoryUsage();
  return { payments, heapMiB: heapUsed / 2 ** 20, rssMiB: rss / 2 ** 20 };
}
