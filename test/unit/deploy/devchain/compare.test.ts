import { describe, expect, it } from 'vitest';
import { type Answer, differences } from '../../../conformance/compare.ts';

const NONE = new Map<string, string>();

function json(answer: unknown, changes: Partial<Answer> = {}): Answer {
  return { status: 200, type: 'application/json;charset=utf-8', answer, ...changes };
}

function compare(recorded: unknown, actual: unknown, allowed: string[] = []): string[] {
  return differences(json(recorded), json(actual), NONE, allowed);
}

describe('the comparison of answers', () => {
  it.each([
    ['a fee', { fee: 1_100_000 }, { fee: 1_100_001 }],
    ['a code', { code: 'SIGERROR' }, { code: 'TAPOS_ERROR' }],
    ['a field that is absent', { result: true, txid: 'a' }, { txid: 'b' }],
    ['a field too many', { txid: 'a' }, { result: true, txid: 'b' }],
    ['a kind', { energy_used: 1 }, { energy_used: '1' }],
    ['the length of a hash', { txID: 'abcd' }, { txID: 'ab' }],
    ['a list`s length', { log: [] }, { log: [{}] }],
    ['a message in hex', { message: hex('Dup transaction.') }, { message: hex('Dup.') }],
    [
      'a number in a message',
      { message: hex('size is 532817 bytes') },
      { message: hex('size is 532753 bytes') },
    ],
    ['a time of zero', { timestamp: 1_795_454_061_000 }, { timestamp: 0 }],
  ])('finds %s', (_what, recorded, actual) => {
    expect(compare(recorded, actual)).toHaveLength(1);
    expect(compare(recorded, recorded)).toEqual([]);
  });

  it('finds another status and another content type', () => {
    const actual = json({}, { status: 500, type: 'text/plain' });
    expect(differences(json({}), actual, NONE, [])).toHaveLength(2);
  });

  it('lets hashes, times and heights differ, and who signed', () => {
    const message = (hash: string, who: string): string => hex(`${hash} is signed by ${who} but`);
    const recorded = {
      blockNumber: 3,
      txid: 'aa',
      message: message('ab'.repeat(65), 'TCXciXvs4nv1xSJdU8uczG68bLwsVFjkuZ'),
    };
    const actual = {
      blockNumber: 9,
      txid: 'bb',
      message: message('cd'.repeat(65), 'TUt3LAMZymzTEiGVCMyHgPCtvq8Wo8Vy1D'),
    };
    expect(compare(recorded, actual)).toEqual([]);
  });

  it('knows the part that an address plays, in hex and in base58', () => {
    const [alice, bob] = [
      'cf703cc905054463a9e31a6f36d20845ef8bf8be',
      '1c115bd3f3383083ff6db6ff51157590e254c2f0',
    ];
    const aliases = new Map([[alice ?? '', bob ?? '']]);
    const answer = (hex20: string | undefined, base58: string): Answer =>
      json({ owner_address: `41${hex20}`, address: base58 });
    const recorded = answer(alice, 'TUt3LAMZymzTEiGVCMyHgPCtvq8Wo8Vy1D');
    expect(differences(recorded, answer(bob, 'TCXciXvs4nv1xSJdU8uczG68bLwsVFjkuZ'), aliases, [])).toEqual([]);
    const other = answer('00'.repeat(20), 'TCXciXvs4nv1xSJdU8uczG68bLwsVFjkuZ');
    expect(differences(recorded, other, aliases, [])).toHaveLength(1);
  });

  it('passes over what is allowed to differ, and only that', () => {
    expect(compare({ a: 1, b: 1 }, { a: 2, b: 2 }, ['a'])).toEqual(['b is 2, recorded 1']);
  });
});

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}
