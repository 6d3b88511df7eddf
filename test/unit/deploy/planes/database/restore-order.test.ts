import { describe, expect, it } from 'vitest';
import { readRestoreOrder } from '../../../../../deploy/planes/database/restore-order.ts';

describe('an order to restore', () => {
  it('names a file in the folder of backups, and may say that the present content goes', () => {
    const file = 'backup-2026-01-31T04-30-00.000Z.ejson.gz';
    const asked = { kind: 'file', file, isReplacing: false, isCheck: false };
    expect(readRestoreOrder([file])).toEqual(asked);
    expect(readRestoreOrder(['--replace', file])).toEqual({ ...asked, isReplacing: true });
    expect(readRestoreOrder([file, '--check'])).toEqual({ ...asked, isCheck: true });
  });

  it.each([
    ['2026-01-31T04:30:00Z', Date.UTC(2026, 0, 31, 4, 30)],
    ['2026-01-31T04:30Z', Date.UTC(2026, 0, 31, 4, 30)],
    ['2026-01-31T05:30:00.250+01:00', Date.UTC(2026, 0, 31, 4, 30, 0, 250)],
  ])('in place takes the time %s', (time, backupAtMs) => {
    expect(readRestoreOrder(['--in-place', time])).toEqual({ kind: 'in place', backupAtMs });
  });

  it.each([
    [['--in-place', '2026-01-31T04:30:00'], 'a time with its zone'],
    [['--in-place', '2026-13-31T04:30:00Z'], 'a time with its zone'],
    [['--in-place', 'yesterday'], 'a time with its zone'],
    [['--in-place', '2026-01-31T04:30:00Z', 'file'], 'stands alone'],
    [['--in-place', '2026-01-31T04:30:00Z', '--replace'], 'stands alone'],
    [[], 'say which file'],
    [['one', 'two'], 'say which file'],
    [['../one'], 'without a path'],
    [['/backups/one'], 'without a path'],
    [['.one.partial'], 'without a path'],
    [['one', '--force'], "Unknown option '--force'"],
  ])('is not %j', (args, reason) => {
    expect(() => readRestoreOrder(args)).toThrow(reason);
  });
});
