import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startSchedule } from '../../../../deploy/sidecar/schedule.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A job that the test ends, and what it saw. */
function createJob() {
  const ends: (() => void)[] = [];
  const reasons: string[] = [];
  const run = (reason: string): Promise<void> => {
    reasons.push(reason);
    return new Promise((resolve) => ends.push(resolve));
  };
  return { run, reasons, running: () => ends.length, end: () => ends.shift()?.() };
}

describe('the schedule', () => {
  it('runs the job on its interval, and skips a turn while it runs', async () => {
    const job = createJob();
    const schedule = startSchedule(1_000, job.run);
    expect(job.reasons).toEqual([]);
    await vi.advanceTimersByTimeAsync(3_500);
    expect(job.reasons).toEqual(['interval']);
    job.end();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(job.reasons).toEqual(['interval', 'interval']);
    job.end();
    await schedule.stop();
  });

  it('runs at once when kicked, and once more after a run for all kicks during it', async () => {
    const job = createJob();
    const schedule = startSchedule(60_000, job.run);
    schedule.kick();
    expect(job.reasons).toEqual(['kick']);
    for (let kicks = 0; kicks < 5; kicks += 1) schedule.kick();
    job.end();
    await vi.advanceTimersByTimeAsync(0);
    expect(job.reasons).toEqual(['kick', 'kick']);
    job.end();
    await vi.advanceTimersByTimeAsync(0);
    expect(job.running()).toBe(0);
    await schedule.stop();
  });

  it('stops after the run under way, and starts none any more', async () => {
    const job = createJob();
    const schedule = startSchedule(1_000, job.run);
    schedule.kick();
    schedule.kick();
    let stopped = false;
    void schedule.stop().then(() => {
      stopped = true;
    });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(stopped).toBe(false);
    job.end();
    await vi.advanceTimersByTimeAsync(5_000);
    expect([stopped, job.reasons.length]).toEqual([true, 1]);
    schedule.kick();
    expect(job.reasons).toHaveLength(1);
  });

  it('never overlaps itself and never forgets a kick, in any order of kicks, ends and turns', async () => {
    const steps = fc.array(fc.constantFrom('kick', 'end', 'turn'), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(steps, async (actions) => {
        const job = createJob();
        const schedule = startSchedule(1_000, job.run);
        for (const action of actions) {
          const runsBefore = job.reasons.length;
          if (action === 'kick') schedule.kick();
          else if (action === 'end') job.end();
          else await vi.advanceTimersByTimeAsync(1_000);
          await vi.advanceTimersByTimeAsync(0);
          expect(job.running()).toBeLessThanOrEqual(1);
          if (action === 'kick' && job.reasons.length === runsBefore) {
            job.end();
            await vi.advanceTimersByTimeAsync(0);
            expect(job.reasons.length).toBe(runsBefore + 1);
          }
        }
        const stopped = schedule.stop();
        while (job.running() > 0) job.end();
        await stopped;
      }),
      { numRuns: 100 },
    );
  });
});
