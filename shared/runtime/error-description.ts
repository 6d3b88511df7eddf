/** An error as it stands in the log. */
export interface ErrorDescription {
  readonly name: string;
  readonly message: string;
  readonly code?: string | number;
  readonly stack?: string;
  readonly cause?: ErrorDescription;
}

// A chain of causes can be a ring, and a stack can be as long as its recursion was deep.
const CAUSES_MAX = 5;
const TEXT_LENGTH_MAX = 2_000;

/**
 * Writes down an error with its causes. Only name, message, code and stack are taken: errors of drivers carry
 * whole connections and requests in their other members.
 */
export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) return { name: 'NonError', message: clip(safeText(error)) };
  const code = 'code' in error ? error.code : undefined;
  return {
    name: clip(error.name),
    message: clip(error.message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    // The causes have stacks of their own that mostly repeat this one.
    ...(depth === 0 && error.stack !== undefined ? { stack: clip(error.stack) } : {}),
    ...(error.cause === undefined || depth >= CAUSES_MAX
      ? {}
      : { cause: describeError(error.cause, depth + 1) }),
  };
}

/**
 * The same error for whoever prints errors whole: its causes and members are left out, and its texts are cleaned.
 * @param clean blots out what nobody may read
 */
export function bareError(error: unknown, clean: (text: string) => string): Error {
  const { name, message, stack } = describeError(error);
  const bare = new Error(clean(message));
  bare.name = clean(name);
  bare.stack = clean(stack ?? `${name}: ${message}`);
  return bare;
}

function clip(text: string): string {
  return text.length > TEXT_LENGTH_MAX ? `${text.slice(0, TEXT_LENGTH_MAX)}…` : text;
}

function safeText(value: unknown): string {
  try {
    return String(value);
  } catch {
    return 'a value that cannot be written';
  }
}
