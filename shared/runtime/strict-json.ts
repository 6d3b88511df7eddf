/** Why a body is not the JSON that we accept, as a sentence part that can follow "the body". */
export class JsonFault extends Error {}

// Far deeper than any body of ours, far from where recursion hurts.
const DEPTH_MAX = 32;

/**
 * Reads JSON of which every reader makes the same value. JSON allows what readers disagree about: a name given
 * twice (one reader takes the first, another the last, and a payment has two amounts), broken Unicode, and
 * `__proto__`, which in JavaScript is no ordinary name. All of these are refused.
 * @throws JsonFault
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new JsonFault('is not UTF-8');
  }
  if (text.trim() === '') throw new JsonFault('is empty');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new JsonFault('is not valid JSON');
  }
  inspectTokens(text);
  return value;
}

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],]/g;

/** Walks over a text that is known to be valid JSON, so that only the order of tokens needs to be watched. */
function inspectTokens(text: string): void {
  // For each open bracket: the names seen so far, or null within an array.
  const open: (Set<string> | null)[] = [];
  let nameComes = false;
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === '{' || token === '[') {
      open.push(token === '{' ? new Set() : null);
      if (open.length > DEPTH_MAX) throw new JsonFault('is nested too deeply');
      nameComes = token === '{';
    } else if (token === '}' || token === ']') {
      open.pop();
      nameComes = false;
    } else if (token === ',') {
      nameComes = open.at(-1) instanceof Set;
    } else {
      const string: string = JSON.parse(token);
      if (!string.isWellFormed()) throw new JsonFault('has broken Unicode in a string');
      if (nameComes) noteName(open.at(-1) ?? null, string);
      nameComes = false;
    }
  }
}

function noteName(names: Set<string> | null, name: string): void {
  if (name === '__proto__') throw new JsonFault('has a field that is not allowed');
  if (names?.has(name)) throw new JsonFault('gives a field twice');
  names?.add(name);
}
