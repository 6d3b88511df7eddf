import type { TLocalizedValidationError } from 'typebox/error';
import { Check, Errors } from 'typebox/schema';
import { type ErrorCode, ServiceError } from '../domain/errors.ts';

/**
 * A keyword of ours within a schema: the code that a wrong value of this field gets instead of `field_invalid`.
 * Its name begins with `x-`, so the OpenAPI document may carry it.
 */
export const ERROR_CODE_KEYWORD = 'x-error-code';

/** The parts of a JSON schema that are looked at when a fault is told. */
interface SchemaView {
  readonly properties?: Readonly<Record<string, SchemaView>>;
  readonly items?: SchemaView;
  readonly [ERROR_CODE_KEYWORD]?: ErrorCode;
}

/**
 * Judges a value by a schema; nothing is coerced, filled in or stripped.
 * @returns the first fault as the caller shall see it, or null
 */
export function findFault(schema: object, value: unknown): ServiceError | null {
  if (Check(schema, value)) return null;
  const [, faults] = Errors(schema, value);
  // An unknown field comes first: it is mostly the misspelt one that is then also missing.
  for (const { keyword, params, instancePath } of faults) {
    if (keyword === 'additionalProperties') {
      const [unknown = ''] = params.additionalProperties;
      const field = fieldName(instancePath, unknown);
      return new ServiceError('field_unknown', `There is no field "${field}".`, { field });
    }
  }
  for (const { keyword, params, instancePath } of faults) {
    if (keyword === 'required') {
      const [missing = ''] = params.requiredProperties;
      const field = fieldName(instancePath, missing);
      return new ServiceError('field_missing', `The field "${field}" is missing.`, { field });
    }
  }
  const fault = deepest(faults);
  if (fault === undefined || fault.instancePath === '') {
    return new ServiceError('body_invalid', 'The body must be a JSON object.');
  }
  const field = fieldName(fault.instancePath);
  const code = errorCodeAt(schema, fault.instancePath) ?? 'field_invalid';
  return new ServiceError(code, `The field "${field}" ${requirement(faults, fault)}.`, { field });
}

/** What a wrong value must be; where a choice of words is meant, the words. */
function requirement(faults: readonly TLocalizedValidationError[], fault: TLocalizedValidationError): string {
  const words = faults
    .filter(({ instancePath }) => instancePath === fault.instancePath)
    .flatMap((each) =>
      each.keyword === 'const'
        ? [each.params.allowedValue]
        : each.keyword === 'enum'
          ? each.params.allowedValues
          : [],
    );
  return words.length > 0 ? `must be one of ${words.join(', ')}` : fault.message;
}

/** Of the faults of one field the last is that of the whole (`anyOf` after its branches). */
function deepest(faults: readonly TLocalizedValidationError[]): TLocalizedValidationError | undefined {
  const path = faults[0]?.instancePath;
  return faults.findLast((fault) => fault.instancePath === path);
}

/** `/items/3/to` as `items[3].to`. */
function fieldName(instancePath: string, last?: string): string {
  const steps = pathSteps(instancePath).map((step) => (/^\d+$/.test(step) ? `[${step}]` : `.${step}`));
  return clip([...steps, ...(last === undefined ? [] : [`.${last}`])].join('').replace(/^\./, ''));
}

function errorCodeAt(schema: object, instancePath: string): ErrorCode | undefined {
  let view: SchemaView | undefined = schema;
  for (const step of pathSteps(instancePath)) {
    view = view?.items !== undefined && /^\d+$/.test(step) ? view.items : view?.properties?.[step];
  }
  return view?.[ERROR_CODE_KEYWORD];
}

/** The steps of a JSON pointer, RFC 6901. */
function pathSteps(instancePath: string): string[] {
  return instancePath
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** A name that the caller made up is repeated, but not at any length. */
function clip(text: string): string {
  return text.length > 64 ? `${text.slice(0, 64)}…` : text;
}
