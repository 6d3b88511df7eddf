import { PassThrough } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { Console, type Output } from '../../../../deploy/local/console.ts';

function open(isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 40 }) as Output & PassThrough;
  const shown = () => String(stream.read() ?? '');
  return { console: new Console(stream), shown };
}

describe('the console', () => {
  it('tells the outcome and the time of a step, without any control characters where no terminal reads', async () => {
    const { console, shown } = open(false);
    await console.step(
      'database',
      async () => 7,
      (value) => `number ${value}`,
    );
    expect(shown()).toMatch(/^ {2}✔ database {4}number 7 {2}\d\.\d s\n$/);
  });

  it('tells that a step failed and passes its error on', async () => {
    const { console, shown } = open(false);
    const failing = console.step(
      'chain',
      () => Promise.reject(new Error('why')),
      () => '',
    );
    await expect(failing).rejects.toThrow('why');
    expect(shown()).toContain('✘ chain       failed');
  });

  it('says from time to time that a long step goes on', async () => {
    vi.useFakeTimers();
    try {
      const { console, shown } = open(false);
      const { promise, resolve } = Promise.withResolvers<void>();
      const step = console.step(
        'emulator',
        (progress) => {
          progress('fetching');
          return promise;
        },
        () => 'here',
      );
      await vi.advanceTimersByTimeAsync(21_000);
      resolve();
      await step;
      expect(shown().match(/… emulator {4}fetching/g)).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });

  it('draws steps under way over themselves on a terminal, each within one line', async () => {
    vi.useFakeTimers();
    try {
      const { console, shown } = open(true);
      const { promise, resolve } = Promise.withResolvers<void>();
      const step = console.step(
        'bundles',
        (progress) => {
          progress('x'.repeat(100));
          return promise;
        },
        () => 'built',
      );
      await vi.advanceTimersByTimeAsync(250);
      resolve();
      await step;
      const output = shown();
      expect(output).toContain('\x1b[1A\x1b[J');
      for (const line of output.split('\n'))
        expect(line.replace('\x1b[1A\x1b[J', '').length).toBeLessThan(60);
    } finally {
      vi.useRealTimers();
    }
  });
});
