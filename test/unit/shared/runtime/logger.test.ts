import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { describeError } from '../../../../shared/runtime/error-description.ts';
import { createLogger, type LoggerOptions, secretsIn } from '../../../../shared/runtime/logger.ts';
import { Secret } from '../../../../shared/runtime/secret.ts';

function capture(changes: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const logger = createLogger({
    level: 'info',
    format: 'json',
    service: 'tron-payment-service',
    functionName: 'pay',
    write: (line) => lines.push(line),
    ...changes,
  });
  return { logger, lines };
}

describe('a log line', () => {
  it('is one line of JSON with the level as operators know it', () => {
    const { logger, lines } = capture();
    logger.info({ paymentId: 'p\n1' }, 'first\nsecond');
    logger.warn({}, 'careful');
    logger.error({}, 'broken');
    logger.fatal({}, 'over');
    expect(lines.every((line) => line.indexOf('\n') === line.length - 1)).toBe(true);
    expect(lines.map((line) => JSON.parse(line).level)).toEqual(['INFO', 'WARNING', 'ERROR', 'CRITICAL']);
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      level: 'INFO',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      service: 'tron-payment-service',
      function: 'pay',
      paymentId: 'p\n1',
      message: 'first\nsecond',
    });
  });

  it('is left out below the level', () => {
    const { logger, lines } = capture({ level: 'error' });
    logger.warn({}, 'careful');
    expect(lines).toEqual([]);
  });

  it('is one line for people, too', () => {
    const { logger, lines } = capture({ format: 'text' });
    logger.info({ status: 200, note: 'two words', list: [1] }, 'invocation');
    expect(lines).toEqual([
      expect.stringMatching(/^\d{4}-\S+Z INFO pay: invocation status=200 note="two words" list="\[1\]"\n$/),
    ]);
  });

  it('tells an error with its causes, and nothing that hangs on them', () => {
    const { logger, lines } = capture();
    const socket = Object.assign(new Error('connect ECONNREFUSED'), {
      code: 'ECONNREFUSED',
      options: { password: 'hunter2-hunter2' },
    });
    logger.error(
      { error: new ServiceError('chain_unavailable', 'No node answered.', { cause: socket }) },
      'broken',
    );
    expect(JSON.parse(lines[0] ?? '').error).toEqual({
      name: 'ServiceError',
      message: 'No node answered.',
      code: 'chain_unavailable',
      stack: expect.stringContaining('logger.test.ts'),
      cause: { name: 'Error', message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' },
    });
    expect(lines[0]).not.toContain('hunter2');
  });
});

describe('an error description', () => {
  it('ends, though causes can be a ring', () => {
    const error = new Error('round');
    error.cause = error;
    expect(JSON.stringify(describeError(error)).length).toBeLessThan(10_000);
  });

  it('stays short, though messages can be long', () => {
    expect(describeError(new Error('x'.repeat(1_000_000))).message.length).toBeLessThan(3_000);
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['a text', 'thrown'],
    ['an object without a prototype', Object.create(null)],
    ['a symbol', Symbol('s')],
  ])('takes %s', (_case, thrown) => {
    expect(describeError(thrown)).toMatchObject({ name: 'NonError', message: expect.any(String) });
  });
});

describe('a secret', () => {
  it('does not reach the log, in whatever message it stands and whatever it is made of', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 8, unit: 'grapheme' }),
        fc.constantFrom('json' as const, 'text' as const),
        (text, format) => {
          const marked = `☠${text}`;
          const { logger, lines } = capture({ format, secrets: [new Secret(marked)] });
          logger.error(
            { error: new Error(`cannot open ${marked}: denied`), deep: { list: [marked] } },
            marked,
          );
          logger.info({ secret: new Secret(marked) }, 'fine');
          expect(lines).toHaveLength(2);
          expect(lines.join('')).not.toContain('☠');
        },
      ),
    );
  });

  it('does not reach it as a token or within an address', () => {
    const { logger, lines } = capture();
    logger.error(
      { authorization: 'Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJnIn0.c2lnbmF0dXJl' },
      'cannot reach mongodb://lucid:lucid@mongo:27017/db',
    );
    expect(lines[0]).toContain('Bearer [token]');
    expect(lines[0]).toContain('mongodb://[secret]@mongo:27017/db');
    expect(lines[0]).not.toMatch(/lucid:|c2lnb/);
  });

  it('is found wherever it stands in a configuration', () => {
    const [a, b] = [new Secret('a'), new Secret('b')];
    expect(secretsIn({ x: a, y: { z: [1, null, b] }, n: 7n })).toEqual([a, b]);
  });
});
