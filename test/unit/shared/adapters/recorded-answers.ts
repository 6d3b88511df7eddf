import type { JsonObject } from '../../../../shared/adapters/tron/node-client.ts';
import recorded from './recorded-answers.json' with { type: 'json' };

/** What a real java-tron 4.8.0 (a private chain with main-net-like parameters) answered, by the request's name. */
export type RecordedName = keyof typeof recorded;

export function recordedAnswer(name: RecordedName): JsonObject {
  const { answer } = recorded[name];
  if (typeof answer !== 'object') throw new Error(`${name} was not answered with JSON`);
  return answer as JsonObject;
}

/** Also the answers that are not JSON. */
export function recordedText(name: RecordedName): { readonly status: number; readonly text: string } {
  const { status, answer } = recorded[name];
  return { status, text: typeof answer === 'string' ? answer : JSON.stringify(answer) };
}

/** A deep copy with some members replaced, or removed where the new value is undefined. */
export function altered(answer: JsonObject, change: JsonObject): JsonObject {
  const copy: Record<string, unknown> = { ...structuredClone(answer), ...change };
  for (const [key, value] of Object.entries(change)) if (value === undefined) delete copy[key];
  return copy;
}
