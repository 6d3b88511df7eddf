import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonFault, parseStrictJson } from '../../../../shared/runtime/strict-json.ts';

const parse = (text: string) => parseStrictJson(Buffer.from(text));

describe('strict JSON', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        fc.pre(!text.includes('"__proto__"') && text.isWellFormed() && !/\\ud[89a-f]/i.test(text));
        expect(parse(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it('refuses a name that is given twice, wherever and however it is spelt', () => {
    fc.assert(
      fc.property(
        fc.string().filter((name) => name !== '__proto__'),
        fc.array(fc.string({ minLength: 20 }), { maxLength: 3 }),
        fc.integer({ min: 0, max: 4 }),
        (name, others, depth) => {
          const escaped = `"${[...name].flatMap(unicodeEscape).join('')}"`;
          const members = [JSON.stringify(name), ...others.map((each) => JSON.stringify(each)), escaped];
          const object = `{${members.map((member) => `${member}:[{}]`).join(',')}}`;
          const text = '[1,{"a":'.repeat(depth) + object + '}]'.repeat(depth);
          expect(() => parse(text)).toThrow(JsonFault);
        },
      ),
    );
  });

  it.each([
    ['the same name in two objects', '[{"a":1},{"a":2}]'],
    ['a name that is also a value', '{"a":"a","b":["a","a"]}'],
    ['a name again one level deeper', '{"a":{"a":{"a":1}},"b":1}'],
    ['brackets and quotes within strings', '{"a":"{\\"a\\":1,","b":"]}"}'],
  ])('accepts %s', (_case, text) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });

  it.each([
    ['an empty text', '', 'is empty'],
    ['white space alone', ' \n\t', 'is empty'],
    ['half an object', '{"a":', 'is not valid JSON'],
    ['single quotes', "{'a':1}", 'is not valid JSON'],
    ['NaN', '{"a":NaN}', 'is not valid JSON'],
    ['a trailing comma', '{"a":1,}', 'is not valid JSON'],
    ['two values', '{} {}', 'is not valid JSON'],
    ['a byte order mark', '\ufeff{}', 'is not valid JSON'],
    ['a name twice', '{"amount":"1","amount":"100"}', 'gives a field twice'],
    ['a name twice, once escaped', '{"amount":"1","\\u0061mount":"100"}', 'gives a field twice'],
    ['__proto__', '{"__proto__":{"amount":"1"}}', 'has a field that is not allowed'],
    ['__proto__ escaped and nested', '{"a":[{"\\u005f_proto__":1}]}', 'has a field that is not allowed'],
    ['a lone surrogate', '{"a":"\\ud800"}', 'has broken Unicode in a string'],
    ['very deep nesting', `${'['.repeat(40)}${']'.repeat(40)}`, 'is nested too deeply'],
  ])('refuses %s', (_case, text, reason) => {
    expect(() => parse(text)).toThrow(new JsonFault(reason));
  });

  it('refuses bytes that are not UTF-8', () => {
    expect(() => parseStrictJson(Uint8Array.of(0x22, 0xc3, 0x28, 0x22))).toThrow(
      new JsonFault('is not UTF-8'),
    );
  });

  it('survives a body that is all brackets', () => {
    expect(() => parse('['.repeat(60_000))).toThrow(JsonFault);
  });
});

function unicodeEscape(character: string): string[] {
  return character.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
