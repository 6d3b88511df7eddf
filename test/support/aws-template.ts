/** Reads deploy/aws/template.yaml as far as tests need it: what CloudFormation would make of one function of it. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type CollectionTag, parse, type ScalarTag, type YAMLSeq } from 'yaml';

const TEMPLATE = resolve(import.meta.dirname, '../../deploy/aws/template.yaml');

/** The functions as the template names them. */
export type AwsFunctionName = 'Pay' | 'Settle' | 'Health' | 'Stats';

interface Template {
  readonly Parameters: Readonly<Record<string, { readonly Default?: string | number }>>;
  readonly Mappings: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>;
  readonly Resources: Readonly<Record<string, unknown>>;
}

/** The short forms of the template's functions, as objects of their long forms. */
const TAGS: (ScalarTag | CollectionTag)[] = [
  'Ref',
  'Sub',
  'GetAtt',
  'FindInMap',
  'If',
  'Not',
  'Equals',
  'Join',
].flatMap((name) => {
  const key = name === 'Ref' ? 'Ref' : `Fn::${name}`;
  return [
    { tag: `!${name}`, resolve: (text: string) => ({ [key]: text }) },
    { tag: `!${name}`, collection: 'seq', resolve: (seq) => ({ [key]: (seq as YAMLSeq).toJSON() }) },
  ] satisfies (ScalarTag | CollectionTag)[];
});
for (const name of ['Select', 'Cidr']) {
  TAGS.push({
    tag: `!${name}`,
    collection: 'seq',
    resolve: (seq) => ({ [`Fn::${name}`]: (seq as YAMLSeq).toJSON() }),
  });
}
TAGS.push({ tag: '!GetAZs', resolve: (text: string) => ({ 'Fn::GetAZs': text }) });

export function readTemplate(): Template {
  return parse(readFileSync(TEMPLATE, 'utf8'), { customTags: TAGS }) as Template;
}

/** The environment that the template gives a function, where its parameters are these. */
export function environmentOf(
  name: AwsFunctionName,
  parameters: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const template = readTemplate();
  const [, , made] = template.Resources['Fn::ForEach::Functions'] as [
    string,
    string[],
    Record<string, unknown>,
  ];
  const { Properties } = made[`\${Name}Function`] as {
    readonly Properties: { readonly Environment: { readonly Variables: Readonly<Record<string, unknown>> } };
  };
  const defaults = Object.entries(template.Parameters).map(([key, { Default }]) => [key, Default]);
  const values = { ...Object.fromEntries(defaults), ...parameters, Name: name };
  return Object.fromEntries(
    Object.entries(Properties.Environment.Variables).map(([key, node]) => [
      key,
      String(evaluate(node, values, template)),
    ]),
  );
}

function evaluate(node: unknown, values: Readonly<Record<string, unknown>>, template: Template): unknown {
  if (typeof node !== 'object' || node === null) return node;
  const [[key, argument] = []] = Object.entries(node);
  switch (key) {
    case 'Ref':
      return lookUp(String(argument), values);
    case 'Fn::Sub':
      return String(argument).replaceAll(/\$\{(\w+)\}/g, (_, name: string) => String(lookUp(name, values)));
    case 'Fn::FindInMap': {
      const [map, row, column] = (argument as unknown[]).map((part) =>
        String(evaluate(part, values, template)),
      );
      return template.Mappings[map ?? '']?.[row ?? '']?.[column ?? ''];
    }
    default:
      throw new Error(`this reader does not know ${key}`);
  }
}

function lookUp(name: string, values: Readonly<Record<string, unknown>>): unknown {
  const value = values[name];
  if (value === undefined) throw new Error(`the template has no value for ${name}`);
  return value;
}

/** What the schedule sends to health each minute. */
export function scheduledHealthInput(): string {
  const rule = readTemplate().Resources.HealthEveryMinute as {
    readonly Properties: { readonly Targets: readonly { readonly Input: string }[] };
  };
  return rule.Properties.Targets[0]?.Input ?? '';
}
